package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/nats"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// fails runs the program and wants an exit code, and a message that says these
// things and none of the secrets.
func fails(t *testing.T, code int, says []string, args ...string) {
	t.Helper()
	var out, notes bytes.Buffer
	if got := run(t.Context(), args, &out, &notes); got != code {
		t.Errorf("millrace %s: exit code %d, want %d", strings.Join(args, " "), got, code)
	}
	for _, what := range says {
		if !strings.Contains(notes.String(), what) {
			t.Errorf("millrace %s does not say %q:\n%s", strings.Join(args, " "), what, notes.String())
		}
	}
	for _, secret := range []string{simulator.DefaultAPIKey, wrongKey} {
		if strings.Contains(notes.String()+out.String(), secret) {
			t.Errorf("millrace %s shows a secret:\n%s%s", strings.Join(args, " "), out.String(), notes.String())
		}
	}
}

const wrongKey = "wr0ng-and-s3cret"

func rewrite(t *testing.T, path, old, replacement string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte(old), []byte(replacement)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWrongKey(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5, Backlog: 100})
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	rewrite(t, path, simulator.DefaultAPIKey, wrongKey)
	fails(t, 3, []string{"401", "credential is not accepted", "support/messages: listing messages"}, "run", "--once", "-c", path)
	var notes bytes.Buffer
	run(t.Context(), []string{"run", "--once", "-c", path}, io.Discard, &notes)
	if n := strings.Count(notes.String(), "stream is failing, and is given up"); n != 2 || strings.Contains(notes.String(), "repeated") {
		t.Errorf("%d lines tell that two streams are given up:\n%s", n, notes.String())
	}
	fails(t, 3, []string{"connector support", "401"}, "check", "--connect", "-c", path)
	wantToldOnce(t, path)
	rewrite(t, path, wrongKey, simulator.DefaultAPIKey)
	must(t, "check", "--connect", "-c", path)
	must(t, "run", "--once", "-c", path)
	compareAll(t, readTopics(t, dir), w.Account())
}

// What the broker needs must be set, however deep it stands.
func TestUnsetBrokerSettings(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	path := w.configure(t, settings{broker: embeddedIn(t.TempDir()) + `, tls: {cert: "${NOT_SET_ANYWHERE}", key: a.key}`})
	fails(t, 2, []string{path + ":2:", "broker.nats.tls.cert", "NOT_SET_ANYWHERE"}, "status", "-c", path)
}

func TestBadConfiguration(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	path := w.configure(t, settings{broker: embeddedIn(t.TempDir()), extra: "pol: 3s\n"})
	fails(t, 2, []string{path + ":11:", "pol", `"poll"`}, "run", "-c", path)
	fails(t, 2, []string{path + ":11:"}, "check", "-c", path)
	fails(t, 2, []string{"nowhere.yaml"}, "run", "-c", "nowhere.yaml")
	fails(t, 2, []string{"unknown flag"}, "run", "--twice")
	fails(t, 2, []string{"unknown command"}, "fly")
	fails(t, 2, []string{`millrace status takes no argument such as "fly"; usage: millrace status [flags]`}, "status", "fly")
	fails(t, 2, []string{"--from wants"}, "tail", "--from", "yesterday")
	same := w.configure(t, settings{broker: embeddedIn(t.TempDir())})
	fails(t, 2, []string{`no topic "sonnet"`}, "tail", "message", "sonnet", "-c", same)
	data, _ := os.ReadFile(same)
	_, section, _ := strings.Cut(string(data), "connectors:\n")
	rewrite(t, same, section, section+strings.Replace(section, "support:", "again:", 1))
	fails(t, 2, []string{"again", `"support"`, "reads deepconverse/"}, "check", "-c", same)
}

// A command that is given somewhere else than the service looks into a directory
// that nothing ran on, and says so; check may be the first to make it.
func TestDirectoryThatWasNotThere(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5, Backlog: 20})
	for command, warns := range map[string]bool{"status": true, "cursor get": true, "dead-letters list": true, "tail --from 1h -n 1": true, "check --connect": false} {
		dir := filepath.Join(t.TempDir(), "data")
		path := w.configure(t, settings{broker: embeddedIn(dir)})
		for _, first := range []bool{true, false} {
			_, notes := mustSay(t, append(strings.Fields(command), "-c", path)...)
			if said := strings.Contains(notes, "was not there") && strings.Contains(notes, dir); said != (warns && first) {
				t.Errorf("%s, first %t, says:\n%s", command, first, notes)
			}
		}
	}
}

func TestPortInUse(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	fails(t, 1, []string{taken, "listen"}, "run", "--once", "-c", w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", t.TempDir(), taken)}))
	fails(t, 1, []string{taken, "http.listen"}, "run", "--once", "-c", w.configure(t, settings{broker: embeddedIn(t.TempDir()), http: taken}))
}

func TestDirectoryInUse(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5, Backlog: 50})
	dir, listen := t.TempDir(), ports.Addr(t)
	path := w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", dir, listen), extra: live})
	c := startChild(t, "run", "-c", path)
	awaitAll(t, natsURL("nats://"+listen), w.Account(), c)
	fails(t, 1, []string{dir, "in use by"}, "run", "--once", "-c", w.configure(t, settings{broker: embeddedIn(dir)}))
	// Operating commands work beside the service.
	if table := must(t, "status", "-c", path); !strings.Contains(table, "reading") {
		t.Errorf("status does not show a stream that reads:\n%s", table)
	}
	if lines := must(t, "tail", "--from", "beginning", "-n", "3", "-c", path); strings.Count(lines, "\n") != 3 {
		t.Errorf("tail -n 3 printed:\n%s", lines)
	}
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	if table := must(t, "status", "-c", path); !strings.Contains(table, "stopped") {
		t.Errorf("status does not show that the service is stopped:\n%s", table)
	}
}

// mount mounts a tmpfs, which takes root.
func mount(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("mounting a file system takes root")
		}
		t.Skip("mounting a file system takes root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestReadOnlyDirectory(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	dir := mount(t, syscall.MS_RDONLY, "size=1m")
	fails(t, 1, []string{dir, "read-only"}, "run", "--once", "-c", w.configure(t, settings{broker: embeddedIn(filepath.Join(dir, "data"))}))
}

// Nothing is lost when the disk fills up: the service waits, says so, and goes
// on when there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := startWorld(t, simulator.Options{Seed: 6, Backlog: 5_000, Span: time.Hour})
	dir, listen, page := mount(t, 0, "size=64m"), ports.Addr(t), ports.Addr(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 28<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	path := w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", filepath.Join(dir, "data"), listen), http: page, extra: live})
	c := startChild(t, "run", "-c", path)
	await(t, c, func() bool { return strings.Contains(c.notes.String(), "waiting for room") })
	if text := must(t, "status", "-c", path); !strings.Contains(text, "full") {
		t.Errorf("status does not say that the broker is full:\n%s", text)
	}
	if err := os.Truncate(ballast, 0); err != nil {
		t.Fatal(err)
	}
	awaitAll(t, natsURL("nats://"+listen), w.Account(), c)
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	compareAll(t, readTopics(t, filepath.Join(dir, "data")), w.Account())
	if !strings.Contains(c.notes.String(), "has room again") {
		t.Errorf("the log does not say that there is room again:\n%s", c.notes)
	}
}

// await asks again and again until something is so.
func await(t *testing.T, c *child, so func() bool) {
	t.Helper()
	limit := time.After(5 * time.Minute)
	for {
		asked := time.Now()
		if so() {
			return
		}
		// To ask takes time from the program, which is what is waited for.
		again := time.After(min(max(20*time.Millisecond, 4*time.Since(asked)), 250*time.Millisecond))
		select {
		case <-again:
		case <-c.done:
			t.Fatalf("the program ended with code %d:\n%s", c.cmd.ProcessState.ExitCode(), c.notes)
		case <-limit:
			t.Fatalf("it did not happen within five minutes; the program said:\n%s", c.notes)
		}
	}
}

func TestOldServer(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	binary := filepath.Join(filepath.Dir(serverBinary(t)), "nats-server-2.11")
	if _, err := os.Stat(binary); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("bin/nats-server-2.11 is missing: make tools builds it")
	}
	addr := ports.Addr(t)
	host, port, _ := net.SplitHostPort(addr)
	server := exec.Command(binary, "-a", host, "-p", port, "-js", "-sd", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	awaitServer(t, addr)
	path := w.configure(t, settings{broker: fmt.Sprintf("url: %q", "nats://"+addr)})
	fails(t, 3, []string{"2.11", "2.15"}, "run", "--once", "-c", path)
	fails(t, 3, []string{"broker", "2.11"}, "check", "--connect", "-c", path)
}

func TestBrokerAway(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	addr := ports.Addr(t)
	fails(t, 3, []string{addr}, "run", "--once", "-c", w.configure(t, settings{broker: fmt.Sprintf("url: %q", "nats://"+addr)}))
}

func TestStateOfANewerVersion(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5, Backlog: 50})
	dir := t.TempDir()
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	must(t, "run", "--once", "-c", path)
	b, err := nats.Open(t.Context(), nats.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	key := events.StreamKey{Vendor: "deepconverse", Account: simulator.DefaultBotName, Stream: "messages"}
	held, err := b.Acquire(t.Context(), key, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := held.Advance(t.Context(), "newer", []byte(`{"version":99,"live":"in another shape"}`)); err != nil {
		t.Fatal(err)
	}
	held.Release()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, []string{"format 99", "newer millrace"}, "run", "--once", "-c", path)
	fails(t, 1, []string{"format 99", "newer millrace"}, "run", "-c", path)
}

// SIGTERM finishes the batch in flight and ends within 10 s, also while the API
// is silent; a second signal ends at once.
func TestStops(t *testing.T) {
	silent := make(chan struct{})
	mux := http.NewServeMux()
	asked := make(chan struct{}, 16)
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-silent:
		case <-r.Context().Done():
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { close(silent); _ = server.Close() })
	w := &world{url: "http://" + l.Addr().String(), since: time.Now().Add(-time.Hour)}
	path := w.configure(t, settings{broker: embeddedIn(t.TempDir()), extra: live})
	c := startChild(t, "run", "-c", path)
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Fatalf("no request came:\n%s", c.notes)
	}
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
}

// A broker that hangs does not keep the service from ending; a second signal
// ends it at once.
func TestStopsWhileTheBrokerHangs(t *testing.T) {
	t.Parallel() // it waits, for the ends and for streams that nobody released
	server := startServer(t)
	awaitServer(t, server.addr)
	w := startWorld(t, simulator.Options{Seed: 7, Backlog: 500, Span: time.Hour, Rate: 100})
	path := w.configure(t, settings{broker: fmt.Sprintf("url: %q", server.url()), extra: live})
	for _, signals := range []int{1, 2} {
		c := startChild(t, "run", "-c", path)
		await(t, c, func() bool { return strings.Contains(must(t, "status", "-c", path), "reading") })
		if err := server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		// Either a page comes now, whose batch will not be acknowledged, or none
		// comes because a batch is waiting already.
		served, patience := w.Summary().Endpoints["deepconverse/messages"].Answered, time.After(2*time.Second)
		await(t, c, func() bool {
			select {
			case <-patience:
				return true
			default:
				return w.Summary().Endpoints["deepconverse/messages"].Answered > served
			}
		})
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		limit := 10 * time.Second
		if signals == 2 {
			await(t, c, func() bool { return strings.Contains(c.notes.String(), "second signal") })
			_ = c.cmd.Process.Signal(syscall.SIGTERM)
			limit = 2 * time.Second
		}
		began := time.Now()
		code := c.wait(limit)
		t.Logf("%d signals: code %d after %s", signals, code, time.Since(began))
		if want := signals - 1; code != want && signals == 2 {
			t.Errorf("after %d signals the exit code is %d, want %d", signals, code, want)
		}
		if err := server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	w.Pause()
	c := startChild(t, "run", "-c", path)
	awaitAll(t, server, w.Account(), c)
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	compareAll(t, server.events(t), w.Account())
}

func TestDemo(t *testing.T) {
	var out, notes bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if code := run(ctx, []string{"demo", "-n", "30"}, &out, &notes); code != 0 || ctx.Err() != nil {
		t.Fatalf("exit code %d (%v):\n%s", code, ctx.Err(), notes.String())
	}
	if n := strings.Count(out.String(), "\n"); n != 30 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

func TestTopicsWritesSchemas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "schemas")
	must(t, "topics", "--schemas", dir)
	for _, et := range events.Catalogue() {
		got, err := os.ReadFile(filepath.Join(dir, et.Name+".v1.json"))
		if err != nil || !bytes.Equal(got, et.Schema) {
			t.Errorf("%s: %v", et.Name, errors.Join(err))
		}
	}
	if table := must(t, "topics"); !strings.Contains(table, "conversation") {
		t.Errorf("topics does not list conversation:\n%s", table)
	}
	must(t, "version")
}
