package nats

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
)

const (
	// writeFor bounds how long one commit tries before its caller hears of it.
	writeFor = time.Minute
	// inFlightBytes bounds what all open batches send at once; the server
	// drops what is over 128 MB.
	inFlightBytes = 64 << 20
)

var (
	errUnread = errors.New("it is unknown what the broker holds: read the checkpoint first")
	errLate   = errors.New("the broker holds another commit of ours than the last that was answered: read the checkpoint first")
)

// Commit writes c as one atomic batch, the checkpoint last.
func (s *stream) Commit(ctx context.Context, c *topics.Commit) error {
	size, err := s.measure(c)
	if err != nil {
		return err
	}
	release, err := s.b.admit(ctx, size)
	if err != nil {
		return err
	}
	defer release()
	err = s.write(ctx, c.ID, size, func(ctx context.Context, ss *session) (uint64, error) {
		return s.sendBatch(ctx, ss, c)
	})
	if err != nil {
		return fmt.Errorf("commit %d events of %s: %w", len(c.Messages), s.key, err)
	}
	return nil
}

// Advance writes the checkpoint alone: a batch of one costs the server as much
// as a batch of a hundred.
func (s *stream) Advance(ctx context.Context, id string, checkpoint []byte) error {
	err := s.write(ctx, id, int64(len(checkpoint)), func(ctx context.Context, ss *session) (uint64, error) {
		a, err := ss.request(ctx, s.enc.alone(id, checkpoint, s.seq), s.b.opts.ackWait)
		return a.Sequence, err
	})
	if err != nil {
		return fmt.Errorf("advance %s: %w", s.key, err)
	}
	return nil
}

// measure checks c against the limits and returns its encoded size.
func (s *stream) measure(c *topics.Commit) (int64, error) {
	limits := s.b.Limits()
	count, largest := len(c.Messages)+1, len(c.Checkpoint)
	total := int64(len(c.Checkpoint))
	for i := range c.Entries {
		count++
		total += int64(len(c.Entries[i].Data))
		largest = max(largest, len(c.Entries[i].Data))
	}
	for i := range c.Messages {
		size := c.Messages[i].Size()
		total += int64(size)
		largest = max(largest, size)
	}
	if count > limits.Messages || largest > limits.Bytes {
		return 0, fmt.Errorf("commit %d events of %s: %w", len(c.Messages), s.key, &topics.TooLargeError{Limits: limits})
	}
	// What the store and the batch's headers add to each message.
	return total + int64(count)*batchRoom/2, nil
}

// admit waits until another batch may be open.
func (b *Broker) admit(ctx context.Context, size int64) (release func(), err error) {
	select {
	case b.batches <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	size = min(size, inFlightBytes)
	if err := b.inFlight.Acquire(ctx, size); err != nil {
		<-b.batches
		return nil, err
	}
	return func() {
		b.inFlight.Release(size)
		<-b.batches
	}, nil
}

// sendBatch sends every message of c and waits for the last one's answer. A
// batch that ends half-way is thrown away by the server.
func (s *stream) sendBatch(ctx context.Context, ss *session, c *topics.Commit) (uint64, error) {
	batch := s.enc.batchID()
	n := 0
	for i := range c.Messages {
		if n++; n%256 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		m, err := s.enc.event(&c.Messages[i], batch, n)
		if err != nil {
			return 0, &rejected{err}
		}
		if err := ss.nc.PublishMsg(m); err != nil {
			return 0, cause(ctx, err)
		}
	}
	for i := range c.Entries {
		n++
		if err := ss.nc.PublishMsg(s.enc.entry(&c.Entries[i], batch, n)); err != nil {
			return 0, cause(ctx, err)
		}
	}
	n++
	a, err := ss.request(ctx, s.enc.last(c.ID, c.Checkpoint, s.seq, batch, n), s.b.opts.ackWait)
	if err == nil && a.Count != n {
		// An answer to something else; the checkpoint will tell.
		err = fmt.Errorf("the server acknowledged %d messages of a batch of %d", a.Count, n)
	}
	return a.Sequence, err
}

// rejected is an error from before anything was sent that could take effect.
type rejected struct{ error }

func (r *rejected) Unwrap() error { return r.error }

// write sends until it is known what became of it. To send again is safe: every
// attempt carries the same compare-and-swap, so at most one takes effect, and
// one that lost to an earlier attempt finds its own id in the checkpoint.
func (s *stream) write(ctx context.Context, id string, size int64, send func(context.Context, *session) (uint64, error)) error {
	if !s.known {
		return errUnread
	}
	ctx, cancel := s.b.bound(ctx)
	defer cancel()
	s.b.pending.Add(size)
	defer s.b.pending.Add(-size)
	deadline := time.Now().Add(writeFor)
	s.known = false
	for attempt := 0; ; attempt++ {
		seq, err := s.try(ctx, send)
		if err == nil {
			s.seq, s.known = seq, true
			return nil
		}
		var unsent *rejected
		if errors.As(err, &unsent) {
			s.known = true
			return unsent.error
		}
		switch fate, readErr := s.fate(ctx, id); {
		case errors.Is(readErr, topics.ErrFull):
			// What was torn is completed or removed when there is room; the same
			// commit again will find out which.
			s.known = true
			return readErr
		case readErr != nil:
			return errors.Join(err, readErr)
		case fate == fateOurs:
			return nil
		case fate == fateFenced:
			return topics.ErrFenced
		}
		// Nothing of ours has taken effect up to now.
		if final := s.b.final(ctx, err); final != nil {
			s.known = true
			return final
		}
		if attempt >= 3 && time.Now().After(deadline) {
			return fmt.Errorf("tried %d times without an answer that counts: %w", attempt+1, err)
		}
		if !pause(ctx, attempt) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// try sends once.
func (s *stream) try(ctx context.Context, send func(context.Context, *session) (uint64, error)) (uint64, error) {
	ss, done, err := s.b.sound(ctx)
	if errors.Is(err, topics.ErrFull) {
		return 0, &rejected{err}
	}
	if err != nil {
		return 0, err
	}
	defer done()
	if s.b.embedded != nil {
		if err := s.b.room(s.b.pending.Load()); err != nil {
			return 0, &rejected{err}
		}
	}
	seq, err := send(ctx, ss)
	if err != nil && s.b.embedded != nil && ctx.Err() == nil && torn(err) {
		ss.suspect.Store(true)
		s.b.log.Warn("a batch may be half-written: the embedded NATS server is restarted and repaired", "stream", s.key.String(), "error", err.Error())
	}
	return seq, err
}

// torn says whether an error of the embedded server can mean that a part of a
// batch was stored.
func torn(err error) bool {
	var unsent *rejected
	if errors.As(err, &unsent) {
		return false
	}
	switch code(err) {
	case codeWrongSequence, codeWrongSequence2, codeTooLarge, codeTooManyBatches, codeTooLongHeader, codeTooLongMessage:
		return false
	}
	return true
}

// What became of a write.
type fate int

const (
	fateUnchanged fate = iota // the checkpoint is still the one before
	fateOurs                  // it took effect
	fateFenced                // another owner has written
)

// fate reads the checkpoint until it has an answer.
func (s *stream) fate(ctx context.Context, id string) (fate, error) {
	deadline := time.Now().Add(writeFor / 2)
	for attempt := 0; ; attempt++ {
		m, err := s.read(ctx)
		switch {
		case err != nil:
			if errors.Is(err, errClosed) || errors.Is(err, topics.ErrFull) || time.Now().After(deadline) || !pause(ctx, attempt) {
				return 0, fmt.Errorf("read the checkpoint to learn what became of the commit: %w", err)
			}
		case m == nil && s.seq == 0, m != nil && m.Sequence == s.seq:
			return fateUnchanged, nil
		case m == nil:
			return fateFenced, nil
		case m.Header.Get(headerCommit) == id && m.Header.Get(headerTerm) == s.term:
			s.seq, s.known = m.Sequence, true
			return fateOurs, nil
		case m.Header.Get(headerTerm) == s.term:
			return 0, errLate
		default:
			return fateFenced, nil
		}
	}
}

// batchLimit finds the limit in the server's refusal of a batch.
var batchLimit = regexp.MustCompile(`too large: (\d+)`)

// final turns an answer that trying again cannot change into what the contract
// names; nil means to try again.
func (b *Broker) final(ctx context.Context, err error) error {
	if b.embedded == nil {
		// To send again behind a torn batch would show its beginning twice.
		if torn := b.foreignTear(ctx); torn != nil {
			return torn
		}
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return nil
	}
	switch int(api.ErrorCode) {
	case codeTooLarge:
		return &topics.TooLargeError{Limits: b.learn(api.Description)}
	case codeStoreFailed, codeStorageFull, codeInsufficient, codeAccountFull, codeMemoryFull:
		if b.embedded == nil {
			return fmt.Errorf("%w: NATS answers %q: make room on the server or raise its limits", topics.ErrFull, api.Description)
		}
	case codeTooLongHeader, codeTooLongMessage:
		return fmt.Errorf("NATS refuses a message: %s", api.Description)
	}
	return nil
}

// learn takes the size of a batch from the server's refusal.
func (b *Broker) learn(description string) topics.Limits {
	limits := b.Limits()
	if m := batchLimit.FindStringSubmatch(description); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			limits.Messages = n
			b.setLimits(limits)
		}
	}
	return limits
}

// bound ends a call's context with the broker's.
func (b *Broker) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// pause waits before another attempt; false when ctx ended.
func pause(ctx context.Context, attempt int) bool {
	wait := min(20*time.Millisecond<<min(attempt, 10), time.Second)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
