package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// stream is one polled stream in our hands.
type stream struct {
	b     *Broker
	key   events.StreamKey
	owner string
	// term is unique to this holding of the stream. It tells a late success of
	// an earlier commit of ours from another owner's.
	term string

	producer *producer
	decided  map[identity]decision // how transactions ended whose end may not show yet
	home     partition             // where its state lies
	state    *state
	page     *page
	topics   map[string]topic // by name behind the prefix, as last seen
	fresh    map[string]bool  // those that were looked at for the commit that is being encoded
	written  written
	keyBytes []byte

	// last names the checkpoint that the next commit must follow; known is false
	// while the broker's own must be read first.
	last  stamp
	known bool
	// proven: what was read of the state is all there was, as a transaction of ours
	// has followed it.
	proven bool
	calls  sync.Mutex // held by all calls but Lost and Release, for Release

	preparingMu sync.Mutex
	preparing   *preparation // nil where nothing was begun
	releasing   bool         // nothing is begun any more
	working     context.Context
	stop        context.CancelFunc // ends working

	lease    *lease
	lost     chan struct{} // closed when the lease is lost
	released chan struct{} // closed by Release
	settled  bool          // Acquire has returned it; guarded by the broker's heldMu
	once     sync.Once
}

// topic is one with its partitions.
type topic struct {
	name string
	ids  []int
}

// stamp says which commit wrote a checkpoint.
type stamp struct{ commit, term string }

// Acquire waits until this process holds the stream. In one process two never
// hold the same; between processes a group of consumers decides who reads, and
// the transactional id's epoch who writes.
func (b *Broker) Acquire(ctx context.Context, key events.StreamKey, owner string, onWait func(holder string)) (topics.Stream, error) {
	if !b.begin() {
		return nil, errClosed
	}
	defer b.acquiring.Done()
	page, err := newPage(b.opts.Compression, b.batchLimit())
	if err != nil {
		return nil, err
	}
	home := partition{b.names.state(), statePartition(key)}
	s := &stream{
		b: b, key: key, owner: owner, term: rand.Text(), page: page, home: home, topics: map[string]topic{}, fresh: map[string]bool{}, written: written{}, decided: map[identity]decision{},
		producer: newProducer(b.client, b.names.transaction(key), b.opts.TransactionTimeout),
		state:    newState(b.client, home, checkpointKey(key), ledgerKeys(key)),
		lost:     make(chan struct{}), released: make(chan struct{}),
	}
	s.working, s.stop = context.WithCancel(b.ctx)
	var once sync.Once
	wait := func(holder string) {
		once.Do(func() {
			if onWait != nil {
				onWait(holder)
			}
		})
	}
	if err := b.hold(ctx, s, wait); err != nil {
		s.stop()
		return nil, err
	}
	if s.lease, err = b.takeLease(ctx, s, wait); err != nil {
		b.drop(s)
		return nil, err
	}
	s.producer.sure = s.lease.sure
	if !b.settle(s) {
		s.Release()
		return nil, errClosed
	}
	return s, nil
}

// settle hands the stream over to its caller, and to Close, which releases what
// is still held; false when Close has come before.
func (b *Broker) settle(s *stream) bool {
	b.heldMu.Lock()
	defer b.heldMu.Unlock()
	s.settled = !b.closing
	return s.settled
}

// begin lets Close wait for an Acquire; false when Close has come before.
func (b *Broker) begin() bool {
	b.heldMu.Lock()
	defer b.heldMu.Unlock()
	if !b.closing {
		b.acquiring.Add(1)
	}
	return !b.closing
}

// hold takes the stream among those of this process.
func (b *Broker) hold(ctx context.Context, s *stream, wait func(string)) error {
	for {
		b.heldMu.Lock()
		if b.closing {
			b.heldMu.Unlock()
			return errClosed
		}
		other := b.held[s.key]
		if other == nil {
			b.held[s.key] = s
		}
		b.heldMu.Unlock()
		if other == nil {
			return nil
		}
		wait(other.owner)
		select {
		case <-other.released:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.ctx.Done():
			return errClosed
		}
	}
}

func (b *Broker) drop(s *stream) {
	s.stop()
	b.heldMu.Lock()
	delete(b.held, s.key)
	b.heldMu.Unlock()
	close(s.released)
}

// Lost is closed when the lease could not be kept.
func (s *stream) Lost() <-chan struct{} { return s.lost }

// Release gives the stream up and waits for its goroutines. A transaction that
// was given up in the middle is aborted, so that readers need not wait for its
// time to be up.
func (s *stream) Release() {
	s.once.Do(func() {
		s.endPreparing()
		var work sync.WaitGroup
		if s.calls.TryLock() { // else the call that is under way knows what to do
			defer s.calls.Unlock()
			if s.producer.doubt && s.producer.pid >= 0 && !s.producer.committing {
				work.Go(s.abandon)
			}
		}
		if s.lease != nil {
			s.lease.release()
		}
		work.Wait()
		s.b.drop(s)
	})
	<-s.released
}

// abandon aborts what may be open. Where that fails the transaction ends with its
// time.
func (s *stream) abandon() {
	ctx, cancel := context.WithTimeout(s.b.ctx, s.b.opts.session/4)
	defer cancel()
	if _, err := s.producer.abort(ctx, s.producer.pid, s.producer.epoch); err != nil {
		s.b.log.Debug("an open transaction is left to its time", "stream", s.key.String(), "error", err.Error())
	}
}

// Checkpoint reads the committed checkpoint. The first call fences whoever wrote
// before.
func (s *stream) Checkpoint(ctx context.Context) ([]byte, error) {
	s.calls.Lock()
	defer s.calls.Unlock()
	ctx, cancel := s.b.bound(ctx)
	defer cancel()
	s.known = false
	if err := s.awaitPrepared(ctx); err != nil && !errors.Is(err, topics.ErrFenced) {
		s.producer.doubt = true
	} else if err != nil {
		return nil, s.failed("read the checkpoint", err)
	}
	var err error
	if s.producer.pid < 0 {
		err = s.take(ctx)
	} else {
		err = s.retake(ctx)
	}
	if err != nil {
		return nil, s.failed("read the checkpoint", err)
	}
	s.known = true
	c := s.state.checkpoint
	s.last, s.written = c.stamp, parseWritten(c.partitions)
	return slices.Clone(c.data), nil
}

// failed says what could not be done, and what helps where it is the rights.
func (s *stream) failed(what string, err error) error {
	if s.b.ctx.Err() != nil {
		err = errClosed
	}
	return fmt.Errorf("%s of %s: %w", what, s.key, s.b.explain(err))
}

// Forget deletes ledger entries.
func (s *stream) Forget(ctx context.Context, names []string) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	ctx, cancel := s.b.bound(ctx)
	defer cancel()
	if !s.known {
		return errUnread
	}
	if err := s.catchUp(ctx); err != nil {
		return s.failed("forget ledger entries", err)
	}
	s.page.reset()
	gone := 0
	for _, name := range names {
		if s.state.has(name) {
			s.page.state(s.home, ledgerKeys(s.key)+name, nil)
			gone++
		}
	}
	if gone == 0 {
		return nil
	}
	err := s.page.finish()
	if err == nil {
		err = s.write(ctx, s.last) // what a second attempt deletes again does no harm
	}
	if err != nil {
		return s.failed("forget ledger entries", err)
	}
	return nil
}

// catchUp reads what was committed until now. A transaction's end is answered
// before it shows: our own last one is waited for.
func (s *stream) catchUp(ctx context.Context) error {
	if err := s.awaitPrepared(ctx); ctx.Err() != nil {
		return err
	}
	for deadline := time.Now().Add(s.b.client.wait); ; {
		err := s.state.catchUp(ctx)
		if err != nil || !s.known || s.state.open[s.producer.pid] == nil || time.Now().After(deadline) {
			return err
		}
		if !pause(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// Entries lists the names of the ledger entries that are kept, sorted.
func (s *stream) Entries(ctx context.Context) ([]string, error) {
	s.calls.Lock()
	defer s.calls.Unlock()
	ctx, cancel := s.b.bound(ctx)
	defer cancel()
	if err := s.catchUp(ctx); err != nil {
		return nil, s.failed("list the ledger", err)
	}
	return s.state.names(), nil
}

// Entry reads one ledger entry.
func (s *stream) Entry(ctx context.Context, name string) ([]byte, error) {
	s.calls.Lock()
	defer s.calls.Unlock()
	ctx, cancel := s.b.bound(ctx)
	defer cancel()
	if err := s.catchUp(ctx); err != nil {
		return nil, s.failed("read ledger entry "+name, err)
	}
	data, err := s.state.entry(ctx, name)
	if err != nil {
		return nil, s.failed("read ledger entry "+name, err)
	}
	return data, nil
}

// ledger reads a stream's ledger, whoever holds the stream.
type ledger struct {
	b   *Broker
	key events.StreamKey

	mu    sync.Mutex
	state *state
}

// Ledger reads a stream's ledger, whoever holds the stream.
func (b *Broker) Ledger(key events.StreamKey) topics.Ledger {
	home := partition{b.names.state(), statePartition(key)}
	return &ledger{b: b, key: key, state: newState(b.client, home, checkpointKey(key), ledgerKeys(key))}
}

// Entries lists the names of the ledger entries that are kept, sorted.
func (l *ledger) Entries(ctx context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := l.b.bound(ctx)
	defer cancel()
	if err := l.state.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("list the ledger of %s: %w", l.key, l.b.explain(err))
	}
	return l.state.names(), nil
}

// Entry reads one ledger entry.
func (l *ledger) Entry(ctx context.Context, name string) (data []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := l.b.bound(ctx)
	defer cancel()
	if err = l.state.catchUp(ctx); err == nil {
		data, err = l.state.entry(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger entry %s of %s: %w", name, l.key, l.b.explain(err))
	}
	return data, nil
}

// Checkpoints reads the checkpoint of every stream ever committed.
func (b *Broker) Checkpoints(ctx context.Context) ([]topics.Stored, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	if _, err := b.client.partitions(ctx, b.names.state()); b.missing(err) {
		return nil, nil // nothing was ever committed
	}
	var all []topics.Stored
	for id := range int32(statePartitions) {
		found, err := readCheckpoints(ctx, b.client, partition{b.names.state(), id})
		if err != nil {
			return nil, fmt.Errorf("read the checkpoints on Kafka at %s: %w", b.client.where, b.explain(err))
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(x, y topics.Stored) int { return strings.Compare(x.Key.String(), y.Key.String()) })
	return all, nil
}

// writeFor bounds how long one commit tries before its caller hears of it.
const writeFor = time.Minute
