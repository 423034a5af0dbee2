package nats

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

var otherKey = events.StreamKey{Vendor: "netcore", Account: "7", Stream: "users"}

// loseTail does to a closed store what a power loss does to one that was not
// synchronized: the end of the log is missing, its index is older, and the
// staged copy of the batch is gone.
func loseTail(t *testing.T, dir string, bytes int64) {
	t.Helper()
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", "MILLRACE", "msgs")
	blocks, err := filepath.Glob(filepath.Join(msgs, "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("blocks: %v, %v", blocks, err)
	}
	slices.Sort(blocks)
	last := blocks[len(blocks)-1]
	info, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last, info.Size()-bytes); err != nil {
		t.Fatal(err)
	}
	// A server that was killed has written none.
	if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestTornBatchIsRepaired(t *testing.T) {
	for _, test := range []struct {
		name   string
		behind int // plain messages stored behind the torn batch
	}{{"at the end", 0}, {"behind it plain messages", 5}, {"behind it hundreds of them", 700}} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, Options{Dir: dir})
			commit(t, acquire(t, b, otherKey), batch("o", 1000, 10))
			s := acquire(t, b, testKey)
			commit(t, s, batch("1", 0, 100))
			commit(t, s, batch("2", 100, 100))
			b.Close()
			loseTail(t, dir, 5000)
			if test.behind > 0 {
				storeBehind(t, dir, test.behind)
			}

			log, logger := newLog(t)
			b = open(t, Options{Dir: dir, Logger: logger})
			if !strings.Contains(log.String(), "half-written") {
				t.Error("nothing was repaired")
			}
			s = acquire(t, b, testKey)
			if c, err := s.Checkpoint(t.Context()); err != nil || string(c) != `{"commit":"1"}` {
				t.Fatalf("checkpoint: %s, %v", c, err)
			}
			if entries, err := s.Entries(t.Context()); err != nil || !slices.Equal(entries, []string{"1"}) {
				t.Errorf("entries: %q, %v", entries, err)
			}
			want := append(numbered(1000, 10), numbered(0, 100)...)
			if got := published(t, b); !slices.Equal(got, want) {
				t.Fatalf("the topics hold %v", got)
			}
			commit(t, s, batch("2", 100, 100))
			if got := published(t, b); !slices.Equal(got, append(want, numbered(100, 100)...)) {
				t.Errorf("the topics hold %v", got)
			}
		})
	}
}

// storeBehind starts the server without a repair and stores plain messages.
func storeBehind(t *testing.T, dir string, n int) {
	t.Helper()
	_, logger := newLog(t)
	e, err := openDir(Options{Dir: dir, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	s, err := e.start(t.Context(), names{defaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for range n {
		m := &natsgo.Msg{Subject: names{defaultPrefix}.checkpoint(otherKey), Data: []byte("x"), Header: natsgo.Header{headerRollup: {"sub"}, headerTTL: {"never"}}}
		if _, err := s.request(t.Context(), m, readWait); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWholeBatchIsNotRepaired leaves the log ending in a batch whose marker is
// gone, because a later checkpoint has replaced the one that carried it.
func TestWholeBatchIsNotRepaired(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	commit(t, acquire(t, b, otherKey), batch("o", 1000, 10))
	s := acquire(t, b, testKey)
	commit(t, s, batch("1", 0, 50))
	for _, id := range []string{"2", "3"} {
		if err := s.Advance(t.Context(), id, []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	log, logger := newLog(t)
	b = open(t, Options{Dir: dir, Logger: logger})
	if strings.Contains(log.String(), "half-written") {
		t.Error("a whole batch was taken for a torn one")
	}
	if got := published(t, b); !slices.Equal(got, append(numbered(1000, 10), numbered(0, 50)...)) {
		t.Errorf("the topics hold %v", got)
	}
	if err := b.restart(t.Context(), b.session); err != nil {
		t.Fatal(err)
	}
	if got := published(t, b); len(got) != 60 {
		t.Errorf("after a restart the topics hold %v", got)
	}
}

// TestTailAndServeGoOnAfterARestart replaces the server under a running reader.
func TestTailAndServeGoOnAfterARestart(t *testing.T) {
	b := open(t, Options{Listen: "127.0.0.1:0"})
	addr := b.Addr()
	serving(t, b, func([]byte) []byte { return []byte("here") })
	s := acquire(t, b, testKey)
	commit(t, s, batch("1", 0, 10))
	enough := errors.New("enough")
	var got []string
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- b.Tail(t.Context(), topics.TailOptions{Beginning: true, Ready: func() { close(ready) }}, func(r topics.Received) error {
			if got = append(got, string(r.Data)); len(got) == 30 {
				return enough
			}
			return nil
		})
	}()
	<-ready
	for i, id := range []string{"2", "3"} {
		if err := b.restart(t.Context(), b.session); err != nil {
			t.Fatal(err)
		}
		commit(t, s, batch(id, 10*(i+1), 10))
	}
	if err := <-ended; !errors.Is(err, enough) || !slices.Equal(got, numbered(0, 30)) {
		t.Errorf("ended with %v, read %v", err, got)
	}
	if b.Addr() != addr {
		t.Errorf("the listener moved from %s to %s", addr, b.Addr())
	}
	eventually(t, "requests are answered again", func() bool {
		answers, err := b.Ask(t.Context(), nil)
		return err == nil && len(answers) == 1
	})
}
