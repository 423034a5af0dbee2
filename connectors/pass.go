package connectors

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// One user whom the API refuses would keep all who come behind from being read.
// So a key that is refused, while the API answers for another, is passed over: the
// window is read without it, and that is told. What it holds is read by a later
// window, sweep or backfill, once the API answers for it.

// passAfter is how long a key has to fail before it is passed over, where the
// failure may pass (a 500, no answer). One that says no (400, 404) is believed at
// once, and so is one who was passed over before and not answered for since.
const passAfter = 10 * time.Minute

// passing is what is known of a key that fails.
type passing struct {
	since     time.Time // when it began to fail; zero: it does not
	suspected bool      // another key was answered after it had failed
	cause     error     // of the verdict to pass it over
}

// passes says what to do about a key that has failed: nothing that differs from
// other failures, to ask once more, or to pass it over.
func (r *windowRead) passes(ctx context.Context, w Window, err error) (again, pass bool) {
	if r.key == nil || r.lane.sub.stream.Without == nil {
		return false, false
	}
	p, now := &r.passing, r.lane.sub.opts.Now()
	if p.since.IsZero() {
		p.since = now
	}
	waited := now.Sub(p.since) >= passAfter || r.lane.sub.answered.passes(r.key.ID)
	if !refusesOne(err) && (!mayPass(err) || !waited) {
		return false, false
	}
	if p.suspected { // it was not the API, which had come back in between
		p.cause = err
		return false, true
	}
	p.suspected = r.otherAnswers(ctx, w)
	return p.suspected, false
}

// refusesOne says whether a failure may be about the key, and will not pass.
func refusesOne(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Kind != Fail && e.Kind != Unavailable {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// mayPass says whether a failure may be about the key, and may pass.
func mayPass(err error) bool {
	var e *Error
	return KindOf(err) == Retry && !(errors.As(err, &e) && e.Status == http.StatusTooManyRequests)
}

// otherAnswers says whether the API answers for another key.
func (r *windowRead) otherAnswers(ctx context.Context, w Window) bool {
	slot := &slot{lane: r.lane}
	if slot.take(ctx) != nil {
		return false
	}
	defer slot.release()
	s, from, to := r.lane.sub, w.From.Add(-time.Second), w.To.Add(time.Second)
	other, ok := s.answered.other(r.key.ID)
	if !ok {
		r.requests++
		// Anybody will do, also who came later.
		listed, err := s.stream.Walk.Keys(ctx, KeysRequest{From: from, To: later(to, s.stream.client.Now()), All: true, Parts: r.lane.parts})
		if err != nil {
			_ = r.counted(err)
			return false
		}
		s.stream.metrics.requests("ok").Inc()
		for _, other = range listed.Keys {
			if ok = other.ID != r.key.ID; ok {
				break
			}
		}
	}
	return ok && r.answers(ctx, Request{From: from, To: to, Key: other, Parts: r.lane.parts, Listed: r.asked})
}

// answers says whether a request is answered as it should be.
func (r *windowRead) answers(ctx context.Context, what Request) bool {
	r.requests++
	page, err := r.lane.sub.stream.Pager.Page(ctx, what)
	if err != nil {
		_ = r.counted(err)
		return false
	}
	defer page.Close()
	for _, err := range page.Records {
		if err != nil {
			_ = r.counted(err)
			return false
		}
	}
	r.lane.sub.stream.metrics.requests("ok").Inc()
	return true
}

// pass reads a part of the window without the key.
func (r *windowRead) pass(ctx context.Context, w Window) error {
	cause, s := r.passing.cause, r.lane.sub
	r.passing.suspected, r.failing = false, failures{}
	s.health.passed()
	if s.answered.pass(r.key.ID) {
		const form = time.RFC3339
		s.health.log.Warn("the API refuses one whom the stream is read by, and answers for others: it is passed over, until the API answers for it",
			"key", r.key.ID, "from", w.From, "to", w.To, "cause", cause.Error(),
			"command", fmt.Sprintf("millrace backfill %s/%s --from %s --to %s", s.stream.Connector, s.stream.Key.Stream, w.From.Format(form), w.To.Format(form)))
	}
	s.stream.metrics.passed.Inc()
	page := s.stream.Without(Request{From: w.From, To: w.To, Key: *r.key, Parts: r.lane.parts, Listed: r.asked})
	defer page.Close()
	r.origin = nil // no request gives its records
	b := builder{stream: s.stream}
	for record, err := range page.Records {
		if err != nil {
			return err
		}
		b.add(record, &r.seen, 0)
	}
	slot := &slot{lane: r.lane}
	defer slot.release()
	return r.deliver(ctx, w, page.Began, b.finish(), r.position(w, nil), slot)
}

// answered knows keys that the API has answered for, and those that were passed
// over. It may be used concurrently; the zero value knows none.
type answered struct {
	mu     sync.Mutex
	latest [2]Key
	passed map[string]bool
}

// add notes that the API has answered for a key.
func (a *answered) add(k Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.latest[0].ID != k.ID {
		a.latest = [2]Key{k, a.latest[0]}
	}
	delete(a.passed, k.ID)
}

// pass notes that a key is passed over, and says whether that is new.
func (a *answered) pass(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.passed[id] {
		return false
	}
	if a.passed == nil || len(a.passed) >= mostPassed {
		a.passed = map[string]bool{}
	}
	a.passed[id] = true
	return true
}

// passes says whether a key was passed over, and not answered for since.
func (a *answered) passes(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.passed[id]
}

// mostPassed is how many keys that are passed over are known at once.
const mostPassed = 10_000

// other returns a key that was answered for, which is not the one with this ID.
func (a *answered) other(id string) (Key, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.latest {
		if k.ID != "" && k.ID != id {
			return k, true
		}
	}
	return Key{}, false
}
