// Package pipeline joins the stations: it carries each stream from its export
// API to topics, exactly once.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// Options are what all streams of a process share.
type Options struct {
	Broker     topics.Broker
	Transforms transforms.Func // nil: none
	Owner      string          // names this process; unique to it
	Horizon    time.Duration   // how far behind the cursor ids are kept
	Raw        bool            // events hold the record as the API returned it
	// HideKeys has the ledger not say for whom pages were read, nor their cursors:
	// transforms hide such ids.
	HideKeys  bool
	Retention time.Duration // how long the broker keeps events; 0: for ever
	Once      bool          // end when the present is reached
	// Only is the one lane that is read; see connectors.SubscriberOptions. It is
	// for Once.
	Only    connectors.Lane
	GiveUp  time.Duration // with Once; see connectors.SubscriberOptions
	Metrics *Metrics      // required
	Log     *slog.Logger  // required
	Now     func() time.Time
}

// Ingest carries one stream. Run is called once; Status at any time.
type Ingest struct {
	opts    Options
	stream  *connectors.Stream
	log     *slog.Logger
	metrics *streamMetrics
	reads   connectors.SubscriberOptions

	mu         sync.Mutex
	state      string
	cause      string
	full       chan struct{}      // closed while the state is full
	checkpoint *ledger.Checkpoint // as far as it is committed; nil before the first tenure
	subscriber *connectors.Subscriber
	holder     *tenure // that operating commands may use; nil when none is
	tenures    int
	lost       bool          // the last tenure ended because the stream was not ours any more
	began      ledger.Counts // those that the first tenure found
	requests   meter
	events     meter
	filled     meter // records that a backfill has read
	passed     meter // seconds of its range that it is through with
}

// New returns the ingest of one stream; it starts nothing.
func New(stream *connectors.Stream, opts Options) *Ingest {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Horizon = max(opts.Horizon, reread+max(stream.Options.Overlap, stream.Options.SweepBack, stream.Options.Quiet))
	sub := connectors.SubscriberOptions{Once: opts.Once, Only: opts.Only, GiveUp: opts.GiveUp, Log: opts.Log, Now: opts.Now}
	if opts.GiveUp == 0 {
		opts.GiveUp = giveUpAfter
	}
	i := &Ingest{opts: opts, stream: stream, reads: sub, state: StateStarting, full: make(chan struct{})}
	i.log = opts.Log.With("connector", stream.Connector, "stream", stream.Key.Stream)
	i.metrics = opts.Metrics.of(i)
	return i
}

const (
	// slack is how far ids reach beyond what they are needed for: windows are
	// asked for with a second more on both sides, and hold whole seconds.
	slack = 4 * time.Second
	// reread is how much further back than its beginning a read may reach: to
	// that of a quarter of an hour that is read as a whole.
	reread = slack + events.Quarter

	giveUpAfter    = 90 * time.Second       // with Once, unless GiveUp is set
	brokerRetry    = 250 * time.Millisecond // after a broker's error, doubling
	brokerRetryCap = 10 * time.Second
	finishWithin   = 6 * time.Second // what a stop leaves for the batch in flight
	emptyAdvance   = time.Minute     // how long an advance without events stays in memory
	walkAdvance    = time.Second     // the same for one that took a request for each of its keys
)

// Run carries the stream until ctx ends. With Once it returns when the present
// is reached, or with the error that keeps it from there. Otherwise it returns
// early only for state that this binary must not touch: of a newer version, or
// imported in part.
func (i *Ingest) Run(ctx context.Context) error {
	wait := brokerRetry
	var failing time.Time
	for {
		began := i.opts.Now()
		err := i.tenure(ctx)
		if i.opts.Now().Sub(began) > time.Minute { // it worked in between
			wait, failing = brokerRetry, time.Time{}
		}
		var newer *ledger.NewerError
		var half *ledger.ImportError
		switch {
		case err == nil && i.opts.Once && ctx.Err() == nil:
			i.set(StateDone, "")
			if i.opts.Only != "" {
				return nil
			}
			c := i.Status().Checkpoint.Counts
			i.log.Info("read up to the present", "events", c.Events-i.began.Events, "duplicates", c.Duplicates-i.began.Duplicates,
				"dead_letters", c.DeadLetters-i.began.DeadLetters, "requests", c.Requests-i.began.Requests)
			return nil
		case ctx.Err() != nil:
			i.set(StateStopped, "")
			if i.opts.Once {
				return errStopped
			}
			return nil
		case errors.Is(err, errMoved): // it goes on from where it was put, at once
			wait, failing = brokerRetry, time.Time{}
			continue
		case errors.As(err, &newer), errors.As(err, &half), i.opts.Once && i.givenUp(err, &failing):
			i.set(StateFailing, err.Error())
			return err
		case errors.Is(err, topics.ErrFenced), errors.Is(err, errLost):
			i.lost = true
			i.log.Warn("the stream is not ours any more; taking it again when it is free", "cause", err)
			i.set(StateWaiting, err.Error())
		default:
			i.log.Error("the stream begins again from its checkpoint", "cause", err)
			i.set(StateFailing, err.Error())
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, brokerRetryCap)
	}
}

// givenUp says whether a read that is to end some time ends now, without all.
func (i *Ingest) givenUp(err error, failing *time.Time) bool {
	var remote *connectors.Error
	if errors.As(err, &remote) || errors.Is(err, errHeld) {
		return true // it was tried as long as it should
	}
	if failing.IsZero() {
		*failing = i.opts.Now()
	}
	return i.opts.Now().Sub(*failing) >= i.opts.GiveUp
}

var (
	errLost    = errors.New("the lease on the stream was lost")
	errHeld    = errors.New("another instance holds the stream: stop it, or let it do the work")
	errStopped = errors.New("stopped before everything was read; the next run goes on from there")
)

// acquire waits for the stream; with Once it does not wait for ever.
func (i *Ingest) acquire(ctx context.Context) (topics.Stream, error) {
	waited := ctx
	if i.opts.Once {
		var cancel context.CancelFunc
		waited, cancel = context.WithTimeoutCause(ctx, i.opts.GiveUp, errHeld)
		defer cancel()
	}
	other := ""
	held, err := i.opts.Broker.Acquire(waited, i.stream.Key, i.opts.Owner, func(holder string) {
		other = holder
		i.set(StateWaiting, "held by "+holder)
		i.log.Info("another instance holds the stream; waiting for it", "holder", holder)
	})
	if err != nil && waited.Err() != nil && ctx.Err() == nil {
		err = errHeld
	}
	if err != nil {
		return nil, fmt.Errorf("taking %s: %w", i.stream.Key, err)
	}
	if other != "" {
		i.log.Info("took the stream over", "from", other)
	}
	return held, nil
}

// tenure holds the stream for as long as nothing goes wrong. Whatever does ends
// it: the next one begins with the checkpoint as the broker has it (invariant 3).
func (i *Ingest) tenure(ctx context.Context) error {
	held, err := i.acquire(ctx)
	if err != nil {
		return err
	}
	defer held.Release()
	i.metrics.held.Inc()
	defer i.metrics.held.Dec()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-held.Lost():
			cancel(errLost)
		case <-ctx.Done():
		}
	})
	i.tenures++
	t := &tenure{Ingest: i, mu: newTurn(), held: held, stopping: ctx, fail: cancel, number: i.tenures}
	if err := t.open(ctx); err != nil {
		return err
	}
	if i.tenures == 1 {
		i.began = t.checkpoint.Counts
	}
	if i.lost {
		i.lost = false
		i.log.Info("the stream is held again")
	}
	i.offer(t)
	defer i.withdraw(t)
	reads := i.reads
	reads.Store, reads.Join = t, mostRecords(i.opts.Broker.Limits())
	sub := connectors.NewSubscriber(i.stream, reads)
	i.reading(sub)
	defer i.reading(nil)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: finishWithin}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	router.AddConsumerHandler("ingest", i.stream.Key.String(), sub, t.handle)
	err = router.Run(ctx)
	cause := context.Cause(ctx)
	cancel(nil) // a handler that the router did not wait for ends soon
	switch {
	case err != nil && cause == nil:
		return err
	case cause == nil: // the reading ended by itself
		return errors.Join(sub.Err(), t.flush())
	case !errors.Is(cause, context.Canceled):
		return cause
	}
	return t.flush()
}

func (i *Ingest) set(state, cause string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.become(state, cause)
}

// become sets the state, with mu held, and lets go the commands that wait for
// their turn when there is no room.
func (i *Ingest) become(state, cause string) {
	was := i.state
	i.state, i.cause = state, cause
	switch full := state == StateFull; {
	case full && was != StateFull:
		close(i.full)
	case !full && was == StateFull:
		i.full = make(chan struct{})
	}
}

func (i *Ingest) reading(sub *connectors.Subscriber) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.subscriber = sub
	if sub != nil {
		i.become(StateReading, "")
	}
}

func (i *Ingest) committed(c *ledger.Checkpoint) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.checkpoint = c
}

func (i *Ingest) measure(requests, events int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	i.requests.add(requests, now)
	i.events.add(events, now)
}
