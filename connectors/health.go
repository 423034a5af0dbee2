package connectors

import (
	"cmp"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Health is how a stream fares.
type Health struct {
	State    string    // "ok", "failing" or "unavailable"
	Cause    string    // what makes it fail, and what to do; empty when ok
	Since    time.Time // when it began to fail; zero when ok
	Failures int       // failed requests since a good one
}

// States of a stream's health.
const (
	StateOK          = "ok"
	StateFailing     = "failing"
	StateUnavailable = "unavailable"
)

const (
	warnAfter    = 5 // failures in a row; one that only a person can mend is told at once
	giveUpAfter  = 5
	giveUpWithin = 90 * time.Second
)

// health keeps a stream's health and tells of each incident once.
type health struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	state  Health
	warned bool
	pause  time.Time // when the pause ends that was told last
}

// longPause is a pause that somebody who waits should hear of.
const longPause = time.Minute

// paused tells, once for each, of a pause that the API has asked for.
func (h *health) paused(wait time.Duration) {
	if wait < longPause {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if now.Before(h.pause) {
		return
	}
	h.pause = now.Add(wait)
	h.log.Info("the API takes no more requests for a while; waiting", "for", wait.Round(time.Second))
}

func (h *health) get() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	state := h.state
	if state.State == "" || !h.warned {
		state.State = StateOK
	}
	return state
}

// good notes a request that succeeded, after so many failures of its own.
func (h *health) good(failures int) {
	if failures == 0 {
		h.mu.Lock()
		failing := h.warned
		h.mu.Unlock()
		if !failing {
			return
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state.Failures > 0 {
		h.log.Info("requests failed and were repeated with success", "failed", h.state.Failures, "for", h.now().Sub(h.state.Since).Round(time.Millisecond), "cause", h.state.Cause)
	}
	h.state, h.warned = Health{}, false
}

// passed ends what a key has failed with that is passed over.
func (h *health) passed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state, h.warned = Health{}, false
}

// bad notes a request that failed so many times, and is repeated or given up.
func (h *health) bad(err error, failures int, giveUp bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state.Failures == 0 {
		h.state.Since = h.now()
	}
	kind := KindOf(err)
	leftOut := giveUp && kind == Unavailable && h.state.State != StateUnavailable // nothing else tells of that
	h.state.Failures++
	h.state.Cause = err.Error()
	h.state.State = StateFailing
	if kind == Unavailable {
		h.state.State = StateUnavailable
	}
	var told *Error
	if errors.As(err, &told) && told.Told && kind == Fail {
		h.warned = true
	}
	if leftOut || !h.warned && (failures >= warnAfter || kind == Fail || kind == Unavailable) {
		h.warned = true
		what := "stream is " + h.state.State + ", its requests are repeated"
		switch {
		case giveUp && kind == Unavailable:
			what = "the account does not have the stream; it is left out"
		case giveUp:
			what = "stream is failing, and is given up"
		}
		// Other requests may have succeeded since this one's first failure.
		h.log.Warn(what, "failures", max(failures, h.state.Failures), "cause", h.state.Cause)
	}
}

// failed notes a failed request and tells how long to wait, or, where the read
// is to end some time, to give up.
func (s *Subscriber) failed(f *failures, err error) (wait time.Duration, giveUp bool) {
	if f.count == 0 {
		f.since = s.opts.Now()
	}
	f.count++
	kind := KindOf(err)
	var after time.Duration
	if e := (*Error)(nil); errors.As(err, &e) {
		after = e.After
	}
	if s.opts.Once {
		long, limit := s.opts.Now().Sub(f.since), cmp.Or(s.opts.GiveUp, giveUpWithin)
		giveUp = kind == Fail || kind == Unavailable ||
			long >= limit || long+after > limit || s.opts.GiveUp == 0 && f.count >= giveUpAfter
	}
	s.health.bad(err, f.count, giveUp)
	if giveUp {
		return 0, true
	}
	s.stream.metrics.retries.Inc()
	wait = backoff(f.count)
	if kind == Fail || kind == Unavailable {
		wait = backoff(1 << 10) // at the cap: only a person can mend it
	}
	return max(wait, after), false
}
