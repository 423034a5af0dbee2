package nats

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// A newer server that calls its fields otherwise is found out here, not in a
// container that runs out of memory.
func TestTheWriteCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := boundCache(b.session.srv, "NO_SUCH_STREAM"); err == nil {
		t.Error("a stream that does not exist has a store")
	}
	s, err := b.Acquire(t.Context(), events.StreamKey{Vendor: "v", Account: "a", Stream: "s"}, "o", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	if _, err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		c := &topics.Commit{ID: string(rune('a' + n)), Checkpoint: []byte("{}")}
		for range 10 {
			c.Messages = append(c.Messages, topics.Message{Topic: "message", Connector: "c", Key: "k", Data: make([]byte, 50_000)})
		}
		if err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	// Three megabytes are in blocks of about one.
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "MILLRACE", "msgs", "*.blk"))
	if err != nil || len(blocks) < 3 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	for _, path := range blocks {
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s has %d bytes, %v", path, info.Size(), err)
		}
	}
}
