package main

import (
	"context"
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
	// harder. Most of what there is fits it.
	memoryGoal = 56 << 20
	// memoryAhead is what may be taken, at least, before memory is collected
	// again where more than the goal is in use.
	memoryAhead = 8 << 20
	// memoryStep is what the limit is a multiple of, so that it seldom changes.
	memoryStep = 2 << 20
	// memoryLook is how often the limit is looked at. A backlog takes some ten
	// megabytes more in that time, at most.
	memoryLook = 100 * time.Millisecond
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
		in := []metrics.Sample{
			{Name: "/gc/heap/live:bytes"},
			{Name: "/gc/scan/heap:bytes"},
			{Name: "/memory/classes/total:bytes"},
			{Name: "/memory/classes/heap/released:bytes"},
			{Name: "/memory/classes/heap/free:bytes"},
			{Name: "/memory/classes/heap/objects:bytes"},
		}
		size := func(i int) uint64 { return in[i].Value.Uint64() }
		tick := time.NewTicker(memoryLook)
		defer tick.Stop()
		for limit := int64(memoryGoal); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			metrics.Read(in)
			if next := memoryLimit(size(0), size(1), size(2)-size(3)-size(4)-size(5)); next != limit {
				limit = next
				debug.SetMemoryLimit(limit) // stops the world for a moment
			}
		}
	}()
	return func() { <-done }
}

// memoryLimit returns the limit that fits what is in use, what the collector has
// to look at of that, and what the runtime takes beside it, in bytes. Ids and
// records are looked at no further, so a limit that is close to what is in use
// costs little where these are most of it. Where they are not, gcPercent collects
// before the limit does.
func memoryLimit(live, scanned, beside uint64) int64 {
	return max(memoryGoal, int64(live+beside+max(scanned*3/2, memoryAhead))/memoryStep*memoryStep)
}
