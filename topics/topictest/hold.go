package topictest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics"
)

// acquiring acquires in the background; waiting is closed when the stream is
// found in another's hands.
func acquiring(t *testing.T, b topics.Broker, owner string) (waiting chan struct{}, holder *string, got chan topics.Stream) {
	waiting, holder, got = make(chan struct{}), new(string), make(chan topics.Stream, 1)
	go func() {
		s, err := b.Acquire(t.Context(), key, owner, func(h string) {
			*holder = h
			close(waiting)
		})
		if err != nil {
			t.Errorf("acquire: %v", err)
			close(got)
			return
		}
		got <- s
	}()
	return waiting, holder, got
}

func receive(t *testing.T, got chan topics.Stream) topics.Stream {
	t.Helper()
	select {
	case s, ok := <-got:
		if !ok {
			t.FailNow()
		}
		return s
	case <-time.After(patience):
		t.Fatalf("the stream was not acquired within %v", patience)
		return nil
	}
}

// testHeld lets two in one process want the same stream.
func testHeld(t *testing.T, be Backend) {
	b := be.Open(t)
	first := begin(t, b, key, "first")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Acquire(ctx, key, "hasty", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held stream: %v", err)
	}
	waiting, holder, got := acquiring(t, b, "second")
	wait(t, "the second waits", waiting)
	if *holder != "first" {
		t.Errorf("held by %q, want first", *holder)
	}
	commit(t, first, batch("1", 0, 3))
	first.Release()
	first.Release()
	second := receive(t, got)
	if c := checkpoint(t, second); c != "1" {
		t.Errorf("the checkpoint is %q, want 1", c)
	}
	select {
	case <-second.Lost():
		t.Error("the stream is lost at once")
	default:
	}
	commit(t, second, batch("2", 3, 3))
	wantPublished(t, b, numbers(0, 6))
	second.Release()
}

// testLease hands a stream over between two brokers.
func testLease(t *testing.T, be Backend) {
	a, b := be.Open(t), be.Open(t)
	first := begin(t, a, key, "first")
	commit(t, first, batch("1", 0, 3))
	waiting, holder, got := acquiring(t, b, "second")
	wait(t, "the second waits", waiting)
	if *holder != "first" {
		t.Errorf("held by %q, want first", *holder)
	}
	commit(t, first, batch("2", 3, 3))
	first.Release()
	second := receive(t, got)
	if c := checkpoint(t, second); c != "2" {
		t.Errorf("the checkpoint is %q, want 2", c)
	}
	commit(t, second, batch("3", 6, 3))
	wantPublished(t, a, numbers(0, 9))
	second.Release()
}

// testLeaseOfTheDead lets the first owner vanish: it notices, and another takes
// over.
func testLeaseOfTheDead(t *testing.T, be Backend) {
	a, cutter := be.OpenCut(t)
	b := be.Open(t)
	first := begin(t, a, key, "first")
	commit(t, first, batch("1", 0, 3))
	waiting, _, got := acquiring(t, b, "second")
	wait(t, "the second waits", waiting)
	cutter.Sever()
	wait(t, "the first notices", first.Lost())
	second := receive(t, got)
	if c := checkpoint(t, second); c != "1" {
		t.Errorf("the checkpoint is %q, want 1", c)
	}
	commit(t, second, batch("2", 3, 3))
	wantPublished(t, b, numbers(0, 6))
	second.Release()
}

// testCutBefore and testCutAfter lose a commit's answer, once with the request
// and once without. Each commit must be there exactly once.
func testCutBefore(t *testing.T, be Backend) {
	cutting(t, be, func(c Cutter) { c.CutBefore() })
}

func testCutAfter(t *testing.T, be Backend) {
	cutting(t, be, func(c Cutter) { c.CutAfter() })
}

func cutting(t *testing.T, be Backend, cut func(Cutter)) {
	b, cutter := be.OpenCut(t)
	s := begin(t, b, key, "a")
	commit(t, s, batch("0", 0, 100))
	for i, id := range []string{"1", "2", "3"} {
		cut(cutter)
		commit(t, s, batch(id, 100*(i+1), 100))
		if cutter.Cuts() != i+1 {
			t.Fatalf("the connection was cut %d times, want %d", cutter.Cuts(), i+1)
		}
	}
	if c := checkpoint(t, s); c != "3" {
		t.Errorf("the checkpoint is %q, want 3", c)
	}
	wantPublished(t, b, numbers(0, 400))
}
