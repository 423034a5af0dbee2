package nats

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pullAhead is how many messages are asked for at once where the server gives
	// out one at a time anyway: so the next one comes without being asked for.
	pullAhead = 100
	// pullWait is how long the server holds a request that it cannot fill,
	// pullSign how often it tells that it still does.
	pullWait = 30 * time.Second
	pullSign = time.Second
	// pullRequests is how many requests, about, go under one address: an embedded
	// server remembers each as long as the address is listened to.
	pullRequests = 256
	// drainWait is how long we wait for messages that were on their way when the
	// subscription ended.
	drainWait = time.Second
)

// subscription is one call of Subscribe.
type subscription struct {
	s     *Subscriber
	place place
	name  string             // of the consumer
	first jetstream.Consumer // as it was when Subscribe returned
	out   chan *message.Message

	ctx    context.Context // Subscribe's, which every message's is made of
	ending context.Context // ends with ctx or Close: nothing more is delivered
	end    context.CancelFunc
	stop   func() bool
	given  context.Context // ends when handlers have had their time
	giveUp context.CancelFunc

	mu   sync.Mutex
	held map[uint64]bool // messages that are not acknowledged, by sequence
	next uint64          // the sequence behind the last message that came; 0 for none
}

// run delivers until the subscription ends.
func (b *subscription) run() {
	defer b.forget()
	defer close(b.out)
	var workers sync.WaitGroup
	for range b.s.opts.Parallel {
		workers.Go(func() { (&worker{subscription: b, consumer: b.first}).run() })
	}
	done := make(chan struct{})
	go func() {
		workers.Wait()
		close(done)
	}()
	<-b.ending.Done()
	timer := time.NewTimer(b.s.opts.CloseTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		b.giveUp()
		<-done
	}
	b.remove()
}

// forget ends what the subscription's contexts hold.
func (b *subscription) forget() {
	b.stop()
	b.end()
	b.giveUp()
}

// remove frees a consumer that nobody will use again. Where it fails the server
// does it later.
func (b *subscription) remove() {
	if b.s.opts.Group != "" {
		return
	}
	err := b.s.ask(context.Background(), "CONSUMER.DELETE."+b.place.stream+".", func(ctx context.Context) error {
		return b.s.js.DeleteConsumer(ctx, b.place.stream, b.name)
	})
	if err != nil {
		b.s.log.Debug("a consumer of ours is left to end by itself", "consumer", b.name, "error", err.Error())
	}
}

// hold remembers a message until it is acknowledged.
func (b *subscription) hold(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = map[uint64]bool{}
	}
	b.held[seq] = true
	b.next = max(b.next, seq+1)
}

func (b *subscription) release(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, seq)
}

// from is where a consumer must begin that replaces a lost one.
func (b *subscription) from() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := b.next
	for seq := range b.held {
		from = min(from, seq)
	}
	return from
}

// worker delivers one message at a time.
type worker struct {
	*subscription
	consumer jetstream.Consumer // nil when it must be looked for
	messages jetstream.MessagesContext
	left     int // how many messages may come before messages is replaced
}

func (w *worker) run() {
	for {
		m, ok := w.receive()
		if !ok {
			return
		}
		w.handle(m)
	}
}

// receive waits for the next message; false when the subscription has ended.
func (w *worker) receive() (jetstream.Msg, bool) {
	for attempt := 0; w.ending.Err() == nil; attempt++ {
		m, err := w.try()
		switch {
		case err == nil:
			return m, true
		case w.ending.Err() != nil:
		case attempt == 0 && errors.Is(err, jetstream.ErrMsgIteratorClosed):
			w.messages = nil // it was drained
		default:
			level := slog.LevelDebug
			if attempt == 0 {
				level = slog.LevelWarn
			}
			w.s.log.Log(w.ending, level, "reading a topic was interrupted and goes on", "topic", w.place.topic, "error", w.s.conn.redact(err.Error()))
			// A server that was restarted may have lost the consumer.
			if w.messages != nil {
				w.messages.Stop()
			}
			w.messages, w.consumer = nil, nil
			pause(w.ending, attempt)
		}
	}
	w.drain()
	return nil, false
}

func (w *worker) try() (m jetstream.Msg, err error) {
	if w.consumer == nil {
		if w.consumer, err = w.s.consumer(w.ending, w.place, w.name, w.from()); err != nil {
			return nil, err
		}
	}
	if w.messages == nil {
		ahead := pullAhead
		if w.s.opts.Parallel > 1 {
			ahead = 1 // others may have time for it
		}
		if w.messages, err = w.consumer.Messages(jetstream.PullMaxMessages(ahead), jetstream.PullExpiry(pullWait), jetstream.PullHeartbeat(pullSign)); err != nil {
			return nil, err
		}
		w.left = pullRequests * (ahead + 1) / 2
	}
	if w.left--; w.left == 0 {
		w.messages.Drain() // what is on its way still comes
	}
	return w.messages.Next(jetstream.NextContext(w.ending))
}

// drain gives back what was on its way, so that others need not wait for it.
func (w *worker) drain() {
	if w.messages == nil {
		return
	}
	w.messages.Drain()
	for {
		m, err := w.messages.Next(jetstream.NextMaxWait(drainWait))
		if err != nil {
			w.messages.Stop()
			return
		}
		w.giveBack(m, 0)
	}
}

// handle delivers a message and waits for its Ack or Nack, with signs of life to
// the server for as long as that takes.
func (w *worker) handle(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		w.s.log.Warn("NATS delivered what is no message of JetStream", "topic", w.place.topic, "error", err.Error())
		return
	}
	w.hold(meta.Sequence.Stream)
	msg := received(m.Data(), m.Headers())
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	msg.SetContext(ctx)
	sign := time.NewTicker(max(w.s.opts.AckWait/3, time.Millisecond))
	defer sign.Stop()
	out, ending := w.out, w.ending.Done()
	for {
		select {
		case out <- msg:
			out = nil
		case <-msg.Acked():
			w.acknowledge(m, meta.Sequence.Stream)
			return
		case <-msg.Nacked():
			if w.s.opts.Group != "" {
				w.release(meta.Sequence.Stream) // another member may get it
			}
			w.giveBack(m, w.backoff(meta.NumDelivered))
			return
		case <-sign.C:
			if err := m.InProgress(); err != nil {
				w.s.log.Debug("a sign of life was not sent", "topic", w.place.topic, "error", err.Error())
			}
		case <-ending:
			if out != nil {
				w.giveBack(m, 0)
				return
			}
			ending = nil
		case <-w.given.Done():
			w.s.log.Warn("a message was not acknowledged when its subscription ended, and goes back", "topic", w.place.topic, "message", msg.UUID)
			w.giveBack(m, 0)
			return
		}
	}
}

// acknowledge waits for the server to confirm, and repeats itself over a lost
// connection as long as the server has not given the message to another: what was
// handled need not be handled again.
func (w *worker) acknowledge(m jetstream.Msg, seq uint64) {
	w.release(seq)
	ctx, cancel := context.WithTimeout(w.given, w.s.opts.AckWait)
	defer cancel()
	for attempt := 0; ; attempt++ {
		waiting, done := w.s.waiting(ctx, readWait)
		err := m.DoubleAck(waiting)
		done()
		if err == nil {
			return
		}
		if w.gone(ctx) {
			return // and the one that replaces it begins behind the message
		}
		if !pause(ctx, attempt) {
			w.s.log.Warn("an acknowledgement did not reach NATS: the message will come again", "topic", w.place.topic, "error", err.Error())
			return
		}
	}
}

// gone says whether the consumer is known to be there no more.
func (w *worker) gone(ctx context.Context) bool {
	waiting, done := w.s.waiting(ctx, readWait)
	defer done()
	_, err := w.s.js.Consumer(waiting, w.place.stream, w.name)
	return errors.Is(err, jetstream.ErrConsumerNotFound)
}

// giveBack has the message delivered again, after a rest. Where that does not
// reach the server, it comes again after AckWait.
func (w *worker) giveBack(m jetstream.Msg, rest time.Duration) {
	if err := m.NakWithDelay(rest); err != nil {
		w.s.log.Debug("a message was not given back", "topic", w.place.topic, "error", err.Error())
	}
}

func (w *worker) backoff(deliveries uint64) time.Duration {
	rests := w.s.opts.Backoff
	return rests[min(max(deliveries, 1), uint64(len(rests)))-1]
}
