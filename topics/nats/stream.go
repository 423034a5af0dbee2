package nats

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// stream is one polled stream in our hands.
type stream struct {
	entries
	owner string
	// term is unique to this holding of the stream. It tells a late success of
	// an earlier commit of ours from another owner's.
	term string
	enc  *encoder

	// seq is the sequence of the checkpoint that the next commit must follow, 0
	// for none; known is false while the broker's own must be read first.
	seq   uint64
	known bool

	lease    *lease        // nil on the embedded server, where the directory is locked
	lost     chan struct{} // closed when the lease is lost
	released chan struct{} // closed by Release
	settled  bool          // Acquire has returned it; guarded by the broker's heldMu
	once     sync.Once
}

// Acquire waits until this process holds the stream. In one process two never
// hold the same; between processes a lease decides who reads, and the
// compare-and-swap of the checkpoint who writes.
func (b *Broker) Acquire(ctx context.Context, key events.StreamKey, owner string, onWait func(holder string)) (topics.Stream, error) {
	s := &stream{
		entries: entries{b, key}, owner: owner, term: nuid.Next(),
		lost: make(chan struct{}), released: make(chan struct{}),
	}
	s.enc = newEncoder(b.names, key, s.term)
	var once sync.Once
	wait := func(holder string) {
		once.Do(func() {
			if onWait != nil {
				onWait(holder)
			}
		})
	}
	if err := b.hold(ctx, s, wait); err != nil {
		return nil, err
	}
	if b.embedded == nil {
		l, err := b.takeLease(ctx, s, wait)
		if err != nil {
			b.drop(s)
			return nil, err
		}
		s.lease = l
	}
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
	b.heldMu.Lock()
	delete(b.held, s.key)
	b.heldMu.Unlock()
	close(s.released)
}

// Lost is closed when the lease could not be kept.
func (s *stream) Lost() <-chan struct{} { return s.lost }

// Release gives the stream up and waits for its goroutine.
func (s *stream) Release() {
	s.once.Do(func() {
		if s.lease != nil {
			s.lease.release()
		}
		s.b.drop(s)
	})
	<-s.released
}

// Checkpoint reads the committed checkpoint.
func (s *stream) Checkpoint(ctx context.Context) ([]byte, error) {
	m, err := s.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint of %s: %w", s.key, err)
	}
	if s.b.embedded == nil {
		// The embedded server is repaired when it starts; another's may have
		// lost the end of its log since we connected.
		if err := s.b.foreignTear(ctx); err != nil {
			return nil, err
		}
	}
	s.known = true
	if m == nil {
		s.seq = 0
		return nil, nil
	}
	s.seq = m.Sequence
	return m.Data, nil
}

func (s *stream) read(ctx context.Context) (*jetstream.RawStreamMsg, error) {
	ss, done, err := s.b.sound(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return ss.last(ctx, s.enc.checkpoint)
}

// entries reads a stream's ledger.
type entries struct {
	b   *Broker
	key events.StreamKey
}

// Ledger reads a stream's ledger, whoever holds the stream.
func (b *Broker) Ledger(key events.StreamKey) topics.Ledger { return &entries{b, key} }

// Entries lists the names of the ledger entries that are kept, sorted.
func (l *entries) Entries(ctx context.Context) ([]string, error) {
	ss, done, err := l.b.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	filter := l.b.names.entries(l.key)
	subjects, err := ss.subjects(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("list the ledger of %s: %w", l.key, err)
	}
	names := subjects[:0]
	for _, subject := range subjects {
		if name, ok := unescape(strings.TrimPrefix(subject, strings.TrimSuffix(filter, ">"))); ok {
			names = append(names, name)
		}
	}
	// Escaping keeps no order: a dot sorts elsewhere than its %2E.
	slices.Sort(names)
	return names, nil
}

// Entry reads one ledger entry.
func (l *entries) Entry(ctx context.Context, name string) ([]byte, error) {
	ss, done, err := l.b.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	m, err := ss.last(ctx, l.b.names.entry(l.key, name))
	if err == nil && m == nil {
		err = topics.ErrNoEntry
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger entry %s of %s: %w", name, l.key, err)
	}
	return m.Data, nil
}

// Forget deletes ledger entries.
func (s *stream) Forget(ctx context.Context, names []string) error {
	ss, done, err := s.b.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	for _, name := range names {
		if err := ss.stream.Purge(ctx, jetstream.WithPurgeSubject(s.b.names.entry(s.key, name))); err != nil {
			return fmt.Errorf("forget ledger entry %s of %s: %w", name, s.key, err)
		}
	}
	return nil
}
