package connectors

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// reading is one read of a lane: windows are read side by side, and their batches
// are delivered in order.
type reading struct {
	*lane
	todo    *course
	queue   []*windowRead // the first is committed next
	readers sync.WaitGroup
	taken   *Batch // the one to deliver next, with those that have joined it; nil: none
	ending  bool   // the first of the queue gives nothing any more: it only has to say so
}

// read reads from a time on, or from the window that a read before this left
// unfinished, up to end, which may move while it reads.
func (l *lane) read(ctx context.Context, from time.Time, unfinished Position, end func(ago time.Duration) time.Time) error {
	ctx, cancel := context.WithCancelCause(withLane(ctx, l.name))
	l.cancel = cancel
	r := &reading{lane: l, todo: &course{lane: l, from: from, unfinished: unfinished, end: end, until: end(0)}}
	defer func() {
		cancel(nil)
		r.readers.Wait()
		for _, w := range r.queue {
			l.buffer.drop(w)
		}
	}()
	for {
		over, err := r.step(ctx)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		if over {
			return nil
		}
	}
}

// step takes one batch, and waits for it. When one is taken it does not wait: what
// is not there by now does not join it.
func (r *reading) step(ctx context.Context) (over bool, err error) {
	if err := r.open(ctx); err != nil {
		return false, err
	}
	if len(r.queue) == 0 {
		over = r.taken == nil
		return over, r.give(ctx)
	}
	head := r.queue[0]
	r.buffer.setHead(head)
	var b *Batch
	var more bool
	if r.taken == nil || r.ending {
		b, more = <-head.out
	} else {
		select {
		case b, more = <-head.out:
		default:
			return false, r.give(ctx)
		}
	}
	switch {
	case more:
		return false, r.take(ctx, head, b)
	case head.err != nil: // what was read before it is good
		return false, cmp.Or(r.give(ctx), head.err)
	}
	r.learn(head)
	r.buffer.drop(head)
	r.queue, r.ending = r.queue[1:], false
	return false, nil
}

// open begins to read the next windows. What is taken does not wait for keys to be
// listed.
func (r *reading) open(ctx context.Context) error {
	for len(r.queue) < r.ahead() {
		w, err := r.todo.next(ctx, len(r.queue) == 0 && r.taken == nil)
		if err != nil || w == nil {
			return err
		}
		r.queue = append(r.queue, w)
		r.readers.Go(func() { w.run(ctx) })
	}
	return nil
}

// take has a batch of a window delivered: with the one that is taken, or behind it.
func (r *reading) take(ctx context.Context, from *windowRead, b *Batch) error {
	if r.taken != nil && !r.taken.joins(b, r.sub.opts.Join) {
		if err := r.give(ctx); err != nil {
			return err
		}
	}
	r.buffer.took(from, b.size)
	r.ending = b.ends
	if r.taken != nil {
		r.taken.Joined = append(r.taken.Joined, b)
		return nil
	}
	if r.taken = b; r.sub.opts.Join == 0 {
		return r.give(ctx)
	}
	return nil
}

// give delivers what is taken, if anything is.
func (r *reading) give(ctx context.Context) error {
	b := r.taken
	if b == nil {
		return nil
	}
	r.taken = nil
	return r.sub.deliver(ctx, r.lane, b, r.todo.end)
}

const (
	// maxJoinedBytes is how much batches that are joined hold, in bytes: as much
	// again as is read ahead of them.
	maxJoinedBytes = readAheadBy
	// maxJoined is how many batches are joined at most: who gives empty pages
	// without end keeps nobody from the commit.
	maxJoined = 64
)

// joins says whether the batch that follows b and those that have joined it is one
// commit with them, of so many records at most.
func (b *Batch) joins(next *Batch, records int) bool {
	size := next.size
	records -= len(next.Records)
	for _, one := range b.Batches() {
		size += one.size
		records -= len(one.Records)
	}
	return records >= 0 && size <= maxJoinedBytes && len(b.Joined)+1 < maxJoined
}

// Batches returns the batch and those that have joined it, in order.
func (b *Batch) Batches() []*Batch { return append([]*Batch{b}, b.Joined...) }
