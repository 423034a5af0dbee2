package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// StreamStatus is how one stream stands, as status shows it.
type StreamStatus struct {
	Connector  string        `json:"connector,omitempty"`
	Stream     string        `json:"stream"`
	State      string        `json:"state"`
	Cause      string        `json:"cause,omitempty"`
	Cursor     time.Time     `json:"cursor,omitzero"` // everything before it is committed
	Window     string        `json:"window,omitempty"`
	LagSeconds float64       `json:"lag_seconds"`
	Events     float64       `json:"events_per_second"`
	Requests   float64       `json:"requests_per_second"`
	Rate       float64       `json:"requests_per_second_allowed,omitempty"` // 0: no limit
	BudgetLeft float64       `json:"requests_per_second_left,omitempty"`
	PausedFor  float64       `json:"paused_seconds,omitempty"`
	Counts     ledger.Counts `json:"counts"`
	NextSweep  time.Time     `json:"next_sweep,omitzero"`
	// Lateness is how late records were first seen; nil when none has told. Late is
	// what the latest sweep found that found any.
	Lateness *Lateness   `json:"lateness,omitempty"`
	Late     ledger.Late `json:"late,omitzero"`
	// LateByNature: the stream's records turn up late whatever one does.
	LateByNature bool `json:"late_by_nature,omitempty"`
	// Open are the dead letters that were not dealt with, or, with OpenMore, some
	// of them. The first of those is gone at OpenUntil.
	Open      int       `json:"dead_letters_open"`
	OpenMore  bool      `json:"dead_letters_open_more,omitempty"`
	OpenUntil time.Time `json:"dead_letters_open_until,omitzero"`
	// Backfills are those that have not ended, and the latest that have.
	Backfills []BackfillStatus `json:"backfills,omitempty"`
	Instance  string           `json:"instance,omitempty"` // the process that answered; none when no service runs
	Owner     string           `json:"owner,omitempty"`
}

func running(s pipeline.Status, now time.Time) StreamStatus {
	out := StreamStatus{
		Connector: s.Connector, Stream: s.Stream.String(), State: s.State, Cause: s.Cause,
		Events: s.Events, Requests: s.Requests, Rate: s.Rate, PausedFor: s.Paused.Seconds(),
	}
	if s.Rate > 0 && s.Paused == 0 {
		out.BudgetLeft = max(0, s.Rate-s.Requests)
	}
	out.fill(s.Checkpoint, now)
	out.backfilling(s)
	return out
}

func (s *StreamStatus) fill(c *ledger.Checkpoint, now time.Time) {
	if c == nil {
		return
	}
	s.Cursor, s.Counts, s.Owner, s.NextSweep = c.Live.At, c.Counts, c.Owner, c.Sweep.Due
	if !c.Live.At.IsZero() {
		s.LagSeconds = max(0, now.Sub(c.Live.At).Seconds()) // since may lie in the future
	}
	s.Backfills = nil
	for n := range c.Backfills {
		s.Backfills = append(s.Backfills, backfillOf(&c.Backfills[n]))
	}
	s.Late, s.Lateness = c.Late, latenessOf(&c.Counts.Lateness)
	s.Counts.Lateness = ledger.Histogram{} // told with its bounds
	s.Window = ""
	if w := c.Live.Window; !w.To.IsZero() {
		s.Window = w.From.Format(time.RFC3339) + "/" + w.To.Format(time.RFC3339)
	}
}

// configuredStreams are the streams of a configuration by their keys; none where
// they cannot be made.
func configuredStreams(file *config.File) map[string]*connectors.Stream {
	transport := connectors.NewTransport()
	defer transport.CloseIdleConnections()
	made, err := build(file, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport, Now: time.Now})
	if err != nil {
		return nil
	}
	all := map[string]*connectors.Stream{}
	for _, c := range made {
		for _, s := range c.Streams {
			all[s.Key.String()] = s
		}
	}
	return all
}

// Status asks the service how its streams stand. Where none runs, it tells what
// the broker holds.
func Status(ctx context.Context, file *config.File, log *slog.Logger) ([]StreamStatus, error) {
	broker, err := openBroker(ctx, file, log, toOperate)
	if err != nil {
		return nil, err
	}
	defer broker.Close()
	best, err := look(ctx, broker)
	if err != nil {
		return nil, err
	}
	if err := openLetters(ctx, broker, best, file.Topics.Retention); err != nil {
		return nil, err
	}
	configured := configuredStreams(file)
	var all []StreamStatus
	for _, s := range best {
		if c := configured[s.Stream]; c != nil {
			s.LateByNature = c.LateByNature
			s.Connector = cmp.Or(s.Connector, c.Connector)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b StreamStatus) int { return strings.Compare(a.Stream, b.Stream) })
	return all, nil
}

// look asks the services how the streams stand, by their keys, and reads the
// checkpoints of those that no service tells of.
func look(ctx context.Context, broker topics.Broker) (map[string]StreamStatus, error) {
	question, _ := json.Marshal(request{Ask: askStatus})
	replies, err := broker.Ask(ctx, question)
	if err != nil {
		return nil, err
	}
	best := map[string]StreamStatus{}
	for _, reply := range replies {
		var a answer
		if err := json.Unmarshal(reply, &a); err != nil {
			return nil, fmt.Errorf("a service answered what this version cannot read: %w", err)
		}
		for _, s := range a.Streams {
			s.Instance = a.Owner
			// Of several instances the one that holds the stream knows.
			if old, ok := best[s.Stream]; !ok || old.State == pipeline.StateWaiting {
				best[s.Stream] = s
			}
		}
	}
	stored, err := broker.Checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	addStored(best, stored, time.Now())
	return best, nil
}

// addStored tells of the streams that no service knows what the broker holds. One
// that waits for a stream knows how it stood when it held it itself.
func addStored(best map[string]StreamStatus, stored []topics.Stored, now time.Time) {
	for _, c := range stored {
		s, ok := best[c.Key.String()]
		if ok && !s.Cursor.IsZero() && s.State != pipeline.StateWaiting {
			continue
		}
		if !ok {
			s = StreamStatus{Stream: c.Key.String(), State: pipeline.StateStopped}
		}
		if checkpoint, err := ledger.DecodeCheckpoint(c.Checkpoint); err != nil {
			s.State, s.Cause = pipeline.StateFailing, err.Error()
		} else {
			s.fill(checkpoint, now)
		}
		best[s.Stream] = s
	}
}

// How much of the dead letters status reads at most.
const (
	openLettersRead = 5000
	openLettersWait = 3 * time.Second
)

// openLetters counts the dead letters that were not dealt with. Where there are
// many it counts the oldest, which are the first to go, or on Kafka those of some
// partitions.
func openLetters(ctx context.Context, broker topics.Broker, streams map[string]StreamStatus, retention time.Duration) error {
	some := false
	for _, s := range streams {
		some = some || s.Counts.DeadLetters > s.Counts.Resolved
	}
	if !some {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, openLettersWait)
	defer cancel()
	r := letterReader{broker: broker, limit: openLettersRead, since: pipeline.LettersSince(retention, time.Now())}
	more, err := r.read(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		more, err = true, nil
	}
	if err != nil {
		return err
	}
	for key, s := range streams {
		s.OpenMore = more && s.Counts.DeadLetters > s.Counts.Resolved
		streams[key] = s
	}
	for _, l := range r.all {
		s, ok := streams[l.Stream]
		if !ok {
			continue
		}
		// Partitions of a topic come in any order.
		if until := l.stored.Add(retention); retention > 0 && (s.Open == 0 || until.Before(s.OpenUntil)) {
			s.OpenUntil = until
		}
		s.Open++
		streams[l.Stream] = s
	}
	return nil
}
