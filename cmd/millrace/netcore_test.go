package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/simulator"
)

// between serves a world behind a function that sees each request before.
func (w *world) between(t *testing.T, see func(*http.Request)) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		see(r)
		w.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
}

// logins are those that Netcore answered with a token.
func (w *world) logins() simulator.Endpoint { return w.Account().Endpoints["netcore/login"] }

// A token that ends in the middle of everything is replaced by one login, however
// many requests it has failed.
func TestATokenThatEndsIsReplacedOnce(t *testing.T) {
	w := startSome(t, simulator.Options{
		Seed: 31, Backlog: 1_200, Span: *span, NetcoreSmallPages: true, Latency: 5 * time.Millisecond,
	}, netcore)
	var users, transcripts atomic.Int64
	ended := 0
	w.between(t, func(r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/users") && users.Add(1) == 3, // pages of lists, of two streams
			strings.HasSuffix(r.URL.Path, "/transcripts") && (transcripts.Load() == 20 || transcripts.Load() == 60):
			ended++
			w.EndTokens()
		}
		if strings.HasSuffix(r.URL.Path, "/transcripts") {
			transcripts.Add(1)
		}
	})
	dir := filepath.Join(t.TempDir(), "data")
	must(t, "run", "--once", "-c", w.configure(t, settings{broker: embeddedIn(dir), extra: fast + "requests: 4\n"}))
	compareAll(t, readTopics(t, dir), w.Account())
	if logins := w.logins(); ended != 3 || logins.Answered != 1+ended || logins.Rejected > 0 {
		t.Errorf("tokens ended %d times; %d logins, %d refused", ended, logins.Answered, logins.Rejected)
	}
}

// Tokens that live for seconds are renewed in time: no request is refused.
func TestTokensOfSeconds(t *testing.T) {
	w := startSome(t, simulator.Options{Seed: 34, Backlog: 2_400, Span: *span, TokenLife: 5 * time.Second, Latency: 60 * time.Millisecond}, netcore)
	dir := filepath.Join(t.TempDir(), "data")
	must(t, "run", "--once", "-c", w.configure(t, settings{broker: embeddedIn(dir), extra: fast + "requests: 4\n"}))
	account := w.Account()
	compareAll(t, readTopics(t, dir), account)
	for name, e := range account.Endpoints {
		if e.Rejected > 0 {
			t.Errorf("%s refused %d requests", name, e.Rejected)
		}
	}
	if logins := w.logins().Answered; logins < 2 {
		t.Errorf("%d logins", logins)
	}
}

// A wrong secret is told once, in a line that says what to do, and not tried again
// and again.
func TestAWrongSecretIsToldOnce(t *testing.T) {
	w := startSome(t, simulator.Options{Seed: 32, Backlog: 100, Span: time.Hour, APIKey: "another"}, netcore)
	path := w.configure(t, settings{broker: embeddedIn(filepath.Join(t.TempDir(), "data")), extra: fast})
	var out, notes strings.Builder
	if code := run(t.Context(), []string{"run", "--once", "-c", path}, &out, &notes); code != 3 {
		t.Errorf("exit code %d", code)
	}
	told := 0
	for line := range strings.Lines(notes.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "app_secret") {
			told++
		}
	}
	if logins := w.logins(); told != 1 || logins.Requests != 1 {
		t.Errorf("told %d times, %d logins:\n%s", told, logins.Requests, &notes)
	}
	if strings.Contains(notes.String(), simulator.DefaultAPIKey) {
		t.Errorf("the secret is shown:\n%s", &notes)
	}
}
