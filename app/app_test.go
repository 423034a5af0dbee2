package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics"
)

func parse(t *testing.T, text string) *config.File {
	t.Helper()
	file, err := config.Parse("test.yaml", []byte(text), Plugins(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestHTTPAndStatusOfARunningService(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	sim, err := simulator.New(simulator.Options{Seed: 1, Backlog: 300, Span: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim)
	defer api.Close()
	file := parse(t, fmt.Sprintf(`
broker: {nats: {dir: %q, listen: "127.0.0.1:0"}}
http: {listen: "127.0.0.1:0"}
connectors:
  support: {type: deepconverse, base_url: %q, api_key: demo-key, bot_name: r3-218210, since: %s, rate: 1000/s}
`, t.TempDir(), api.URL, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339)))
	a, err := New(t.Context(), Options{Config: file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	// When 300 messages have come, the metrics are about them.
	var out bytes.Buffer
	o := TailOptions{TailOptions: topics.TailOptions{Beginning: true, Topics: []string{"message"}}, JSON: true, N: 300}
	if err := tail(ctx, a.broker, o, nil, &out, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 300 {
		t.Errorf("tail printed %d lines", n)
	}
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + a.HTTPAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(path); code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	_, page := get("/metrics")
	for _, name := range []string{
		"lag_seconds", "requests_total", "pages_total", "batches_total", "records_total", "events_total",
		"duplicates_total", "dead_letters_total", "retries_total", "budget_wait_seconds_total", "commit_seconds_bucket",
	} {
		if !strings.Contains(page, "millrace_"+name+`{connector="support"`) {
			t.Errorf("no metric millrace_%s", name)
		}
	}
	reply := a.answer(ctx, []byte(`{"ask":"status"}`))
	if !bytes.Contains(reply, []byte(`"state":"reading"`)) || !bytes.Contains(reply, []byte(`deepconverse/r3-218210/messages`)) {
		t.Errorf("status: %s", reply)
	}
	if reply := a.answer(ctx, []byte(`{"ask":"something"}`)); !bytes.Contains(reply, []byte("error")) {
		t.Errorf("an unknown request is answered with %s", reply)
	}
	cancel()
	if err := errors.Join(<-done, a.Close()); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// Invariant 10, the last line of defence.
func TestSecretsDoNotReachTheLog(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelInfo, NewRedactor([]string{"p4ss", "p4ssw0rd", "abc"})).With("first", "a p4ssw0rd").WithGroup("group")
	log.Info("it is p4ssw0rd", "err", fmt.Errorf("wrapped: %w", errors.New("p4ssw0rd!")), slog.Group("g", "k", "p4ssw0rd"), "short", "abc")
	if text := out.String(); strings.Contains(text, "p4ssw0rd") || strings.Count(text, "***") != 4 || !strings.Contains(text, "abc") {
		t.Error(text)
	}
	for _, form := range []string{"a/b+c==", "a%2Fb%2Bc%3D%3D", "a%2fb%2bc%3d%3d", "a%2fb+c==", "a%2Fb+c=="} {
		if text := NewRedactor([]string{"a/b+c=="}).Replace("?code=" + form); text != "?code=***" {
			t.Errorf("%s is shown as %s", form, text)
		}
	}
}

func TestExitCodes(t *testing.T) {
	remote := &connectors.Error{Kind: connectors.Fail, Op: "listing", Err: errors.New("401")}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{&config.Error{}, 2},
		{fmt.Errorf("x: %w", &UsageError{errors.New("y")}), 2},
		{&topics.OpenError{Err: errors.New("port")}, 1},
		{&topics.OpenError{Remote: true, Err: errors.New("old")}, 3},
		{fmt.Errorf("x: %w", &ledger.NewerError{}), 1},
		{&IncompleteError{Missing: []error{remote}}, 3},
		{&IncompleteError{Missing: []error{fmt.Errorf("x: %w", &ledger.ImportError{})}, Remote: true}, 1},
		{&IncompleteError{Missing: []error{errors.New("away")}, Remote: true}, 3},
		{&IncompleteError{Missing: []error{errors.New("input/output error")}}, 1},
		{&IncompleteError{Missing: []error{remote, fmt.Errorf("x: %w", topics.ErrFull)}}, 1},
		{errors.New("anything"), 1},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestPrintableIsSafeForATerminal(t *testing.T) {
	if got := printable("a\x1b[31mred\x07\nb\u202e", 20); got != "a[31mred b" {
		t.Errorf("%q", got)
	}
	if got := printable("ééééé", 3); got != "éé…" {
		t.Errorf("%q", got)
	}
}
