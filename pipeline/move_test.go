package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// spread is an API with a record every few minutes from start to end.
func spread(n int) *api {
	a := &api{}
	for i := range n {
		a.more = append(a.more, moment{start.Add(time.Duration(i)*time.Hour/time.Duration(n) + time.Second), fmt.Sprintf(`{"id":"%d"}`, i)})
	}
	return a
}

// offline does something with a stream that nobody reads.
func offline(t *testing.T, s *connectors.Stream, o pipeline.Options, do func(*pipeline.Ingest) error) error {
	t.Helper()
	i := pipeline.New(s, o)
	release, err := i.Hold(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	return do(i)
}

func move(t *testing.T, s *connectors.Stream, o pipeline.Options, m pipeline.Move) (p *pipeline.Plan, err error) {
	t.Helper()
	err = offline(t, s, o, func(i *pipeline.Ingest) error {
		p, err = i.Move(t.Context(), m)
		return err
	})
	return p, err
}

func wantRefused(t *testing.T, err error, says string) {
	t.Helper()
	var refused *pipeline.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v is no refusal that says %q", err, says)
	}
}

// Invariant 12: what is read again within what is remembered repeats nothing,
// and a record that had been missed is published.
func TestRewindRepeatsNothing(t *testing.T) {
	a := spread(12)
	o := options(open(t, t.TempDir()))
	s := func() *connectors.Stream { return streamAt(t, a, false, o.Now, brief) }
	ingest(t, s(), o)
	a.more = append(a.more, moment{start.Add(20 * time.Minute), `{"id":"late"}`})
	p, err := move(t, s(), o, pipeline.Move{By: 50 * time.Minute})
	if err != nil || p.Read.To.Sub(p.Read.From) != 50*time.Minute {
		t.Fatalf("%+v, %v", p, err)
	}
	ingest(t, s(), o)
	all := read(t, o.Broker)
	unique(t, all, 13)
	for _, e := range all {
		if e.Replay {
			t.Errorf("%s is marked replay", e.RecordID)
		}
	}
}

func TestMovesAreRefused(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s := func() *connectors.Stream { return streamAt(t, spread(3), false, o.Now, brief) }
	_, err := move(t, s(), o, pipeline.Move{By: time.Hour})
	wantRefused(t, err, "not been read yet")
	ingest(t, s(), o)
	_, err = move(t, s(), o, pipeline.Move{To: end.Add(time.Hour), Set: true})
	wantRefused(t, err, "future")
	_, err = move(t, s(), o, pipeline.Move{To: end})
	wantRefused(t, err, "already")
	_, err = move(t, s(), o, pipeline.Move{To: time.Time{}, Set: true})
	wantRefused(t, err, "1970")
}

// A move forward leaves a hole; a later move back reads it.
func TestSetForwardLeavesAHole(t *testing.T) {
	a := spread(12)
	now := start.Add(10 * time.Minute)
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	s := func() *connectors.Stream { return streamAt(t, a, false, o.Now, brief) }
	ingest(t, s(), o)
	first := len(read(t, o.Broker))
	now = end
	if p, err := move(t, s(), o, pipeline.Move{To: end.Add(-10 * time.Minute), Set: true}); err != nil || p.Skipped.To.IsZero() {
		t.Fatalf("%+v, %v", p, err)
	}
	st := ingest(t, s(), o)
	if n := len(st.Checkpoint.Covered); n != 2 {
		t.Errorf("%d ranges are covered: %v", n, st.Checkpoint.Covered)
	}
	if n := len(read(t, o.Broker)); n <= first || n == 12 {
		t.Errorf("%d events; %d before the hole", n, first)
	}
	if _, err := move(t, s(), o, pipeline.Move{To: start.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	st = ingest(t, s(), o)
	unique(t, read(t, o.Broker), 12)
	if !st.Checkpoint.Since.Equal(start.Add(-time.Hour)) || len(st.Checkpoint.Covered) != 1 {
		t.Errorf("since %s, covered %v", st.Checkpoint.Since, st.Checkpoint.Covered)
	}
}

// longAgo makes a stream whose first ids are forgotten.
func longAgo(t *testing.T, a *api, o *pipeline.Options, versioned bool) (s func() *connectors.Stream, now *time.Time) {
	t.Helper()
	at := end
	o.Now = func() time.Time { return at }
	a.began = o.Now
	again := func(c *connectors.Options) { brief(c); c.Overlap = 30 * time.Minute } // so that a crash reads again
	s = func() *connectors.Stream { return streamAt(t, a, versioned, o.Now, again) }
	ingest(t, s(), *o)
	at = at.Add(30 * 24 * time.Hour)
	a.more = append(a.more, moment{at.Add(-time.Minute), `{"id":"new"}`})
	if st := ingest(t, s(), *o); st.Checkpoint.Forgotten.IsZero() {
		t.Fatal("nothing is forgotten: the test shows nothing")
	}
	return s, &at
}

// Invariant 12: a range whose ids are gone is not read again unseen.
func TestRewindBehindWhatIsRemembered(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s, _ := longAgo(t, spread(12), &o, false)
	_, err := move(t, s(), o, pipeline.Move{To: start})
	wantRefused(t, err, "--replay")
	ingest(t, s(), o)
	unique(t, read(t, o.Broker), 13)
}

// A replay publishes all of its range once more, under the same ids, killed
// wherever it may be.
func TestReplayIsExactlyOnce(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for crash := range map[bool]int{false: 12, true: 4}[versioned] {
			t.Run(fmt.Sprint(versioned, crash), func(t *testing.T) { replay(t, versioned, crash) })
		}
	}
}

// replay crashes before, or after, one of the commits.
func replay(t *testing.T, versioned bool, crash int) {
	h := &hooked{Broker: open(t, t.TempDir()), most: 4}
	o := options(h)
	a := spread(12)
	s, now := longAgo(t, a, &o, versioned)
	a.more = append(a.more, moment{now.Add(-30 * time.Minute), `{"id":"late"}`})
	n := 0
	h.commit = func(ctx context.Context, s topics.Stream, c *topics.Commit) error {
		if n++; n != crash/2+1 {
			return s.Commit(ctx, c)
		}
		if crash%2 == 1 {
			if err := s.Commit(ctx, c); err != nil {
				return err
			}
		}
		return errors.New("killed")
	}
	if _, err := move(t, s(), o, pipeline.Move{To: start, Replay: true}); err != nil {
		t.Fatal(err)
	}
	st := ingest(t, s(), o)
	if st.Checkpoint.Replay != nil {
		t.Errorf("the replay is not over: %+v", st.Checkpoint.Replay)
	}
	ingest(t, s(), o)
	times, again := map[events.ID]int{}, map[events.ID]int{}
	for _, e := range read(t, h) {
		times[e.ID]++
		if e.Replay {
			again[e.ID]++
		}
		if e.RecordID == "late" && (e.Replay || times[e.ID] > 1) {
			t.Error("the record that was not published before counts as replayed")
		} else if e.RecordID != "late" && (times[e.ID] == 2) != e.Replay {
			t.Errorf("record %s, time %d, marked: %v", e.RecordID, times[e.ID], e.Replay)
		}
	}
	if len(times) != 14 || len(again) != 13 {
		t.Errorf("%d events, %d of them replayed; want 14 and 13", len(times), len(again))
	}
	for id, n := range times {
		if n > 2 || again[id] > 1 {
			t.Errorf("event %s is there %d times", id, n)
		}
	}
	// A second replay is another one.
	if _, err := move(t, s(), o, pipeline.Move{To: start, Replay: true}); err != nil {
		t.Fatal(err)
	}
	h.commit = nil
	ingest(t, s(), o)
	twice := 0
	for _, e := range read(t, h) {
		if e.Replay {
			twice++
		}
	}
	if twice != 13+14 {
		t.Errorf("two replays published %d events, want 27", twice)
	}
}

// The owner of a stream moves its cursor between two batches, and goes on from
// there without a complaint.
func TestMoveWhileReading(t *testing.T) {
	h := &hooked{Broker: open(t, t.TempDir())}
	o := options(h)
	o.Once = false
	moved := make(chan error, 1)
	var i *pipeline.Ingest
	first := true
	h.commit = func(ctx context.Context, s topics.Stream, c *topics.Commit) error {
		err := s.Commit(ctx, c)
		if first && err == nil { // while the batch is still held
			first = false
			go func() {
				_, err := i.Move(context.Background(), pipeline.Move{To: start.Add(-time.Hour), Set: true, Replay: true})
				moved <- err
			}()
		}
		return err
	}
	i = pipeline.New(stream(t, spread(12), false), o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()
	if err := <-moved; err != nil {
		t.Error(err)
	}
	seen := map[string]int{}
	err := h.Tail(ctx, topics.TailOptions{Beginning: true}, func(m topics.Received) error {
		e, err := events.FromAttributes(m.Attributes)
		if seen[e.RecordID]++; len(seen) == 12 && err == nil {
			return errEnough
		}
		return err
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c := i.Status().Checkpoint; !c.Since.Equal(start.Add(-time.Hour)) {
		t.Errorf("the stream begins at %s", c.Since)
	}
}

var errEnough = errors.New("enough")

// Whoever does not hold the stream says so.
func TestMoveWithoutTheStream(t *testing.T) {
	i := pipeline.New(stream(t, &api{}, false), options(open(t, t.TempDir())))
	var notHeld *pipeline.NotHeldError
	if _, err := i.Move(t.Context(), pipeline.Move{By: time.Hour}); !errors.As(err, &notHeld) {
		t.Errorf("got %v", err)
	}
}
