//go:build linux

package nats

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics"
)

// smallDisk mounts a file system of its own, with a ballast file that can be
// removed to make room.
func smallDisk(t *testing.T, size string, ballast int) (dir string, free func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if errors.Is(err, syscall.EPERM) {
			missing(t, "mounting a small file system needs root")
		}
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	file := filepath.Join(dir, "ballast")
	if err := os.WriteFile(file, make([]byte, ballast), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	dir, _ := smallDisk(t, "8m", 1)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	wantLocal(t, Options{Dir: dir}, "broker.nats.dir", dir, "name one that millrace may write to")
	wantLocal(t, Options{Dir: filepath.Join(dir, "sub")}, "broker.nats.dir", dir, "name one that millrace may write to")
}

func padded(id string, first, n int) *topics.Commit {
	c := batch(id, first, n)
	for i := range c.Messages {
		c.Messages[i].Data = append(c.Messages[i].Data, strings.Repeat(" ", 2000)...)
	}
	return c
}

func trimmed(list []string) []string {
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func TestFullDiskIsBackPressure(t *testing.T) {
	dir, free := smallDisk(t, "32m", 12<<20)
	data := filepath.Join(dir, "data")
	b := open(t, Options{Dir: data, Reserve: 8 << 20})
	s := acquire(t, b, testKey)
	next := 0
	var err error
	for err == nil {
		if err = s.Commit(t.Context(), padded(string(rune('a'+next/200)), next, 200)); err == nil {
			next += 200
		}
	}
	if !errors.Is(err, topics.ErrFull) || !strings.Contains(err.Error(), data) {
		t.Fatalf("got %v, want %v with the directory", err, topics.ErrFull)
	}
	if next == 0 {
		t.Fatal("nothing fitted at all")
	}
	if err := b.Ready(t.Context()); err != nil && !errors.Is(err, topics.ErrFull) {
		t.Errorf("ready: %v", err)
	}
	if got := trimmed(published(t, b)); !slices.Equal(got, numbered(0, next)) {
		t.Errorf("the topics hold %d events, want %d", len(got), next)
	}
	free()
	if err := s.Commit(t.Context(), padded("last", next, 200)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if got := trimmed(published(t, b)); !slices.Equal(got, numbered(0, next+200)) {
		t.Errorf("the topics hold %d events, want %d", len(got), next+200)
	}
}

// TestDiskFillsInMidCommit fills the disk behind the back of the free-space
// check, so that JetStream tears a batch: the server is restarted and repaired
// once there is room, and nothing is lost or seen twice.
func TestDiskFillsInMidCommit(t *testing.T) {
	dir, free := smallDisk(t, "32m", 12<<20)
	var blind atomic.Bool
	blind.Store(true)
	log, logger := newLog(t)
	b := open(t, Options{Dir: filepath.Join(dir, "data"), Reserve: 8 << 20, Logger: logger, ackWait: time.Second,
		free: func(dir string) (int64, error) {
			if blind.Load() {
				return 1 << 40, nil
			}
			return freeBytes(dir)
		}})
	s := acquire(t, b, testKey)
	next := 0
	var err error
	for err == nil {
		id := string(rune('a' + next/500))
		done := make(chan error, 1)
		go func() { done <- s.Commit(t.Context(), padded(id, next, 500)) }()
		torn := func() bool { return strings.Contains(log.String(), "may be half-written") }
		eventually(t, "a commit ends, or tears", func() bool { return len(done) > 0 || torn() })
		if torn() {
			blind.Store(false)
		}
		if err = <-done; err == nil {
			next += 500
		}
	}
	if !errors.Is(err, topics.ErrFull) {
		t.Fatalf("got %v, want %v", err, topics.ErrFull)
	}
	if err := b.Ready(t.Context()); err == nil {
		t.Error("it is ready for commits")
	}
	free()
	for _, first := range []int{next, next + 500} {
		if err := s.Commit(t.Context(), padded(string(rune('a'+first/500)), first, 500)); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	next += 500
	if got := trimmed(published(t, b)); !slices.Equal(got, numbered(0, next+500)) {
		t.Errorf("the topics hold %d events, want %d", len(got), next+500)
	}
	if entries, err := s.Entries(t.Context()); err != nil || len(entries) != next/500+1 {
		t.Errorf("%d entries, %v, want %d", len(entries), err, next/500+1)
	}
}

// Whoever asks whether the server is ready does not wait until it is restarted.
func TestReadyDoesNotWait(t *testing.T) {
	b := open(t, Options{Dir: t.TempDir()})
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	b.mu.Lock()
	said := make(chan error, 1)
	go func() { said <- b.Ready(t.Context()) }()
	select {
	case err := <-said:
		if err == nil {
			t.Error("it is ready while it is restarted")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits")
	}
	b.mu.Unlock()
	b.Close()
	if err := b.Ready(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("closed, it says %v", err)
	}
}
