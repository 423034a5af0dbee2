package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/nats"
)

// exported writes the state of a configuration's broker to a file.
func exported(t *testing.T, path string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "state.jsonl")
	if _, notes := mustSay(t, "state", "export", "-o", file, "-c", path); !strings.Contains(notes, "Do not start the service on this broker again") {
		t.Errorf("export does not say what must not be done any more:\n%s", notes)
	}
	return file
}

// imported is the table of an import that succeeds.
func imported(t *testing.T, args ...string) (all []app.StateStream) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, append([]string{"state", "import", "-o", "json"}, args...)...)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// contents is what an archive says, without who wrote it and when.
func contents(t *testing.T, file string) (lines []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := ledger.NewArchiveReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a.Streams {
		c, err := ledger.DecodeCheckpoint(s.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		c.Owner, c.Commit, c.Commits, c.Imported = "", "", 0, ""
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(data))
	}
	for {
		n, name, data, err := a.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%d %s %x", n, name, data))
	}
}

// wantSame wants two brokers to know the same.
func wantSame(t *testing.T, file, path string) {
	t.Helper()
	if got, want := contents(t, exported(t, path)), contents(t, file); !slices.Equal(got, want) {
		t.Errorf("%d checkpoints and entries came to be %d others", len(want), len(got))
	}
}

// more lets the world go on until there are more records of each kind that it
// makes all the time, and stops it.
func (w *world) more(t *testing.T) {
	t.Helper()
	before := records(w.Account())
	w.Resume()
	for deadline := time.Now().Add(time.Minute); records(w.Account()) < before+50; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the world stands still")
		}
	}
	w.Pause()
}

// without returns the events beyond others: one that is there twice stays.
func without(all, others []event) []event {
	left := map[events.ID]int{}
	for i := range others {
		left[others[i].ID]++
	}
	return slices.DeleteFunc(all, func(e event) bool {
		left[e.ID]--
		return left[e.ID] >= 0
	})
}

// again reads so far back that nothing of a short history is left out.
const again = fast + "settle: 0s\noverlap: 6h\nquiet: 6h\n"

// Invariants 1, 2 and 12 across brokers: what one has published the other does not
// publish, however far back it reads again, and it goes on without a gap; and back.
func TestStateMovesToAnotherBroker(t *testing.T) {
	t.Parallel()
	stateMoves(t, newEmbedded(t), newEmbedded(t))
}

func stateMoves(t *testing.T, first, second target) {
	w := startAll(t, simulator.Options{Seed: 80, Backlog: 1_000, Span: 4 * time.Hour, Rate: 50, Identical: 0.1, ChangeBack: 0.3})
	w.Pause()
	from := w.configure(t, settings{on: first, extra: again})
	to := w.configure(t, settings{on: second, extra: again})
	must(t, "run", "--once", "-c", from)
	before := first.events(t)
	file := exported(t, from)
	all := imported(t, file, "-c", to)
	if len(all) != 15 || all[0].Result != app.StateImported || all[0].Cursor.IsZero() || all[0].Connector == "" {
		t.Errorf("the import tells %+v", all)
	}
	wantSame(t, file, to)
	must(t, "run", "--once", "-c", to)
	if n := len(second.events(t)); n > 0 {
		t.Errorf("%d events that the first broker has are published on the second", n)
	}
	w.more(t)
	must(t, "run", "--once", "-c", to)
	between := second.events(t)
	compareAll(t, append(slices.Clone(before), between...), w.Account())

	fails(t, 2, []string{"knows of 15 streams already:\n", "\n  support/messages (it was read up to", ")\nNothing was imported. With --replace"}, "state", "import", exported(t, to), "-c", from)
	for _, s := range imported(t, "--replace", exported(t, to), "-c", from) {
		if s.Result != app.StateReplaced {
			t.Errorf("%s is %s", s.Stream, s.Result)
		}
	}
	w.more(t)
	must(t, "run", "--once", "-c", from)
	compareAll(t, slices.Concat(before, between, without(first.events(t), before)), w.Account())
}

// fed is a program that reads what a test gives it.
func fed(t *testing.T, args ...string) (*child, io.WriteCloser) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := startChildWith(t, in, args...)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return c, out
}

// An import that is killed half-way leaves nothing that a service begins from, and
// repeating it brings all that there was; also over what was there before.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	importKilled(t, newEmbedded(t), *kills/2)
}

func importKilled(t *testing.T, second target, times int) {
	w := startBoth(t, simulator.Options{Seed: 81, Backlog: 6_000, Span: 8 * time.Hour, Identical: 0.1})
	first := newEmbedded(t)
	from := w.configure(t, settings{on: first, extra: fast})
	to := w.configure(t, settings{on: second, extra: fast})
	must(t, "run", "--once", "-c", from)
	published := first.events(t)
	file := exported(t, from)
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const unread = 160 << 10 // what a pipe and a reader may hold of what nobody has looked at
	if len(archive) < 2*unread {
		t.Fatalf("the archive has %d bytes only: the test shows nothing", len(archive))
	}
	for n := range times {
		args := []string{"state", "import", "-", "-c", to}
		if n%2 == 1 { // of what came to its end
			imported(t, file, "-c", to)
			args = append(args, "--replace")
			rewrite(t, file, `"id":"`, `"id":"0`) // as from another export
			if archive, err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
			archive = resummed(archive)
			if err := os.WriteFile(file, archive, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, in := fed(t, args...)
		if _, err := in.Write(archive[:unread+n*(len(archive)-unread)/(2*times)]); err != nil {
			t.Fatalf("%v\n%s", err, c.notes)
		}
		c.kill()
		fails(t, 1, []string{"an import of the state", "repeat millrace state import"}, "run", "--once", "-c", to)
		fails(t, 1, []string{"an import of the state"}, "run", "-c", to)
		fails(t, 1, []string{"an import of the state"}, "state", "export", "-c", to)
		if said := must(t, "status", "-c", to); !strings.Contains(said, "repeat millrace state import") {
			t.Errorf("status says\n%s", said)
		}
	}
	imported(t, file, "-c", to)
	wantSame(t, file, to)
	must(t, "run", "--once", "-c", to)
	for _, connector := range []string{"support", "demo"} {
		must(t, "cursor", "rewind", connector, "--by", "7h", "-c", to)
	}
	must(t, "run", "--once", "-c", to)
	if n := len(second.events(t)); n > 0 {
		t.Errorf("%d of %d events are published again", n, len(published))
	}
}

// resummed puts the right sum to an archive that was changed.
func resummed(archive []byte) []byte {
	end := bytes.LastIndexByte(archive[:len(archive)-1], '\n') + 1
	sum := sha256.Sum256(archive[:end])
	var last map[string]any
	_ = json.Unmarshal(archive[end:], &last)
	return fmt.Appendf(archive[:end:end], "{\"end\":true,\"entries\":%v,\"sha256\":\"%s\"}\n", last["entries"], hex.EncodeToString(sum[:]))
}

// Files that are damaged, newer or none, and targets that know something already.
func TestImportRefuses(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 82, Backlog: 200, Span: time.Hour})
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	from := w.configure(t, settings{broker: embeddedIn(first), extra: fast})
	to := w.configure(t, settings{broker: embeddedIn(second), extra: fast})
	fails(t, 2, []string{"no state of what is to be exported"}, "state", "export", "-c", from)
	must(t, "run", "--once", "-c", from)
	file := exported(t, from)
	fails(t, 2, []string{"is there already"}, "state", "export", "-o", file, "-c", from)
	fails(t, 2, []string{"no such file"}, "state", "export", "-o", filepath.Join(first, "nowhere", "f"), "-c", from)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.jsonl")
	for _, tt := range []struct {
		data []byte
		code int
		says string
	}{
		{whole[:len(whole)/2], 2, "is not whole"},
		{whole[:bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1], 2, "is not whole"},
		{bytes.Replace(whole, []byte(`"of":1`), []byte(`"of":9`), 1), 2, "out of its place"},
		{bytes.Replace(whole, []byte(`"data":"ey`), []byte(`"data":"eY`), 1), 2, "line"},
		{[]byte("broker: {}\n"), 2, "not a file of millrace state export"},
		{resummed(bytes.Replace(whole, []byte(`{"millrace_state":1`), []byte(`{"millrace_state":2`), 1)), 1, "newer millrace"},
		{resummed(bytes.Replace(whole, []byte(`"checkpoint":{"version":3`), []byte(`"checkpoint":{"version":99`), 1)), 1, "newer millrace"},
	} {
		if err := os.WriteFile(other, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, tt.code, []string{tt.says}, "state", "import", other, "-c", to)
	}
	fails(t, 2, []string{"cannot be opened"}, "state", "import", "nowhere.jsonl", "-c", to)
	fails(t, 2, []string{"usage: millrace state import FILE"}, "state", "import", "-c", to)
	fails(t, 2, []string{"wants one of the commands"}, "state")
	if said := must(t, "status", "-o", "json", "-c", to); said != "[]\n" {
		t.Errorf("what was refused has left %s", said)
	}

	// A part; then all, of which that part is known; and the same file again.
	part := filepath.Join(t.TempDir(), "part.jsonl")
	must(t, "state", "export", "support/messages", "-o", part, "-c", from)
	if all := imported(t, part, "-c", to); len(all) != 1 || all[0].Stream != "deepconverse/"+simulator.DefaultBotName+"/messages" {
		t.Errorf("a part is %+v", all)
	}
	fails(t, 2, []string{"knows of 1 stream already", "\n  support/messages (it was read up to"}, "state", "import", file, "-c", to)
	if all := imported(t, "--replace", file, "-c", to); len(all) != 2 || all[0].Result != app.StateImported || all[1].Result != app.StateReplaced {
		t.Errorf("the whole is %+v", all)
	}
	must(t, "run", "--once", "-c", to)
	if all := imported(t, file, "-c", to); len(all) != 2 || all[0].Result != app.StateKnown || all[1].Result != app.StateKnown {
		t.Errorf("the whole again is %+v", all)
	}
	if said := must(t, "state", "import", "--replace", file, "-c", to); !strings.Contains(said, "support/messages") || !strings.Contains(said, "RESULT") {
		t.Errorf("the table is\n%s", said)
	}
	if out := must(t, "state", "export", "-c", from); !strings.HasPrefix(out, `{"millrace_state":1,`) || strings.Count(out, "\n") != bytes.Count(whole, []byte("\n")) {
		t.Errorf("the standard output has %.200s", out)
	}
}

// Where a service reads, or waits for, a stream, its state is neither exported nor
// replaced.
func TestStateIsHeldByServices(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		w, file := someState(t)
		on := newListening(t)
		path := w.configure(t, settings{on: on, extra: fast})
		c := startChild(t, "run", "-c", path)
		await(t, c, func() bool { return strings.Contains(must(t, "status", "-c", path), "reading") })
		stateIsRefused(t, path, file, "a service runs on the directory "+on.(embedded).dir)
		if code := c.stop(); code != 0 {
			t.Errorf("exit code %d:\n%s", code, c.notes)
		}
		exported(t, path)
	})
	t.Run("yours", func(t *testing.T) {
		t.Parallel()
		server := startServer(t)
		server.await()
		b, err := nats.Open(t.Context(), nats.Options{URL: server.url()})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		stateIsHeld(t, server, b)
	})
}

// someState is the state of a world that was read.
func someState(t *testing.T) (w *world, file string) {
	t.Helper()
	w = startWorld(t, simulator.Options{Seed: 83, Backlog: 200, Span: time.Hour})
	path := w.configure(t, settings{on: newEmbedded(t), extra: fast})
	must(t, "run", "--once", "-c", path)
	return w, exported(t, path)
}

// stateIsRefused wants a state to be left alone, for a reason.
func stateIsRefused(t *testing.T, path, file string, says ...string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "state.jsonl")
	fails(t, 1, append(says, "stop it first", "would publish it again"), "state", "export", "-o", out, "-c", path)
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("what was refused has left a file: %v", err)
	}
	fails(t, 1, append(says, "stop it first"), "state", "import", "--replace", file, "-c", path)
}

// stateIsHeld has two instances read on a broker that others run, and then somebody
// hold a stream who does not answer.
func stateIsHeld(t *testing.T, on target, b topics.Broker) {
	w, file := someState(t)
	path := w.configure(t, settings{on: on, extra: fast})
	c, second := startChild(t, "run", "-c", path), startChild(t, "run", "-c", path)
	await(t, c, func() bool {
		return strings.Contains(must(t, "status", "-c", path), "reading") && strings.Contains(c.notes.String()+second.notes.String(), "another instance holds the stream")
	})
	stateIsRefused(t, path, file, "support/", "is read by the service ")
	for _, one := range []*child{c, second} {
		if code := one.stop(); code != 0 {
			t.Errorf("exit code %d:\n%s", code, one.notes)
		}
	}
	all, err := b.Checkpoints(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(len(all), err)
	}
	s, err := b.Acquire(t.Context(), all[0].Key, "the silent", nil)
	if err != nil {
		t.Fatal(err)
	}
	fails(t, 1, []string{"is held by the silent: stop it first"}, "state", "export", "-c", path)
	s.Release()
	exported(t, path)
}
