package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/nats"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// damage puts three elements that are no objects in front of the first list of
// each endpoint.
func (w *world) damage(t *testing.T) {
	t.Helper()
	var damaged sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, r)
		body := answer.Body.String()
		if worse := strings.Replace(body, `"data":[{`, "\"data\":[\"not an object\",42,\"\xff\",{", 1); worse != body {
			if _, done := damaged.LoadOrStore(r.URL.Path, true); !done {
				body = worse
			}
		}
		out.WriteHeader(answer.Code)
		_, _ = io.WriteString(out, body)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
}

func causes(t *testing.T, path string, args ...string) (all []app.Cause) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, append([]string{"dead-letters", "list", "-o", "json", "-c", path}, args...)...)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// lettersOf tries all commands on the six letters of two streams.
func lettersOf(t *testing.T, path string) {
	t.Helper()
	all := causes(t, path)
	total := 0
	for _, c := range all {
		total += c.Count
	}
	if total != 6 || len(all) != 4 {
		t.Fatalf("%d letters of %d causes: %+v", total, len(all), all)
	}
	if table := must(t, "dead-letters", "list", "-c", path); !strings.Contains(table, "not_an_object") {
		t.Errorf("the list is:\n%s", table)
	}
	if table := must(t, "status", "-c", path); strings.Count(table, "  3\n") != 2 {
		t.Errorf("status does not count three open letters a stream:\n%s", table)
	}
	for _, c := range []string{"list", "show", "replay", "discard"} {
		fails(t, 2, []string{`no such dead letter is of a stream "mesages"; the configuration has `, "/messages"}, "dead-letters", c, "--stream", "mesages", "-c", path)
		fails(t, 2, []string{`no such dead letter is of a connector "sales"; the configuration has `}, "dead-letters", c, "--connector", "sales", "-c", path)
	}
	for _, args := range [][]string{{"--reason", "too_tall"}, {"--resolved"}, {"--ids", "--reason", "too_tall"}} {
		if said := must(t, append([]string{"dead-letters", "list", "-c", path}, args...)...); !strings.HasPrefix(said, "No ") {
			t.Errorf("%s says, where there are open ones:\n%s", args, said)
		}
	}
	text := causes(t, path, "--stream", "messages", "--reason", "not_json")[0].Example
	if raw := must(t, "dead-letters", "show", text, "--raw", "-c", path); raw != "\"\xff\"" {
		t.Errorf("the record is %q", raw)
	}
	if shown := must(t, "dead-letters", "show", text, "-c", path); !strings.Contains(shown, "22 ff 22") || !strings.Contains(shown, "sha256") || !strings.Contains(shown, "/messages\nkey ") {
		t.Errorf("it is shown as\n%s", shown)
	}
	if shown := must(t, "dead-letters", "show", text, "-o", "json", "-c", path); !strings.Contains(shown, `"record_base64": "Iv8i"`) {
		t.Errorf("it is shown as\n%s", shown)
	}
	if said := must(t, "dead-letters", "replay", "--all", "--dry-run", "-c", path); !strings.Contains(said, "2 still dead: not_an_object") {
		t.Errorf("a dry run says\n%s", said)
	}
	if said := must(t, "dead-letters", "replay", "--all", "-c", path); !strings.Contains(said, "1 still dead: not_json") || !strings.Contains(said, "2 still dead: not_an_object") {
		t.Errorf("a replay says\n%s", said)
	}
	if said := must(t, "dead-letters", "discard", text, "-c", path); !strings.Contains(said, "1 discarded") {
		t.Errorf("a discard says\n%s", said)
	}
	fails(t, 2, []string{text, "dealt with already"}, "dead-letters", "discard", text, "-c", path)
	fails(t, 2, []string{"--all"}, "dead-letters", "discard", "-c", path)
	must(t, "dead-letters", "discard", "--stream", "conversations", "-c", path)
	if left := causes(t, path); len(left) != 1 || left[0].Count != 2 {
		t.Errorf("left are %+v", left)
	}
	if resolved := must(t, "dead-letters", "list", "--resolved", "-c", path); strings.Count(resolved, "discarded") != 4 || !strings.Contains(resolved, text) {
		t.Errorf("resolved are\n%s", resolved)
	}
}

func TestDeadLettersOffline(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 14, Backlog: 50, Span: time.Hour})
	w.damage(t)
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	must(t, "run", "--once", "-c", path)
	rewrite(t, path, "\nconnectors:", "\ntopics: {retention: 12h}\nconnectors:")
	if table := must(t, "status", "-c", path); strings.Count(table, "are deleted from") != 2 {
		t.Errorf("status does not warn of letters that will be gone:\n%s", table)
	}
	before := stateOf(t, nats.Options{Dir: dir})
	must(t, "dead-letters", "discard", "--all", "--dry-run", "-c", path)
	must(t, "dead-letters", "replay", "--all", "--dry-run", "-c", path)
	if after := stateOf(t, nats.Options{Dir: dir}); after != before {
		t.Errorf("dry runs changed the state from\n%sto\n%s", before, after)
	}
	lettersOf(t, path)
	must(t, "run", "--once", "-c", path)
}

func TestDeadLettersBesideAService(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 15, Backlog: 50, Span: time.Hour})
	w.damage(t)
	listen := ports.Addr(t)
	path := w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", t.TempDir(), listen), extra: live})
	c := startChild(t, "run", "-c", path)
	awaitAll(t, natsURL("nats://"+listen), w.Account(), c)
	lettersOf(t, path)
	if code := c.stop(); code != 0 || strings.Contains(c.notes.String(), "level=ERROR") {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
}

func TestDeadLettersOnAServerOfYours(t *testing.T) {
	t.Parallel()
	deadLettersOnAServerOfYours(t, func(t *testing.T) target {
		server := startServer(t)
		server.await()
		return server
	})
}

func deadLettersOnAServerOfYours(t *testing.T, newTarget func(*testing.T) target) {
	for _, beside := range []bool{true, false} {
		w := startWorld(t, simulator.Options{Seed: 16, Backlog: 50, Span: time.Hour})
		w.damage(t)
		path := w.configure(t, settings{on: newTarget(t), extra: live})
		if !beside {
			must(t, "run", "--once", "-c", path)
			lettersOf(t, path)
			continue
		}
		c := startChild(t, "run", "-c", path)
		await(t, c, func() bool {
			n := 0
			for _, c := range causes(t, path) {
				n += c.Count
			}
			return n == 6
		})
		lettersOf(t, path)
		c.stop()
	}
}

// What completion prints is what the shell can read, and it knows the
// configuration.
func TestCompletion(t *testing.T) {
	script := must(t, "completion", "bash")
	check := exec.Command("bash", "-n")
	check.Stdin = strings.NewReader(script)
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("bash -n: %v\n%s", err, said)
	}
	for _, shell := range []string{"zsh", "fish", "powershell"} {
		if script := must(t, "completion", shell); !strings.Contains(script, "millrace") {
			t.Errorf("%s:\n%s", shell, script)
		}
	}
	fails(t, 2, []string{"tcsh"}, "completion", "tcsh")
	w := startWorld(t, simulator.Options{Seed: 17})
	path := w.configure(t, settings{broker: embeddedIn(t.TempDir())})
	if names := must(t, "__complete", "cursor", "rewind", "-c", path, ""); !strings.Contains(names, "support/messages\n") {
		t.Errorf("completed as\n%s", names)
	}
	if names := must(t, "__complete", "cursor", "get", "-c", path+".missing", ""); strings.Contains(names, "support") {
		t.Errorf("completed as\n%s", names)
	}
	if names := must(t, "__complete", "dead-letters", "list", "-c", path, "--stream", ""); !strings.HasPrefix(names, "support/") || strings.Contains(names, "support\n") {
		t.Errorf("--stream of dead letters is completed as\n%s", names)
	}
	if names := must(t, "__complete", "dead-letters", "discard", "-c", path, "--connector", ""); !strings.HasPrefix(names, "support\n") || strings.Contains(names, "/") {
		t.Errorf("--connector of dead letters is completed as\n%s", names)
	}
	if names := must(t, "__complete", "tail", "mes"); !strings.Contains(names, "message") {
		t.Errorf("completed as\n%s", names)
	}
}
