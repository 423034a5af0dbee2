package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
)

const (
	// publishBytes is how much of one call is under way at once: the server
	// refuses what it cannot queue.
	publishBytes = 16 << 20
	// publishCount bounds the same by messages, for all calls together.
	publishCount = 4000
	// forgetAfter times PublishWait the client library forgets a message that the
	// server never answers.
	forgetAfter = 10
	// maxHeaders is how many bytes of headers JetStream stores.
	maxHeaders = 1<<16 - 1
)

// Publisher is Watermill's publisher on JetStream, for what does not belong to
// the commits of a [Broker]: what consumers make of events, alerts.
//
// A message's metadata become its headers. CloudEvents attributes are metadata
// that begin with ce_, and headers that begin with ce-, percent-encoded as the
// NATS binding of CloudEvents says. All other metadata keep their names, which
// must be printable ASCII without spaces and without any of "()/,:;<=>?@[\]{}. A
// value that is not printable ASCII is percent-encoded behind the mark UTF-8 and
// two apostrophes, as RFC 8187 does it for HTTP; [Subscriber] decodes it. What
// begins with Nats- or Millrace-, in any case, is left out: it would speak to the
// server.
//
// On a topic of millrace's the metadata ce_connector ends the subject, or _ where
// it is missing.
type Publisher struct {
	*client

	// life is held for reading while something is published.
	life   sync.RWMutex
	closed bool

	knownMu sync.Mutex
	known   map[string]bool // topics whose JetStream stream was made or found
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher connects to the server at opts.URL. Every error is a
// [*topics.OpenError], but for a ctx that ended. The caller closes it.
func NewPublisher(ctx context.Context, opts PubSubOptions) (*Publisher, error) {
	c, err := connect(ctx, opts)
	if err != nil {
		return nil, err
	}
	p := &Publisher{client: c, known: map[string]bool{}}
	if c.js, err = jetstream.New(c.nc, jetstream.WithPublishAsyncMaxPending(publishCount), jetstream.WithPublishAsyncTimeout(forgetAfter*c.opts.PublishWait)); err != nil {
		c.close()
		return nil, err
	}
	return p, nil
}

var errPublisherClosed = errors.New("the publisher is closed")

// Publish stores messages of one topic, in their order, and returns when the
// server has acknowledged all of them. An error is a [*topics.PublishError] that
// tells the messages which are not known to be stored from the others; publish
// those again, or all of them. A message with the UUID of one that is stored
// counts as published and is not stored again, as long as that was within the
// JetStream stream's window for duplicates, mostly two minutes. A message without
// a UUID is stored each time.
//
// Waiting for a message ends with its context too. Safe for concurrent use.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.life.RLock()
	defer p.life.RUnlock()
	if p.closed {
		return errPublisherClosed
	}
	if len(messages) == 0 {
		return nil
	}
	where, err := p.names.place(topic)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	b := &publishing{p: p, place: where, errs: make([]error, len(messages)), patience: time.NewTimer(p.opts.PublishWait)}
	defer b.patience.Stop()
	b.ctx, b.refuse = context.WithCancelCause(context.Background())
	defer b.refuse(nil)
	defer p.watch(where.watched(), b.refuse)()
	if err = p.connected(b.ctx); err == nil {
		err = p.prepare(b.ctx, where)
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	b.publish(messages)
	return b.result(messages)
}

// connected waits for a connection that is just being made again.
func (p *Publisher) connected(ctx context.Context) error {
	if p.nc.IsConnected() {
		return nil
	}
	changed := p.nc.StatusChanged(natsgo.CONNECTED)
	defer p.nc.RemoveStatusListener(changed)
	timer := time.NewTimer(p.opts.PublishWait)
	defer timer.Stop()
	for !p.nc.IsConnected() {
		select {
		case <-changed:
		case <-timer.C:
			return fmt.Errorf("NATS at %s has not been reached for %v: nothing was published", p.where, p.opts.PublishWait)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// prepare makes the topic's JetStream stream, where that was asked for.
func (p *Publisher) prepare(ctx context.Context, where place) error {
	if !p.opts.CreateStreams || where.ours {
		return nil // the server will tell
	}
	p.knownMu.Lock()
	defer p.knownMu.Unlock()
	if p.known[where.topic] {
		return nil
	}
	if _, err := p.find(ctx, where); err != nil {
		return err
	}
	p.known[where.topic] = true
	return nil
}

// Close waits for what is being published and ends the connection. It returns
// nil; safe to call more than once.
func (p *Publisher) Close() error {
	p.life.Lock()
	defer p.life.Unlock()
	if !p.closed {
		p.closed = true
		p.close()
	}
	return nil
}

// publishing is one call of Publish.
type publishing struct {
	p      *Publisher
	place  place
	ctx    context.Context
	refuse context.CancelCauseFunc
	errs   []error // by message

	waiting  []sent // in the order in which they were sent
	bytes    int
	patience *time.Timer // ends when no acknowledgement has come for too long
}

// sent is a message whose acknowledgement is awaited.
type sent struct {
	index  int
	size   int
	ctx    context.Context
	future jetstream.PubAckFuture
}

func (b *publishing) publish(messages []*message.Message) {
	// What follows a message that got lost with a connection must not be stored
	// before that is published again.
	live, done := b.p.lasting(b.ctx)
	defer done()
	for i, msg := range messages {
		m, size, err := b.encode(msg)
		if ended := msg.Context().Err(); ended != nil {
			err = fmt.Errorf("%w: it was not published", ended)
		}
		if err != nil {
			b.errs[i] = err
			continue
		}
		for len(b.waiting) > 0 && b.bytes+size > publishBytes {
			b.settle()
		}
		if live.Err() != nil {
			b.errs[i] = b.explain(context.Cause(live))
			continue
		}
		future, err := b.p.js.PublishMsgAsync(m, jetstream.WithStallWait(b.p.opts.PublishWait))
		if err != nil {
			b.errs[i] = b.explain(err)
			continue
		}
		b.waiting = append(b.waiting, sent{i, size, msg.Context(), future})
		b.bytes += size
	}
	for len(b.waiting) > 0 {
		b.settle()
	}
}

// encode makes a NATS message, and tells the bytes that count against the
// server's limit.
func (b *publishing) encode(msg *message.Message) (*natsgo.Msg, int, error) {
	h, err := header(msg)
	if err != nil {
		return nil, 0, err
	}
	m := &natsgo.Msg{Subject: b.place.subject(msg.Metadata[metadataPrefix+"connector"]), Header: h, Data: msg.Payload}
	if msg.UUID != "" {
		// Several topics may share a JetStream stream, and a message may be
		// published to each of them.
		h[jetstream.MsgIDHeader] = []string{encodeValue(msg.UUID) + "@" + b.place.topic}
	}
	size := m.Size() - len(m.Subject)
	if headers := size - len(msg.Payload); headers > maxHeaders {
		return nil, 0, fmt.Errorf("it has %d bytes of headers, but JetStream takes at most %d: shorten its metadata", headers, maxHeaders)
	}
	if limit := b.p.maxPayload(); size > limit {
		return nil, 0, fmt.Errorf("it has %d bytes with its headers, but NATS at %s takes at most %d (max_payload): make it smaller, or raise the limit", size, b.p.where, limit)
	}
	return m, size, nil
}

// settle waits for the oldest acknowledgement.
func (b *publishing) settle() {
	s := b.waiting[0]
	b.waiting = b.waiting[1:]
	b.bytes -= s.size
	select {
	case <-s.future.Ok():
		return // whatever else has happened
	default:
	}
	b.patience.Reset(b.p.opts.PublishWait)
	select {
	case <-s.future.Ok():
	case <-b.patience.C:
		b.refuse(errUnanswered)
		b.errs[s.index] = b.explain(errUnanswered)
	case err := <-s.future.Err():
		b.errs[s.index] = b.explain(err)
	case <-s.ctx.Done():
		b.errs[s.index] = fmt.Errorf("%w before NATS at %s acknowledged it: it is unknown whether it is stored", s.ctx.Err(), b.p.where)
	case <-b.ctx.Done():
		b.errs[s.index] = b.explain(context.Cause(b.ctx))
	}
}

var errUnanswered = errors.New("no acknowledgement came in time")

// explain says what a failure means and what to do.
func (b *publishing) explain(err error) error {
	switch {
	case errors.Is(err, natsgo.ErrPermissionViolation):
		return fmt.Errorf("NATS at %s does not let this user publish to topic %s (a server that millrace embeds lets nobody): %w", b.p.where, b.place.topic, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		b.p.knownMu.Lock()
		delete(b.p.known, b.place.topic)
		b.p.knownMu.Unlock()
		return b.p.noStream(b.place)
	case errors.Is(err, errUnanswered), errors.Is(err, jetstream.ErrAsyncPublishTimeout), errors.Is(err, jetstream.ErrTooManyStalledMsgs):
		return fmt.Errorf("%w from NATS at %s within %v: it is unknown whether it is stored; look whether a JetStream stream holds topic %s", errUnanswered, b.p.where, b.p.opts.PublishWait, b.place.topic)
	case errors.Is(err, natsgo.ErrDisconnected), errors.Is(err, errCut), errors.Is(err, natsgo.ErrReconnectBufExceeded):
		return fmt.Errorf("the connection to NATS at %s was cut: it is unknown whether it is stored; publish it again", b.p.where)
	}
	return fmt.Errorf("NATS at %s refuses it: %w", b.p.where, err)
}

func (b *publishing) result(messages []*message.Message) error {
	var failed []topics.MessageError
	for i, err := range b.errs {
		if err != nil {
			failed = append(failed, topics.MessageError{Index: i, UUID: messages[i].UUID, Err: err})
		}
	}
	if failed == nil {
		return nil
	}
	return &topics.PublishError{Topic: b.place.topic, Of: len(messages), Failed: failed}
}
