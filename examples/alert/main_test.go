package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/examples/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, &options, main) }

// Of each call that failed, and of no other, there is a line, and a word to the
// webhook; again where the webhook did not take it.
func TestAlert(t *testing.T) {
	for name, serve := range map[string]func(*testing.T) exampletest.Server{"nats": exampletest.OnNATS, "kafka": exampletest.OnKafka} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alerts(t, serve(t))
		})
	}
}

func alerts(t *testing.T, s exampletest.Server) {
	var all []events.Event
	for i, data := range []string{
		`"method":"POST","host":"crm.example.com","status":503,"ok":false`,
		`"method":"GET","host":"crm.example.com","status":200,"ok":true`,
		`"method":"GET","host":"crm.example.com"`,              // no answer is known
		`"method":"GET","host":"odd.example.com","ok":"false"`, // no boolean
		`"host":"shop.example.com","ok":false`,
	} {
		all = append(all, events.Event{
			ID: events.ID{1, byte(i)}, Type: events.TypeIntegrationCall, Key: "user", RecordID: fmt.Sprint(i), Members: []byte(data),
		})
	}
	ids := exampletest.Publish(t, s, all)
	first := "POST to crm.example.com failed with status 503 (event " + ids[0] + ")"
	last := " to shop.example.com failed with status null (event " + ids[4] + ")"

	hook := &hook{refuse: 1}
	server := httptest.NewServer(hook)
	defer server.Close()
	c := exampletest.Start(t, s.Options, s.URL, server.URL+"/secret")
	c.Await(t, "the last alert", func() bool { return strings.Contains(c.Printed(), last) && len(hook.all()) >= 3 })
	c.Kill()
	if want := first + "\n" + first + "\n" + last + "\n"; c.Printed() != want {
		t.Errorf("it printed\n%swant\n%s", c.Printed(), want)
	}
	want := []string{`{"text":"` + first + `"}`, `{"text":"` + first + `"}`, `{"text":"` + last + `"}`}
	if have := hook.all(); !slices.Equal(have, want) {
		t.Errorf("the webhook got %q, want %q", have, want)
	}
	if said := c.Said(); !strings.Contains(said, "503") || !strings.Contains(said, "/ok is a string") || strings.Contains(said, "secret") {
		t.Errorf("it said\n%s", said)
	}
}

// Where no webhook answers, its address is not told.
func TestPost(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	if err := post(server.URL+"/secret", "text"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	if err := post("", "text"); err != nil {
		t.Error(err)
	}
}

// hook is a webhook that refuses the first calls.
type hook struct {
	mu     sync.Mutex
	refuse int
	bodies []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies = append(h.bodies, string(body))
	if h.refuse--; h.refuse >= 0 || err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (h *hook) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.bodies)
}
