package nats

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
)

func TestWM(t *testing.T) {
	server := startServer(t, "nats-server", "")
	open := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		_, l := newLog(t)
		o := PubSubOptions{URL: server.url(), Group: group, CreateStreams: true, Backoff: []time.Duration{time.Millisecond}, CloseTimeout: time.Second, Logger: l}
		p, err := NewPublisher(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSubscriber(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close(); s.Close() })
		return p, s
	}
	tests.TestPubSub(t, tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true}, func(t *testing.T) (message.Publisher, message.Subscriber) { return open(t, "test") }, open)
}
