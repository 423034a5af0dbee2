package connectors

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// Once a message is left behind without an answer, no other comes: its handler
// may still be at work.
func TestNoMessageBesideOneThatWasLeft(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	since := now.Add(-48 * time.Hour)
	for range 100 {
		api := &fakeAPI{records: every(since, now, time.Hour), page: 20}
		stream := fakeStream(t, api, func(o *Options) {
			o.Since, o.SweepEvery, o.SweepBack = since, time.Hour, 24*time.Hour
		})
		kept := &store{Progress: Progress{Since: since, Live: Position{At: now.Add(-time.Hour)}, Sweep: SweepPosition{Due: since}}}
		ctx, cancel := context.WithCancel(t.Context())
		sub := NewSubscriber(stream, SubscriberOptions{Store: kept})
		out, err := sub.Subscribe(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		<-out
		// Mostly the other lane has a batch too by now, and waits for its turn.
		for range 1000 {
			runtime.Gosched()
		}
		cancel()
		if _, more := <-out; more {
			t.Fatal("a second message came while the first had no answer")
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
