package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Subscriber is Watermill's subscriber on JetStream, for millrace's topics and
// any other. It reads through JetStream consumers alone, with no more rights than
// an embedded server's listener gives its readers, so it never shows an event
// of a batch that is not committed.
//
// A message's metadata are its headers, as [Publisher] has written them: ce_id
// and the like for the attributes of an event, content-type, and others under
// their own names. What the server adds (Nats-*) is left out. The UUID is the
// event's id, else that under which the message was published, else a new one.
//
// Each message is delivered at least once: it comes again after a Nack, and when
// its member has died. Handlers remember ce_id.
type Subscriber struct {
	*client
	ctx    context.Context // ends at Close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	subs   sync.WaitGroup
	done   chan struct{} // closed when Close is through
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber connects to the server at opts.URL. Every error is a
// [*topics.OpenError], but for a ctx that ended. The caller closes it.
func NewSubscriber(ctx context.Context, opts PubSubOptions) (*Subscriber, error) {
	c, err := connect(ctx, opts)
	if err != nil {
		return nil, err
	}
	s := &Subscriber{client: c, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

var errSubscriberClosed = errors.New("the subscriber is closed")

// Subscribe delivers the messages of a topic, one after the other, or
// opts.Parallel at once. It goes on over lost connections and restarts of the
// server. The channel is closed when ctx ends or Close is called, and when
// handlers have acknowledged what they have at that time (see
// [PubSubOptions].CloseTimeout); a message that nobody has taken from the channel
// goes back at once. Messages have ctx's values, and end with it. Safe for
// concurrent use.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
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

// SubscribeInitialize makes the group's consumer, so that messages published
// from now on are kept for it, and, with CreateStreams, the topic's JetStream
// stream. Without a group it does the latter only.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	if err := s.begin(); err != nil {
		return fmt.Errorf("prepare topic %s: %w", topic, err)
	}
	defer s.subs.Done()
	p, err := s.names.place(topic)
	if err == nil {
		p, err = s.find(s.ctx, p)
	}
	if err == nil && s.opts.Group != "" {
		_, err = s.consumer(s.ctx, p, durable(s.opts.Group, topic), 0)
	}
	if err != nil {
		return fmt.Errorf("prepare topic %s: %w", topic, err)
	}
	return nil
}

// begin counts something under way, for Close to wait for.
func (s *Subscriber) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errSubscriberClosed
	}
	s.subs.Add(1)
	return nil
}

// Close ends all subscriptions, waits for them and ends the connection. It
// returns nil; safe to call more than once.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		s.cancel()
		s.subs.Wait()
		// The last acknowledgements must not be lost with the connection.
		_ = s.nc.FlushTimeout(s.opts.CloseTimeout)
		s.close()
		close(s.done)
	}
	<-s.done
	return nil
}

func (s *Subscriber) subscription(ctx context.Context, topic string) (*subscription, error) {
	p, err := s.names.place(topic)
	if err != nil {
		return nil, err
	}
	sub := &subscription{s: s, ctx: ctx, name: "reader+" + nuid.Next(), out: make(chan *message.Message)}
	if s.opts.Group != "" {
		sub.name = durable(s.opts.Group, topic)
	}
	sub.ending, sub.end = context.WithCancel(ctx)
	sub.stop = context.AfterFunc(s.ctx, sub.end)
	sub.given, sub.giveUp = context.WithCancel(context.Background())
	if sub.place, err = s.find(sub.ending, p); err == nil {
		sub.first, err = s.consumer(sub.ending, sub.place, sub.name, 0)
	}
	if err != nil {
		sub.forget()
		return nil, err
	}
	if s.opts.Group == "" {
		sub.next = sub.first.CachedInfo().Delivered.Stream + 1
	}
	return sub, nil
}

// consumer finds or makes the consumer of a group, or of one subscription. One
// that is made begins at the sequence from; 0 is where the options say.
func (s *Subscriber) consumer(ctx context.Context, p place, name string, from uint64) (c jetstream.Consumer, err error) {
	for range 2 {
		err = s.ask(ctx, "CONSUMER.INFO."+p.stream+".", func(ctx context.Context) (err error) {
			c, err = s.js.Consumer(ctx, p.stream, name)
			return err
		})
		if err == nil {
			if c, err = s.fit(ctx, p, c); err == nil {
				return c, nil
			}
			break
		}
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			break
		}
		err = s.ask(ctx, "CONSUMER.CREATE."+p.stream+".", func(ctx context.Context) (err error) {
			c, err = s.js.CreateConsumer(ctx, p.stream, s.config(p, name, from))
			return err
		})
		if !errors.Is(err, jetstream.ErrConsumerExists) {
			break // else another member was faster
		}
	}
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, s.noStream(p)
	case errors.Is(err, jetstream.ErrMaximumConsumersLimit):
		return nil, fmt.Errorf("NATS at %s: %w: end other readers, or delete consumers of groups that are gone (nats consumer rm %s)", s.where, err, p.stream)
	}
	return nil, fmt.Errorf("make or find the consumer %s of the JetStream stream %s on NATS at %s: %w", name, p.stream, s.where, err)
}

func (s *Subscriber) config(p place, name string, from uint64) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Name:          name,
		FilterSubject: p.filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       s.opts.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: s.pending(),
		DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	if s.opts.OnlyNew {
		config.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	if from > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	if s.opts.Group != "" {
		config.Durable = name
	} else {
		config.InactiveThreshold, config.MemoryStorage = readerIdle, true
	}
	return config
}

// readerIdle is how long the server keeps a subscriber without a group that is
// gone. One that comes back later has its place in mind, and asks for a new one.
const readerIdle = time.Minute

// pending is how many messages may be unacknowledged in the whole group: one,
// unless order does not matter.
func (s *Subscriber) pending() int {
	if s.opts.Parallel > 1 {
		return -1
	}
	return 1
}

// fit gives a consumer that exists the present options.
func (s *Subscriber) fit(ctx context.Context, p place, c jetstream.Consumer) (jetstream.Consumer, error) {
	config := c.CachedInfo().Config
	if config.FilterSubject != p.filter || config.AckPolicy != jetstream.AckExplicitPolicy || config.DeliverSubject != "" {
		return nil, errors.New("it exists, but it is no consumer of this topic that a group can share: delete it, or use another group")
	}
	if config.AckWait == s.opts.AckWait && config.MaxAckPending == s.pending() && config.MaxDeliver == -1 && len(config.BackOff) == 0 {
		return c, nil
	}
	config.AckWait, config.MaxAckPending, config.MaxDeliver, config.BackOff = s.opts.AckWait, s.pending(), -1, nil
	err := s.ask(ctx, "CONSUMER.CREATE."+p.stream+".", func(ctx context.Context) (err error) {
		c, err = s.js.UpdateConsumer(ctx, p.stream, config)
		return err
	})
	return c, err
}
