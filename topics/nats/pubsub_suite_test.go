package nats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest"
)

// pubSubOptions are those of the suite: everything that takes time is short.
func pubSubOptions(t *testing.T, url, group string) PubSubOptions {
	_, log := newLog(t)
	return PubSubOptions{
		URL: url, Group: group, Logger: log, CreateStreams: true,
		AckWait: 2 * time.Second, Backoff: []time.Duration{time.Millisecond}, CloseTimeout: 300 * time.Millisecond,
	}
}

func newPublisher(t *testing.T, opts PubSubOptions) *Publisher {
	t.Helper()
	p, err := NewPublisher(t.Context(), opts)
	if err != nil {
		t.Fatalf("open a publisher: %v", err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func newSubscriber(t *testing.T, opts PubSubOptions) *Subscriber {
	t.Helper()
	s, err := NewSubscriber(t.Context(), opts)
	if err != nil {
		t.Fatalf("open a subscriber: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func eventTopic(eventType string) string { return "millrace." + eventType }

func TestPubSubServer(t *testing.T) {
	topictest.RunPubSub(t, topictest.PubSub{
		Features: tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true},
		New: func(t *testing.T) topictest.PubSubBackend {
			server := startServer(t, "nats-server", fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir()))
			proxy := topictest.NewProxy(t, server.addr, headerBatchCommit, `"batch":"`)
			options := Options{URL: server.url(), leaseTTL: 2 * time.Second, ackWait: 2 * time.Second}
			return topictest.PubSubBackend{
				New: func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
					opts := pubSubOptions(t, server.url(), group)
					return newPublisher(t, opts), newSubscriber(t, opts)
				},
				Open: func(t *testing.T) topics.Broker { return open(t, options) },
				OpenCut: func(t *testing.T) (topics.Broker, topictest.Cutter) {
					cut := options
					cut.URL = "nats://" + proxy.Addr()
					return open(t, cut), proxy
				},
				Topic: eventTopic,
				Restart: func(t *testing.T) {
					server.kill(t)
					server.start(t)
				},
				Limit:    1 << 20,
				Stripped: []string{"Nats-Batch-Id", "nats-batch-sequence", "NATS-Batch-Commit", "Nats-Msg-Id", "Nats-Rollup", "Nats-TTL", "Nats-Expected-Last-Sequence", "Millrace-Commit", "millrace-ask"},
			}
		},
	})
}

// TestPubSubListener reads with the rights of the embedded server's readers.
func TestPubSubListener(t *testing.T) {
	topictest.RunPubSub(t, topictest.PubSub{
		ReadOnly: true,
		New: func(t *testing.T) topictest.PubSubBackend {
			b := open(t, Options{Listen: "127.0.0.1:0"})
			return topictest.PubSubBackend{
				New: func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
					opts := pubSubOptions(t, "nats://"+b.Addr(), group)
					var said *log
					said, opts.Logger = newLog(t)
					t.Cleanup(func() {
						if strings.Contains(strings.ToLower(said.String()), "permission") {
							t.Errorf("it asked for more than readers may do:\n%s", said)
						}
					})
					return nil, newSubscriber(t, opts)
				},
				Open:  func(*testing.T) topics.Broker { return b },
				Topic: eventTopic,
				Restart: func(t *testing.T) { // as after a full disk
					if err := b.restart(t.Context(), b.session); err != nil {
						t.Fatal(err)
					}
				},
			}
		},
	})
}
