package app

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/simulator"
)

// deadLetters reads an account once whose answers were damaged, without a
// service, and returns the text of the configuration.
func deadLetters(t *testing.T) (text string) {
	t.Helper()
	sim, err := simulator.New(simulator.Options{Seed: 1, Backlog: 20, Span: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var damaged atomic.Bool
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		sim.ServeHTTP(answer, r)
		body := answer.Body.String()
		if strings.Contains(body, `"data":[{`) && damaged.CompareAndSwap(false, true) {
			body = strings.Replace(body, `"data":[{`, `"data":[42,{`, 1)
		}
		w.WriteHeader(answer.Code)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(api.Close)
	text = fmt.Sprintf(`
broker: {nats: {dir: %q, listen: ""}}
http: {listen: ""}
connectors:
  support: {type: deepconverse, base_url: %q, account: acme, api_key: "${KEY}", bot_name: "${BOT}", since: %s, rate: 1000/s}
`, t.TempDir(), api.URL, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
	a, err := New(t.Context(), Options{Config: parseIn(t, text, map[string]string{"KEY": simulator.DefaultAPIKey, "BOT": simulator.DefaultBotName}), Log: slog.New(slog.DiscardHandler), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return text
}

// parseIn reads a configuration in an environment; other variables are unset in it.
func parseIn(t *testing.T, text string, env map[string]string) *config.File {
	t.Helper()
	file, err := config.Parse("test.yaml", []byte(text), Plugins(), func(name string) (string, bool) {
		if value, ok := env[name]; ok {
			return value, true
		}
		return Unset, true
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// What an unset variable would be part of is not made here; a secret is part of
// nothing.
func TestLettersAreNotMappedWithUnsetSettings(t *testing.T) {
	text := deadLetters(t)
	for _, dryRun := range []bool{true, false} {
		_, err := ResolveLetters(t.Context(), parseIn(t, text, nil), Selection{}, false, dryRun, slog.New(slog.DiscardHandler))
		if err == nil || ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "bot_name of the connector support") || strings.Contains(err.Error(), "api_key") {
			t.Errorf("dry run %v: %v", dryRun, err)
		}
		done, err := ResolveLetters(t.Context(), parseIn(t, text, map[string]string{"BOT": simulator.DefaultBotName}), Selection{}, false, dryRun, slog.New(slog.DiscardHandler))
		if err != nil || len(done) != 1 || done[0].Dead["not_an_object: a JSON value, but not an object"] != 1 {
			t.Errorf("dry run %v: %+v, %v", dryRun, done, err)
		}
	}
	done, err := ResolveLetters(t.Context(), parseIn(t, text, nil), Selection{}, true, false, slog.New(slog.DiscardHandler))
	if err != nil || len(done) != 1 || done[0].Discarded != 1 || !strings.HasPrefix(done[0].Name, "support/") {
		t.Errorf("a discard: %+v, %v", done, err)
	}
}

func TestResolutionsAreTold(t *testing.T) {
	for text, r := range map[string]Resolution{
		"s: 1 selected; a dry run, and nothing would be changed\n  1 still dead: why\n": {DryRun: true},
		"s: 1 selected; a dry run changes nothing; there would be\n  1 discarded\n":     {DryRun: true},
		"s: 1 selected\n  1 discarded\n":                                                {},
		"s: 1 selected; a dry run changes nothing; there would be\n  2 replayed: published as events, but for those that were published since, or that transforms drop or fail on: a dry run does not try that\n  1 discarded\n": {DryRun: true, Resolved: pipeline.Resolved{Replayed: 2}},
	} {
		r.Stream, r.Name, r.Selected = "v/a/s", "s", 1
		if strings.Contains(text, "still dead") {
			r.Dead = map[string]int{"why": 1}
		} else {
			r.Discarded = 1
		}
		var out strings.Builder
		if err := WriteResolutions(&out, []Resolution{r}); err != nil || out.String() != text {
			t.Errorf("it is told as %q, want %q", out.String(), text)
		}
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := span(ledger.Range{From: from, To: from.Add(9600 * time.Hour)}); !strings.HasSuffix(got, "(400d)") {
		t.Errorf("a span is told as %s", got)
	}
}

// What is said of a cause does not depend on the order in which partitions come.
func TestCausesInAnyOrder(t *testing.T) {
	seen := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	letters := []Letter{{ID: "b", Recorded: seen}, {ID: "a", Recorded: seen}, {ID: "0", Recorded: seen.Add(time.Second)}}
	want := []Cause{{Count: 3, First: seen, Last: seen.Add(time.Second), Example: "a"}}
	for range 2 {
		if got := Causes(letters); !slices.Equal(got, want) {
			t.Errorf("%+v: %+v", letters, got)
		}
		slices.Reverse(letters)
	}
}
