package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/millrace-io/millrace/topics"
)

var (
	errUnread = errors.New("it is unknown what the broker holds: read the checkpoint first")
	errLate   = errors.New("the broker holds another commit of ours than the last that was answered: read the checkpoint first")
)

// Headers of a checkpoint: the commit that wrote it, which holding of the stream
// it belonged to, and how many partitions the topics had that the stream has
// written to, as message=6,dead_letter=6.
const (
	headerCommit     = "millrace-commit"
	headerTerm       = "millrace-term"
	headerPartitions = "millrace-partitions"
)

// Commit writes c as one transaction.
func (s *stream) Commit(ctx context.Context, c *topics.Commit) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	ctx, cancel := s.b.bound(ctx)
	defer cancel()
	if !s.known {
		return errUnread
	}
	if err := s.measure(c); err != nil {
		return err
	}
	if err := s.encode(ctx, c); err != nil {
		return s.failed(fmt.Sprintf("commit %d events", len(c.Messages)), err)
	}
	if err := s.write(ctx, stamp{c.ID, s.term}); err != nil {
		return s.failed(fmt.Sprintf("commit %d events", len(c.Messages)), err)
	}
	return nil
}

// Advance writes the checkpoint alone.
func (s *stream) Advance(ctx context.Context, id string, checkpoint []byte) error {
	return s.Commit(ctx, &topics.Commit{ID: id, Checkpoint: checkpoint})
}

// measure checks c against the limits.
func (s *stream) measure(c *topics.Commit) error {
	limits := s.b.Limits()
	largest := len(c.Checkpoint)
	for i := range c.Entries {
		largest = max(largest, len(c.Entries[i].Data))
	}
	for i := range c.Messages {
		largest = max(largest, c.Messages[i].Size())
	}
	if len(c.Messages)+len(c.Entries)+1 > limits.Messages || largest > limits.Bytes {
		return fmt.Errorf("commit %d events of %s: %w", len(c.Messages), s.key, &topics.TooLargeError{Limits: limits})
	}
	return nil
}

// encode fills the page.
func (s *stream) encode(ctx context.Context, c *topics.Commit) error {
	p := s.page
	p.reset()
	clear(s.fresh)
	for i := range c.Messages {
		m := &c.Messages[i]
		topic, ids, err := s.partitionsOf(ctx, m.Topic)
		if err != nil {
			return err
		}
		s.keyBytes = append(s.keyBytes[:0], m.Key...)
		p.event(partition{topic, partitionOf(s.keyBytes, ids)}, m)
	}
	for _, e := range c.Entries {
		p.state(s.home, ledgerKeys(s.key)+e.Name, e.Data)
	}
	p.state(s.home, checkpointKey(s.key), c.Checkpoint, header{headerCommit, c.ID}, header{headerTerm, s.term}, header{headerPartitions, s.written.text()})
	return p.finish()
}

// partitionsOf returns the whole name of a topic and its partitions, asked for
// once in each commit.
func (s *stream) partitionsOf(ctx context.Context, name string) (topic string, ids []int, err error) {
	known := s.topics[name]
	if s.fresh[name] {
		return known.name, known.ids, nil
	}
	known.name = s.b.names.topic(name)
	var leaders []int32
	err = s.b.client.patiently(ctx, func() error {
		leaders, err = s.b.client.partitions(ctx, known.name)
		return err
	})
	if err != nil {
		return "", nil, err
	}
	if len(known.ids) != len(leaders) {
		known.ids = upTo(len(leaders))
	}
	s.topics[name], s.fresh[name] = known, true
	s.grown(name, len(leaders))
	return known.name, known.ids, nil
}

// grown warns when a topic has other partitions than when the stream wrote to it
// before, also in an earlier life.
func (s *stream) grown(name string, now int) {
	before := s.written[name]
	s.written[name] = now
	if before != 0 && before != now {
		s.b.log.Warn("a topic has another number of partitions than before: keys go to other partitions now, and the order of their events across the change is not kept",
			"topic", s.b.names.topic(name), "stream", s.key.String(), "before", before, "now", now)
	}
}

// written is how many partitions topics had when a stream last wrote to them, by
// their names behind the prefix.
type written map[string]int

func (w written) text() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(w)) {
		parts = append(parts, name+"="+strconv.Itoa(w[name]))
	}
	return strings.Join(parts, ",")
}

func parseWritten(text string) written {
	w := written{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(part, "=")
		if n, err := strconv.Atoi(number); err == nil {
			w[name] = n
		}
	}
	return w
}

// write commits the page, until it is known what became of it. To send again is
// safe: before each attempt the one before is aborted, or found to be committed.
// The checkpoint's stamp is next from then on.
func (s *stream) write(ctx context.Context, next stamp) error {
	deadline := time.Now().Add(writeFor)
	s.known = false
	for attempt := 0; ; attempt++ {
		err := s.transact(ctx)
		if s.producer.stray.Swap(false) {
			s.page.forget()
		}
		if err == nil {
			s.known, s.last = true, next
			s.prepare()
			return nil
		}
		if errors.Is(err, topics.ErrFenced) || ctx.Err() != nil || final(err) {
			return err
		}
		committed, settled := s.became(ctx, next)
		switch {
		case settled != nil:
			return errors.Join(err, settled)
		case committed:
			s.known, s.last = true, next
			return nil
		case errors.Is(err, kafkago.MessageSizeTooLarge):
			s.known = true
			return s.tooLarge(ctx, err)
		case time.Now().After(deadline) || s.b.missing(err) || !pause(ctx, min(20*time.Millisecond<<min(attempt, 10), time.Second)):
			return err
		}
	}
}

// tooLarge learns what topics take now: their settings were changed, or this
// user may not read them.
func (s *stream) tooLarge(ctx context.Context, err error) error {
	before := s.page.limit
	if err := s.b.examine(ctx, nil); err != nil {
		return err
	}
	if s.b.batchLimit() >= before {
		if before < 2*leastMessageBytes {
			return err
		}
		s.b.setLimits(before / 2)
	}
	s.page.limit = s.b.batchLimit()
	return &topics.TooLargeError{Limits: s.b.Limits()}
}

// transact makes one attempt. Its first request, where anything is in doubt, is
// an abort: an init would harm the successor of a zombie. After trouble with the
// cluster it makes sure that what was committed before shows.
func (s *stream) transact(ctx context.Context) error {
	err := s.awaitPrepared(ctx)
	if errors.Is(err, topics.ErrFenced) || ctx.Err() != nil {
		return err
	}
	if err != nil || s.producer.doubt || s.producer.troubled {
		if err := s.retake(ctx); err != nil {
			return err
		}
		if now := s.state.checkpoint.stamp; now != s.last {
			return s.unlike(now)
		}
	} else if !s.proven { // what others wrote since is not to be read while a transaction is open
		if err := s.state.catchUp(ctx); err != nil {
			return err
		}
	}
	s.producer.doubt = true // until all is known
	if err := s.producer.add(ctx, s.page.partitions()); err != nil {
		return err
	}
	if err := s.send(ctx); err != nil {
		return err
	}
	if err := s.prove(ctx); err != nil {
		return err
	}
	if err := s.producer.end(ctx, true); err != nil {
		return err
	}
	s.proven, s.producer.doubt = true, false
	clear(s.decided) // the end of this one would be theirs too
	s.note(identity{s.producer.pid, s.producer.epoch}, decidedCommit)
	return nil
}

// send writes the batches, whoever leads their partitions meanwhile.
func (s *stream) send(ctx context.Context) error {
	for _, to := range s.page.parts {
		to.written = 0
		sequence := int32(0)
		for i := range to.batches {
			to.batches[i].sign(s.producer.pid, s.producer.epoch, sequence)
			sequence += to.batches[i].records
		}
	}
	return s.producer.retry(ctx, s.producer.within(), "writing", func() error { return s.sendLeft(ctx) })
}

// sendLeft writes what is not written yet: one request at a time to each leader,
// since requests of one producer to one broker that overlap get in each other's
// way.
func (s *stream) sendLeft(ctx context.Context) error {
	leaders := map[int32][]*part{}
	for _, to := range s.page.parts {
		if to.written == len(to.batches) {
			continue
		}
		all, err := s.b.client.partitions(ctx, to.topic)
		if err != nil {
			return err
		}
		if int(to.id) >= len(all) {
			return fmt.Errorf("topic %s has lost its partition %d: was it deleted and made again?", to.topic, to.id)
		}
		leaders[all[to.id]] = append(leaders[all[to.id]], to)
	}
	var group errgroup.Group // one that fails leaves the others to their end
	for _, parts := range leaders {
		group.Go(func() error { return s.producer.send(ctx, parts) })
	}
	return group.Wait()
}

// became says whether an attempt whose answer did not come is committed. One
// that leaves the checkpoint as it is counts as not committed: it can be made
// twice.
func (s *stream) became(ctx context.Context, next stamp) (bool, error) {
	if err := s.retake(ctx); err != nil {
		return false, err
	}
	switch now := s.state.checkpoint.stamp; {
	case now == s.last:
		return false, nil
	case now == next:
		return true, nil
	default:
		return false, s.unlike(now)
	}
}

// unlike says what it means that the checkpoint is neither the one to follow nor
// the one that follows it.
func (s *stream) unlike(now stamp) error {
	if now.term == s.term {
		return errLate
	}
	return topics.ErrFenced
}

// preparation is the taking of the next transaction's epoch, in the background.
type preparation struct {
	done chan struct{}
	err  error // once done is closed
}

// prepare takes the next transaction's epoch while the next page is fetched, as
// long as it is certain that the stream is ours: whoever may have been stopped
// for a while must not.
func (s *stream) prepare() {
	s.preparingMu.Lock()
	defer s.preparingMu.Unlock()
	if s.releasing || !s.lease.sure() {
		s.producer.doubt = true
		return
	}
	p := &preparation{done: make(chan struct{})}
	s.preparing = p
	go func() {
		defer close(p.done)
		p.err = s.producer.init(s.working, s.producer.pid, s.producer.epoch, false)
	}()
}

// awaitPrepared waits for what prepare has begun.
func (s *stream) awaitPrepared(ctx context.Context) error {
	s.preparingMu.Lock()
	p := s.preparing
	s.preparingMu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.preparingMu.Lock()
	s.preparing = nil
	s.preparingMu.Unlock()
	if p.err != nil {
		s.producer.doubt = true
	}
	return p.err
}

// endPreparing waits until nothing is prepared, for a bounded time, and sees to
// it that nothing will be: what was late would end a successor's transaction.
func (s *stream) endPreparing() {
	s.preparingMu.Lock()
	s.releasing = true
	p := s.preparing
	s.preparingMu.Unlock()
	if p != nil {
		timer := time.NewTimer(s.b.opts.session / 4)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
		}
	}
	s.stop()
	if p != nil {
		<-p.done
	}
}
