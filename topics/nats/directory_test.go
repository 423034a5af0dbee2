package nats

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
)

// wantLocal checks that opening fails by our own fault and says what it must.
func wantLocal(t *testing.T, opts Options, texts ...string) {
	t.Helper()
	b, err := Open(t.Context(), opts)
	if err == nil {
		b.Close()
		t.Fatal("it opened")
	}
	var oe *topics.OpenError
	if !errors.As(err, &oe) || oe.Remote {
		t.Errorf("%v is no local OpenError", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	child := func() (string, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childMode+"=open", childDir+"="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := child()
	if err == nil {
		t.Error("a second process opened the directory")
	}
	for _, text := range []string{dir, fmt.Sprint("pid ", os.Getpid()), "broker.nats.url"} {
		if !strings.Contains(out, text) {
			t.Errorf("the second process does not say %q, but %q", text, out)
		}
	}
	wantLocal(t, Options{Dir: dir}, dir, "broker.nats.url")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := child(); err != nil {
		t.Errorf("after the first has closed: %v: %s", err, out)
	}
}

func TestDirectoryCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantLocal(t, Options{Dir: filepath.Join(file, "sub")}, "broker.nats.dir", file, "name one that millrace may write to")
	wantLocal(t, Options{Dir: file}, "broker.nats.dir", file)
	wantLocal(t, Options{}, "broker.nats.dir is empty")
	wantLocal(t, Options{Dir: t.TempDir(), Prefix: "a..b"}, "topics.prefix")
}

func TestPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wantLocal(t, Options{Dir: t.TempDir(), Listen: l.Addr().String()}, "broker.nats.listen", l.Addr().String(), "choose another port")
	wantLocal(t, Options{Dir: t.TempDir(), Listen: "127.0.0.1"}, "broker.nats.listen", "host:port")
	wantLocal(t, Options{Dir: t.TempDir(), Listen: "127.0.0.1:99999"}, "broker.nats.listen")
}

func TestDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	b := open(t, Options{Dir: dir, Listen: "127.0.0.1:0"})
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, keyFile): 0o600, filepath.Join(dir, serviceFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	before, _ := os.ReadFile(filepath.Join(dir, keyFile))
	b.Close()
	open(t, Options{Dir: dir})
	if after, _ := os.ReadFile(filepath.Join(dir, keyFile)); !bytes.Equal(before, after) {
		t.Error("the key changed")
	}
}

func TestDamagedKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	if err := os.WriteFile(path, []byte("SUAsecretjunk"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantLocal(t, Options{Dir: dir}, path, "delete that file")
	if _, err := Open(t.Context(), Options{Dir: dir}); strings.Contains(err.Error(), "secretjunk") {
		t.Errorf("the key is in the error: %v", err)
	}
}

func TestOperator(t *testing.T) {
	dir := t.TempDir()
	t.Run("no service runs", func(t *testing.T) {
		b := open(t, Options{Dir: dir, Listen: "127.0.0.1:0", Operator: true})
		if b.Addr() != "" {
			t.Errorf("an operating command listens on %s", b.Addr())
		}
		commit(t, acquire(t, b, testKey), batch("a", 0, 3))
		if answers, err := b.Ask(t.Context(), []byte("x")); err != nil || len(answers) != 0 {
			t.Errorf("ask: %q, %v", answers, err)
		}
	})
	t.Run("a service runs", func(t *testing.T) {
		b := open(t, Options{Dir: dir, Listen: "127.0.0.1:0"})
		serving(t, b, func(request []byte) []byte { return append([]byte("heard "), request...) })
		o := open(t, Options{Dir: dir, Listen: b.Addr(), Operator: true})
		answers, err := o.Ask(t.Context(), []byte("x"))
		if err != nil || len(answers) != 1 || string(answers[0]) != "heard x" {
			t.Errorf("ask: %q, %v", answers, err)
		}
		if all, err := o.Checkpoints(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("checkpoints: %v, %v", all, err)
		}
		if got := published(t, o); len(got) != 3 {
			t.Errorf("read %v", got)
		}
	})
	t.Run("a service without a listener runs", func(t *testing.T) {
		open(t, Options{Dir: dir})
		wantLocal(t, Options{Dir: dir, Operator: true}, dir, "no listener", "only while it is stopped")
	})
}

func TestStateOutlivesRetention(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	commit(t, acquire(t, b, testKey), batch("a", 0, 3))
	b.Close()
	b = open(t, Options{Dir: dir, MaxAge: time.Second})
	info, err := b.session.stream.Info(t.Context())
	if err != nil || info.Config.MaxAge != time.Second {
		t.Fatalf("max age %v, %v", info.Config.MaxAge, err)
	}
	eventually(t, "the events expire", func() bool { return len(published(t, b)) == 0 })
	s := acquire(t, b, testKey)
	if c, err := s.Checkpoint(t.Context()); err != nil || c == nil {
		t.Errorf("checkpoint: %q, %v", c, err)
	}
	if entries, err := s.Entries(t.Context()); err != nil || len(entries) != 1 {
		t.Errorf("entries: %q, %v", entries, err)
	}
	commit(t, s, batch("b", 3, 3))
	eventually(t, "these expire too", func() bool { return len(published(t, b)) == 0 })
}

func TestStreamOfAnotherShapeIsRefused(t *testing.T) {
	b := open(t, Options{})
	good := b.streamConfig(b.session)
	for what, change := range map[string]func(*jetstream.StreamConfig){
		"subjects":        func(c *jetstream.StreamConfig) { c.Subjects = []string{"other.>"} },
		"retention":       func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"storage":         func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"each subject":    func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"sealed":          func(c *jetstream.StreamConfig) { c.Sealed = true },
		"denies deleting": func(c *jetstream.StreamConfig) { c.DenyPurge = true },
	} {
		config := good
		change(&config)
		if _, _, err := b.fitConfig(config); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, changed, err := b.fitConfig(good); changed || err != nil {
		t.Errorf("the right one: changed %v, %v", changed, err)
	}
	loose := good
	loose.AllowAtomicPublish, loose.Discard = false, jetstream.DiscardOld
	if fit, changed, err := b.fitConfig(loose); !changed || err != nil || !fit.AllowAtomicPublish || fit.Discard != jetstream.DiscardNew {
		t.Errorf("a loose one: %+v, %v, %v", fit, changed, err)
	}
}

// An operating command that has the directory is soon gone: a service that starts
// meanwhile waits for it, and does not say that the directory is in use.
func TestServiceWaitsForACommand(t *testing.T) {
	dir := t.TempDir()
	command, err := Open(t.Context(), Options{Dir: dir, Operator: true})
	if err != nil {
		t.Fatal(err)
	}
	if !command.Offline() {
		t.Error("a command without a service is not offline")
	}
	started := make(chan error)
	go func() {
		service, err := Open(t.Context(), Options{Dir: dir})
		if err == nil {
			err = service.Close()
		}
		started <- err
	}()
	select {
	case err := <-started:
		t.Fatalf("a service started beside a command: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := command.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Error(err)
	}
}
