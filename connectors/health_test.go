package connectors

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
