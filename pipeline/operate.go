package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/millrace-io/millrace/topics"
)

// errMoved ends a tenure whose stream is to be read from another place.
var errMoved = errors.New("the stream is read from another place")

// NotHeldError says that this process does not hold a stream at the moment, and
// cannot change its state.
type NotHeldError struct {
	State, Cause string // how the stream stands here
}

func (e *NotHeldError) Error() string {
	if e.Cause == "" {
		return "the stream is " + e.State
	}
	return "the stream is " + e.State + ": " + e.Cause
}

// offer lets operating commands use the tenure, withdraw ends that and waits for
// the one that does.
func (i *Ingest) offer(t *tenure) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.holder = t
}

func (i *Ingest) withdraw(t *tenure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i.offer(nil)
}

// turn is a lock that can be waited for beside other things.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// operate does something between two batches, as the stream's one committer. Any
// error but a refusal, or that there is no room, ends the tenure, as it does for
// a batch.
func (i *Ingest) operate(ctx context.Context, do func(context.Context, *tenure) error) (err error) {
	i.mu.Lock()
	t, state, cause, full := i.holder, i.state, i.cause, i.full
	i.mu.Unlock()
	switch {
	case state == StateFull:
		return fmt.Errorf("%w: %s", topics.ErrFull, cause)
	case t == nil:
		return &NotHeldError{state, cause}
	}
	select {
	case t.mu <- struct{}{}:
	case <-full: // the batch that has its turn waits for room
		return fmt.Errorf("%w: try again when there is room", topics.ErrFull)
	case <-ctx.Done():
		return ctx.Err()
	}
	defer t.mu.Unlock()
	if t.failed || t.stopping.Err() != nil {
		return &NotHeldError{"beginning again", "try again in a moment"}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, done := t.finishing(ctx)
	defer done()
	t.operating = true
	defer func() {
		t.operating = false
		if r := recover(); r != nil {
			t.log.Error("a panic: this is a mistake in millrace", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("a panic, which is a mistake in millrace: %v", r)
		}
		var refused *RefusedError
		if err != nil && !errors.As(err, &refused) && !errors.Is(err, topics.ErrFull) {
			t.failed = true
			t.fail(err)
		}
	}()
	return do(ctx, t)
}

// Hold takes the stream for operating commands, without reading it, until
// release. It is for a process that does not Run it; ctx bounds the wait for
// another one that holds it, whose name onWait is told.
func (i *Ingest) Hold(ctx context.Context, onWait func(holder string)) (release func(), err error) {
	held, err := i.opts.Broker.Acquire(ctx, i.stream.Key, i.opts.Owner, onWait)
	if err != nil {
		return nil, fmt.Errorf("taking %s: %w", i.stream.Key, err)
	}
	stopping, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	i.tenures++
	t := &tenure{Ingest: i, mu: newTurn(), held: held, stopping: stopping, fail: fail, number: i.tenures}
	if err := t.read(ctx); err != nil {
		fail(nil)
		held.Release()
		return nil, err
	}
	i.offer(t)
	return func() {
		i.withdraw(t)
		fail(nil)
		held.Release()
	}, nil
}
