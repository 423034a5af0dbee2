package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// readWait is how long a broker holds a request for which it has nothing.
	readWait = 500 * time.Millisecond
	// readBytes is about how much one answer may hold, readPart how much of it
	// from one partition; compressed, and a batch that is larger comes whole.
	readBytes = 2 << 20
	readPart  = 512 << 10
	// readLarge is asked for where the usual sizes lead nowhere.
	readLarge = 64 << 20
	// readTick is how long a reader waits at most before it looks again at
	// partitions that had failed or moved.
	readTick = 100 * time.Millisecond
	// A partition that fails is left alone for retryFirst, and then for longer.
	retryFirst = 20 * time.Millisecond
	retryMost  = time.Second
	// troubleAfter is for how long a partition fails before it is told, or is taken
	// for one that was made anew.
	troubleAfter = 10 * time.Second
)

// record is one committed record. It is valid until the next one is read, but
// for the headers, which stay.
type record struct {
	partition
	offset  int64
	time    time.Time
	key     []byte // nil: none
	value   []byte // nil: none
	headers []protocol.Header
}

// cursor is a partition that is being read.
type cursor struct {
	partition
	next   int64 // offset of the next record to hand out
	stable int64 // up to where everything is decided, as last heard; -1 before
	// idle counts answers in a row that held nothing although the partition was
	// the first that was asked for, and so would have come whatever its size.
	idle int
	held atomic.Bool // not asked for: whoever unsets it calls wake

	busy   bool      // a request is under way
	large  bool      // ask for more at once
	after  time.Time // not to be asked for before
	since  time.Time // when it began to fail; zero: it does not
	fails  int
	warned bool
}

// reader reads committed records of many partitions: aborted and control records
// are left out. All its methods but wake belong to one goroutine.
type reader struct {
	client  *client
	log     *slog.Logger
	cursors map[partition]*cursor
	order   []*cursor // who delivered goes to the end, so that all get their turn
	answers chan answer
	woken   chan struct{}
	tick    *time.Ticker
	work    sync.WaitGroup
	cancel  context.CancelFunc
	ctx     context.Context

	share int32 // bytes of an answer that one partition may have

	record     record
	key, value []byte // what the record's are kept in
}

// answer is what came back for some partitions, in the order of the request.
type answer struct {
	cursors  []*cursor
	response *fetch.Response
	err      error
}

func newReader(ctx context.Context, c *client, log *slog.Logger) *reader {
	r := &reader{
		client: c, log: log, cursors: map[partition]*cursor{}, answers: make(chan answer),
		woken: make(chan struct{}, 1), tick: time.NewTicker(readTick), share: readPart,
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// close ends requests that are under way and waits for their goroutines.
func (r *reader) close() {
	r.cancel()
	r.work.Wait()
	r.tick.Stop()
}

// add begins to read a partition at an offset.
func (r *reader) add(p partition, next int64) *cursor {
	at := &cursor{partition: p, next: next, stable: -1}
	r.cursors[p] = at
	r.order = append(r.order, at)
	return at
}

// remove ends the reading of a partition.
func (r *reader) remove(p *cursor) {
	delete(r.cursors, p.partition)
	for i := range r.order {
		if r.order[i] == p {
			r.order = append(r.order[:i], r.order[i+1:]...)
			return
		}
	}
}

// wake has read look again at which partitions are held. It may be called from
// any goroutine.
func (r *reader) wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// read asks for what no request is under way for, waits for one answer, though
// not for long, and calls fn with its records, in the order of each partition.
// It goes on by itself after errors that pass; it returns those that do not, and
// what fn returns. A record for which fn failed counts as not read.
func (r *reader) read(fn func(*cursor, *record) error) error {
	if err := r.ask(); err != nil {
		return err
	}
	select {
	case <-r.ctx.Done():
		return r.ctx.Err()
	case a := <-r.answers:
		return r.take(a, fn)
	case <-r.woken:
	case <-r.tick.C:
	}
	return nil
}

// ask sends one request to each leader of partitions that are free.
func (r *reader) ask() error {
	now := time.Now()
	var free []*cursor
	for _, p := range r.order {
		if !p.busy && !p.held.Load() && !now.Before(p.after) {
			free = append(free, p)
		}
	}
	if len(free) == 0 {
		return nil
	}
	leaders, err := r.client.layout(r.ctx)
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	requests := map[int32][]*cursor{}
	for _, p := range free {
		leader, ok := leaders[p.partition]
		switch {
		case err != nil:
			if err := r.fail(p, err); err != nil {
				return err
			}
		case !ok || leader < 0:
			_ = r.fail(p, fmt.Errorf("%s: %w", p.partition, kafkago.LeaderNotAvailable))
		default:
			requests[leader] = append(requests[leader], p)
			p.busy = true
		}
	}
	for _, cursors := range requests {
		request := fetchRequest(cursors, r.share)
		r.work.Go(func() {
			a := answer{cursors: cursors}
			m, err := r.client.doWithin(r.ctx, r.client.wait+readWait, request)
			a.response, _ = m.(*fetch.Response)
			a.err = err
			select {
			case r.answers <- a:
			case <-r.ctx.Done():
			}
		})
	}
	return nil
}

func fetchRequest(cursors []*cursor, share int32) *fetch.Request {
	request := &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(readWait.Milliseconds()), MinBytes: 1, MaxBytes: readBytes,
		IsolationLevel: committed, SessionEpoch: -1, // no session
	}
	for _, p := range cursors {
		i := 0
		for i < len(request.Topics) && request.Topics[i].Topic != p.topic {
			i++
		}
		if i == len(request.Topics) {
			request.Topics = append(request.Topics, fetch.RequestTopic{Topic: p.topic})
		}
		size := share
		if p.large {
			size, request.MaxBytes = readLarge, readLarge
		}
		request.Topics[i].Partitions = append(request.Topics[i].Partitions, fetch.RequestPartition{
			Partition: p.id, CurrentLeaderEpoch: -1, FetchOffset: p.next, LogStartOffset: -1, PartitionMaxBytes: size,
		})
	}
	return request
}

// take hands out what an answer holds.
func (r *reader) take(a answer, fn func(*cursor, *record) error) error {
	for _, p := range a.cursors {
		p.busy = false
	}
	if a.err == nil && a.response.ErrorCode != 0 {
		a.err = kafkago.Error(a.response.ErrorCode)
	}
	if a.err != nil {
		for _, p := range a.cursors {
			if err := r.fail(p, fmt.Errorf("reading %s: %w", p.partition, a.err)); err != nil {
				return err
			}
		}
		return nil
	}
	var failed error
	for i := range a.response.Topics {
		t := &a.response.Topics[i]
		for j := range t.Partitions {
			got := &t.Partitions[j]
			p := r.cursors[partition{t.Topic, got.Partition}]
			if p == nil || failed != nil {
				release(got)
				continue
			}
			failed = r.takeOne(p, got, p == a.cursors[0], fn)
		}
	}
	return failed
}

func (r *reader) takeOne(p *cursor, got *fetch.ResponsePartition, first bool, fn func(*cursor, *record) error) error {
	defer release(got)
	switch err := kafkago.Error(got.ErrorCode); err {
	case 0:
	case kafkago.OffsetOutOfRange:
		if err := r.relocate(p); err != nil {
			return r.fail(p, err)
		}
		return nil
	default:
		return r.fail(p, fmt.Errorf("reading %s: %w", p.partition, err))
	}
	r.works(p)
	p.stable = max(p.stable, got.LastStableOffset)
	stream, _ := got.RecordSet.Records.(*protocol.RecordStream)
	if stream == nil || len(stream.Records) == 0 {
		if first && p.next < p.stable {
			p.idle++
		}
		return nil
	}
	p.idle = 0
	from := p.next
	drop := newAborted(got.AbortedTransactions)
	for _, batch := range stream.Records {
		if err := r.batch(p, batch, drop, fn); err != nil {
			return err
		}
	}
	if p.next > from {
		p.large = false
		r.last(p)
		return nil
	}
	// The whole answer lies before the offset: the last records of a batch were
	// compacted away, and how many is told to nobody. What follows the batch
	// tells, and where nothing does, each offset is tried.
	if p.large {
		p.next++
	}
	p.large = true
	return nil
}

// last puts a partition behind all others.
func (r *reader) last(p *cursor) {
	for i := range r.order {
		if r.order[i] == p {
			copy(r.order[i:], r.order[i+1:])
			r.order[len(r.order)-1] = p
			return
		}
	}
}

// fail has a partition asked for again after a while. It returns err when that
// leads nowhere.
func (r *reader) fail(p *cursor, err error) error {
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if !again(err) {
		return err
	}
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	p.after = now.Add(min(retryMost, retryFirst<<min(p.fails, 10)))
	p.fails++
	r.log.Debug("a partition is read again", "partition", p.String(), "error", err.Error())
	if !p.warned && now.Sub(p.since) > troubleAfter {
		p.warned = true
		r.log.Warn("a partition cannot be read; it is tried on", "partition", p.String(), "error", err.Error())
	}
	return nil
}

// works notes that a partition is read well.
func (r *reader) works(p *cursor) {
	if p.warned {
		r.log.Info("a partition is read again", "partition", p.String())
	}
	p.since, p.fails, p.warned = time.Time{}, 0, false
}

// relocate finds a new place in a partition that does not hold the old one.
func (r *reader) relocate(p *cursor) error {
	start, err := r.client.offset(r.ctx, p.topic, p.id, atStart, uncommitted)
	if err != nil {
		return err
	}
	end, err := r.client.offset(r.ctx, p.topic, p.id, atEnd, uncommitted)
	if err != nil {
		return err
	}
	switch {
	case p.next < start:
		r.log.Warn("records were deleted before they were read: reading goes on behind them",
			"partition", p.String(), "from", p.next, "to", start)
	case p.next > end && !p.since.IsZero() && time.Since(p.since) > troubleAfter:
		r.log.Warn("a partition is shorter than what was read of it, so its topic was made anew or has lost its end: all of it is read",
			"partition", p.String(), "read", p.next, "end", end)
	default:
		// A leader that does not know yet how far it may give, or that it leads no more.
		return fmt.Errorf("reading %s at %d: %w", p.partition, p.next, kafkago.ReplicaNotAvailable)
	}
	p.next, p.stable, p.idle = start, -1, 0
	return nil
}
