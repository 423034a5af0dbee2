package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// unique wants so many events, all different.
func unique(t *testing.T, all []seen, want int) {
	t.Helper()
	ids := map[events.ID]bool{}
	for _, e := range all {
		ids[e.ID] = true
	}
	if len(all) != want || len(ids) != want {
		t.Errorf("%d events with %d ids, want %d", len(all), len(ids), want)
	}
}

// brief shortens all that a stream reads again.
func brief(o *connectors.Options) {
	o.Overlap, o.Quiet, o.SweepBack = time.Minute, time.Minute, time.Minute
}

// hooked is a broker whose streams are tampered with.
type hooked struct {
	topics.Broker
	most     int // messages that a commit may have; 0: as many as the broker takes
	acquired int
	commit   func(context.Context, topics.Stream, *topics.Commit) error
	advance  func(context.Context, topics.Stream, string, []byte) error
	lost     chan struct{}
	forgot   []string
}

type hookedStream struct {
	topics.Stream
	h *hooked
}

func (h *hooked) Limits() topics.Limits {
	l := h.Broker.Limits()
	if h.most > 0 {
		l.Messages = h.most
	}
	return l
}

func (h *hooked) Acquire(ctx context.Context, key events.StreamKey, owner string, wait func(string)) (topics.Stream, error) {
	h.acquired++
	s, err := h.Broker.Acquire(ctx, key, owner, wait)
	return &hookedStream{s, h}, err
}

func (s *hookedStream) Commit(ctx context.Context, c *topics.Commit) error {
	if s.h.commit != nil {
		return s.h.commit(ctx, s.Stream, c)
	}
	return s.Stream.Commit(ctx, c)
}

func (s *hookedStream) Advance(ctx context.Context, id string, checkpoint []byte) error {
	if s.h.advance != nil {
		return s.h.advance(ctx, s.Stream, id, checkpoint)
	}
	return s.Stream.Advance(ctx, id, checkpoint)
}

func (s *hookedStream) Forget(ctx context.Context, names []string) error {
	s.h.forgot = append(s.h.forgot, names...)
	return s.Stream.Forget(ctx, names)
}

func (s *hookedStream) Lost() <-chan struct{} {
	if s.h.lost != nil && s.h.acquired == 1 {
		return s.h.lost
	}
	return s.Stream.Lost()
}

// A commit of an earlier tenure that takes effect while the next one begins is
// not taken for the next one's own.
func TestLateSuccessOfAnEarlierTenure(t *testing.T) {
	h := &hooked{Broker: open(t, t.TempDir())}
	var late func() error
	h.commit = func(_ context.Context, s topics.Stream, c *topics.Commit) error {
		h.commit = nil
		kept := *c
		kept.Checkpoint = bytes.Clone(c.Checkpoint)
		kept.Entries = []topics.Entry{{Name: c.Entries[0].Name, Data: bytes.Clone(c.Entries[0].Data)}}
		kept.Messages = slices.Clone(c.Messages)
		for i := range kept.Messages {
			m := &kept.Messages[i]
			m.Attributes, m.Data = slices.Clone(m.Attributes), bytes.Clone(m.Data)
		}
		late = func() error { return s.Commit(context.Background(), &kept) }
		return errors.New("no answer, and the checkpoint is as before")
	}
	h.advance = func(ctx context.Context, s topics.Stream, id string, checkpoint []byte) error {
		if late != nil {
			if err := late(); err != nil {
				t.Errorf("the late commit: %v", err)
			}
			late = nil
		}
		return s.Advance(ctx, id, checkpoint)
	}
	ingest(t, stream(t, &api{elements: many(5)}, false), options(h))
	unique(t, read(t, h), 5)
}

// Whoever raises overlap (or sweep.back) reads no further back than is remembered.
func TestARaisedOverlapRepeatsNothing(t *testing.T) {
	a := &api{}
	for i := range 10 {
		a.more = append(a.more, moment{start.Add(time.Duration(i) * 6 * time.Minute), fmt.Sprintf(`{"id":"%d"}`, i)})
	}
	now := end
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	ingest(t, streamAt(t, a, false, o.Now, brief), o)
	for i := range 3 {
		now = now.Add(2 * time.Hour)
		a.more = append(a.more, moment{now.Add(-time.Minute), fmt.Sprintf(`{"id":"later %d"}`, i)})
		ingest(t, streamAt(t, a, false, o.Now, brief), o)
	}
	unique(t, read(t, o.Broker), 13)
	now = now.Add(time.Minute)
	ingest(t, streamAt(t, a, false, o.Now, func(c *connectors.Options) { c.Overlap = 24 * time.Hour }), o)
	unique(t, read(t, o.Broker), 13)
}

// A clock that was ahead and is put right does not hide new versions.
func TestClockPutBack(t *testing.T) {
	a := &api{more: []moment{{start, `{"id":"c","x":"A"}`}}}
	now := end.Add(48 * time.Hour)
	a.began = func() time.Time { return now }
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	far := func(c *connectors.Options) { c.Overlap, c.Quiet = 96*time.Hour, 96*time.Hour }
	ingest(t, streamAt(t, a, true, o.Now, far), o)
	now = end.Add(time.Minute)
	a.more[0].text = `{"id":"c","x":"B"}`
	ingest(t, streamAt(t, a, true, o.Now, far), o)
	unique(t, read(t, o.Broker), 2)
}

// A batch of nothing but duplicates forgets nothing.
func TestDuplicatesForgetNothing(t *testing.T) {
	a := &api{more: []moment{{start, `{"id":"1"}`}, {end.Add(-time.Minute), `{"id":"2"}`}}}
	now := end
	h := &hooked{Broker: open(t, t.TempDir())}
	o := options(h)
	o.Horizon = 365 * 24 * time.Hour
	o.Now = func() time.Time { return now }
	for range 2 {
		status := ingest(t, streamAt(t, a, false, o.Now, brief), o)
		if !status.Checkpoint.Forgotten.IsZero() || len(h.forgot) > 0 {
			t.Errorf("forgotten before %s: %q", status.Checkpoint.Forgotten, h.forgot)
		}
		now = now.Add(time.Minute)
	}
}

// Ids are kept for longer than anything reads again, whatever dedup_horizon says.
func TestTheHorizonIsLongerThanTheOverlap(t *testing.T) {
	a := &api{}
	now := start.Add(10 * time.Minute)
	o := options(open(t, t.TempDir()))
	o.Horizon = time.Second
	o.Now = func() time.Time { return now }
	for n := range 40 {
		a.more = append(a.more, moment{now.Add(-500 * time.Millisecond).Truncate(time.Second), fmt.Sprintf(`{"id":"%d"}`, n)}, moment{now, fmt.Sprintf(`{"id":"x%d"}`, n)})
		ingest(t, streamAt(t, a, false, o.Now, func(c *connectors.Options) { c.Overlap, c.Quiet, c.SweepBack = 2*time.Second, 0, 0 }), o)
		now = now.Add(time.Second)
	}
	unique(t, read(t, o.Broker), 80)
}

// log is a log that a test reads while it is written.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A panic on the way is told, and the batch read again.
func TestPanicIsToldAndTheBatchReadAgain(t *testing.T) {
	o := options(open(t, t.TempDir()))
	var text log
	o.Log = slog.New(slog.NewTextHandler(&text, nil))
	panics := 1
	o.Transforms = func(_ context.Context, e events.Event) ([]events.Event, error) {
		if panics > 0 {
			panics--
			panic("boom")
		}
		return []events.Event{e}, nil
	}
	ingest(t, stream(t, &api{elements: many(3)}, false), o)
	unique(t, read(t, o.Broker), 3)
	if !strings.Contains(text.String(), "boom") {
		t.Errorf("the log does not tell of the panic:\n%s", text.String())
	}
}

func TestOnceThatIsStoppedIsNotDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i := pipeline.New(stream(t, &api{elements: many(3)}, false), options(open(t, t.TempDir())))
	if err := i.Run(ctx); err == nil {
		t.Errorf("a run that was stopped before it read anything says that it is %s", i.Status().State)
	}
}

func TestOnceDoesNotWaitForEverForAnotherInstance(t *testing.T) {
	o := options(open(t, t.TempDir()))
	o.GiveUp = 20 * time.Millisecond
	s := stream(t, &api{elements: many(3)}, false)
	held, err := o.Broker.Acquire(t.Context(), s.Key, "another", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	if err := pipeline.New(s, o).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another instance") {
		t.Errorf("beside another instance: %v", err)
	}
}

// Invariant 4: who has lost the lease stops reading.
func TestLostLeaseEndsTheTenure(t *testing.T) {
	h := &hooked{Broker: open(t, t.TempDir()), lost: make(chan struct{})}
	h.commit = func(ctx context.Context, _ topics.Stream, _ *topics.Commit) error {
		h.commit = nil
		close(h.lost)
		<-ctx.Done() // the handler is given up when its tenure is
		return ctx.Err()
	}
	ingest(t, stream(t, &api{elements: many(3)}, false), options(h))
	if h.acquired != 2 {
		t.Errorf("the stream was taken %d times", h.acquired)
	}
	unique(t, read(t, h), 3)
}

// A stop lets the batch in flight finish: its commit is not cut off.
func TestStopFinishesTheBatch(t *testing.T) {
	h := &hooked{Broker: open(t, t.TempDir())}
	o := options(h)
	o.Once = false
	ctx, cancel := context.WithCancel(t.Context())
	h.commit = func(commitCtx context.Context, s topics.Stream, c *topics.Commit) error {
		cancel()
		if err := commitCtx.Err(); err != nil {
			t.Errorf("the commit was cut off: %v", err)
		}
		return s.Commit(commitCtx, c)
	}
	if err := pipeline.New(stream(t, &api{elements: many(3)}, false), o).Run(ctx); err != nil {
		t.Error(err)
	}
	unique(t, read(t, h), 3)
	held, err := h.Broker.Acquire(t.Context(), events.StreamKey{Vendor: "test", Account: "bot", Stream: "things"}, "reader", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	data, err := held.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := ledger.DecodeCheckpoint(data); err != nil || c.Counts.Events != 3 {
		t.Errorf("the checkpoint counts %+v (%v)", c.Counts, err)
	}
}
