package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/nats"
)

// standing is where a stream stands, as cursor get tells it.
func standing(t *testing.T, path, stream string) app.Cursor {
	t.Helper()
	var all []app.Cursor
	if err := json.Unmarshal([]byte(must(t, "cursor", "get", stream, "-o", "json", "-c", path)), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d streams are named %s", len(all), stream)
	}
	return all[0]
}

// stateOf is all checkpoints of an embedded directory, as bytes.
func stateOf(t *testing.T, o nats.Options) string {
	t.Helper()
	b, err := nats.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	stored, err := b.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, s := range stored {
		names, err := b.Ledger(s.Key).Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %s %s %q\n", s.Key, s.Checkpoint, s.Written, names)
	}
	return text.String()
}

// Without a service: the command opens the directory.
func TestCursorOffline(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 11, Backlog: 300, Span: 2 * time.Hour})
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	fails(t, 2, []string{"has not been read yet"}, "cursor", "rewind", "support/messages", "--by", "1h", "-c", path)
	must(t, "run", "--once", "-c", path)
	published := len(readTopics(t, dir))
	before := stateOf(t, nats.Options{Dir: dir})
	at := standing(t, path, "support/messages").Cursor

	said := must(t, "cursor", "rewind", "support/messages", "--by", "1h", "--dry-run", "-c", path)
	if !strings.Contains(said, "would be read again") || !strings.Contains(said, "(1h)") {
		t.Errorf("a dry run says:\n%s", said)
	}
	if after := stateOf(t, nats.Options{Dir: dir}); after != before {
		t.Errorf("a dry run changed the state from\n%sto\n%s", before, after)
	}
	if _, logged := mustSay(t, "cursor", "rewind", "support/messages", "--by", "1h", "-c", path); logged != "" {
		t.Errorf("what was done is told twice:\n%s", logged)
	}
	if now := standing(t, path, "support/messages").Cursor; !now.Equal(at.Add(-time.Hour)) {
		t.Errorf("the cursor went from %s to %s", at, now)
	}
	must(t, "run", "--once", "-c", path)
	if n := len(readTopics(t, dir)); n != published {
		t.Errorf("a rewind published %d events more", n-published)
	}
	must(t, "cursor", "rewind", "support/messages", "--by", "0d1h", "--replay", "-c", path)
	must(t, "run", "--once", "-c", path)
	replayed := 0
	for _, e := range readTopics(t, dir) {
		if e.Replay {
			replayed++
		}
	}
	if n := len(readTopics(t, dir)); replayed == 0 || n != published+replayed {
		t.Errorf("%d events are marked replay, %d are there more", replayed, n-published)
	}

	fails(t, 2, []string{"say with --to"}, "cursor", "set", "support", "-c", path)
	fails(t, 2, []string{"either --by", "or --to"}, "cursor", "rewind", "support", "-c", path)
	fails(t, 2, []string{"either --by", "or --to"}, "cursor", "rewind", "support", "--by", "1h", "--to", "2d", "-c", path)
	if said := must(t, "cursor", "get", "support/messages", "-c", path); !strings.Contains(said, " support/messages\n") || !strings.Contains(said, "\nkey ") {
		t.Errorf("the stream is not named as commands take it:\n%s", said)
	}
	fails(t, 2, []string{"nobody", "support"}, "cursor", "get", "nobody", "-c", path)
	fails(t, 2, []string{"nothing", "messages"}, "cursor", "get", "support/nothing", "-c", path)
	fails(t, 2, []string{"future"}, "cursor", "set", "support", "--to", "2999-01-01", "-c", path)
	must(t, "cursor", "rewind", "support", "--by", "1h", "-c", path)
	fails(t, 2, []string{"cursor set"}, "cursor", "rewind", "support", "--to", "10m", "-c", path)
	said = must(t, "cursor", "set", "support/messages", "--to", "10m", "-c", path)
	if !strings.Contains(said, "hole") {
		t.Errorf("a move forward says:\n%s", said)
	}
	must(t, "run", "--once", "-c", path)
}

// Beside a service: its listener takes the request, and it reads from the new
// place at once.
func TestCursorBesideAService(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 12, Backlog: 300, Span: 2 * time.Hour})
	besideAService(t, w, newListening(t))
}

func TestCursorOnAServerOfYours(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.await()
	cursorOnAServerOfYours(t, server)
}

func cursorOnAServerOfYours(t *testing.T, on target) {
	w := startWorld(t, simulator.Options{Seed: 13, Backlog: 300, Span: 2 * time.Hour})
	path := besideAService(t, w, on)
	// Without the service the command takes the stream itself.
	at := standing(t, path, "support/messages").Cursor
	must(t, "cursor", "rewind", "support/messages", "--by", "1h", "-c", path)
	if now := standing(t, path, "support/messages").Cursor; !now.Equal(at.Add(-time.Hour)) {
		t.Errorf("the cursor went from %s to %s", at, now)
	}
}

func besideAService(t *testing.T, w *world, on target) (path string) {
	t.Helper()
	path = w.configure(t, settings{on: on, extra: live})
	c := startChild(t, "run", "-c", path)
	awaitAll(t, on, w.Account(), c)
	must(t, "cursor", "rewind", "support", "--by", "1h30m", "-c", path)
	must(t, "cursor", "rewind", "support/messages", "--by", "1h30m", "--replay", "-c", path)
	await(t, c, func() bool { return strings.Contains(c.notes.String(), "the replay is over") })
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	for _, word := range []string{"level=ERROR", "level=WARN"} {
		if strings.Contains(c.notes.String(), word) {
			t.Errorf("the service complains:\n%s", c.notes)
		}
	}
	if n := strings.Count(c.notes.String(), "the cursor was moved"); n != 3 {
		t.Errorf("%d moves are in the log:\n%s", n, c.notes)
	}
	return path
}
