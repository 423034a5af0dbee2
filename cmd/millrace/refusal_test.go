package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

func statuses(t *testing.T, path string) map[string]app.StreamStatus {
	t.Helper()
	var all []app.StreamStatus
	if err := json.Unmarshal([]byte(must(t, "status", "-o", "json", "-c", path)), &all); err != nil {
		t.Fatal(err)
	}
	byName := map[string]app.StreamStatus{}
	for _, s := range all {
		byName[s.Stream[strings.LastIndexByte(s.Stream, '/')+1:]] = s
	}
	return byName
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// awaitRunning waits until a service has its broker: an operating command would
// take the directory before it.
func awaitRunning(t *testing.T, c *child) {
	t.Helper()
	await(t, c, func() bool { return strings.Contains(c.notes.String(), "msg=running") })
}

// A bot that is too old for seven streams is read as far as it goes.
func TestOldBot(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 24, Backlog: 100, Span: time.Hour, OldBot: true})
	dir, page := filepath.Join(t.TempDir(), "data"), ports.Addr(t)
	once := configureFeedyou(t, w.url, embeddedIn(dir), fast, w.since)
	var out, notes bytes.Buffer
	if code := run(t.Context(), []string{"run", "--once", "-c", once}, &out, &notes); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, notes.String())
	}
	if n := strings.Count(notes.String(), "the account does not have the stream"); n != 7 {
		t.Errorf("%d warnings of streams that are not there:\n%s", n, notes.String())
	}
	if n := strings.Count(notes.String(), "404"); n != 7 {
		t.Errorf("%d lines tell of 7 streams that are not there:\n%s", n, notes.String())
	}
	if !strings.Contains(notes.String(), "connector=bot stream=urlTracker failures=1 cause=") {
		t.Errorf("the warnings do not name streams as other lines do:\n%s", notes.String())
	}
	users := len(w.Simulator.Account().Endpoints["feedyou/userData"].Records)
	if users == 0 {
		t.Fatal("the simulator has no users")
	}
	wantAll(t, readTopics(t, dir), once, simulator.Account{Endpoints: map[string]simulator.Endpoint{"feedyou/userData": w.Simulator.Account().Endpoints["feedyou/userData"]}})

	listen := ports.Addr(t)
	path := configureFeedyou(t, w.url, fmt.Sprintf("dir: %q, listen: %q", t.TempDir(), listen), live, w.since)
	rewrite(t, path, `http: {listen: ""}`, fmt.Sprintf("http: {listen: %q}", page))
	c := startChild(t, "run", "-c", path)
	awaitRunning(t, c)
	await(t, c, func() bool {
		s := statuses(t, path)
		unavailable := 0
		for _, s := range s {
			if s.State == "unavailable" && strings.Contains(s.Cause, "404") {
				unavailable++
			}
		}
		return unavailable == 7 && s["userData"].State == "reading" && s["userData"].Counts.Events == int64(users)
	})
	table := must(t, "status", "-c", path)
	if strings.Count(table, "unavailable") != 7 || !strings.Contains(table, "\nbot/urlTracker: reading urlTracker: the API answered 404 (Not Found)") {
		t.Errorf("status is\n%s", table)
	}
	if code, body := fetch(t, "http://"+page+"/readyz"); code != 200 {
		t.Errorf("not ready: %d %s", code, body)
	}
	if _, body := fetch(t, "http://"+page+"/metrics"); !strings.Contains(body, `millrace_requests_total{connector="bot",outcome="404",stream="urlTracker"}`) {
		t.Errorf("the metrics do not count the refusals:\n%s", body)
	}
	// The others are asked about once a minute; userData is asked all the time.
	for name, e := range w.Simulator.Account().Endpoints {
		if strings.HasPrefix(name, "feedyou/") && name != "feedyou/userData" && e.Requests > 5 {
			t.Errorf("%s is asked %d times, though it is not there", name, e.Requests)
		}
	}
	if code := c.stop(); code != 0 || strings.Contains(c.notes.String(), "level=ERROR") {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
}

// An API that lets nobody ask for a while is not asked, whatever header says so,
// and status tells for how long.
func TestLimitsOfTheAPI(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string]map[string]string{
		"RateLimit":             {"RateLimit-Remaining": "0", "RateLimit-Reset": "7200"},
		"X-RateLimit":           {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(time.Now().Add(2 * time.Hour).Unix())},
		"the draft's RateLimit": {"RateLimit": `"default";r=0;t=7200`},
		"Retry-After":           {"Retry-After": "7200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				for name, value := range headers {
					out.Header().Set(name, value)
				}
				if headers["Retry-After"] != "" {
					out.WriteHeader(http.StatusTooManyRequests)
				}
				_, _ = io.WriteString(out, "[]")
			}))
			t.Cleanup(server.Close)
			path := configureFeedyou(t, server.URL, fmt.Sprintf("dir: %q, listen: %q", t.TempDir(), ports.Addr(t)), live+"streams: [userData]\n", time.Now().Add(-24*time.Hour))
			c := startChild(t, "run", "-c", path)
			await(t, c, func() bool { return requests.Load() > 0 && statuses(t, path)["userData"].PausedFor > 3500 })
			if table := must(t, "status", "-c", path); !strings.Contains(table, "paused") || !strings.Contains(table, "no request through for 59m") && !strings.Contains(table, "no request through for 1h") {
				t.Errorf("status is\n%s", table)
			}
			if code := c.stop(); code != 0 || requests.Load() != 1 {
				t.Errorf("exit code %d, %d requests:\n%s", code, requests.Load(), c.notes)
			}
		})
	}
}

// Invariant 10: a key that was asked to be in addresses is nowhere else.
func TestKeyInTheAddress(t *testing.T) {
	t.Parallel()
	const core = "4wkwardK3y"
	const key = core + "/+ %2f=="
	lower := strings.ToLower(url.QueryEscape("/+ %2f=="))
	answers := map[string]http.HandlerFunc{
		"refuses": func(out http.ResponseWriter, r *http.Request) {
			http.Error(out, "no "+r.URL.String(), http.StatusUnauthorized)
		},
		"redirects": func(out http.ResponseWriter, r *http.Request) {
			out.Header().Set("Location", "https://login.example.net/"+core+"?"+r.URL.RawQuery)
			out.WriteHeader(http.StatusFound)
		},
		"redirects badly": func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Location", "http://x y/%zz?code="+core+lower)
			out.WriteHeader(http.StatusFound)
		},
		"redirects to itself": func(out http.ResponseWriter, r *http.Request) {
			out.Header().Set("Location", r.URL.Path+"?code="+core+lower)
			out.WriteHeader(http.StatusTemporaryRedirect)
		},
		"is silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"tears":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"answers nonsense": func(out http.ResponseWriter, r *http.Request) {
			conn, _, err := out.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(conn, "GET %s\r\n\r\n", r.URL)
				_ = conn.Close()
			}
		},
		"cuts": func(out http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(out, `[{"a":%q`, r.URL.String()) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("code") == key {
					asked.Add(1)
				}
				answer(out, r)
			}))
			server.Config.ErrorLog = nil
			t.Cleanup(server.CloseClientConnections)
			t.Cleanup(server.Close)
			page := ports.Addr(t)
			path := configureFeedyou(t, server.URL, fmt.Sprintf("dir: %q, listen: %q", t.TempDir(), ports.Addr(t)), live+"auth: query\ntimeout: 1s\nstreams: [userData]\n", time.Now().Add(-time.Hour))
			rewrite(t, path, simulator.DefaultAPIKey, fmt.Sprintf("%q", key))
			rewrite(t, path, `http: {listen: ""}`, fmt.Sprintf("http: {listen: %q}", page))
			c := startChild(t, "run", "-v", "-c", path)
			awaitRunning(t, c)
			await(t, c, func() bool { return statuses(t, path)["userData"].State == "failing" })
			_, metrics := fetch(t, "http://"+page+"/metrics")
			said := []string{metrics, must(t, "status", "-c", path), must(t, "status", "-o", "json", "-c", path), must(t, "cursor", "get", "-c", path)}
			c.stop()
			var out, notes bytes.Buffer
			if code := run(t.Context(), []string{"run", "--once", "--give-up", "1s", "-v", "-c", path}, &out, &notes); code != 3 {
				t.Errorf("--once ended with %d", code)
			}
			if asked.Load() == 0 {
				t.Error("the key was not sent")
			}
			for _, text := range append(said, c.notes.String(), out.String(), notes.String()) {
				if strings.Contains(text, core) {
					t.Errorf("it shows the key:\n%s", text)
				}
			}
		})
	}
}
