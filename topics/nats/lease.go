package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// lease keeps other instances from reading the same stream. It only saves
// requests: what a late owner writes is refused by the checkpoint's
// compare-and-swap, whoever believes to hold the lease.
//
// It is one message that expires. Each renewal names the time to live again,
// because a message without one would never expire, and replaces the one before
// by compare-and-swap.
type lease struct {
	s       *stream
	subject string
	seq     uint64    // of our last message
	until   time.Time // when the server may let others have it
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// holder is the lease's message.
type holder struct {
	Owner string `json:"owner"`
	Term  string `json:"term"`
}

// leaseLook is how often a waiting instance looks again.
const leaseLook = time.Second

// takeLease waits until the lease is ours and keeps it alive.
func (b *Broker) takeLease(ctx context.Context, s *stream, wait func(string)) (*lease, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	l := &lease{s: s, subject: b.names.lease(s.key)}
	look := time.NewTicker(min(leaseLook, b.opts.leaseTTL/2))
	defer look.Stop()
	for told := false; ; {
		other, err := l.take(ctx)
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !told { // once for all the time that the server is away
				told = true
				b.log.Warn("the lease cannot be asked for; trying again until it can", "stream", s.key.String(), "error", err.Error())
			}
		case other == nil:
			run, stop := context.WithCancel(b.ctx)
			l.stop = stop
			l.done.Go(func() { l.keep(run) })
			return l, nil
		default:
			wait(other.Owner)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			if b.ctx.Err() != nil {
				return nil, errClosed
			}
			return nil, ctx.Err()
		}
	}
}

// take asks for the lease once; other is who has it.
func (l *lease) take(ctx context.Context) (other *holder, err error) {
	seq, other, err := l.look(ctx)
	if err != nil || other != nil && other.Term != l.s.term {
		return other, err
	}
	l.seq = seq
	err = l.write(ctx)
	if c := code(err); c == codeWrongSequence || c == codeWrongSequence2 {
		return &holder{Owner: "another instance"}, nil // it was faster
	}
	return nil, err
}

// look reads the lease as it is.
func (l *lease) look(ctx context.Context) (uint64, *holder, error) {
	ss, done, err := l.s.b.use(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	m, err := ss.last(ctx, l.subject)
	if err != nil || m == nil {
		return 0, nil, err
	}
	var h holder
	if err := json.Unmarshal(m.Data, &h); err != nil {
		return 0, nil, fmt.Errorf("the lease of %s is not JSON: %w", l.s.key, err)
	}
	return m.Sequence, &h, nil
}

// write takes or renews the lease by compare-and-swap.
func (l *lease) write(ctx context.Context) error {
	ss, done, err := l.s.b.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	ttl := l.s.b.opts.leaseTTL
	data, err := json.Marshal(holder{Owner: l.s.owner, Term: l.s.term})
	if err != nil {
		return err
	}
	m := &natsgo.Msg{Subject: l.subject, Data: data, Header: natsgo.Header{
		headerExpected: {strconv.FormatUint(l.seq, 10)},
		headerRollup:   {"sub"},
		headerTTL:      {ttl.String()},
	}}
	// The server counts from when it stores the message, which is after this.
	sent := time.Now()
	a, err := ss.request(ctx, m, ttl/4)
	if err != nil {
		return err
	}
	l.seq, l.until = a.Sequence, sent.Add(ttl)
	return nil
}

// keep renews the lease until it is released or lost.
func (l *lease) keep(ctx context.Context) {
	ttl := l.s.b.opts.leaseTTL
	renew := time.NewTicker(ttl / 4)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
		}
		if l.renew(ctx) {
			continue
		}
		if ctx.Err() == nil {
			l.s.b.log.Warn("the lease is lost: another instance has the stream, or the server could not be reached in time", "stream", l.s.key.String())
			close(l.s.lost)
		}
		return
	}
}

// renew tries once; false says that the lease is no longer ours for certain, or
// may not be.
func (l *lease) renew(ctx context.Context) bool {
	ctx, cancel := context.WithDeadline(ctx, l.until)
	defer cancel()
	err := l.write(ctx)
	if err == nil {
		return true
	}
	if errors.Is(err, errClosed) {
		return false
	}
	// The answer may have been lost, and the renewal not.
	seq, h, lookErr := l.look(ctx)
	switch {
	case lookErr == nil && h == nil:
		return false
	case lookErr == nil && h.Term != l.s.term:
		return false
	case lookErr == nil:
		l.seq = seq
	}
	return time.Now().Before(l.until)
}

// release gives the lease back and waits for its goroutine.
func (l *lease) release() {
	l.stop()
	l.done.Wait()
	b := l.s.b
	ctx, cancel := context.WithTimeout(b.ctx, b.opts.leaseTTL/4)
	defer cancel()
	ss, done, err := b.use(ctx)
	if err != nil {
		return // it expires by itself
	}
	defer done()
	// By sequence: if another has the lease by now, theirs is another message.
	if err := ss.stream.DeleteMsg(ctx, l.seq); err != nil {
		b.log.Debug("a lease is left to expire by itself", "stream", l.s.key.String(), "error", err.Error())
	}
}
