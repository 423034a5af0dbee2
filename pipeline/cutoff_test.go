package pipeline

import (
	"testing"
	"time"

	"github.com/millrace-io/millrace/ledger"
)

// Ids are kept behind the slowest lane: a sweep that is under way may read far
// behind the live reads.
func TestCutoffIsBehindTheSlowestLane(t *testing.T) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	te := tenure{Ingest: &Ingest{opts: Options{Horizon: time.Hour}}}
	c := &ledger.Checkpoint{Live: ledger.Lane{At: at}}
	if got := te.cutoff(c); !got.Equal(at.Add(-time.Hour)) {
		t.Errorf("without a sweep: %s", got)
	}
	c.Sweep = ledger.Sweep{Until: at, Lane: ledger.Lane{At: at.Add(-24 * time.Hour)}}
	if got := te.cutoff(c); !got.Equal(at.Add(-25 * time.Hour)) {
		t.Errorf("with a sweep under way: %s", got)
	}
}
