package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

// floor is how far back a stream may be read again. A larger overlap or sweep
// than before must not reach what is forgotten, unless a replay does, or a move
// that has found that nothing was ever read there.
func floor(c *ledger.Checkpoint) time.Time {
	var at time.Time
	if !c.Forgotten.IsZero() {
		// Cells are read from their beginning, and who knows when the first is met.
		at = c.Forgotten.Add(slack + events.Quarter - 1).Truncate(events.Quarter)
	}
	if c.Replay != nil {
		at = c.Replay.From
	}
	if c.Skipped.After(at) {
		at = c.Skipped
	}
	if c.Live.At.Before(at) {
		at = c.Live.At
	}
	return at
}

// cutoff is how far ids may be forgotten: by the committed cursor, never by the
// clock (invariant 12).
func (t *tenure) cutoff(c *ledger.Checkpoint) time.Time {
	at := c.Live.At
	if !c.Sweep.Until.IsZero() && c.Sweep.At.Before(at) {
		at = c.Sweep.At
	}
	// A paused one will go on where it stands, and may have published what it was
	// reading.
	for _, b := range c.OpenBackfills() {
		if b.At.Before(at) {
			at = b.At
		}
	}
	return at.Add(-t.opts.Horizon)
}

// load brings in the ids of the entries that may name records of these ranges.
func (t *tenure) load(ctx context.Context, ranges ...ledger.Range) error {
	for _, r := range ranges {
		for _, name := range t.book.Needed(r) {
			data, err := t.held.Entry(ctx, name)
			if err != nil {
				return fmt.Errorf("reading the ledger of %s: %w", t.stream.Key, err)
			}
			entry, err := ledger.DecodeEntry(data)
			if err != nil {
				return fmt.Errorf("%s: entry %s: %w", t.stream.Key, name, err)
			}
			t.book.Load(name, entry)
		}
	}
	return nil
}

const tidyEvery = 10 * time.Second

// tidy gives back the memory of windows behind, and forgets what the horizon has
// passed. The checkpoint that says so is committed first.
func (t *tenure) tidy(ctx context.Context) {
	now := time.Now()
	if now.Sub(t.tidied) < tidyEvery {
		return
	}
	t.tidied = now
	c := t.checkpoint
	reading := []ledger.Range{{From: c.Live.At.Add(-t.stream.Options.Overlap), To: now.Add(maxAhead)}}
	if !c.Sweep.Until.IsZero() {
		reading = append(reading, ledger.Range{From: c.Sweep.At, To: c.Sweep.Until})
	}
	if b := c.Backfilling(); b != nil {
		reading = append(reading, ledger.Range{From: b.At, To: b.To})
	}
	t.book.Unload(reading...)
	// Behind what is forgotten a replay, or a read of what never was, remembers
	// what it publishes until its cursor is past that too.
	before := c.Forgotten
	if cutoff := t.cutoff(c); cutoff.Before(before) {
		before = cutoff
	}
	names := append(t.book.Before(before, edges(c)...), t.expired(t.opts.Now())...)
	if len(names) == 0 {
		return
	}
	if err := t.held.Forget(ctx, names); err != nil {
		t.log.Warn("ids that are not needed any more could not be deleted; trying again later", "cause", err)
		return
	}
	t.book.Forget(names)
	t.resolutions = slices.DeleteFunc(t.resolutions, func(name string) bool { return slices.Contains(names, name) })
}

// edges are where what was covered begins, or ends with something that was
// skipped behind it, also of one part, as far as a quarter of an hour that is read
// as a whole. A read of what lies beside it needs to know what was published there.
func edges(c *ledger.Checkpoint) []ledger.Range {
	var all []ledger.Range
	covered := slices.Clone(c.Covered)
	for _, ranges := range c.LeftOut {
		covered = append(covered, ranges...)
	}
	for _, r := range covered {
		if !startLost(c, r.From) {
			all = append(all, ledger.Range{From: r.From.Add(-time.Second), To: connectors.CeilQuarter(r.From)})
		}
		if r.To.Before(c.Live.At) {
			all = append(all, ledger.Range{From: r.To.Add(-events.Quarter), To: r.To})
		}
	}
	return all
}

// startLost says whether the ids are gone of what was published where a covered
// range begins.
func startLost(c *ledger.Checkpoint, start time.Time) bool {
	return slices.ContainsFunc(c.StartsLost, start.Equal)
}

// expired returns the resolutions whose dead letters are gone: these were
// published before they were resolved.
func (t *tenure) expired(now time.Time) []string {
	var names []string
	for _, name := range t.resolutions {
		if at, ok := ledger.ResolvedAt(name); ok && t.opts.Retention > 0 && now.Sub(at) > t.opts.Retention+time.Hour {
			names = append(names, name)
		}
	}
	return names
}

// maxAhead is how far in the future a window may end by any clock.
const maxAhead = 365 * 24 * time.Hour

func progressOf(c *ledger.Checkpoint) connectors.Progress {
	p := connectors.Progress{
		Since: c.Since,
		Live:  positionOf(c.Live),
		Sweep: connectors.SweepPosition{Due: c.Sweep.Due, Until: c.Sweep.Until, Position: positionOf(c.Sweep.Lane)},
		Cells: c.Cells,
	}
	if b := c.Backfilling(); b != nil {
		p.Backfill = &connectors.BackfillPosition{Number: b.Number, From: b.From, To: b.To, Parts: b.Parts, Position: positionOf(b.Lane)}
	}
	return p
}

func positionOf(l ledger.Lane) connectors.Position {
	return connectors.Position{At: l.At, Window: connectors.Window(l.Window), Cursor: l.Cursor}
}

func setProgress(c *ledger.Checkpoint, p connectors.Progress) {
	c.Since, c.Cells = p.Since, p.Cells
	c.Live = laneOf(p.Live)
	c.Sweep = ledger.Sweep{Due: p.Sweep.Due, Until: p.Sweep.Until, Lane: laneOf(p.Sweep.Position)}
}

func laneOf(p connectors.Position) ledger.Lane {
	return ledger.Lane{At: p.At, Window: ledger.Range(p.Window), Cursor: p.Cursor}
}
