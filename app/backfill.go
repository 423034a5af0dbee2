package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
)

// States of a backfill.
const (
	BackfillReading   = "reading"
	BackfillWaiting   = "waiting" // for the one before it, or for a service
	BackfillPaused    = "paused"
	BackfillDone      = "done"
	BackfillCancelled = "cancelled"
)

// BackfillStatus is how one backfill stands.
type BackfillStatus struct {
	Number  uint64        `json:"number"`
	From    time.Time     `json:"from"`
	To      time.Time     `json:"to"`
	At      time.Time     `json:"at"` // everything before it was read
	State   string        `json:"state"`
	Replay  bool          `json:"replay,omitempty"`
	Parts   []string      `json:"parts,omitempty"` // of the stream; nil: all
	Begun   time.Time     `json:"begun"`
	Done    time.Time     `json:"done,omitzero"`
	Counts  ledger.Counts `json:"counts"`
	Percent float64       `json:"percent"`
	// Expected is about how many records its whole range holds; 0: unknown. The
	// API may count others than it gives.
	Expected int64 `json:"expected_records,omitempty"`
	// Records are read a second, over about a minute; SecondsLeft is an estimate,
	// 0: none.
	Records     float64 `json:"records_per_second,omitempty"`
	SecondsLeft float64 `json:"seconds_left,omitempty"`
	// Cause is why its requests fail, and what to do; empty when they do not.
	Cause string `json:"cause,omitempty"`
}

// backfillOf tells a backfill as it is committed.
func backfillOf(b *ledger.Backfill) BackfillStatus {
	s := BackfillStatus{
		Number: b.Number, From: b.From, To: b.To, At: b.At, State: BackfillWaiting, Replay: b.Replay, Parts: b.Parts,
		Begun: b.Begun, Done: b.Done, Counts: b.Counts,
	}
	s.Percent = percent(b.At.Sub(b.From), b.To.Sub(b.From))
	switch {
	case b.Cancelled:
		s.State = BackfillCancelled
	case !b.Done.IsZero():
		s.State = BackfillDone
	case b.Paused:
		s.State = BackfillPaused
	}
	return s
}

func percent(part, whole time.Duration) float64 {
	if whole <= 0 {
		return 100
	}
	return min(100, 100*part.Seconds()/whole.Seconds())
}

// almost is the most that an estimate says of what is not over.
const almost = 99.9

// backfilling tells more of the backfill that this process carries out.
func (s *StreamStatus) backfilling(p pipeline.Status) {
	if p.Checkpoint == nil || p.Checkpoint.Backfilling() == nil || p.State == pipeline.StateWaiting {
		return
	}
	now := p.Checkpoint.Backfilling()
	for n := range s.Backfills {
		b := &s.Backfills[n]
		if b.Number != now.Number {
			continue
		}
		b.State, b.Records, b.Expected, b.Cause = BackfillReading, p.Filled, p.Backfill.Expected, p.Backfill.Cause
		window := percent(now.Window.To.Sub(now.Window.From), b.To.Sub(b.From))
		switch known := p.Backfill; {
		case known.Walked.Of > 0: // in the window that is being read
			b.Percent = min(almost, b.Percent+window*float64(known.Walked.Keys)/float64(known.Walked.Of))
		case known.Expected > 0:
			b.Percent = max(b.Percent, min(almost, 100*float64(b.Counts.Records)/float64(known.Expected)))
		}
		left := float64(b.Expected - b.Counts.Records)
		switch {
		case p.Backfill.Walked.Left > 0:
			b.SecondsLeft = p.Backfill.Walked.Left.Seconds()
		case p.Passed > 0:
			b.SecondsLeft = b.To.Sub(b.At).Seconds() / p.Passed
		case left > 0 && p.Filled > 0:
			b.SecondsLeft = left / p.Filled
		}
	}
}

// ListedBackfill is one backfill with its stream.
type ListedBackfill struct {
	Connector string `json:"connector,omitempty"`
	Stream    string `json:"stream"`
	BackfillStatus
}

// ListBackfills tells of the backfills of the streams that CONNECTOR[/STREAM]
// names; of all for "".
func ListBackfills(ctx context.Context, file *config.File, name string, log *slog.Logger) ([]ListedBackfill, error) {
	o, streams, err := openStreams(ctx, file, name, toOperate, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	all, err := look(ctx, o.broker)
	if err != nil {
		return nil, err
	}
	list := []ListedBackfill{}
	for _, s := range streams {
		for _, b := range all[s.Key.String()].Backfills {
			list = append(list, ListedBackfill{s.Connector, s.Key.String(), b})
		}
	}
	return list, nil
}

// What ChangeBackfills does.
const (
	PauseBackfill  = pipeline.BackfillPause
	CancelBackfill = pipeline.BackfillCancel
)

// ChangeBackfills pauses or cancels backfills of the one stream that is named.
// The number 0 stands for all that have not ended. It returns what commands call the
// stream.
func ChangeBackfills(ctx context.Context, file *config.File, name, do string, number uint64, log *slog.Logger) (stream string, p *pipeline.BackfillPlan, err error) {
	o, s, err := openStream(ctx, file, name, log)
	if err != nil {
		return "", nil, err
	}
	defer o.close()
	a, err := o.carryOut(ctx, s, request{Ask: askBackfill, Backfill: &pipeline.BackfillRequest{Do: do, Number: number}})
	if err != nil {
		return "", nil, err
	}
	return called(s), a.Backfill, nil
}

// openStream is openStreams for a command about one stream.
func openStream(ctx context.Context, file *config.File, name string, log *slog.Logger) (*operator, *connectors.Stream, error) {
	o, streams, err := openStreams(ctx, file, name, toOperate, log)
	if err != nil {
		return nil, nil, err
	}
	if len(streams) != 1 {
		o.close()
		return nil, nil, &UsageError{fmt.Errorf("%s has %d streams: name one, as CONNECTOR/STREAM", name, len(streams))}
	}
	return o, streams[0], nil
}

// BackfillOptions say what is read, and who follows it.
type BackfillOptions struct {
	From, To time.Time // a zero To is as far as live reads have come
	Replay   bool      // publish again what is published, marked
	Follow
}

// Follow says who follows backfills to their end.
type Follow struct {
	Detach bool // nobody: do not wait for their end
	Show   *Bar // shows how they go; required
}

// Backfill begins a backfill of each stream that CONNECTOR[/STREAM] names and
// follows them to their end: those that a service reads by asking it, others by
// reading them in this process. When ctx ends they stay as they are in the
// checkpoint.
func Backfill(ctx context.Context, file *config.File, name string, opts BackfillOptions, log *slog.Logger) error {
	o, streams, err := openStreams(ctx, file, name, toOperate, log)
	if err != nil {
		return err
	}
	defer o.close()
	f := &follower{operator: o, show: opts.Show}
	ask := &pipeline.BackfillRequest{Do: pipeline.BackfillBegin, From: opts.From, To: opts.To, Replay: opts.Replay}
	var errs []error
	for _, s := range streams {
		a, err := o.carryOut(ctx, s, request{Ask: askBackfill, Backfill: ask, detach: opts.Detach})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		opts.Show.begun(s, a)
		f.follow(s, a)
	}
	if !opts.Detach && len(f.all) > 0 { // what is refused is not told after hours only
		for _, err := range errs {
			opts.Show.note("%v\n", err)
		}
	}
	return errors.Join(append(errs, f.end(ctx, opts.Detach))...)
}

// ResumeBackfills has backfills of the one stream that is named go on, and follows
// them as [Backfill] does. The number 0 stands for all that have not ended.
func ResumeBackfills(ctx context.Context, file *config.File, name string, number uint64, opts Follow, log *slog.Logger) error {
	o, s, err := openStream(ctx, file, name, log)
	if err != nil {
		return err
	}
	defer o.close()
	f := &follower{operator: o, show: opts.Show}
	ask := &pipeline.BackfillRequest{Do: pipeline.BackfillResume, Number: number}
	a, err := o.carryOut(ctx, s, request{Ask: askBackfill, Backfill: ask, detach: opts.Detach})
	if err != nil {
		return err
	}
	if err := WriteChanged(opts.Show.out, called(s), a.Backfill, "resumed"); err != nil {
		return err
	}
	f.follow(s, a)
	return f.end(ctx, opts.Detach)
}
