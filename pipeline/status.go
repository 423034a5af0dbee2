package pipeline

import (
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// What a stream is doing.
const (
	StateStarting    = "starting"
	StateWaiting     = "waiting" // another instance holds it
	StateReading     = "reading"
	StateFailing     = connectors.StateFailing
	StateUnavailable = connectors.StateUnavailable
	StateFull        = "full" // the broker has no room
	StateDone        = "done"
	StateStopped     = "stopped"
)

// Status is how a stream stands.
type Status struct {
	Stream     events.StreamKey
	Connector  string
	State      string             // one of the State constants
	Cause      string             // why, and what to do; empty when all is well
	Checkpoint *ledger.Checkpoint // as committed; nil when not known yet
	Requests   float64            // made a second, over about a minute
	Events     float64            // committed a second, over about a minute
	Rate       float64            // requests a second that its budget allows; 0: no limit
	Paused     time.Duration      // how long the API has asked us to wait
	// Backfill is what is known of the one that is carried out, beside what the
	// checkpoint holds. Filled is how many records it reads a second, Passed how
	// many seconds of its range it is through with in one, over about a minute.
	Backfill       connectors.BackfillProgress
	Filled, Passed float64
}

// Status returns how the stream stands.
func (i *Ingest) Status() Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := Status{Stream: i.stream.Key, Connector: i.stream.Connector, State: i.state, Cause: i.cause, Checkpoint: i.checkpoint}
	s.Rate, s.Paused = i.stream.Budget()
	now := time.Now()
	s.Requests, s.Events = i.requests.rate(now), i.events.rate(now)
	s.Filled, s.Passed = i.filled.rate(now), i.passed.rate(now)
	if i.subscriber != nil {
		s.Backfill = i.subscriber.Backfill()
	}
	if i.subscriber != nil && i.state == StateReading {
		if h := i.subscriber.Health(); h.State != connectors.StateOK {
			s.State, s.Cause = h.State, h.Cause
		}
	}
	return s
}

// lag is how far what is committed is behind the present.
func (i *Ingest) lag() float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.checkpoint == nil || i.checkpoint.Live.At.IsZero() {
		return 0
	}
	return i.opts.Now().Sub(i.checkpoint.Live.At).Seconds()
}

// Metrics are what the pipeline counts, by connector and stream.
type Metrics struct {
	reg         prometheus.Registerer
	batches     *prometheus.CounterVec
	events      *prometheus.CounterVec
	duplicates  *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	late        *prometheus.CounterVec
	lateness    *prometheus.HistogramVec
	commitTime  *prometheus.HistogramVec
	failures    *prometheus.CounterVec
	held        *prometheus.GaugeVec
}

// Reasons of commits that failed.
const (
	failedFull    = "full"    // the broker has no room
	failedFenced  = "fenced"  // another instance has taken the stream
	failedUnknown = "unknown" // all else: whether it is committed is seen when the stream is taken again
)

// NewMetrics registers the metrics; with nil they are kept and not shown.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	labels := []string{"connector", "stream"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "millrace_" + name, Help: help}, slices.Concat(labels, more))
	}
	return &Metrics{
		reg:         reg,
		batches:     counter("batches_total", "Batches committed, or found to hold nothing new."),
		events:      counter("events_total", "Events committed."),
		duplicates:  counter("duplicates_total", "Records that were out already."),
		deadLetters: counter("dead_letters_total", "Records that became dead letters."),
		dropped:     counter("dropped_total", "Records of which transforms left no event."),
		late:        counter("late_total", "Events that only a sweep found: their records turned up later than the overlap reads back."),
		lateness: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_lateness_seconds", Help: "How long after it occurred a new record was first seen, in reads of the present and in sweeps.",
			Buckets: latenessBuckets(),
		}, labels),
		commitTime: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_commit_seconds", Help: "How long a commit took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels),
		failures: counter("commit_failures_total", "Commits that failed, by reason: full (the broker has no room), fenced (another instance has taken the stream) or unknown (no answer, or a refusal). They are made again from the checkpoint, but for the fenced.", "reason"),
		held: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_streams_held", Help: "Streams of the connector that this instance holds, to read them; others wait for the broker or for another instance.",
		}, labels[:1]),
	}
}

// latenessBuckets are the classes that status shows, in seconds.
func latenessBuckets() []float64 {
	var buckets []float64
	for _, bound := range ledger.LatenessClasses {
		buckets = append(buckets, bound.Seconds())
	}
	return buckets
}

type streamMetrics struct {
	batches, events, duplicates, deadLetters, dropped, late prometheus.Counter

	lateness, commitTime prometheus.Observer
	failures             map[string]prometheus.Counter // by reason
	held                 prometheus.Gauge              // of the whole connector
}

func (m *Metrics) of(i *Ingest) *streamMetrics {
	connector, stream := i.stream.Connector, i.stream.Key.Stream
	if m.reg != nil {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "millrace_lag_seconds", Help: "How far what is committed is behind the present, in the records' own time.",
			ConstLabels: prometheus.Labels{"connector": connector, "stream": stream},
		}, i.lag))
	}
	failures := map[string]prometheus.Counter{} // from 0 on: the first is seen to be one more
	for _, reason := range []string{failedFull, failedFenced, failedUnknown} {
		failures[reason] = m.failures.WithLabelValues(connector, stream, reason)
	}
	return &streamMetrics{
		failures: failures, held: m.held.WithLabelValues(connector),
		batches:     m.batches.WithLabelValues(connector, stream),
		events:      m.events.WithLabelValues(connector, stream),
		duplicates:  m.duplicates.WithLabelValues(connector, stream),
		deadLetters: m.deadLetters.WithLabelValues(connector, stream),
		dropped:     m.dropped.WithLabelValues(connector, stream),
		late:        m.late.WithLabelValues(connector, stream),
		lateness:    m.lateness.WithLabelValues(connector, stream),
		commitTime:  m.commitTime.WithLabelValues(connector, stream),
	}
}

// failed counts a commit that was not made, or may not have been. One that is to be
// cut smaller is none.
func (m *streamMetrics) failed(err error) {
	var tooLarge *topics.TooLargeError
	switch {
	case err == nil, errors.As(err, &tooLarge):
	case errors.Is(err, topics.ErrFull):
		m.failures[failedFull].Inc()
	case errors.Is(err, topics.ErrFenced):
		m.failures[failedFenced].Inc()
	default:
		m.failures[failedUnknown].Inc()
	}
}

func (m *streamMetrics) count(c ledger.Counts, lateness []time.Duration) {
	m.late.Add(float64(c.Late))
	for _, late := range lateness {
		m.lateness.Observe(late.Seconds())
	}
	m.events.Add(float64(c.Events))
	m.duplicates.Add(float64(c.Duplicates))
	m.deadLetters.Add(float64(c.DeadLetters))
	m.dropped.Add(float64(c.Dropped))
}
