package simulator

import (
	"sync"
	"time"
)

// limiter accepts at most a number of requests in any one second.
type limiter struct {
	mu       sync.Mutex
	accepted []time.Time // the latest, a ring; as long as the limit
	oldest   int
}

// newLimiter returns a limiter of perSecond requests; nil, which accepts all,
// for 0.
func newLimiter(perSecond int) *limiter {
	if perSecond == 0 {
		return nil
	}
	return &limiter{accepted: make([]time.Time, perSecond)}
}

// accept reports whether a request at now is within the limit and, if not, how
// long to wait until one would be. Requests exactly one second apart are not in
// the same second.
func (l *limiter) accept(now time.Time) (wait time.Duration, ok bool) {
	if l == nil {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first := &l.accepted[l.oldest]
	if free := first.Add(time.Second); !first.IsZero() && now.Before(free) {
		return free.Sub(now), false
	}
	*first = now
	l.oldest = (l.oldest + 1) % len(l.accepted)
	return 0, true
}
