package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent trades a little work for memory: what an answer that is read as
	// a stream takes is mostly garbage.
	gcPercent = 30
	// memoryGoal is what Go's runtime may take before the collector works
	// harder. One giant answer on the embedded server fits it, with about twice
	// as many collections of a small heap.
	memoryGoal = 66 << 20
	// liveLimit is how much may be in use for the goal to make sense. Above it
	// a collector that works for the goal would do nothing else.
	liveLimit = memoryGoal * 5 / 6
)

// manageMemory sets up the garbage collector, until the context ends, unless
// the user did that with GOGC or GOMEMLIMIT. It returns when nothing runs any
// more.
func manageMemory(ctx context.Context) (wait func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryGoal)
	done := make(chan struct{})
	go func() {
		defer close(done)
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for limit := int64(memoryGoal); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			metrics.Read(live)
			if next := memoryLimit(live[0].Value.Uint64(), limit); next != limit {
				limit = next
				debug.SetMemoryLimit(limit)
			}
		}
	}()
	return func() { <-done }
}

// memoryLimit returns the limit that fits what is in use, given the one that is
// set. It gives up the goal above liveLimit, and comes back to it well below,
// so that it does not change with every look.
func memoryLimit(live uint64, set int64) int64 {
	switch {
	case live > liveLimit:
		return math.MaxInt64
	case live < liveLimit/4*3:
		return memoryGoal
	}
	return set
}
