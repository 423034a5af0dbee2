package exampletest

import (
	"cmp"
	"fmt"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/examples/router"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
	"github.com/millrace-io/millrace/topics/nats"
	"github.com/millrace-io/millrace/topics/topictest"
)

// Server is a broker with events that an example reads.
type Server struct {
	topics.Broker
	URL     string
	Options router.Options // of the example
	// Abort leaves on the topic of messages what nobody may see; nil where there is no
	// such thing.
	Abort func(t *testing.T)
	// Acknowledged is how many events of type message, of all that were published, the
	// broker knows to be handled.
	Acknowledged func(t *testing.T, published int) int
	// Deadly returns where the example connects that is to be killed, and whether it
	// is time, of how many events it has handled since.
	Deadly func(t *testing.T) (url string, now func(handled int) bool)
}

// handledFirst is how many events an example handles before it is killed.
const handledFirst = 20

// OnNATS returns an embedded server that listens.
func OnNATS(t *testing.T) Server {
	t.Helper()
	broker, err := nats.Open(t.Context(), nats.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	nc, err := natsgo.Connect("nats://" + broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return Server{
		Broker: broker, URL: "nats://" + broker.Addr(),
		Options: router.Options{Prefix: "millrace", Group: "readers", Takeover: time.Second},
		Acknowledged: func(t *testing.T, published int) int {
			consumer, err := js.Consumer(t.Context(), "MILLRACE", "readers+millrace+message")
			if err != nil {
				t.Fatal(err)
			}
			info := consumer.CachedInfo()
			return published - int(info.NumPending) - info.NumAckPending
		},
		// Nothing that the example sends from an acknowledgement on reaches the server.
		Deadly: func(t *testing.T) (string, func(int) bool) {
			proxy := topictest.NewProxy(t, broker.Addr(), "$JS.ACK.", "no answer is waited for")
			arm := sync.OnceFunc(proxy.CutBefore)
			return "nats://" + proxy.Addr(), func(handled int) bool {
				if handled >= handledFirst {
					arm()
				}
				return proxy.Cuts() > 0
			}
		},
	}
}

// OnKafka returns topics on a real Kafka that no other test has.
func OnKafka(t *testing.T) Server {
	t.Helper()
	addr, prefix := kafkatest.Addr(t), kafkatest.Name(t)
	broker, err := kafka.Open(t.Context(), kafka.Options{Brokers: []string{addr}, Prefix: prefix, Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	topic := prefix + ".message"
	return Server{
		Broker: broker, URL: "kafka://" + addr,
		Options:      router.Options{Prefix: prefix, Group: topic, Takeover: 6 * time.Second}, // the least that a broker takes
		Abort:        func(t *testing.T) { t.Helper(); kafkatest.Abort(t, addr, topic, 5) },
		Acknowledged: func(t *testing.T, _ int) int { t.Helper(); return kafkatest.Read(t, addr, topic, topic) },
		// Offsets are committed once in a second, and there is more to handle.
		Deadly: func(*testing.T) (string, func(int) bool) {
			return "kafka://" + addr, func(handled int) bool { return handled >= handledFirst }
		},
	}
}

// Messages makes n events of type message, of which the first is the first-th. Their
// keys are on all partitions.
func Messages(first, n int) (all []events.Event) {
	for i := first; i < first+n; i++ {
		all = append(all, events.Event{
			ID: events.ID{byte(i >> 8), byte(i), 1}, Type: events.TypeMessage, Key: fmt.Sprint("key", i%20), RecordID: fmt.Sprint(i),
			Members: fmt.Appendf(nil, "\"text\":\"%d\",\n\"kind\":\"text\"", i), Raw: []byte("{}"),
		})
	}
	return all
}

// Publish commits events as the service does, and returns their ids.
func Publish(t *testing.T, broker topics.Broker, all []events.Event) (ids []string) {
	t.Helper()
	key := events.StreamKey{Vendor: "vendor", Account: "account", Stream: "messages"}
	stream, err := broker.Acquire(t.Context(), key, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Release()
	if _, err := stream.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &topics.Commit{ID: "commit-" + all[0].ID.String(), Checkpoint: []byte("{}")}
	var encoder events.Encoder
	for i := range all {
		e := all[i]
		e.Source, e.Connector = key, "support"
		if e.Recorded.IsZero() {
			e.Recorded = time.Now()
		}
		ids = append(ids, e.ID.String())
		c.Messages = append(c.Messages, topics.Message{
			Topic: cmp.Or(e.Topic, e.Type), Connector: e.Connector, Key: e.Key, Attributes: encoder.AppendAttributes(nil, &e), Data: e.AppendData(nil),
		})
	}
	if err := stream.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return ids
}

// KillBetween has the example killed between the handling of events and their
// acknowledgement, again and again, while more events are published, and returns the
// ids of all. What the example is started with is args, behind the broker's URL;
// handled counts the events that it has handled.
func (s Server) KillBetween(t *testing.T, handled func() int, args ...string) (published []string) {
	t.Helper()
	const kills, tries, each = 2, 5, 200
	published = Publish(t, s, Messages(0, each))
	between := 0
	for try := 1; between < kills; try++ {
		if try > tries {
			t.Fatalf("%d kills of %d came at the wrong moment, so the test shows nothing", try-1-between, try-1)
		}
		if s.Abort != nil {
			s.Abort(t)
		}
		url, now := s.Deadly(t)
		had := handled()
		c := Start(t, s.Options, append([]string{url}, args...)...)
		c.Await(t, "the time to kill it", func() bool { return now(handled() - had) })
		c.Kill()
		if handled() > s.Acknowledged(t, len(published)) {
			between++
		}
		published = append(published, Publish(t, s, Messages(len(published), each))...)
	}
	return published
}
