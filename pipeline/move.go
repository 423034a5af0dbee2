package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

// Move asks for another place where live reads go on.
type Move struct {
	To     time.Time     `json:"to,omitzero"`
	By     time.Duration `json:"by,omitempty"`     // instead of To: so far back from the cursor
	Set    bool          `json:"set,omitempty"`    // To may lie ahead of the cursor as well
	Replay bool          `json:"replay,omitempty"` // what is read again is published again
}

// Plan is what a Move leads to.
type Plan struct {
	Stream string    `json:"stream"`
	From   time.Time `json:"from"` // where the cursor stood
	To     time.Time `json:"to"`   // where it is put
	// Read is read again, Skipped is not read at all; zero: nothing is.
	Read    ledger.Range `json:"read,omitzero"`
	Skipped ledger.Range `json:"skipped,omitzero"`
	// Since is where the stream begins from now on, where that changes too.
	Since  time.Time `json:"since,omitzero"`
	Replay bool      `json:"replay,omitempty"`
}

// RefusedError says that an operating command was not carried out, and nothing
// was changed.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}

// PlanMove says what a move of a stream's cursor leads to, or, with a
// *RefusedError, why it may not be made.
func PlanMove(c *ledger.Checkpoint, m Move, now time.Time) (*Plan, error) {
	if c == nil || c.Live.At.IsZero() {
		return nil, refuse("the stream has not been read yet, so there is no cursor to move: millrace run reads it, from since on")
	}
	cursor, to := c.Live.At, m.To
	if m.By > 0 {
		to = cursor.Add(-m.By)
	}
	to = to.UTC().Truncate(time.Second)
	p := &Plan{Stream: c.Stream.String(), From: cursor, To: to, Replay: m.Replay}
	switch {
	case to.Unix() < 0: // the zero time would have the stream begin anew
		return nil, refuse("%s lies before 1970: there is nothing to read", text(to))
	case to.After(now):
		return nil, refuse("%s lies in the future: nothing would be read until then", text(to))
	case to.Equal(cursor):
		return nil, refuse("the cursor is at %s already", text(cursor))
	case to.After(cursor) && !m.Set:
		return nil, refuse("the cursor is at %s, before %s: cursor set moves it forward, and skips what lies between", text(cursor), text(to))
	case to.After(cursor) && m.Replay:
		return nil, refuse("the cursor is at %s, before %s: there is nothing to publish again in between", text(cursor), text(to))
	case to.After(cursor):
		p.Skipped = ledger.Range{From: cursor, To: to}
		return p, nil
	}
	p.Read = ledger.Range{From: to, To: cursor}
	if to.Before(c.Since) {
		p.Since = to
	}
	if m.Replay {
		return p, nil
	}
	if r := c.Replay; r != nil && to.Before(r.From) {
		return nil, refuse("a replay is under way from %s to %s: wait until the cursor is past it, or begin another one with --replay", text(r.From), text(r.To))
	}
	// A quarter of an hour may be read as a whole.
	lost := lostIn(c, ledger.Range{From: to.Truncate(events.Quarter), To: cursor})
	if len(lost) > 0 {
		possible := lost[len(lost)-1].To.Add(events.Quarter - 1).Truncate(events.Quarter)
		return nil, refuse("what was published before %s is not remembered any more (dedup_horizon), so reading again from %s would repeat it unseen: move to %s or later, or publish all that is read again once more, marked, with --replay",
			text(c.Forgotten), text(to), text(possible))
	}
	return p, nil
}

// lostIn returns the parts of a range that were read, and whose ids may be gone.
// Those at the edges of what was covered are kept.
func lostIn(c *ledger.Checkpoint, r ledger.Range) []ledger.Range {
	if c.Forgotten.IsZero() {
		return nil
	}
	tie := r.To
	if end := c.Forgotten.Add(slack); end.Before(r.To) {
		r.To = end
	}
	lost := c.CoveredIn(r)
	for _, kept := range edges(c) {
		lost = without(lost, kept)
	}
	// What is read up to a beginning reads the beginning's tie.
	for _, start := range c.StartsLost {
		if !start.Before(tie) && start.Before(tie.Add(slack)) {
			lost = append(lost, ledger.Range{From: start, To: start.Add(time.Second)})
		}
	}
	return lost
}

// without returns what is left of ranges when one is taken out of all.
func without(ranges []ledger.Range, out ledger.Range) []ledger.Range {
	var left []ledger.Range
	for _, r := range ranges {
		if !r.Overlaps(out) {
			left = append(left, r)
			continue
		}
		if r.From.Before(out.From) {
			left = append(left, ledger.Range{From: r.From, To: out.From})
		}
		if out.To.Before(r.To) {
			left = append(left, ledger.Range{From: out.To, To: r.To})
		}
	}
	return left
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Move puts the cursor somewhere else. The reading goes on from there at once.
func (i *Ingest) Move(ctx context.Context, m Move) (p *Plan, err error) {
	err = i.operate(ctx, func(ctx context.Context, t *tenure) error {
		p, err = t.move(ctx, m)
		return err
	})
	return p, err
}

// move commits the checkpoint with the cursor moved and ends the tenure: what it
// has read ahead counts for nothing any more.
func (t *tenure) move(ctx context.Context, m Move) (*Plan, error) {
	if t.checkpoint.Commits == 0 {
		_, err := PlanMove(nil, m, t.opts.Now())
		return nil, err
	}
	next := t.next(t.uncounted, t.filled, t.ahead)
	plan, err := PlanMove(next, m, t.opts.Now())
	if err != nil {
		return nil, err
	}
	plan.apply(next)
	if plan.Skipped == (ledger.Range{}) {
		t.noteReplay(next, plan.Read)
	}
	if err := t.store(ctx, next); err != nil {
		return nil, fmt.Errorf("moving the cursor of %s: %w", t.stream.Key, err)
	}
	t.ahead = progressOf(next)
	t.log.Info("the cursor was moved", "from", plan.From, "to", plan.To, "replay", plan.Replay)
	t.fail(errMoved)
	return plan, nil
}

// apply changes a checkpoint as the plan says.
func (p *Plan) apply(c *ledger.Checkpoint) {
	lost := lostIn(c, p.Read)
	c.Live = ledger.Lane{At: p.To}
	switch {
	case !p.Skipped.To.IsZero():
		c.Skipped = p.Skipped.To
	case p.To.Before(c.Skipped):
		c.Skipped = time.Time{}
	}
	c.Sweep, c.Finding = ledger.Sweep{Due: c.Sweep.Due}, ledger.Late{}
	if !p.Since.IsZero() {
		c.Since = p.Since
	}
	switch old := c.Replay; {
	case p.Replay:
		c.Replay = &ledger.Replay{From: p.To, To: p.From, Number: c.Commits, Unknown: lost}
		if old != nil && old.To.After(p.From) { // the rest of it is still to be done
			c.Replay.To = old.To
			c.Replay.Unknown = append(c.Replay.Unknown, lostIn(c, ledger.Range{From: p.From, To: old.To})...)
		}
	case old != nil && !p.To.Before(old.To):
		c.Replay = nil
	}
}

// noteReplay notes that a range begins to be read again.
func (t *tenure) noteReplay(c *ledger.Checkpoint, r ledger.Range) {
	now := t.opts.Now().UTC()
	c.NoteReplay(r, now, LettersSince(t.opts.Retention, now))
}

// replaying returns the replay that a batch is part of; nil for none.
func (t *tenure) replaying(batch *connectors.Batch) *ledger.Replay {
	if batch.Lane == connectors.Backfill {
		return backfillReplay(t.checkpoint.Backfilling())
	}
	r := t.checkpoint.Replay
	if r == nil || !(ledger.Range{From: r.From, To: r.To}).Overlaps(ledger.Range(batch.Window)) {
		return nil
	}
	return r
}

// forgotten says whether a record that is not known may have been published
// nevertheless: its ids would be among those that were forgotten.
func forgotten(replay *ledger.Replay, r *connectors.Prepared, batch *connectors.Batch) bool {
	around := ledger.Range(batch.Window)
	if !r.Time.IsZero() {
		around = ledger.Range{From: r.Time, To: r.Time.Add(time.Nanosecond)}
	}
	around.From, around.To = around.From.Add(-slack), around.To.Add(slack)
	for _, unknown := range replay.Unknown {
		if unknown.Overlaps(around) {
			return true
		}
	}
	return false
}
