package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// startWith makes the server start again, taking messages of so many bytes.
func (s *natsServer) startWith(maxPayload int) {
	s.t.Helper()
	s.kill()
	conf := fmt.Sprintf("listen: %q\nmax_payload: %d\njetstream {store_dir: %q}\n", s.addr, maxPayload, s.dir)
	if err := os.WriteFile(filepath.Join(s.dir, "nats.conf"), []byte(conf), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.start()
	awaitServer(s.t, s.addr)
}

// replayed asks for a replay and returns what came of it.
func replayed(t *testing.T, path string, args ...string) (total app.Resolution) {
	t.Helper()
	var all []app.Resolution
	if err := json.Unmarshal([]byte(must(t, append([]string{"dead-letters", "replay", "-o", "json", "-c", path}, args...)...)), &all); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		total.Add(&r.Resolved)
	}
	return total
}

// largeRow is about how many bytes a large row has.
const largeRow = 512 << 10

// big puts three large rows into two endpoints, two of them the same.
func big(t *testing.T, w *world, at time.Time) (records []string) {
	t.Helper()
	for endpoint, copies := range map[string]int{"feedyou/outgoingEmail": 1, "feedyou/urlTracker": 2} {
		row := fmt.Sprintf(`{"userId":"u","timestamp":%q,"attachment":"%d%s","end":"\u00e9\n"}`, at.UTC().Format(time.RFC3339), copies, strings.Repeat("ab\u20ac", largeRow/5))
		if err := w.Put(endpoint, at, []byte(row), copies); err != nil {
			t.Fatal(err)
		}
		for range copies {
			records = append(records, row)
		}
	}
	return records
}

// What a broker does not take is kept in parts, byte for byte, and is published
// once when it takes more, however often and by whomever that is asked.
func TestTooLargeForTheBroker(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.startWith(largeRow / 4)
	w := startWorld(t, simulator.Options{Seed: 23, Backlog: 100, Span: time.Hour})
	rows := big(t, w, time.Now().Add(-30*time.Minute))
	path := configureFeedyou(t, w.url, fmt.Sprintf("url: %q", server.url()), live, w.since)
	must(t, "run", "--once", "-c", path)
	letters := show(t, path, "--connector", "bot")
	if len(letters) != len(rows) {
		t.Fatalf("%d letters of %d large rows", len(letters), len(rows))
	}
	left := map[string]int{}
	for _, row := range rows {
		left[row]++
	}
	for _, l := range letters {
		raw := must(t, "dead-letters", "show", l.ID, "--raw", "-c", path)
		if left[raw]--; left[raw] < 0 || l.bytes(t) != raw || l.Reason != events.ReasonTooLarge || hash([]byte(raw)) != l.SHA256 {
			t.Errorf("the letter %s (%s) has other bytes than the row", l.ID, l.Reason)
		}
	}
	if text := must(t, "dead-letters", "show", letters[0].ID, "-c", path); !strings.HasSuffix(text, "\n\n"+letters[0].bytes(t)+"\n") {
		t.Errorf("it is shown as %.300q", text)
	}
	wantAll(t, server.events(t), path, w.Simulator.Account())
	if r := replayed(t, path, "--all"); r.Replayed != 0 || len(r.Dead) != 1 {
		t.Errorf("a replay with no more room did %+v", r)
	}

	server.startWith(8 << 20)
	if r := replayed(t, path, letters[0].ID); r.Replayed != 1 {
		t.Errorf("a replay of one did %+v", r)
	}
	c := startChild(t, "run", "-c", path)
	awaitRunning(t, c)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			var out, notes bytes.Buffer
			if code := run(t.Context(), []string{"dead-letters", "replay", "--all", "-c", path}, &out, &notes); code != 0 {
				t.Errorf("a replay ended with %d: %s%s", code, notes.String(), out.String())
			}
		})
	}
	both.Wait()
	if r := replayed(t, path, "--all"); r.Replayed != 0 || len(r.Dead) != 0 {
		t.Errorf("a replay of what was replayed did %+v", r)
	}
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	if all := causes(t, path); len(all) != 0 {
		t.Errorf("there are still dead letters: %+v", all)
	}
	must(t, "run", "--once", "-c", path)
	wantPublished(t, server.events(t), rows)
}

// wantPublished wants each of these rows to be published once, and every event
// but once.
func wantPublished(t *testing.T, all []event, rows []string) {
	t.Helper()
	validate(t, all)
	left, ids := map[string]int{}, map[events.ID]bool{}
	for _, row := range rows {
		left[hash([]byte(row))]++
	}
	for n := range all {
		e := &all[n]
		if ids[e.ID] {
			t.Errorf("the event %s is there twice", e.ID)
		}
		ids[e.ID] = true
		if sum := hash(e.raw(t)); e.Type != events.TypeDeadLetter && len(e.data) > largeRow/2 {
			left[sum]--
		}
	}
	for sum, n := range left {
		if n != 0 {
			t.Errorf("the row %s is missing %d times", sum, n)
		}
	}
}
