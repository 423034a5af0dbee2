package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/pipeline"
)

// listener is a log that tells who waits for a line.
type listener struct {
	mu    sync.Mutex
	lines []string
	heard chan struct{} // closed at the next line
}

func (l *listener) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	if l.heard != nil {
		close(l.heard)
		l.heard = nil
	}
	return len(line), nil
}

// await returns the first line that holds a text.
func (l *listener) await(t *testing.T, text string) string {
	t.Helper()
	for limit := time.After(20 * time.Second); ; {
		l.mu.Lock()
		for _, line := range l.lines {
			if strings.Contains(line, text) {
				l.mu.Unlock()
				return line
			}
		}
		if l.heard == nil {
			l.heard = make(chan struct{})
		}
		heard := l.heard
		l.mu.Unlock()
		select {
		case <-heard:
		case <-limit:
			t.Fatalf("nobody says %q in 20 seconds", text)
		}
	}
}

// ticking is a clock that begins at the end.
func ticking() func() time.Time {
	began := time.Now()
	return func() time.Time { return end.Add(time.Since(began)) }
}

// What only a sweep finds is published, counted as late, and told with the
// overlap that would have found it; how late records are is counted in classes.
func TestLateRecords(t *testing.T) {
	for _, nature := range []bool{false, true} {
		b := open(t, t.TempDir())
		a := &api{at: end.Add(-45 * time.Second), began: func() time.Time { return end }}
		a.elements = []string{`{"id":"of the past, which says nothing"}`}
		s := streamAt(t, a, false, func() time.Time { return end }, brief, func(o *connectors.Options) {
			o.Poll, o.SweepEvery, o.SweepBack = 10*time.Millisecond, 10*time.Millisecond, time.Hour
		})
		s.LateByNature = nature
		var log listener
		o := options(b)
		o.Once, o.Log, o.Now = false, slog.New(slog.NewTextHandler(&log, nil)), ticking()
		i := pipeline.New(s, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- i.Run(ctx) }()
		a.await(t, func() bool { return i.Status().Checkpoint != nil && i.Status().Checkpoint.Counts.Events == 1 })
		a.mu.Lock()
		at := end.Add(-40 * time.Second)
		a.more = append(a.more, moment{at, fmt.Sprintf(`{"id":"in time","time":%d}`, at.UnixMilli())})
		for n := range 3 {
			at := end.Add(-time.Duration(10*n+5)*time.Minute - 200*time.Millisecond)
			a.more = append(a.more, moment{at, fmt.Sprintf(`{"id":"late %d","time":%d}`, n, at.UnixMilli())})
		}
		a.mu.Unlock()
		level := "level=WARN"
		if nature {
			level = "level=INFO"
		}
		// Found in one sweep, or in two where they came while one was under way.
		line := log.await(t, "a sweep found records")
		if !strings.Contains(line, level) || !strings.Contains(line, "overlap=1m0s") {
			t.Error(line)
		}
		a.await(t, func() bool { return i.Status().Checkpoint.Counts.Late == 3 })
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c := i.Status().Checkpoint
		// The stream stands at end - settle (30 s).
		if got, want := c.Counts.Overlap.Duration(), 24*time.Minute+31*time.Second; got != want || c.Late.Overlap.Duration() > want || c.Late.At.IsZero() {
			t.Errorf("an overlap of %s would have caught them, and %+v; want %s", got, c.Late, want)
		}
		total := int64(0)
		for _, n := range c.Counts.Lateness {
			total += n
		}
		if bound, beyond, ok := c.Counts.Lateness.Quantile(1); total != 4 || bound != 30*time.Minute || beyond || !ok {
			t.Errorf("%v: lateness up to %s", c.Counts.Lateness, bound)
		}
		unique(t, read(t, b), 5)
	}
}

// A sweep tells once what it found, however many batches its first answer makes.
func TestLateRecordsOfOneAnswer(t *testing.T) {
	const many = 2500
	b := open(t, t.TempDir())
	a := &api{elements: []string{`{"id":"of the past"}`}, at: end.Add(-45 * time.Second), began: func() time.Time { return end }}
	s := streamAt(t, a, false, func() time.Time { return end }, brief, func(o *connectors.Options) {
		o.Poll, o.SweepEvery, o.SweepBack = 10*time.Millisecond, 10*time.Millisecond, time.Hour
	})
	var log listener
	o := options(b)
	o.Once, o.Log, o.Now = false, slog.New(slog.NewTextHandler(&log, nil)), ticking()
	i := pipeline.New(s, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()
	a.await(t, func() bool { c := i.Status().Checkpoint; return c != nil && c.Counts.Events == 1 })
	a.mu.Lock()
	for n := range many {
		a.more = append(a.more, moment{start.Add(5 * time.Second), fmt.Sprintf(`{"id":"%d"}`, n)})
	}
	a.mu.Unlock()
	line := log.await(t, "a sweep found records")
	if !strings.Contains(line, fmt.Sprintf("records=%d ", many)) {
		t.Error(line)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
