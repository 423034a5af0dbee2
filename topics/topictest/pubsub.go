package topictest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	pubsub "github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/topics"
)

// PubSub makes backends for the suite of Watermill's publishers and subscribers.
type PubSub struct {
	// New starts an empty backend that lasts as long as its test.
	New func(t *testing.T) PubSubBackend
	// Features are what Watermill's own suite is told. A stronger claim can leave
	// tests out: no broker here delivers exactly once.
	Features tests.Features
	// ReadOnly says that a subscriber's server lets nobody publish: what is read
	// are the events that a broker commits there, and backends have Open.
	ReadOnly bool
}

// PubSubBackend is where publishers and subscribers meet.
type PubSubBackend struct {
	// New opens a publisher, nil with ReadOnly, and a subscriber of a group, ""
	// for none. They begin with the oldest message; a Nack is followed by a rest
	// of some milliseconds; closing waits for handlers no longer than a second,
	// and a member that is gone is noticed within seconds. They are closed with
	// the test at the latest.
	New func(t *testing.T, group string) (pubsub.Publisher, pubsub.Subscriber)
	// MakeTopic makes a topic before it is used; nil where that is not needed.
	MakeTopic func(t *testing.T, topic string)
	// Open opens a broker, closed with the test at the latest; nil where there is
	// none. OpenCut, which may be nil, opens one whose connection can be cut.
	Open    func(t *testing.T) topics.Broker
	OpenCut func(t *testing.T) (topics.Broker, Cutter)
	// Topic is the whole name of a topic that the broker writes.
	Topic func(name string) string
	// Restart ends the server, and starts it again on what it had stored. Where it
	// is nil NoRestart says why that cannot be done.
	Restart   func(t *testing.T)
	NoRestart string
	// Limit is how many bytes a message may have. Errors name it.
	Limit int
	// Stripped are names of metadata that must not get through.
	Stripped []string
	// Server leaves goroutines out of a search for those that are left behind
	// which belong to a server in this process.
	Server []goleak.Option
}

// feed writes numbered messages to a topic. Number n has the key keyOf(n, keys).
type feed struct {
	be    PubSubBackend
	topic string
	write func(t *testing.T, first, n, keys int)
	// restart restarts the server: see [PubSubBackend.Restart].
	restart func(t *testing.T)
}

// RunPubSub runs the suite, but for what a kind of backend cannot do. What reads
// is tried on published messages and on the events of a broker.
func RunPubSub(t *testing.T, h PubSub) {
	reading := []struct {
		name string
		run  func(*testing.T, feed)
	}{
		{"Order", testReadOrder},
		{"Resume", testReadResume},
		{"Nack", testReadNack},
		{"Groups", testReadGroups},
		{"Share", testReadShare},
		{"End", testReadEnd},
		{"Close", testReadClose},
		{"Goroutines", testReadGoroutines},
		{"Restart", testReadRestart},
	}
	for _, test := range reading {
		if !h.ReadOnly {
			t.Run("Published/"+test.name, func(t *testing.T) { test.run(t, publishedFeed(t, h.New(t))) })
		}
		t.Run("Committed/"+test.name, func(t *testing.T) { test.run(t, committedFeed(t, h.New(t))) })
	}
	for _, test := range []struct {
		name     string
		run      func(*testing.T, PubSubBackend)
		readOnly bool
	}{
		{"Committed/Whole", testReadCommitted, true},
		{"Metadata", testMetadata, false},
		{"UUID", testUUID, false},
		{"Stripped", testStripped, false},
		{"PassedOn", testPassedOn, false},
		{"TooLarge", testTooLarge, false},
		{"Closed", testClosed, false},
		{"Reconnect", testReconnect, false},
	} {
		if test.readOnly || !h.ReadOnly {
			t.Run(test.name, func(t *testing.T) { test.run(t, h.New(t)) })
		}
	}
	if !h.ReadOnly {
		t.Run("Watermill", func(t *testing.T) { testWatermill(t, h.New(t), h.Features) })
	}
}

// mayRestart skips what needs a restart, where there is a reason.
func (be PubSubBackend) mayRestart(t *testing.T) {
	t.Helper()
	switch {
	case be.Restart != nil:
	case be.NoRestart != "":
		t.Skip(be.NoRestart)
	default:
		t.Fatal("the backend has no Restart, and does not say why")
	}
}

// newTopic names a topic of its own, with what names of topics may hold.
func (be PubSubBackend) newTopic(t *testing.T) string {
	t.Helper()
	topic := "suite.of-topics." + watermill.NewShortUUID()
	if be.MakeTopic != nil {
		be.MakeTopic(t, topic)
	}
	return topic
}

func keyOf(n, keys int) string { return fmt.Sprint("key", n%keys) }

func publishedFeed(t *testing.T, be PubSubBackend) feed {
	t.Helper()
	topic := be.newTopic(t)
	pub, _ := be.New(t, "")
	return feed{be, topic, func(t *testing.T, first, n, keys int) {
		t.Helper()
		var list []*pubsub.Message
		for i := first; i < first+n; i++ {
			msg := pubsub.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"n":%d}`, i))
			msg.Metadata["ce_partitionkey"] = keyOf(i, keys)
			list = append(list, msg)
		}
		publish(t, pub, topic, list...)
	}, be.Restart}
}

// publish repeats itself while the server is away.
func publish(t *testing.T, pub pubsub.Publisher, topic string, list ...*pubsub.Message) {
	t.Helper()
	if err := publishAgain(pub, topic, list...); err != nil {
		t.Fatal(err)
	}
}

func publishAgain(pub pubsub.Publisher, topic string, list ...*pubsub.Message) (err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = pub.Publish(topic, list...); err == nil {
			return nil
		}
	}
	return fmt.Errorf("publish for %v: %w", patience, err)
}

// committedFeed commits what it writes. The first commit after a restart may be
// refused as if its owner was overtaken, who takes the stream anew then: see
// [topics.ErrFenced].
func committedFeed(t *testing.T, be PubSubBackend) feed {
	t.Helper()
	b := be.Open(t)
	s := begin(t, b, key, "feed")
	commits, restarted := 0, false
	write := func(t *testing.T, first, n, keys int) {
		t.Helper()
		commits++
		c := batch(fmt.Sprint("c", commits), 0, 0)
		for i := first; i < first+n; i++ {
			c.Messages = append(c.Messages, message("sms", keyOf(i, keys), i))
		}
		err := s.Commit(t.Context(), c)
		if restarted && errors.Is(err, topics.ErrFenced) {
			s.Release()
			s = acquire(t, b, key, "feed")
			if checkpoint(t, s) == string(c.Checkpoint) {
				return
			}
			err = s.Commit(t.Context(), c)
		}
		if err != nil {
			t.Fatalf("commit %s: %v", c.ID, err)
		}
		restarted = false
	}
	restart := func(t *testing.T) {
		be.Restart(t)
		restarted = true
	}
	return feed{be, be.Topic("sms"), write, restart}
}

// subscribe opens a subscriber of a group and subscribes.
func (f feed) subscribe(t *testing.T, group string) (pubsub.Subscriber, <-chan *pubsub.Message) {
	t.Helper()
	_, sub := f.be.New(t, group)
	return sub, subscribe(t, sub, f.topic)
}

func subscribe(t *testing.T, sub pubsub.Subscriber, topic string) <-chan *pubsub.Message {
	t.Helper()
	messages, err := sub.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return messages
}

// next returns the next message, not acknowledged.
func next(t *testing.T, messages <-chan *pubsub.Message) *pubsub.Message {
	t.Helper()
	select {
	case msg, ok := <-messages:
		if !ok {
			t.Fatal("the channel is closed, but a message should come")
		}
		return msg
	case <-time.After(patience):
		t.Fatalf("no message came within %v", patience)
	}
	return nil
}

// numberOf reads a message's number from its payload; -1 where there is none.
func numberOf(t *testing.T, msg *pubsub.Message) int {
	t.Helper()
	data := struct{ N int }{-1}
	if err := json.Unmarshal(msg.Payload, &data); err != nil || data.N < 0 {
		t.Errorf("payload %.100q of message %q: %v", msg.Payload, msg.UUID, err)
		return -1
	}
	return data.N
}

// take acknowledges the next n messages and returns their numbers.
func take(t *testing.T, messages <-chan *pubsub.Message, n int) []int {
	t.Helper()
	var got []int
	for range n {
		msg := next(t, messages)
		got = append(got, numberOf(t, msg))
		msg.Ack()
	}
	return got
}

// ended waits for a channel to be closed; what still comes is not acknowledged.
func ended(t *testing.T, messages <-chan *pubsub.Message) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-messages:
			if !ok {
				return
			}
		case <-late:
			t.Fatalf("the channel was not closed within %v", patience)
		}
	}
}
