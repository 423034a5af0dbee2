package ledger

import (
	"slices"
	"time"
)

// PastReplay is a range that began to be read again at a time, as a replay or not.
type PastReplay struct {
	Range
	At time.Time `json:"at"`
}

// maxReplayed is how many replays a checkpoint tells apart.
const maxReplayed = 32

// NoteReplay notes that a range begins to be read again, and forgets those that began
// before another time. Where there are many, the oldest two become one that is
// taken to have read what lies between them too. The list that another checkpoint
// may share stays as it is.
func (c *Checkpoint) NoteReplay(r Range, at, forget time.Time) {
	list := slices.DeleteFunc(slices.Clone(c.Replayed), func(old PastReplay) bool { return old.At.Before(forget) })
	if len(list) >= maxReplayed {
		first, second := list[0], &list[1]
		if first.From.Before(second.From) {
			second.From = first.From
		}
		if first.To.After(second.To) {
			second.To = first.To
		}
		list = list[1:]
	}
	c.Replayed = append(list, PastReplay{r, at})
}

// ReplayedSince says whether a replay may have read a part of a range that began
// after a time.
func (c *Checkpoint) ReplayedSince(r Range, t time.Time) bool {
	return slices.ContainsFunc(c.Replayed, func(replay PastReplay) bool { return replay.At.After(t) && replay.Overlaps(r) })
}
