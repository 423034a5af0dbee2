package nats

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest"
)

func TestMain(m *testing.M) {
	if code, ok := asChild(); ok {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m, topictest.IgnoreWatermill())
}

// log collects what the broker logs, and shows it with a failed test.
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

func newLog(t *testing.T) (*log, *slog.Logger) {
	l := &log{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the broker logged:\n%s", l)
		}
	})
	return l, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func open(t *testing.T, opts Options) *Broker {
	t.Helper()
	if opts.Logger == nil {
		_, opts.Logger = newLog(t)
	}
	if opts.Dir == "" && opts.URL == "" {
		opts.Dir = t.TempDir()
	}
	b, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

var testKey = events.StreamKey{Vendor: "feedyou", Account: "acme", Stream: "outgoingSms"}

func acquire(t *testing.T, b *Broker, key events.StreamKey) *stream {
	t.Helper()
	s, err := b.Acquire(t.Context(), key, "tester", nil)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	if _, err := s.Checkpoint(t.Context()); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return s.(*stream)
}

// batch is a commit of n events, numbered from first.
func batch(id string, first, n int) *topics.Commit {
	c := &topics.Commit{ID: id, Checkpoint: []byte(`{"commit":"` + id + `"}`), Entries: []topics.Entry{{Name: id, Data: []byte(id)}}}
	for i := first; i < first+n; i++ {
		c.Messages = append(c.Messages, topics.Message{
			Topic: "sms", Connector: "support", Key: "k",
			Attributes: []events.Attribute{{Name: "id", Value: fmt.Sprint(i)}, {Name: "partitionkey", Value: "k"}},
			Data:       fmt.Appendf(nil, `{"n":%d}`, i),
		})
	}
	return c
}

func commit(t *testing.T, s *stream, c *topics.Commit) {
	t.Helper()
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatalf("commit %s: %v", c.ID, err)
	}
}

// published reads the data of every event that is kept.
func published(t *testing.T, b *Broker) []string {
	t.Helper()
	var got []string
	err := b.Tail(t.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
		if r.Partition != -1 {
			t.Errorf("message %d is said to be in partition %d", r.Sequence, r.Partition)
		}
		got = append(got, string(r.Data))
		return nil
	})
	if err != nil {
		t.Fatalf("tail: %v", err)
	}
	return got
}

// numbered is what published returns of the events first to first+n-1.
func numbered(first, n int) []string {
	var want []string
	for i := first; i < first+n; i++ {
		want = append(want, fmt.Sprintf(`{"n":%d}`, i))
	}
	return want
}

// eventually waits for a state that no event tells of.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(15 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 15 s", what)
		}
	}
}
