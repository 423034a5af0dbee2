package ledger_test

import (
	"testing"
	"time"

	"github.com/millrace-io/millrace/ledger"
)

func TestReplaysAreRemembered(t *testing.T) {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	hour := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Hour) }
	span := func(from, to int) ledger.Range { return ledger.Range{From: hour(from), To: hour(to)} }
	var c ledger.Checkpoint
	c.NoteReplay(span(0, 2), hour(10), time.Time{})
	c.NoteReplay(span(5, 6), hour(20), time.Time{})
	check := func(r ledger.Range, since int, want bool) {
		t.Helper()
		if got := c.ReplayedSince(r, hour(since)); got != want {
			t.Errorf("%v since hour %d: %v", r, since, got)
		}
	}
	check(span(1, 3), 9, true)
	check(span(1, 3), 10, false)
	check(span(2, 5), 0, false)
	check(span(5, 6), 19, true)
	shared := c
	for n := range 100 { // of many none is lost
		c.NoteReplay(span(50+n, 51+n), hour(100+n), time.Time{})
	}
	if len(c.Replayed) > 32 || len(shared.Replayed) != 2 {
		t.Errorf("%d and %d are kept", len(c.Replayed), len(shared.Replayed))
	}
	check(span(0, 1), 9, true)
	check(span(100, 101), 149, true)
	check(span(149, 150), 198, true)
	check(span(149, 150), 199, false)
	c.NoteReplay(span(0, 1), hour(300), hour(250))
	if len(c.Replayed) != 1 {
		t.Errorf("%d are kept, of which only the last is not forgotten", len(c.Replayed))
	}
}
