package pipeline

import (
	"maps"
	"slices"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
)

// addParts has a part of the stream that was not there before read from since on,
// and one that was left out for a while from there on. What the stream is made of
// is committed with what follows.
func (t *tenure) addParts() {
	c := *t.checkpoint
	known := c.Parts != nil
	added := map[time.Time][]string{} // by what they are read from
	c.LeftOut = maps.Clone(c.LeftOut)
	for _, part := range t.stream.Parts {
		switch from, left := c.LeftOut[part]; {
		case left:
			added[from] = append(added[from], part)
			delete(c.LeftOut, part)
		case !slices.Contains(c.Parts, part):
			added[c.Since] = append(added[c.Since], part)
			c.Parts = append(slices.Clip(c.Parts), part)
		}
	}
	for _, part := range c.Parts {
		if _, left := c.LeftOut[part]; !left && !slices.Contains(t.stream.Parts, part) {
			if c.LeftOut == nil {
				c.LeftOut = map[string]time.Time{}
			}
			c.LeftOut[part] = c.ReadTo()
		}
	}
	t.pauseParts(&c)
	if known && len(added) > 0 {
		t.readParts(&c, added)
	}
	t.checkpoint = &c
	t.ahead.Backfill = progressOf(&c).Backfill
}

// pauseParts pauses the backfills of parts that are left out: they would find
// nothing, and end. They go on when the parts are back.
func (t *tenure) pauseParts(c *ledger.Checkpoint) {
	for _, b := range c.OpenBackfills() {
		left := func(from *ledger.Checkpoint) bool {
			return slices.ContainsFunc(b.Parts, func(part string) bool { return !from.LeftOut[part].IsZero() })
		}
		was, is := left(t.checkpoint), left(c)
		if was == is {
			continue
		}
		b.Paused = is
		c.SetBackfill(b)
		t.log.Info("a backfill of parts of the stream is paused while any of them is left out", "backfill", b.Number, "parts", b.Parts, "paused", is)
	}
}

// readParts has parts read from a time on, as far as the others were read.
func (t *tenure) readParts(c *ledger.Checkpoint, added map[time.Time][]string) {
	for _, from := range slices.SortedFunc(maps.Keys(added), time.Time.Compare) {
		parts := added[from]
		// What was skipped is not read of them either: a backfill of all parts may
		// read it later, when their ids would be forgotten.
		for _, r := range c.CoveredIn(ledger.Range{From: from, To: c.Live.At}) {
			c.Commits++ // no other backfill has its number
			c.SetBackfill(ledger.Backfill{
				Number: c.Commits, From: r.From, To: r.To, Lane: ledger.Lane{At: r.From},
				Begun: t.opts.Now().UTC(), Parts: parts,
			})
			t.log.Info("the stream has new parts; they are read as the others were", "parts", parts, "from", r.From, "to", r.To, "backfill", c.Commits)
		}
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
