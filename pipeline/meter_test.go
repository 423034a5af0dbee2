package pipeline

import (
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/millrace-io/millrace/ledger"
)

func TestMeter(t *testing.T) {
	var m meter
	now := time.Unix(0, 0)
	if m.rate(now) != 0 {
		t.Error("a rate of nothing")
	}
	for second := range 600 {
		m.add(3, now)
		now = now.Add(time.Second)
		if second > 2 && math.Abs(m.rate(now)-3) > 0.1 {
			t.Fatalf("3 a second are measured as %.2f after %d s", m.rate(now), second)
		}
	}
	if r := m.rate(now.Add(5 * time.Minute)); r > 0.05 {
		t.Errorf("after five idle minutes the rate is %.2f", r)
	}
}

// How fast a backfill was tells nothing of the one after it.
func TestBackfillsAreMeasuredApart(t *testing.T) {
	te := tenure{Ingest: &Ingest{log: slog.New(slog.DiscardHandler)}}
	b := ledger.Backfill{Number: 1, From: midnight, To: midnight.Add(time.Hour), Lane: ledger.Lane{At: midnight}}
	moved := func(minutes int) *ledger.Checkpoint {
		c := &ledger.Checkpoint{}
		b.At = midnight.Add(time.Duration(minutes) * time.Minute)
		if b.Counts.Records += 100; minutes == 60 {
			b.Done = b.At
		}
		c.SetBackfill(b)
		return c
	}
	te.checkpoint = moved(0)
	for _, minutes := range []int{20, 40, 60} {
		next := moved(minutes)
		te.endBackfill(next)
		te.checkpoint = next
		if going := minutes < 60; te.Ingest.filled.began.IsZero() == going || te.Ingest.passed.began.IsZero() == going {
			t.Errorf("at %d minutes: %+v, %+v", minutes, te.Ingest.filled, te.passed)
		}
	}
}
