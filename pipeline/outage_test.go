package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// failing is a broker in virtual time that fails in one of its calls for a while.
type failing struct {
	*inMemory
	call     string // "acquire", "checkpoint" or "write"
	from, to time.Time
	hangs    time.Duration // how long each failure takes
	err      error

	failures int
	again    time.Time // of the first write that was made behind it
}

type failingStream struct {
	topics.Stream
	f    *failing
	lost chan struct{}
}

func (f *failing) fails(call string) error {
	if call != f.call || time.Now().Before(f.from) || time.Now().After(f.to) {
		return nil
	}
	time.Sleep(f.hangs)
	f.failures++
	return fmt.Errorf("%s: %w", call, f.err)
}

// wrote notes when the first write is made behind the failures.
func (f *failing) wrote(err error) error {
	if err == nil && f.again.IsZero() && time.Now().After(f.to) {
		f.again = time.Now()
	}
	return err
}

func (f *failing) Acquire(ctx context.Context, key events.StreamKey, owner string, wait func(string)) (topics.Stream, error) {
	if err := f.fails("acquire"); err != nil {
		return nil, err
	}
	s, err := f.inMemory.Acquire(ctx, key, owner, wait)
	s = &failingStream{s, f, make(chan struct{})}
	if f.call != "write" && time.Now().Before(f.from) { // what was held is lost
		time.AfterFunc(time.Until(f.from), func() { close(s.(*failingStream).lost) })
	}
	return s, err
}

func (s *failingStream) Lost() <-chan struct{} { return s.lost }

func (s *failingStream) Checkpoint(ctx context.Context) ([]byte, error) {
	if err := s.f.fails("checkpoint"); err != nil {
		return nil, err
	}
	return s.Stream.Checkpoint(ctx)
}

func (s *failingStream) Commit(ctx context.Context, c *topics.Commit) error {
	if err := s.f.fails("write"); err != nil {
		return err
	}
	return s.f.wrote(s.Stream.Commit(ctx, c))
}

func (s *failingStream) Advance(ctx context.Context, id string, checkpoint []byte) error {
	if err := s.f.fails("write"); err != nil {
		return err
	}
	return s.f.wrote(s.Stream.Advance(ctx, id, checkpoint))
}

// carry runs a stream beside a broker that fails for half an hour, and returns what
// the metrics of commits and of what is held say then, and when it has stopped.
func carry(t *testing.T, f *failing) (running, stopped string) {
	t.Helper()
	began := time.Now()
	f.inMemory, f.from, f.to = newInMemory(), began.Add(5*time.Minute+time.Second), began.Add(35*time.Minute)
	registry := prometheus.NewPedanticRegistry()
	o := options(f)
	o.Once, o.Metrics = false, pipeline.NewMetrics(registry)
	o.Now = func() time.Time { return end.Add(time.Since(began)) }
	a := &api{began: o.Now}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	i := pipeline.New(streamAt(t, a, false, o.Now), o)
	go func() { done <- i.Run(ctx) }()
	time.Sleep(40 * time.Minute)
	running = measured(t, registry)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return running, measured(t, registry)
}

// measured are the metrics of commits that failed, where they are more than none,
// and of what is held.
func measured(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "millrace_streams_held":
				said = append(said, fmt.Sprintf("%s held: %v", m.GetLabel()[0].GetValue(), m.GetGauge().GetValue()))
			case "millrace_commit_failures_total":
				if n := m.GetCounter().GetValue(); n > 0 {
					said = append(said, fmt.Sprintf("%s: %v", m.GetLabel()[1].GetValue(), n)) // connector, reason, stream
				}
			}
		}
	}
	return strings.Join(said, ", ")
}

// However long a broker was away, its streams go on within seconds when it is back,
// and meanwhile it is not asked too often. Commits that fail are counted.
func TestABrokerThatIsBack(t *testing.T) {
	for _, call := range []string{"acquire", "checkpoint", "write"} {
		for _, hangs := range []time.Duration{0, 10 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				f := &failing{call: call, hangs: hangs, err: errors.New("the broker is away")}
				running, stopped := carry(t, f)
				if f.again.IsZero() || f.again.Sub(f.to) > 10*time.Second+hangs {
					t.Errorf("%s: it goes on after %v", call, f.again.Sub(f.to))
				}
				if least, most := 30*60/(10+int(hangs.Seconds())), 30*60/(5+int(hangs.Seconds()))+10; f.failures < least-1 || f.failures > most {
					t.Errorf("%s: it was asked %d times in half an hour", call, f.failures)
				}
				failed := ""
				if call == "write" {
					failed = fmt.Sprintf("unknown: %d, ", f.failures)
				}
				wantMeasured(t, running, failed+"support held: 1")
				wantMeasured(t, stopped, failed+"support held: 0")
			})
		}
	}
}

// A commit that finds no room, or another owner, is counted as that.
func TestCommitsThatFailAreCounted(t *testing.T) {
	for reason, err := range map[string]error{"full": topics.ErrFull, "fenced": topics.ErrFenced} {
		synctest.Test(t, func(t *testing.T) {
			f := &failing{call: "write", err: err}
			running, _ := carry(t, f)
			wantMeasured(t, running, fmt.Sprintf("%s: %d, support held: 1", reason, f.failures))
		})
	}
}

func wantMeasured(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("measured %s, want %s", got, want)
	}
}
