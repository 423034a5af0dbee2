package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	end   = start.Add(time.Hour)
)

// api is an API whose records are all of one moment: the start, or at.
type api struct {
	mu       sync.Mutex
	elements []string
	at       time.Time
	always   bool // they are in every answer, whatever window was asked for
	open     bool // an answer goes on behind the end of its window
	more     []moment
	began    func() time.Time // when requests are sent; nil: now
	asked    chan struct{}    // closed with the next request, for await
}

// moment is a record of a moment of its own.
type moment struct {
	at   time.Time
	text string
}

func (a *api) Page(_ context.Context, r connectors.Request) (*connectors.Page, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked != nil {
		close(a.asked)
		a.asked = nil
	}
	at := start
	if !a.at.IsZero() {
		at = a.at
	}
	var found []string
	times := map[string]time.Time{}
	if a.always || !r.From.After(at) && r.To.After(at) {
		found = append(found, a.elements...)
	}
	for _, m := range a.more {
		if !r.From.After(m.at) && (a.open || !r.To.Before(m.at)) {
			found = append(found, m.text)
			times[m.text] = m.at
		}
	}
	began := time.Now()
	if a.began != nil {
		began = a.began()
	}
	answer := &connectors.Answer{Reader: strings.NewReader("[" + strings.Join(found, ",") + "]"), Began: began}
	return connectors.NewPage(answer, r.Key, 32<<20, nil, func(raw []byte, f *connectors.Fields) events.Record {
		r := events.Record{Type: events.TypeMessage, Time: at}
		if own, ok := times[string(raw)]; ok {
			r.Time = own
		}
		r.Dead = f.Object(raw, func(name, value []byte) {
			switch string(name) {
			case "id":
				r.ID = connectors.Text(value)
			case "time":
				r.Time = connectors.Time(value)
			case "timeless":
				r.Time = time.Time{}
			}
		})
		f.TextOf("message_id", r.ID)
		return r
	}, nil), nil
}

// await waits until something holds, which it looks for at each request.
func (a *api) await(t *testing.T, what func() bool) {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		a.mu.Lock()
		if a.asked == nil {
			a.asked = make(chan struct{})
		}
		asked := a.asked
		a.mu.Unlock()
		if what() {
			return
		}
		select {
		case <-asked:
		case <-limit:
			t.Fatal("it does not come true in a minute")
		}
	}
}

func stream(t *testing.T, a *api, versioned bool) *connectors.Stream {
	t.Helper()
	return streamAt(t, a, versioned, func() time.Time { return end })
}

func streamAt(t *testing.T, a *api, versioned bool, now func() time.Time, change ...func(*connectors.Options)) *connectors.Stream {
	t.Helper()
	o := connectors.Defaults()
	o.BaseURL, o.Since = "http://api.invalid", start
	for _, f := range change {
		f(&o)
	}
	env := connectors.Env{Budgets: connectors.NewBudgets(), Transport: http.DefaultTransport, Now: now}
	client, err := connectors.NewClient(o, connectors.Credential{Secret: "x", Authorize: func(*http.Request, string) {}}, env)
	if err != nil {
		t.Fatal(err)
	}
	c := connectors.Connector{Name: "support", Vendor: "test", Account: "bot"}
	c.Add("things", "/things", &connectors.Stream{Options: o, Versioned: versioned, Pager: a}, client, env)
	return c.Streams[0]
}

func open(t *testing.T, dir string) *nats.Broker {
	t.Helper()
	b, err := nats.Open(t.Context(), nats.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func options(b topics.Broker) pipeline.Options {
	return pipeline.Options{
		Broker: b, Owner: "test", Horizon: time.Hour, Raw: true, Once: true, Metrics: pipeline.NewMetrics(nil),
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return end },
	}
}

func ingest(t *testing.T, s *connectors.Stream, o pipeline.Options) pipeline.Status {
	t.Helper()
	i := pipeline.New(s, o)
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return i.Status()
}

type seen struct {
	events.Event
	data map[string]any
	raw  []byte
}

func read(t *testing.T, b topics.Broker) []seen {
	t.Helper()
	var all []seen
	err := b.Tail(t.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(m topics.Received) error {
		e, err := events.FromAttributes(m.Attributes)
		if err != nil {
			return err
		}
		s := seen{Event: e}
		d := json.NewDecoder(bytes.NewReader(m.Data))
		d.UseNumber() // 1e400 is no float
		if err := d.Decode(&s.data); err != nil {
			return err
		}
		var raw struct{ Raw json.RawMessage }
		_ = json.Unmarshal(m.Data, &raw)
		s.raw = raw.Raw
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// limited is a broker that takes little at once.
type limited struct {
	topics.Broker
	limits  topics.Limits
	commits int
	moved   int // the commits that moved the cursor
	full    int // so many commits find no room
	lose    int // so many commits are made, but their success is not told
}

type limitedStream struct {
	topics.Stream
	l *limited
}

func (l *limited) Limits() topics.Limits {
	return topics.Limits{Messages: 10_000, Bytes: l.limits.Bytes}
}

func (l *limited) Acquire(ctx context.Context, key events.StreamKey, owner string, wait func(string)) (topics.Stream, error) {
	s, err := l.Broker.Acquire(ctx, key, owner, wait)
	return &limitedStream{s, l}, err
}

func (s *limitedStream) Commit(ctx context.Context, c *topics.Commit) error {
	if len(c.Messages)+2 > s.l.limits.Messages {
		return &topics.TooLargeError{Limits: s.l.limits}
	}
	if s.l.full > 0 {
		s.l.full--
		return fmt.Errorf("no room: %w", topics.ErrFull)
	}
	s.l.commits++
	checkpoint, err := ledger.DecodeCheckpoint(c.Checkpoint)
	if err != nil {
		return err
	}
	if checkpoint.Live.At.After(start) {
		s.l.moved++
	}
	err = s.Stream.Commit(ctx, c)
	if err == nil && s.l.lose > 0 {
		s.l.lose--
		return errors.New("the acknowledgement did not come")
	}
	return err
}

func many(n int) (elements []string) {
	for i := range n {
		elements = append(elements, fmt.Sprintf(`{"id":"%d"}`, i))
	}
	return elements
}
