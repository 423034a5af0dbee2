package topictest

import (
	"context"
	"io"
	"log"
	"sync"
	"testing"

	pubsub "github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"go.uber.org/goleak"
)

// IgnoreWatermill leaves out of a search for goroutines the one that Watermill's
// suite leaves behind where a message comes twice: nobody takes it any more.
func IgnoreWatermill() goleak.Option {
	return goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe.func2")
}

// testWatermill runs Watermill's own suite. What it leaves out for members of a
// group is run for subscribers without one. Its test of a restart is not run: it
// compares with a list that it is still writing (v1.5.1), which the race detector
// finds half of the times; testReconnect does the same.
func testWatermill(t *testing.T, be PubSubBackend, features tests.Features) {
	before := log.Writer()
	log.SetOutput(io.Discard)
	t.Cleanup(func() { log.SetOutput(before) })
	features.GenerateTopicFunc = func(c tests.TestContext) string { return "watermill.topic-" + c.TestID.String() }
	features.RestartServiceCommand = nil
	made := &sync.Map{}
	open := func(t *testing.T, group string) (pubsub.Publisher, pubsub.Subscriber) {
		pub, sub := be.New(t, group)
		if be.MakeTopic == nil {
			return pub, sub
		}
		m := makeTopics{t, be.MakeTopic, made}
		return makingPublisher{pub, m}, makingSubscriber{sub, m}
	}
	member := func(t *testing.T) (pubsub.Publisher, pubsub.Subscriber) { return open(t, "watermill") }
	tests.TestPubSub(t, features, member, open)
	t.Run("WithoutGroup", func(t *testing.T) {
		features.NewSubscriberReceivesOldMessages = true
		alone := func(t *testing.T) (pubsub.Publisher, pubsub.Subscriber) { return open(t, "") }
		tests.TestNewSubscriberReceivesOldMessages(t, tests.TestContext{TestID: tests.NewTestID(), Features: features}, alone)
	})
}

// makeTopics makes each topic of Watermill's suite when it is first used.
type makeTopics struct {
	t    *testing.T
	make func(*testing.T, string)
	made *sync.Map
}

func (m makeTopics) ready(topic string) {
	once, _ := m.made.LoadOrStore(topic, &sync.Once{})
	once.(*sync.Once).Do(func() { m.make(m.t, topic) })
}

type makingPublisher struct {
	pubsub.Publisher
	makeTopics
}

func (p makingPublisher) Publish(topic string, messages ...*pubsub.Message) error {
	p.ready(topic)
	return p.Publisher.Publish(topic, messages...)
}

type makingSubscriber struct {
	pubsub.Subscriber
	makeTopics
}

func (s makingSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *pubsub.Message, error) {
	s.ready(topic)
	return s.Subscriber.Subscribe(ctx, topic)
}

func (s makingSubscriber) SubscribeInitialize(topic string) error {
	s.ready(topic)
	if init, ok := s.Subscriber.(pubsub.SubscribeInitializer); ok {
		return init.SubscribeInitialize(topic)
	}
	return nil
}
