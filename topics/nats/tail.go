package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/millrace-io/millrace/topics"
)

const (
	// tailIdle is how long the server keeps a consumer whose reader is gone.
	tailIdle = 30 * time.Second
	// tailPull is how many messages are asked for at once, tailWait how long
	// the server holds a request that it cannot fill.
	tailPull = 500
	tailWait = 5 * time.Second
	// tailBytes is how much is asked for at once: a server cuts a connection for
	// which more than 64 MiB wait, and all that the service does is on that one.
	tailBytes = 16 << 20
)

// errAllTaken says that no consumer can be made.
var errAllTaken = errors.New("all consumers are taken: end another reader, or wait half a minute for one that is gone")

// tail is one call of Tail; it outlives the consumers that serve it.
type tail struct {
	b     *Broker
	opts  topics.TailOptions
	fn    func(topics.Received) error
	next  uint64 // the sequence to go on from; 0 before the first consumer
	end   uint64 // with opts.Stop: the last sequence to deliver
	ready bool
	msg   topics.Received
}

// Tail reads topics through a JetStream consumer of its own, and goes on with a
// new one when the connection or the server was replaced.
func (b *Broker) Tail(ctx context.Context, opts topics.TailOptions, fn func(topics.Received) error) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	t := &tail{b: b, opts: opts, fn: fn}
	for attempt := 0; ; attempt++ {
		before := t.next
		end, err := t.run(ctx)
		switch {
		case end:
			return err
		case ctx.Err() != nil && b.ctx.Err() != nil:
			return errClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case before == 0 && !t.ready:
			return fmt.Errorf("read topics: %w", err)
		}
		if t.next > before {
			attempt = 0
		}
		b.log.Debug("reading topics goes on with a new consumer", "error", err.Error())
		if !pause(ctx, attempt) {
			return ctx.Err()
		}
	}
}

// run reads through one consumer; end says that Tail is over.
func (t *tail) run(ctx context.Context) (end bool, err error) {
	consumer, s, err := t.consumer(ctx)
	if err != nil {
		return false, err
	}
	defer t.remove(s, consumer.CachedInfo().Name)
	info := consumer.CachedInfo()
	if t.next == 0 {
		t.next = info.Delivered.Stream + 1
	}
	if t.opts.Stop && !t.ready {
		if t.end, err = t.lastThere(ctx, s); err != nil {
			return false, err
		}
	}
	if !t.ready {
		t.ready = true
		if t.opts.Ready != nil {
			t.opts.Ready()
		}
	}
	delivered := uint64(0)
	for idle := 0; !t.opts.Stop || t.next <= t.end; {
		got, end, err := t.pull(ctx, s, consumer, &delivered)
		if end || err != nil {
			return end, err
		}
		if got > 0 || !t.opts.Stop {
			idle = 0
			continue
		}
		// On a cluster the consumer's server may lag behind; or what was last
		// has been deleted since.
		last, err := t.lastThere(ctx, s)
		if err != nil {
			return false, err
		}
		t.end = min(t.end, last)
		if idle++; !pause(ctx, idle) {
			return false, ctx.Err()
		}
	}
	return true, nil
}

// lastThere returns the sequence of the last message to read, 0 for none. It
// asks the stream's leader.
func (t *tail) lastThere(ctx context.Context, s *session) (uint64, error) {
	var end uint64
	for _, filter := range t.filters() {
		m, err := s.last(ctx, filter)
		if err != nil {
			return 0, err
		}
		if m != nil {
			end = max(end, m.Sequence)
		}
	}
	return end, nil
}

func (t *tail) filters() []string {
	if len(t.opts.Topics) == 0 {
		return []string{t.b.names.topics()}
	}
	var filters []string
	for _, name := range t.opts.Topics {
		filters = append(filters, t.b.names.topic(name))
	}
	slices.Sort(filters)
	return slices.Compact(filters) // the server takes none twice
}

// pull delivers one request's messages and says how many came. A consumer
// numbers what it sends, so a gap shows what got lost with a connection.
func (t *tail) pull(ctx context.Context, s *session, c jetstream.Consumer, delivered *uint64) (got int, end bool, err error) {
	ctx, cancel := s.waiting(ctx, tailWait)
	defer cancel()
	batch, err := c.Fetch(tailPull, jetstream.FetchContext(ctx), jetstream.FetchMaxBytes(max(tailBytes, 2*s.maxPayload())))
	if err != nil {
		return 0, false, err
	}
	for m := range batch.Messages() {
		md, err := m.Metadata()
		if err != nil {
			return got, false, err
		}
		if *delivered++; md.Sequence.Consumer != *delivered {
			return got, false, fmt.Errorf("%d messages were lost on the way", md.Sequence.Consumer-*delivered)
		}
		if got++; t.opts.Stop && md.Sequence.Stream > t.end {
			return got, true, nil
		}
		if err := t.deliver(m, md); err != nil {
			return got, true, err
		}
		if t.next = md.Sequence.Stream + 1; t.opts.Stop && t.next > t.end {
			return got, true, nil
		}
	}
	if err := cause(ctx, batch.Error()); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return got, false, err
	}
	return got, false, nil
}

func (t *tail) deliver(m jetstream.Msg, md *jetstream.MsgMetadata) error {
	rest := strings.TrimPrefix(m.Subject(), t.b.names.prefix+".")
	topic, connector, _ := strings.Cut(rest, ".")
	t.msg = topics.Received{
		Message: topics.Message{
			Topic:      topic,
			Connector:  connector,
			Attributes: attributes(t.msg.Attributes[:0], m.Headers()),
			Data:       m.Data(),
		},
		FullTopic: t.b.names.prefix + "." + topic,
		Partition: -1,
		Sequence:  md.Sequence.Stream,
		Stored:    md.Timestamp,
	}
	for _, a := range t.msg.Attributes {
		if a.Name == "partitionkey" {
			t.msg.Key = a.Value
		}
	}
	return t.fn(t.msg)
}

// consumer makes a consumer under the first free of our fixed names.
func (t *tail) consumer(ctx context.Context) (jetstream.Consumer, *session, error) {
	s, done, err := t.b.use(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	config := t.config()
	for slot := 1; slot <= tailSlots; slot++ {
		config.Name = tailName(slot)
		c, err := s.stream.CreateConsumer(ctx, config)
		switch {
		case err == nil:
			return c, s, nil
		case errors.Is(err, jetstream.ErrConsumerExists):
			continue
		case errors.Is(err, jetstream.ErrMaximumConsumersLimit):
			return nil, nil, errAllTaken
		default:
			return nil, nil, fmt.Errorf("make the consumer %s: %w", config.Name, err)
		}
	}
	return nil, nil, errAllTaken
}

func (t *tail) config() jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		// Makes this consumer differ from another's of the same name, which
		// the server would otherwise hand out to both.
		Description:       "millrace tail " + nuid.Next(),
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverNewPolicy,
		InactiveThreshold: tailIdle,
		MemoryStorage:     true,
	}
	switch {
	case t.next > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, t.next
	case t.opts.Beginning:
		config.DeliverPolicy = jetstream.DeliverAllPolicy
	case !t.opts.From.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &t.opts.From
	}
	config.FilterSubjects = t.filters()
	return config
}

// remove frees the consumer's name. Where it fails the server does it later.
func (t *tail) remove(s *session, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.b.ctx), time.Second)
	defer cancel()
	if err := s.stream.DeleteConsumer(ctx, name); err != nil {
		t.b.log.Debug("a consumer of ours is left to end by itself", "consumer", name, "error", err.Error())
	}
}
