package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/simulator"
)

// countdown calls for a kill when so many requests have come, each of which has
// been answered when the next is counted, or has not.
type countdown struct {
	left atomic.Int64
	zero chan struct{}
}

// mortal serves the world through countdowns.
func (w *world) mortal(t *testing.T) *atomic.Pointer[countdown] {
	t.Helper()
	var current atomic.Pointer[countdown]
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if c := current.Load(); c != nil && c.left.Add(-1) == 0 {
			close(c.zero)
		}
		w.ServeHTTP(out, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return &current
}

// putIdentical puts rows that nothing but their number tells apart: very many in
// one second, some hours apart, and some exactly at the edges of quarters.
func (w *world) putIdentical(t *testing.T, timestamped bool) {
	t.Helper()
	quarter := time.Now().UTC().Truncate(15 * time.Minute).Add(-45 * time.Minute)
	w.put(t, quarter.Add(7*time.Minute), timestamped, 500)
	for _, ago := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour} {
		edge := quarter.Add(-ago)
		for _, off := range []time.Duration{-time.Second, -time.Millisecond, 0, time.Millisecond, time.Second} {
			w.put(t, edge.Add(off), timestamped, 7)
		}
	}
	for _, ago := range []time.Duration{2 * time.Hour, 3 * time.Hour} {
		w.put(t, quarter.Add(time.Minute-ago), timestamped, 3)
	}
}

// Invariants 1, 2 and 3: rows that are all alike are as many as the vendor has,
// whenever the program is killed while it reads them.
func TestIdenticalRowsAreCountedAcrossKills(t *testing.T) { identicalRowsAcrossKills(t, newEmbedded) }

func identicalRowsAcrossKills(t *testing.T, newTarget func(*testing.T) target) {
	for i, timestamped := range []bool{false, true} {
		t.Run(fmt.Sprintf("timestamped=%v", timestamped), func(t *testing.T) {
			t.Parallel()
			w := startBoth(t, simulator.Options{
				Seed: uint64(40 + i), Backlog: 400, Span: 5 * time.Hour, Identical: 0.3, Latency: 20 * time.Millisecond,
				Timestamped: timestamped, Bounds: []simulator.Bounds{simulator.Inclusive, simulator.Exclusive}[i],
			})
			w.putIdentical(t, timestamped)
			current := w.mortal(t)
			on := newTarget(t)
			path := w.configure(t, settings{on: on, extra: "rate: 50/s\n"})
			killed := 0
			for range *kills {
				d := &countdown{zero: make(chan struct{})}
				d.left.Store(1 + rand.Int64N(60))
				current.Store(d)
				c := startChild(t, "run", "--once", "-c", path)
				select {
				case <-d.zero:
					killed++
				case <-c.done:
					if code := c.cmd.ProcessState.ExitCode(); code != 0 {
						t.Fatalf("exit code %d:\n%s", code, c.notes)
					}
				}
				c.kill()
			}
			if killed == 0 {
				t.Error("no kill came while it read: the test shows nothing")
			}
			for range 2 {
				must(t, "run", "--once", "-c", path)
				compareAll(t, on.events(t), w.Account())
			}
			t.Logf("%d of %d kills came in the middle", killed, *kills)
		})
	}
}
