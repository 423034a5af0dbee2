package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// Cursor is where a stream stands, as cursor get shows it.
type Cursor struct {
	Connector string         `json:"connector"`
	Stream    string         `json:"stream"`
	Cursor    time.Time      `json:"cursor,omitzero"` // everything before it is committed
	Window    ledger.Range   `json:"window,omitzero"` // the one that is being read
	Since     time.Time      `json:"since,omitzero"`
	SweepDue  time.Time      `json:"sweep_due,omitzero"`
	Sweep     ledger.Range   `json:"sweep,omitzero"`     // what the one under way has still to read
	IDsSince  time.Time      `json:"ids_since,omitzero"` // ids of what was published before are forgotten
	Covered   []ledger.Range `json:"covered"`
	Replay    *ledger.Replay `json:"replay,omitempty"`
}

// Cursors tells where the streams stand that CONNECTOR[/STREAM] names.
func Cursors(ctx context.Context, file *config.File, name string, log *slog.Logger) ([]Cursor, error) {
	o, streams, err := openStreams(ctx, file, name, toOperate, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	stored, err := o.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	var all []Cursor
	for _, s := range streams {
		out := Cursor{Connector: s.Connector, Stream: s.Key.String(), Covered: []ledger.Range{}}
		if c := stored[s.Key]; c != nil {
			out.Cursor, out.Window, out.Since, out.SweepDue, out.IDsSince, out.Replay = c.Live.At, c.Live.Window, c.Since, c.Sweep.Due, c.Forgotten, c.Replay
			out.Covered = append(out.Covered, c.Covered...)
			if !c.Sweep.Until.IsZero() {
				out.Sweep = ledger.Range{From: c.Sweep.At, To: c.Sweep.Until}
			}
		}
		all = append(all, out)
	}
	return all, nil
}

// checkpoints reads the checkpoints of all streams.
func (o *operator) checkpoints(ctx context.Context) (map[events.StreamKey]*ledger.Checkpoint, error) {
	stored, err := o.broker.Checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	all := map[events.StreamKey]*ledger.Checkpoint{}
	for _, s := range stored {
		if all[s.Key], err = ledger.DecodeCheckpoint(s.Checkpoint); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Key, err)
		}
	}
	return all, nil
}

// WriteCursors writes where streams stand, for people.
func WriteCursors(w io.Writer, cursors []Cursor) error {
	for n, c := range cursors {
		if n > 0 {
			fmt.Fprintln(w)
		}
		t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
		fmt.Fprintf(t, "stream\t%s\nkey\t%s\n", shortName(c.Connector, c.Stream), c.Stream)
		if c.Cursor.IsZero() {
			fmt.Fprintf(t, "cursor\tnot read yet\n")
			_ = t.Flush()
			continue
		}
		fmt.Fprintf(t, "cursor\t%s\n", when(c.Cursor))
		if !c.Window.To.IsZero() {
			fmt.Fprintf(t, "window\t%s\n", span(c.Window))
		}
		fmt.Fprintf(t, "since\t%s\n", when(c.Since))
		if c.Sweep.To.IsZero() {
			fmt.Fprintf(t, "sweep\tdue %s\n", when(c.SweepDue))
		} else {
			fmt.Fprintf(t, "sweep\tunder way, %s to go\n", span(c.Sweep))
		}
		kept := "of all that was published"
		if !c.IDsSince.IsZero() {
			kept = "of what was published from " + when(c.IDsSince) + " on"
		}
		fmt.Fprintf(t, "ids kept\t%s\n", kept)
		for _, r := range c.Covered {
			fmt.Fprintf(t, "covered\t%s\n", span(r))
		}
		if c.Replay != nil {
			fmt.Fprintf(t, "replay\tunder way, %s\n", span(ledger.Range{From: c.Replay.From, To: c.Replay.To}))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func span(r ledger.Range) string {
	return fmt.Sprintf("%s to %s (%s)", when(r.From), when(r.To), brief(r.To.Sub(r.From)))
}

// Move asks for another place where live reads go on.
type Move = pipeline.Move

// Moved is what came of moving one cursor, or would come of it.
type Moved struct {
	Connector string `json:"connector"`
	Stream    string `json:"stream"`
	*pipeline.Plan
	DryRun bool `json:"dry_run,omitempty"`
	// Known is, of a dry run, how many ids are kept of the range that is read
	// again: so many events of it are known to be published.
	Known *int `json:"known,omitempty"`
	// Refused says why the move may not be made.
	Refused string `json:"refused,omitempty"`
}

// MoveCursors moves the cursors of the streams that CONNECTOR[/STREAM] names. It
// returns those that were moved beside an error of others.
func MoveCursors(ctx context.Context, file *config.File, name string, m Move, dryRun bool, log *slog.Logger) ([]Moved, error) {
	o, streams, err := openStreams(ctx, file, name, toOperate, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	var all []Moved
	var errs []error
	for _, s := range streams {
		moved := Moved{Connector: s.Connector, Stream: s.Key.String(), DryRun: dryRun}
		if dryRun {
			err = o.planMove(ctx, s, m, &moved)
		} else {
			var a *answer
			if a, err = o.carryOut(ctx, s, request{Ask: askMove, Move: &m}); err == nil {
				moved.Plan = a.Plan
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, moved)
	}
	return all, errors.Join(errs...)
}

// planMove finds out what a move would lead to. It changes nothing.
func (o *operator) planMove(ctx context.Context, s *connectors.Stream, m Move, moved *Moved) error {
	stored, err := o.checkpoints(ctx)
	if err != nil {
		return err
	}
	var refused *pipeline.RefusedError
	moved.Plan, err = pipeline.PlanMove(stored[s.Key], m, time.Now())
	switch {
	case errors.As(err, &refused):
		moved.Refused = refused.Reason
		return nil
	case err != nil:
		return err
	}
	known, err := o.known(ctx, s.Key, moved.Read)
	moved.Known = &known
	return err
}

// known counts the ids in the ledger entries that touch a range.
func (o *operator) known(ctx context.Context, key events.StreamKey, r ledger.Range) (int, error) {
	if r.To.IsZero() {
		return 0, nil
	}
	l := o.broker.Ledger(key)
	names, err := l.Entries(ctx)
	if err != nil {
		return 0, err
	}
	book, err := ledger.NewBook(false, names)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	n := 0
	for _, name := range book.Needed(r) {
		data, err := l.Entry(ctx, name)
		if errors.Is(err, topics.ErrNoEntry) {
			continue // forgotten meanwhile
		}
		if err != nil {
			return 0, err
		}
		entry, err := ledger.DecodeEntry(data)
		if err != nil {
			return 0, fmt.Errorf("%s: entry %s: %w", key, name, err)
		}
		n += entry.NumIDs + entry.NumVersions
	}
	return n, nil
}

// WriteMoved tells what came of moving cursors, for people.
func WriteMoved(w io.Writer, all []Moved) error {
	for _, m := range all {
		if m.Refused != "" {
			fmt.Fprintf(w, "%s: would be refused: %s\n", shortName(m.Connector, m.Stream), m.Refused)
			continue
		}
		verb, again, skip := "moved", "is read again", "is skipped: it stays a hole in what is covered"
		if m.DryRun {
			verb, again, skip = "would be moved", "would be read again", "would be skipped: it would stay a hole in what is covered"
		}
		fmt.Fprintf(w, "%s: the cursor %s from %s to %s\n", shortName(m.Connector, m.Stream), verb, when(m.From), when(m.To))
		if !m.Since.IsZero() {
			fmt.Fprintf(w, "  the stream begins there from now on\n")
		}
		if !m.Read.To.IsZero() {
			fmt.Fprintf(w, "  %s %s\n", span(m.Read), again)
			what := "only what is not published is published"
			if m.Plan.Replay {
				what = "all of it is published again, what was published before marked replay"
			}
			fmt.Fprintf(w, "  %s\n", what)
		}
		if m.Known != nil && !m.Read.To.IsZero() {
			fmt.Fprintf(w, "  %d ids of published events are kept in the ledger entries that touch it\n", *m.Known)
		}
		if !m.Skipped.To.IsZero() {
			fmt.Fprintf(w, "  %s %s\n", span(m.Skipped), skip)
		}
	}
	return nil
}
