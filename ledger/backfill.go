package ledger

import (
	"slices"
	"time"
)

// Backfill is a range that is read on demand, beside the live reads. Those of a
// stream are carried out one after the other.
type Backfill struct {
	// Number tells one backfill of a stream from another. It is the stream's count
	// of commits when it began.
	Number uint64    `json:"number"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	// Present: To is as far as live reads had come when it began.
	Present bool      `json:"present,omitempty"`
	Lane              // where it stands; At is From at its beginning
	Begun   time.Time `json:"begun"`
	Paused  bool      `json:"paused,omitempty"`
	// Replay: what was published before is published once more, marked with Number.
	Replay bool `json:"replay,omitempty"`
	// Unknown are, of a replay, the parts that were read before, and whose ids were
	// forgotten when it began: nothing found there is known to be new.
	Unknown []Range `json:"unknown,omitempty"`
	// Parts are the parts of the stream that are read; nil: all.
	Parts []string `json:"parts,omitempty"`
	// Done is when it ended; zero while it is under way. Cancelled: before its end.
	Done      time.Time `json:"done,omitzero"`
	Cancelled bool      `json:"cancelled,omitempty"`
	Counts    Counts    `json:"counts"`
}

// backfillsListed is how many that have ended stay in the checkpoint.
const backfillsListed = 5

// Backfilling returns the backfill that is carried out: the first that has not
// ended and is not paused; nil for none. The caller does not change it.
func (c *Checkpoint) Backfilling() *Backfill {
	return c.firstBackfill(func(b *Backfill) bool { return b.Done.IsZero() && !b.Paused })
}

// BackfillOf returns the backfill with a number; nil for none.
func (c *Checkpoint) BackfillOf(number uint64) *Backfill {
	return c.firstBackfill(func(b *Backfill) bool { return b.Number == number })
}

func (c *Checkpoint) firstBackfill(is func(*Backfill) bool) *Backfill {
	for n := range c.Backfills {
		if is(&c.Backfills[n]) {
			return &c.Backfills[n]
		}
	}
	return nil
}

// OpenBackfills returns those that have not ended, in their order.
func (c *Checkpoint) OpenBackfills() []Backfill {
	return slices.DeleteFunc(slices.Clone(c.Backfills), func(b Backfill) bool { return !b.Done.IsZero() })
}

// SetBackfill puts a backfill in the place of the one with its number, or behind
// all others. It leaves the list that another checkpoint may share as it is, and
// drops the oldest of those that have ended, where they are many.
func (c *Checkpoint) SetBackfill(b Backfill) {
	list := slices.Clone(c.Backfills)
	if n := slices.IndexFunc(list, func(old Backfill) bool { return old.Number == b.Number }); n >= 0 {
		list[n] = b
	} else {
		list = append(list, b)
	}
	ended := 0
	for n := range list {
		if !list[n].Done.IsZero() {
			ended++
		}
	}
	for ; ended > backfillsListed; ended-- {
		oldest := -1
		for n := range list {
			if done := list[n].Done; !done.IsZero() && (oldest < 0 || done.Before(list[oldest].Done)) {
				oldest = n
			}
		}
		list = slices.Delete(list, oldest, oldest+1)
	}
	c.Backfills = list
}
