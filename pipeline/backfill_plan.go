package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

// maxBackfills is how many of a stream may wait for each other.
const maxBackfills = 20

// beginBackfill adds a backfill to a checkpoint, or has one go on that is the
// same. Its number is the checkpoint's count of commits.
func beginBackfill(c *ledger.Checkpoint, r BackfillRequest, now, oldest time.Time) (*BackfillPlan, error) {
	b := ledger.Backfill{Number: c.Commits, From: r.From.UTC().Truncate(events.Quarter), Begun: now.UTC(), Replay: r.Replay}
	b.To = connectors.CeilQuarter(r.To)
	if r.To.IsZero() || b.To.After(c.Live.At) {
		b.To, b.Present = c.Live.At, true
	}
	p := &BackfillPlan{Stream: c.Stream.String(), Replay: r.Replay}
	if b.From.Before(oldest) {
		b.From, p.Oldest = oldest, oldest
	}
	switch {
	case c.Live.At.IsZero():
		return nil, errNotRead()
	case b.From.Unix() < 0:
		return nil, refuse("%s lies before 1970: there is nothing to read", text(r.From))
	case r.From.After(now):
		return nil, refuse("%s lies in the future: there is nothing to read yet", text(r.From))
	case !r.To.IsZero() && !r.From.Before(r.To):
		return nil, refuse("the range ends at %s, which is not behind its beginning at %s", text(r.To), text(r.From))
	case !oldest.IsZero() && !b.From.Before(b.To):
		return nil, refuse("the API cannot be asked for what lies before %s", text(oldest))
	case !b.From.Before(b.To):
		return nil, refuse("live reads have come to %s, and read what follows themselves", text(c.Live.At))
	}
	if same := sameBackfill(c, b, now); same != nil {
		b, p.Resumed = *same, true
		b.Paused = false
	} else {
		lost := lostIn(c, ledger.Range{From: b.From, To: b.To})
		switch {
		case len(c.OpenBackfills()) >= maxBackfills:
			return nil, refuse("%d backfills of this stream have not ended: wait for them, or cancel some", maxBackfills)
		case len(lost) > 0 && !r.Replay:
			return nil, refuseLost(c, b, lost)
		}
		b.At, b.Unknown = b.From, lost
	}
	c.SetBackfill(b)
	p.Numbers, p.From, p.To = []uint64{b.Number}, b.From, b.To
	for _, other := range c.OpenBackfills() {
		if other.Number == b.Number {
			break
		}
		if !other.Paused {
			p.Before++
		}
	}
	return p, nil
}

// sameBackfill returns the one that has not ended and reads the same, or, where
// it is not paused, all of that and more; nil for none. What both end with, the
// present, may have been another one when the other began, and so may a beginning
// that was given as so long ago.
func sameBackfill(c *ledger.Checkpoint, b ledger.Backfill, now time.Time) *ledger.Backfill {
	for _, old := range c.OpenBackfills() {
		if old.Replay != b.Replay || old.Parts != nil {
			continue
		}
		oldTo, to := connectors.CeilQuarter(old.To), connectors.CeilQuarter(b.To)
		present := old.Present && b.Present
		same := old.From.Equal(b.From) && (present || oldTo.Equal(to))
		moved := b.From.Sub(old.From) <= now.Sub(old.Begun)+events.Quarter
		within := (!old.Paused || moved) && !old.From.After(b.From) && (present || !oldTo.Before(to))
		if same || within {
			return &old
		}
	}
	return nil
}

// refuseLost refuses a backfill of what was published and is not remembered any
// more, and names what is possible.
func refuseLost(c *ledger.Checkpoint, b ledger.Backfill, lost []ledger.Range) error {
	possible := []ledger.Range{{From: b.From, To: b.To}}
	var gone []string
	for _, r := range lost {
		gone = append(gone, text(r.From)+" to "+text(r.To))
		// A quarter of an hour may be read as a whole.
		possible = without(possible, ledger.Range{From: r.From.Add(-slack).Truncate(events.Quarter), To: connectors.CeilQuarter(r.To)})
	}
	var ranges []string
	for _, r := range possible {
		ranges = append(ranges, "--from "+text(r.From)+" --to "+text(r.To))
	}
	instead := "nothing of it can be read again without"
	if ranges != nil {
		instead = "possible without is " + strings.Join(ranges, ", and ")
	}
	return refuse("what was published of %s is not remembered any more (dedup_horizon), so reading it again would repeat it unseen: publish all of the range once more, marked, with --replay; %s",
		strings.Join(gone, ", "), instead)
}

// stopBackfills pauses, resumes or cancels backfills of a checkpoint.
func stopBackfills(c *ledger.Checkpoint, r BackfillRequest, now time.Time) (*BackfillPlan, error) {
	open := slices.DeleteFunc(c.OpenBackfills(), func(b ledger.Backfill) bool { return r.Number != 0 && b.Number != r.Number })
	found := len(open)
	if r.Do == BackfillResume { // without its parts one would find nothing, and end
		open = slices.DeleteFunc(open, func(b ledger.Backfill) bool { return partLeft(c, b) })
	}
	switch {
	case len(open) < found && len(open) == 0:
		return nil, refuse("a part of the stream that it reads is left out at present: it goes on by itself when the configuration has the part again")
	case len(open) == 0 && r.Number != 0:
		return nil, refuse("there is no backfill %d that has not ended: backfill list shows them", r.Number)
	case len(open) == 0:
		return nil, refuse("there is no backfill that has not ended")
	}
	p := &BackfillPlan{Stream: c.Stream.String()}
	for _, b := range open {
		p.Numbers = append(p.Numbers, b.Number)
		b.Paused = r.Do == BackfillPause
		if r.Do == BackfillCancel {
			b.Done, b.Cancelled = now.UTC(), true
			keepEdge(c, b)
		}
		c.SetBackfill(b)
	}
	return p, nil
}

// keepEdge sees to it that the ids are kept of what a backfill has published
// behind the place that it has come to: it ends in the middle of a window. They
// are, where what was covered ends. Where nothing is covered there, a second is
// said to be.
func keepEdge(c *ledger.Checkpoint, b ledger.Backfill) {
	if b.Counts.Records > 0 && len(c.CoveredIn(ledger.Range{From: b.At.Add(-time.Second), To: b.At})) == 0 {
		c.Cover(ledger.Range{From: b.At, To: b.At.Add(time.Second)})
	}
}
