package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// SubscriberOptions say how a [Subscriber] reads. The zero value reads every
// message that is kept and every new one, in no group.
type SubscriberOptions struct {
	// Group is the consumer group whose members share the partitions of a topic.
	// Kafka remembers its place in each. Without a group a subscriber gets every
	// message, and its place is forgotten when it ends.
	Group string
	// OnlyNew lets a group that has no place in the topic yet, or a subscriber
	// without a group, begin with what is stored after Subscribe has returned. By
	// default they begin with the oldest message that is kept.
	OnlyNew bool
	// Backoff is how long a message rests after its first, second, ... delivery
	// that ended with a Nack; the last one repeats. Empty is 100 ms, 300 ms, 1 s,
	// 3 s, 10 s.
	Backoff []time.Duration
	// CloseTimeout is how long a subscription that ends, or that must give its
	// partitions to another member, waits for the Ack or Nack of messages which
	// are being handled; 0 is 10 s. All members of a group should say the same.
	CloseTimeout time.Duration
	// Session is after how long without a sign the group takes a member for dead;
	// 0 is 10 s. Brokers take nothing below 6 s as they come.
	Session time.Duration
}

func (o *SubscriberOptions) complete() {
	if len(o.Backoff) == 0 {
		o.Backoff = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second}
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = 10 * time.Second
	}
	if o.Session <= 0 {
		o.Session = 10 * time.Second
	}
}

// Subscriber is Watermill's subscriber on Kafka, for millrace's topics and any
// other. It delivers what is committed and nothing that was aborted.
//
// Of each partition one message is out at a time, in the order of the partition,
// so messages with one key are handled one after the other; partitions are
// handled side by side. Each message is delivered at least once: it comes again
// after a Nack, before any later one, and when its member has died. Handlers
// remember ce_id.
//
// A message's metadata are its headers: ce_id and the like for the attributes of
// an event, content-type, and others under their own names. The UUID is the
// event's id, else that under which a [Publisher] stored it, else a new one.
// [PositionOf] tells where it lies.
type Subscriber struct {
	opts   Options
	how    SubscriberOptions
	names  names
	log    *slog.Logger
	ctx    context.Context // ends at Close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	subs   sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a subscriber that connects when it subscribes. Of opts it
// uses Brokers, how to log in, Prefix, Name and Logger; an error is a
// [*topics.OpenError]. The caller closes it.
func NewSubscriber(opts Options, how SubscriberOptions) (*Subscriber, error) {
	if err := opts.forReaders(); err != nil {
		return nil, err
	}
	how.complete()
	s := &Subscriber{opts: opts, how: how, names: names{prefix: opts.Prefix}, log: opts.Logger}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

var errSubscriberClosed = errors.New("the subscriber is closed")

// Subscribe delivers the messages of a topic, which must exist; partitions that
// are added to it are read from their start. It goes on over lost connections and
// restarts of brokers. The channel is closed when ctx ends or Close is called,
// and when handlers have acknowledged what they have at that time (see
// [SubscriberOptions].CloseTimeout); a message that nobody has taken from the
// channel stays unread. Messages have ctx's values, and end with it. Several
// subscriptions of one Subscriber are several members of its group. Safe for
// concurrent use.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, errSubscriberClosed)
	}
	s.subs.Add(1)
	s.mu.Unlock()
	sub, err := s.subscription(ctx, topic)
	if err != nil {
		s.subs.Done()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	go func() {
		defer s.subs.Done()
		sub.run()
	}()
	return sub.out, nil
}

// Close ends all subscriptions and waits for them. It returns nil; safe to call
// more than once.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.subs.Wait()
	return nil
}

func (s *Subscriber) subscription(ctx context.Context, topic string) (*subscription, error) {
	if err := s.names.forUse(topic); err != nil {
		return nil, err
	}
	c, err := newClient(&s.opts, topic)
	if err != nil {
		return nil, err
	}
	sub := &subscription{s: s, client: c, topic: topic, ctx: ctx, out: make(chan *message.Message)}
	sub.ending, sub.end = context.WithCancel(ctx)
	sub.stop = context.AfterFunc(s.ctx, sub.end)
	began := time.Now()
	for {
		err = c.patiently(sub.ending, func() error { return sub.find(sub.ending) })
		// One that has just been made is not known to all brokers at once.
		if !errors.Is(err, errNoTopic) || time.Since(began) > unknownWait || !pause(sub.ending, retryMost/4) {
			break
		}
	}
	if err != nil {
		sub.forget()
		return nil, s.explain(c, topic, err)
	}
	return sub, nil
}
