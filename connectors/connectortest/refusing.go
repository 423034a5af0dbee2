package connectortest

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/simulator"
)

func settings(t *testing.T, h Harness) {
	plugin := config.Plugin{Type: h.Type.Name, Doc: "A connector.", Settings: h.Type.Settings()}
	for _, name := range h.Type.Streams {
		plugin.Streams = append(plugin.Streams, config.PluginStream{Name: name, Settings: h.Type.KeysOf(name)})
	}
	if err := config.Lint(config.Plugins{Connectors: []config.Plugin{plugin}}); err != nil {
		t.Error(err)
	}
	required := map[string]bool{}
	for _, f := range config.Fields(h.Type.Settings()) {
		required[f.Name] = f.Required
	}
	for _, key := range h.Required {
		if !required[key] {
			t.Errorf("the key %s is not marked as required", key)
		}
		raw := h.Section("http://127.0.0.1:1")
		delete(raw, key)
		_, err := h.Type.New(connectors.Section{Name: "c", Raw: raw}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: http.DefaultTransport})
		if err == nil || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), core) {
			t.Errorf("without %s: %v", key, err)
		}
		for _, other := range h.Required {
			if other != key && err != nil && strings.Contains(err.Error(), other) {
				t.Errorf("without %s the error names %s: %v", key, other, err)
			}
		}
	}
	raw := h.Section("ftp://" + Secret)
	if _, err := h.Type.New(connectors.Section{Name: "c", Raw: raw}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: http.DefaultTransport}); err == nil || strings.Contains(err.Error(), core) || !strings.Contains(err.Error(), "base_url") {
		t.Errorf("a wrong base_url: %v", err)
	}
}

// first reads all streams, side by side, with a server that answers the first
// requests of each in its own way, and then as the simulator does.
func (h Harness) first(t *testing.T, wrong http.Handler, n int, test func(t *testing.T, stream *connectors.Stream, want simulator.Endpoint)) {
	t.Helper()
	s, _ := simulate(t, simulator.Options{Seed: 5, Backlog: 200})
	late := func() string {
		var mu sync.Mutex
		asked := map[string]int{}
		return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked[r.URL.Path]++
			early := asked[r.URL.Path] <= n
			mu.Unlock()
			if early {
				wrong.ServeHTTP(w, r)
				return
			}
			s.ServeHTTP(w, r)
		}))
	}
	h.apart(t, nil, late, func(stream *connectors.Stream) {
		t.Run(stream.Key.Stream, func(t *testing.T) {
			t.Parallel()
			test(t, stream, s.Account().Endpoints[h.Endpoint(stream.Key.Stream)])
		})
	})
}

func refusals(t *testing.T, h Harness) {
	date := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(2*time.Second).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	for name, c := range map[string]struct {
		refuse http.Handler
		wait   time.Duration
	}{
		"429, seconds": {answer(http.StatusTooManyRequests, "", "Retry-After", "1"), time.Second},
		"429, date":    {date, time.Second},
		"503":          {answer(http.StatusServiceUnavailable, "<html>"), 0},
	} {
		h.first(t, c.refuse, 1, func(t *testing.T, stream *connectors.Stream, want simulator.Endpoint) {
			began := time.Now()
			r := read(t, stream, nil, 0, nil)
			if took := time.Since(began); r.err != nil || took < c.wait {
				t.Errorf("%s, %s: after %s, %v", stream.Key.Stream, name, took, r.err)
			}
			h.compare(t, want, r)
		})
	}
	for status, kind := range map[int]connectors.Kind{401: connectors.Fail, 403: connectors.Fail, 404: connectors.Unavailable} {
		h.first(t, answer(status, "no "+Secret), 1000, func(t *testing.T, stream *connectors.Stream, _ simulator.Endpoint) {
			var kept store
			r := read(t, stream, &kept, 0, nil)
			var e *connectors.Error
			if !errors.As(r.err, &e) || e.Kind != kind || e.Status != status || len(r.batches) > 0 || !kept.Live.At.IsZero() {
				t.Errorf("%s, %d: %v, it stands at %+v", stream.Key.Stream, status, r.err, kept.Live)
			}
		})
	}
}

func redirect(t *testing.T, h Harness) {
	var strayed atomic.Int32
	other := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { strayed.Add(1) }))
	h.first(t, http.RedirectHandler(other, http.StatusFound), 1000, func(t *testing.T, stream *connectors.Stream, _ simulator.Endpoint) {
		r := read(t, stream, nil, 0, nil)
		// A page that says the API is down for now may be elsewhere, so it is tried again.
		if connectors.KindOf(r.err) != connectors.Retry || !strings.Contains(r.err.Error(), hostOf(other)) {
			t.Errorf("%s: %v", stream.Key.Stream, r.err)
		}
	})
	t.Cleanup(func() {
		if n := strayed.Load(); n > 0 {
			t.Errorf("%d requests went to another host", n)
		}
	})
}

// Invariant 9: an answer of the wrong shape is asked for again, and moves nothing.
func wrongShapes(t *testing.T, h Harness) {
	bodies := map[string]string{
		"nothing": "", "HTML": "<html><body>Welcome</body></html>", "an object": "{}", "text": `"ok"`, "null": "null",
		"cut": h.Empty[:len(h.Empty)-1], "cut inside": h.Empty[:len(h.Empty)/2], "more behind": h.Empty + "]",
	}
	if h.Empty == "[]" {
		delete(bodies, "null") // where the answer is the list, null is an empty one
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.first(t, answer(http.StatusOK, body), 2, func(t *testing.T, stream *connectors.Stream, want simulator.Endpoint) {
				r := read(t, stream, nil, 0, nil)
				if r.err != nil || len(r.batches) == 0 || r.batches[0].Requests < 3 {
					t.Errorf("%s: %d batches, the first not after three requests, or %v", stream.Key.Stream, len(r.batches), r.err)
				}
				h.compare(t, want, r)
			})
		})
	}
}

// An empty answer is one, and moves on.
func emptyWindows(t *testing.T, h Harness) {
	address := serve(t, answer(http.StatusOK, h.Empty))
	for _, stream := range h.connect(t, address, nil).Streams {
		began := time.Now()
		var kept store
		r := read(t, stream, &kept, 0, nil)
		if r.err != nil || kept.Live.At.Before(began.Add(-2*time.Second)) {
			t.Errorf("%s: it stands at %s, %v", stream.Key.Stream, kept.Live.At, r.err)
		}
	}
}

func probe(t *testing.T, h Harness) {
	_, good := simulate(t, simulator.Options{Seed: 1, Backlog: 10})
	if err := h.connect(t, good, nil).Probe(t.Context()); err != nil {
		t.Errorf("a good credential: %v", err)
	}
	for name, handler := range map[string]http.Handler{"401": answer(401, Secret), "HTML": answer(200, "<html>"), "cut": answer(200, h.Empty[:len(h.Empty)-1])} {
		if err := h.connect(t, serve(t, handler), nil).Probe(t.Context()); err == nil || strings.Contains(err.Error(), core) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
