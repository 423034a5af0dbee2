package kafka

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
	"github.com/millrace-io/millrace/topics/topictest"
)

// pubSub makes the backends of the suite on brokers.
func pubSub(t *testing.T, brokers []string) topictest.PubSubBackend {
	opts := Options{Brokers: brokers, Partitions: 3, Prefix: "pubsub" + strings.ToLower(rand.Text()), Topics: topictest.Routed(), session: 6 * time.Second}
	return topictest.PubSubBackend{
		New: func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
			if group != "" {
				// Tests that run side by side would have each other's members gather
				// anew all the time.
				group += " of " + t.Name()
			}
			return newPublisher(t, opts), newSubscriber(t, opts, shortly(group))
		},
		MakeTopic: func(t *testing.T, topic string) { makeTopic(t, brokers, topic, 3) },
		Open:      func(t *testing.T) topics.Broker { return open(t, opts) },
		Topic:     names{prefix: opts.Prefix}.topic,
		Limit:     defaultMessageBytes,
		Stripped:  []string{"Millrace-Commit", "millrace-ops", headerUUID},
	}
}

// shortly are options under which everything that takes time is short.
func shortly(group string) SubscriberOptions {
	return SubscriberOptions{Group: group, Backoff: []time.Duration{time.Millisecond}, CloseTimeout: time.Second, Session: 6 * time.Second}
}

func newPublisher(t *testing.T, opts Options) *Publisher {
	t.Helper()
	p, err := NewPublisher(opts)
	if err != nil {
		t.Fatalf("open a publisher: %v", err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func newSubscriber(t *testing.T, opts Options, how SubscriberOptions) *Subscriber {
	t.Helper()
	s, err := NewSubscriber(opts, how)
	if err != nil {
		t.Fatalf("open a subscriber: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func makeTopic(t *testing.T, brokers []string, topic string, partitions int32) {
	t.Helper()
	c := writer(t, brokers, "")
	defer c.Close()
	if err := createTopic(t.Context(), c, topic, partitions); err != nil {
		t.Fatal(err)
	}
}

var features = tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true}

func TestPubSubFake(t *testing.T) {
	topictest.RunPubSub(t, topictest.PubSub{Features: features, New: func(t *testing.T) topictest.PubSubBackend {
		be := pubSub(t, fake(t, kfake.NumBrokers(2), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"})).ListenAddrs())
		be.NoRestart = "it is in this process, and keeps nothing"
		be.Server = []goleak.Option{goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read.func1")}
		return be
	}})
}

// TestPubSubReal runs on one broker, which is killed now and then.
func TestPubSubReal(t *testing.T) {
	b := kafkatest.Start(t)
	topictest.RunPubSub(t, topictest.PubSub{Features: features, New: func(t *testing.T) topictest.PubSubBackend {
		be := pubSub(t, []string{b.Addr()})
		be.Restart = func(*testing.T) {
			b.Kill()
			b.Restart()
		}
		return be
	}})
}
