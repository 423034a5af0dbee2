package pipeline

import (
	"maps"
	"slices"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

// addParts has a part of the stream that was not there before read from since on,
// and one that was left out for a while where others were read without it. What the
// stream is made of is committed with what follows.
func (t *tenure) addParts() {
	c := *t.checkpoint
	known, anew := c.Parts != nil, false
	added := map[ledger.Range][]string{} // by what is read of them
	c.LeftOut = maps.Clone(c.LeftOut)
	for _, part := range t.stream.Parts {
		var missing []ledger.Range
		switch read, left := c.LeftOut[part]; {
		case left:
			missing = t.readWithout(read)
			delete(c.LeftOut, part)
		case !slices.Contains(c.Parts, part):
			// What was skipped is not read of it either: a backfill of all parts may
			// read it later, when its ids would be forgotten.
			missing = c.CoveredIn(ledger.Range{From: c.Since, To: c.Live.At})
			c.Parts = append(slices.Clip(c.Parts), part)
		default:
			continue
		}
		anew = true
		for _, r := range missing {
			added[r] = append(added[r], part)
		}
	}
	for _, part := range c.Parts {
		if _, left := c.LeftOut[part]; !left && !slices.Contains(t.stream.Parts, part) {
			if c.LeftOut == nil {
				c.LeftOut = map[string][]ledger.Range{}
			}
			c.LeftOut[part] = slices.Clone(c.Covered)
		}
	}
	t.pauseParts(&c)
	if known && anew {
		t.readParts(&c, added)
	}
	t.checkpoint = &c
	t.ahead.Backfill = progressOf(&c).Backfill
}

// readWithout returns what was read without a part, of which these ranges were. It
// begins as far before the last of them ends as sweeps would have read again, as
// far as ids are remembered: of a quarter of an hour they are.
func (t *tenure) readWithout(read []ledger.Range) []ledger.Range {
	c, o := t.checkpoint, t.stream.Options
	missing := c.CoveredIn(ledger.Range{To: c.Live.At})
	for _, r := range read {
		missing = without(missing, r)
	}
	for n := range missing {
		if len(read) == 0 || !missing[n].From.Equal(read[len(read)-1].To) {
			continue
		}
		end := read[len(read)-1]
		again := ledger.Range{From: end.To.Add(-max(o.Overlap, o.SweepBack)), To: end.To}
		if again.From.Before(end.From) {
			again.From = end.From
		}
		for _, lost := range lostIn(c, ledger.Range{From: again.From.Truncate(events.Quarter), To: again.To}) {
			// A quarter of an hour may be read as a whole.
			if from := connectors.CeilQuarter(lost.To); from.After(again.From) {
				again.From = from
			}
		}
		if again.From.Before(again.To) {
			missing[n].From = again.From
		}
	}
	return missing
}

// partLeft says whether a backfill reads parts that are left out.
func partLeft(c *ledger.Checkpoint, b ledger.Backfill) bool {
	return slices.ContainsFunc(b.Parts, func(part string) bool {
		_, left := c.LeftOut[part]
		return left
	})
}

// pauseParts pauses the backfills of parts that are left out: they would find
// nothing, and end. They go on when the parts are back.
func (t *tenure) pauseParts(c *ledger.Checkpoint) {
	for _, b := range c.OpenBackfills() {
		was, is := partLeft(t.checkpoint, b), partLeft(c, b)
		if was == is {
			continue
		}
		b.Paused = is
		c.SetBackfill(b)
		t.log.Info("a backfill of parts of the stream is paused while any of them is left out", "backfill", b.Number, "parts", b.Parts, "paused", is)
	}
}

// readParts has parts read where others were read without them.
func (t *tenure) readParts(c *ledger.Checkpoint, added map[ledger.Range][]string) {
	for _, r := range slices.SortedFunc(maps.Keys(added), func(x, y ledger.Range) int { return x.From.Compare(y.From) }) {
		c.Commits++ // no other backfill has its number
		c.SetBackfill(ledger.Backfill{
			Number: c.Commits, From: r.From, To: r.To, Lane: ledger.Lane{At: r.From},
			Begun: t.opts.Now().UTC(), Parts: added[r],
		})
		t.log.Info("the stream has new parts; they are read as the others were", "parts", added[r], "from", r.From, "to", r.To, "backfill", c.Commits)
	}
	t.ahead.Live, t.ahead.Sweep.Position = beginning(t.ahead.Live), beginning(t.ahead.Sweep.Position)
	for _, b := range c.OpenBackfills() {
		if b.Parts == nil {
			b.Window, b.Cursor = ledger.Range{}, nil
			c.SetBackfill(b)
		}
	}
}

// beginning has a window that is half read begin again: its cursor may have come
// past the place where a new part would have been read.
func beginning(p connectors.Position) connectors.Position { return connectors.Position{At: p.At} }
