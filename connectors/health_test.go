package connectors

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An incident is one line, and it says whether the request is repeated.
func TestOneLineForEachIncident(t *testing.T) {
	const repeated, givenUp = ", its requests are repeated", ", and is given up"
	for name, c := range map[string]struct {
		kind   Kind
		once   bool
		giveUp time.Duration
		says   string
	}{
		"refused":                {Fail, false, 0, "stream is failing" + repeated},
		"refused, once":          {Fail, true, 0, "stream is failing" + givenUp},
		"not there":              {Unavailable, false, 0, "stream is unavailable" + repeated},
		"not there, once":        {Unavailable, true, 0, "the account does not have the stream; it is left out"},
		"failing":                {Retry, false, 0, "stream is failing" + repeated},
		"failing, once":          {Retry, true, 0, "stream is failing" + givenUp},
		"failing, with patience": {Retry, true, 10 * time.Minute, "stream is failing" + repeated},
	} {
		synctest.Test(t, func(t *testing.T) {
			var logged bytes.Buffer
			api := &fakeAPI{fail: func(int, Request) error { return &Error{Kind: c.kind, Op: "listing", Err: errors.New("no")} }}
			stream := fakeStream(t, api, func(o *Options) { o.Since = time.Now().Add(-time.Hour) })
			sub := NewSubscriber(stream, SubscriberOptions{Once: c.once, GiveUp: c.giveUp, Log: slog.New(slog.NewTextHandler(&logged, nil))})
			out, _ := sub.Subscribe(t.Context(), "")
			go take(sub, out, func(*Batch) error { return nil })
			time.Sleep(20 * time.Minute)
			sub.Close()
			if n := strings.Count(logged.String(), "\n"); n != 1 || !strings.Contains(logged.String(), `"`+c.says+`"`) {
				t.Errorf("%s: %d lines, want one that says %q:\n%s", name, n, c.says, logged.String())
			}
		})
	}
}

// A request that fails again and again while others succeed is told with its own
// failures.
func TestFailuresOfOneRequest(t *testing.T) {
	var logged bytes.Buffer
	h := &health{log: slog.New(slog.NewTextHandler(&logged, nil)), now: time.Now}
	for n := 1; n <= warnAfter; n++ {
		h.good(1)
		h.bad(errors.New("cut"), n, false)
	}
	if !strings.Contains(logged.String(), "is failing") || !strings.Contains(logged.String(), "failures=5") {
		t.Errorf("the log says\n%s", logged.String())
	}
}

// A stream that is left out is told of once, also where it was failing before, as its
// run ends well.
func TestLeftOutWhileFailing(t *testing.T) {
	var logged bytes.Buffer
	h := &health{log: slog.New(slog.NewTextHandler(&logged, nil)), now: time.Now}
	for n := 1; n <= warnAfter; n++ {
		h.bad(errors.New("cut"), n, false)
	}
	for range 2 {
		h.bad(&Error{Kind: Unavailable, Op: "listing", Err: errors.New("no")}, 1, true)
	}
	if n := strings.Count(logged.String(), "it is left out"); n != 1 {
		t.Errorf("told %d times:\n%s", n, logged.String())
	}
}

// A pause that a good answer asks for is waited for, and told once.
func TestPausesAreTold(t *testing.T) {
	for wait, want := range map[time.Duration]int{10 * time.Minute: 1, 10 * time.Second: 0} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			api := &fakeAPI{records: every(began.Add(-time.Hour), began, time.Second), page: 1000}
			stream := fakeStream(t, api, func(o *Options) { o.Since = began.Add(-time.Hour) })
			api.latency = func(Request) time.Duration {
				if len(api.asked()) < 3 {
					stream.budget.Pause(wait)
				}
				return 0
			}
			var log strings.Builder
			sub := NewSubscriber(stream, SubscriberOptions{Once: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
			out, _ := sub.Subscribe(t.Context(), "")
			for msg := range out {
				msg.Ack()
			}
			if got := strings.Count(log.String(), "the API takes no more requests"); got != want || sub.Err() != nil {
				t.Errorf("a pause of %s: told %d times, %v\n%s", wait, got, sub.Err(), log.String())
			}
		})
	}
}
