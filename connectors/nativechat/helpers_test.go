package nativechat

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "s3cr3t-t0k3n"

// served is a transport to a handler in this process, which counts requests.
type served struct {
	handler http.Handler
	mu      sync.Mutex
	asked   []*url.URL
}

func (s *served) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL)
	s.mu.Unlock()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	res := w.Result()
	res.Request = r
	return res, nil
}

func (s *served) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// says is a handler that answers with a text for each of the API's paths, by
// their last parts: "conversations", "messages/_count".
type says func(path string, q url.Values) string

func (f says) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, path, _ := strings.Cut(r.URL.EscapedPath()[len("/v1/bots/"):], "/")
	text := f(path, r.URL.Query())
	if strings.HasPrefix(text, "400") {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = w.Write([]byte(text))
}

// simulated serves a simulated account.
func simulated(t *testing.T, o simulator.Options) (*simulator.Simulator, *served) {
	t.Helper()
	o.APIKey, o.BotName = token, "bot/ä"
	if o.Span == 0 {
		o.Span = 6 * time.Hour
	}
	s, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, &served{handler: s}
}

// connect makes the connector, with more keys.
func connect(t testing.TB, transport http.RoundTripper, keys map[string]any) *connectors.Connector {
	t.Helper()
	raw := map[string]any{
		"bot_id": "bot/ä", "access_token": token, "rate": "1000000000/s", "max_record": "1MiB",
		"since": time.Now().Add(-7 * time.Hour),
	}
	maps.Copy(raw, keys)
	c, err := Type.New(connectors.Section{Name: "c", Raw: raw}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// streamOf makes one stream of the connector.
func streamOf(t testing.TB, transport http.RoundTripper, name string, keys map[string]any) *connectors.Stream {
	t.Helper()
	for _, s := range connect(t, transport, keys).Streams {
		if s.Key.Stream == name {
			return s
		}
	}
	t.Fatalf("no stream %s", name)
	return nil
}

// store keeps where a stream stands.
type store struct{ connectors.Progress }

func (s *store) Load(context.Context) (connectors.Progress, error) { return s.Progress, nil }

func (s *store) Save(_ context.Context, p connectors.Progress) error {
	s.Progress = p
	return nil
}

// readOnce reads a stream up to the present: how often each identity came, and
// where it stands.
func readOnce(t testing.TB, stream *connectors.Stream) (got map[string]int, kept *store, err error) {
	t.Helper()
	got, kept = map[string]int{}, &store{}
	sub := connectors.NewSubscriber(stream, connectors.SubscriberOptions{Once: true, Store: kept})
	out, err := sub.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for msg := range out {
		batch, _ := connectors.BatchOf(msg.Context())
		for _, record := range batch.Records {
			if record.Dead != nil {
				t.Errorf("%s: %+v", record.Raw, record.Dead)
			}
			got[fmt.Sprint(record.ID, record.Identity)]++
		}
		msg.Ack()
	}
	return got, kept, sub.Err()
}

// wantFail wants a stream to stop with an error that says something, without
// having come to the present and without many requests.
func wantFail(t *testing.T, name string, stream *connectors.Stream, api *served, words ...string) {
	t.Helper()
	before := api.requests()
	_, kept, err := readOnce(t, stream)
	if connectors.KindOf(err) != connectors.Fail || err == nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v does not speak of %s", name, err, word)
		}
	}
	if n := api.requests() - before; n > 50 || time.Since(kept.Live.At) < time.Hour {
		t.Errorf("%s: %d requests, it stands at %+v", name, n, kept.Live)
	}
}
