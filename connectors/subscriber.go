package connectors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"
)

// ProgressStore keeps where a stream stands, for a [Subscriber]. Load is called
// once for each Subscribe, Save after each batch that was acknowledged; neither
// is called concurrently.
type ProgressStore interface {
	Load(context.Context) (Progress, error)
	Save(context.Context, Progress) error
}

// SubscriberOptions say how a stream is read.
type SubscriberOptions struct {
	// Store keeps where the stream stands; nil keeps it in memory, so that each
	// Subscriber begins anew.
	Store ProgressStore
	// Once makes the read end when it has come to the moment it began: settle
	// does not apply and nothing is swept. The channel is closed then; Err tells
	// what is missing.
	Once bool
	// Only is the one lane that is read, Backfill; "": all. The read ends with the
	// backfill then.
	Only Lane
	// GiveUp is how long a request may fail, with Once, before the stream is
	// given up; 0: after 90 s, or 5 failures in a row.
	GiveUp time.Duration
	// Join lets one message hold the batches that are waiting when it is sent, of
	// so many records together at most, and of 16 MiB: commits of many records
	// are cheaper. A batch never waits for others to join it. Messages have no
	// payload then, only the batch in their context. 0: each batch is a message.
	Join int
	// Log gets one line for each incident; nil: none.
	Log *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Subscriber reads a stream as Watermill wants it: one message for each batch,
// one at a time. Its payload are the records as JSON Lines, and the batch itself
// is in its context ([BatchOf]). Ack means that the batch is committed, Nack
// that it is to be read again from where the stream stands. The topic given to
// Subscribe counts for nothing. A Subscriber is used for one Subscribe.
type Subscriber struct {
	stream *Stream
	opts   SubscriberOptions
	out    chan *message.Message
	done   chan struct{}
	health health
	walks  sync.Map // how far each Lane has come in its walk: a Walked

	answered answered

	expected atomic.Int64           // records of the backfill, as far as the API tells
	trouble  atomic.Pointer[string] // why the backfill's requests fail; nil when they do not

	life sync.Mutex // guards stop
	stop context.CancelFunc

	turn chan struct{} // held while a message is out, and to change progress: there is one committer
	over bool          // a message was left before it was answered: no other may follow
	err  error

	mu       sync.Mutex // guards progress
	progress Progress
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a subscriber; it starts nothing.
func NewSubscriber(stream *Stream, opts SubscriberOptions) *Subscriber {
	if opts.Store == nil {
		opts.Store = &memoryStore{}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Subscriber{stream: stream, opts: opts, out: make(chan *message.Message), done: make(chan struct{}), turn: make(chan struct{}, 1)}
	s.health.log = opts.Log.With("connector", stream.Connector, "stream", stream.Key.Stream)
	s.health.now = opts.Now
	return s
}

// Begin fills in what a stream's first start decides: where it begins, and when
// its first sweep is due.
func Begin(p Progress, o Options, now time.Time) Progress {
	if p.Since.IsZero() {
		p.Since = o.Since
		if p.Since.IsZero() {
			p.Since = now
		}
		p.Since = p.Since.UTC().Truncate(time.Second)
		p.Live.At = p.Since
	}
	if o.SweepBack == 0 { // one that was under way will not end
		p.Sweep = SweepPosition{Due: p.Sweep.Due}
	}
	if latest := now.Add(o.SweepEvery).UTC(); p.Sweep.Due.IsZero() || p.Sweep.Due.After(latest) {
		p.Sweep.Due = latest
	}
	return p
}

// Subscribe starts to read, in goroutines that end with ctx or Close.
func (s *Subscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	s.life.Lock()
	defer s.life.Unlock()
	if s.stop != nil {
		return nil, errors.New("this subscriber has been used; make a new one")
	}
	ctx, s.stop = context.WithCancel(ctx)
	progress, err := s.opts.Store.Load(ctx)
	if err != nil {
		s.stop()
		s.err = fmt.Errorf("loading where %s stands: %w", s.stream.Key, err)
		close(s.out)
		close(s.done)
		return nil, s.err
	}
	s.progress = Begin(progress, s.stream.Options, s.opts.Now())
	go func() {
		defer close(s.done)
		defer close(s.out)
		defer s.stop()
		s.err = s.run(context.WithValue(ctx, metricsKey{}, s.stream.metrics))
	}()
	return s.out, nil
}

// Close ends the reading and waits for it.
func (s *Subscriber) Close() error {
	s.life.Lock()
	stop := s.stop
	s.life.Unlock()
	if stop != nil {
		stop()
		<-s.done
	}
	return nil
}

// Err tells why the reading ended, once the channel is closed: nil when it came
// to its end (Once).
func (s *Subscriber) Err() error {
	<-s.done
	return s.err
}

// Health tells how the stream fares.
func (s *Subscriber) Health() Health { return s.health.get() }

func (s *Subscriber) run(ctx context.Context) error {
	o := s.stream.Options
	slots := make(chan struct{}, o.Requests)
	if s.opts.Only == Backfill {
		return s.backfill(ctx, s.backfillLane(slots))
	}
	group, ctx := errgroup.WithContext(ctx)
	var givenUp error // the backfill: with Once, live reads come to their end nevertheless
	group.Go(func() error {
		err := s.backfill(ctx, s.backfillLane(slots))
		if s.opts.Once {
			givenUp, err = err, nil
		}
		return err
	})
	group.Go(func() error { return s.live(ctx, newLane(Live, s, slots)) })
	if !s.opts.Once && o.SweepBack > 0 {
		// A sweep takes few of the slots: live reads may need the others to
		// spend the rate.
		own := make(chan struct{}, max(1, o.Requests/4))
		group.Go(func() error { return s.sweeps(ctx, newLane(Sweep, s, own, slots)) })
	}
	if err := group.Wait(); err != nil || givenUp == nil {
		return err
	}
	return fmt.Errorf("the present was read, the backfill was not: %w", givenUp)
}

// live follows the present: a read each poll, from overlap behind what was read.
func (s *Subscriber) live(ctx context.Context, l *lane) error {
	o := s.stream.Options
	settle, stopAt := o.Settle, time.Time{}
	if s.opts.Once {
		settle, stopAt = 0, ceilSecond(s.opts.Now())
	}
	end := func(ago time.Duration) time.Time {
		now := s.stream.client.Now().Add(-ago - settle)
		if s.opts.Once { // what the API's clock did not tell of its last second counts too
			return earlier(ceilSecond(now.Add(time.Second)), stopAt)
		}
		return now.UTC().Truncate(time.Second)
	}
	for {
		began := time.Now()
		p := s.current()
		err := s.jump(ctx, l, &p.Live, end)
		p = s.current()
		from := later(p.notBefore(p.Live.At.Add(-o.Overlap)), s.stream.oldest(s.stream.client.Now()))
		if !from.Before(end(0)) {
			// The API's clock may have been wrong when it told us: without a
			// request it would never tell us better.
			s.stream.client.forgetClock()
		}
		if err == nil {
			err = l.read(ctx, from, p.Live, end)
		}
		switch again, err := l.again(ctx, err); {
		case err != nil || s.opts.Once && !again:
			return err
		case again:
			continue
		}
		if err := sleep(ctx, o.Poll-time.Since(began)); err != nil {
			return err
		}
	}
}

// sweeps reads the recent past again, each time one is due.
func (s *Subscriber) sweeps(ctx context.Context, l *lane) error {
	for {
		p := s.current()
		if p.Sweep.Until.IsZero() {
			if err := sleep(ctx, p.Sweep.Due.Sub(s.opts.Now())); err != nil {
				return err
			}
			p = s.beginSweep()
		}
		end := func(time.Duration) time.Time { return p.Sweep.Until }
		again, err := l.again(ctx, l.read(ctx, p.Sweep.At, p.Sweep.Position, end))
		if err != nil {
			return err
		}
		if !again {
			s.endSweep()
		}
	}
}

func (s *Subscriber) current() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// stand sets where the stream stands. The caller holds the turn.
func (s *Subscriber) stand(p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = p
}

// beginSweep decides what is swept: from back on, as far as live reads have come.
func (s *Subscriber) beginSweep() Progress {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	p := s.current()
	p.Sweep.Until = p.Live.At
	from := p.notBefore(p.Live.At.Add(-s.stream.Options.SweepBack))
	p.Sweep.Position = Position{At: later(from, s.stream.oldest(s.stream.client.Now()))}
	s.stand(p)
	return p
}

// endSweep makes the next sweep due. It is in the last batch's progress already,
// but for a sweep that had nothing to read.
func (s *Subscriber) endSweep() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if p := s.current(); !p.Sweep.Until.IsZero() {
		p.Sweep = s.nextSweep()
		s.stand(p)
	}
}

// notBefore moves a beginning up to where the stream begins, and to what is
// still remembered.
func (p *Progress) notBefore(t time.Time) time.Time { return later(later(p.Since, p.Floor), t) }

func (s *Subscriber) nextSweep() SweepPosition {
	return SweepPosition{Due: s.opts.Now().Add(s.stream.Options.SweepEvery).UTC()}
}

// again waits where a read ended because a batch was not accepted, and says that it
// is to be made again. Other errors end the lane.
func (l *lane) again(ctx context.Context, err error) (bool, error) {
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, errNacked):
		return true, sleep(ctx, backoff(l.nacks))
	}
	return false, err
}

var errNacked = errors.New("the batch was not accepted and is read again")

// deliver sends a batch as a message and waits until it is committed.
func (s *Subscriber) deliver(ctx context.Context, l *lane, b *Batch, end func(time.Duration) time.Time) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.over {
		return context.Canceled
	}
	progress := s.current()
	for _, one := range b.Batches() {
		progress.Cells = progress.Cells || one.cells
		if one.EndsPage {
			// What the API could know is told by its clock when it was asked.
			asked := s.stream.client.now().Sub(one.Began)
			s.move(&progress, l.name, one.after, end(asked))
		}
		one.Progress = progress
	}
	payload := b.payload
	if s.opts.Join > 0 {
		payload = nil
	}
	msg := message.NewMessage(watermill.NewUUID(), payload)
	msg.SetContext(context.WithValue(ctx, batchKey{}, b))
	select {
	case s.out <- msg:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-msg.Acked():
		l.nacks = 0
	case <-msg.Nacked():
		l.nacks++
		return errNacked
	case <-ctx.Done():
		// Whoever has the message may still be at work: a second one beside it
		// would be checked against what does not hold the first.
		s.over = true
		return ctx.Err()
	}
	s.stand(progress)
	if err := s.opts.Store.Save(ctx, progress); err != nil {
		return fmt.Errorf("saving where %s stands: %w", s.stream.Key, err)
	}
	return nil
}

// move puts a lane behind a page. What was read never ends behind the time that
// the API's own clock allows.
func (s *Subscriber) move(p *Progress, name Lane, after Position, end time.Time) {
	switch {
	case name == Live && after.Window.To.IsZero():
		p.Live = Position{At: later(p.Live.At, earlier(after.At, end))}
	case name == Live:
		p.Live.Window, p.Live.Cursor = after.Window, after.Cursor
	case name == Backfill:
		p.Backfill = p.Backfill.moved(after)
	case after.Window.To.IsZero() && !after.At.Before(p.Sweep.Until):
		p.Sweep = s.nextSweep()
	case after.Window.To.IsZero():
		p.Sweep.Position = Position{At: after.At}
	default:
		p.Sweep.Window, p.Sweep.Cursor = after.Window, after.Cursor
	}
}

func ceilSecond(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

// memoryStore keeps progress as long as the process lives.
type memoryStore struct{ progress Progress }

func (m *memoryStore) Load(context.Context) (Progress, error) { return m.progress, nil }

func (m *memoryStore) Save(_ context.Context, p Progress) error {
	m.progress = p
	return nil
}
