package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

const (
	// tailLook is how often a tail looks for new partitions.
	tailLook = time.Second
	// endGrace is how long after its timeout a transaction may still be open.
	endGrace = 15 * time.Second
	// endPause is how long a tail waits before it asks again whether all is
	// decided, at first.
	endPause = 2 * time.Millisecond
)

// tail is one call of Tail.
type tail struct {
	b      *Broker
	opts   topics.TailOptions
	fn     func(topics.Received) error
	client *client
	reader *reader
	ends   map[partition]int64 // the high watermarks when the call began
	until  time.Time           // what is undecided then stays so
	looked time.Time
	msg    topics.Received
}

// Tail reads topics on connections of its own, all partitions at once. Messages
// of one partition, so of one topic and key, come in order; with opts.Stop it
// waits until every transaction that was open at the end is decided, but no
// longer than the broker would let one be open. Topics and partitions that
// appear while it reads are read from their start.
func (b *Broker) Tail(ctx context.Context, opts topics.TailOptions, fn func(topics.Received) error) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	var names []string
	for _, name := range opts.Topics {
		names = append(names, b.names.topic(name))
	}
	if len(names) == 0 {
		var err error
		if names, err = b.all(ctx); err != nil {
			return b.explain(err)
		}
	}
	c, err := newClient(&b.opts, names...)
	if err != nil {
		return err
	}
	defer c.close()
	t := &tail{b: b, opts: opts, fn: fn, client: c, reader: newReader(ctx, c, b.log)}
	defer t.reader.close()
	t.until = time.Now().Add(b.opts.TransactionTimeout + endGrace)
	err = t.run(ctx)
	var own *ownError
	switch {
	case errors.As(err, &own):
		return own.error
	case b.ctx.Err() != nil:
		return errClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return b.explain(fmt.Errorf("reading topics of Kafka at %s: %w", c.where, err))
	}
	return nil
}

// all names the topics that have events: those that this broker knows, and those that
// the cluster has because events were routed to them before.
func (b *Broker) all(ctx context.Context) ([]string, error) {
	c, err := newClient(&b.opts) // which knows every topic
	if err != nil {
		return nil, err
	}
	defer c.close()
	names := b.names.events()
	err = c.patiently(ctx, func() error {
		answer, err := c.do(ctx, &metadata.Request{})
		if err != nil {
			return fmt.Errorf("asking Kafka at %s for its topics: %w", c.where, err)
		}
		for _, t := range answer.(*metadata.Response).Topics {
			name, below := strings.CutPrefix(t.Name, b.names.prefix+".")
			if below && events.CheckTopic(name) == nil && !slices.Contains(names, t.Name) {
				names = append(names, t.Name)
			}
		}
		return nil
	})
	return names, err
}

// ownError is what fn returned.
type ownError struct{ error }

func (e *ownError) Unwrap() error { return e.error }

func (t *tail) run(ctx context.Context) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	if t.opts.Ready != nil {
		t.opts.Ready()
	}
	for !t.opts.Stop || !t.done() {
		if err := t.look(ctx); err != nil {
			return err
		}
		if err := t.reader.read(t.deliver); err != nil {
			return err
		}
	}
	return nil
}

// begin finds where to begin and where the end is, and tries for as long as one
// request may take.
func (t *tail) begin(ctx context.Context) error {
	deadline := time.Now().Add(t.client.wait)
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := t.find(ctx)
		if err == nil || !again(err) || time.Now().After(deadline) {
			return err
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (t *tail) find(ctx context.Context) error {
	places, err := t.client.layout(ctx)
	if err != nil {
		return err
	}
	t.looked = time.Now()
	ends, err := t.client.offsets(ctx, uncommitted, everywhere(places, atEnd))
	if err != nil {
		return err
	}
	starts := ends
	switch {
	case t.opts.Beginning:
		starts, err = t.client.offsets(ctx, uncommitted, everywhere(places, atStart))
	case !t.opts.From.IsZero():
		// Kafka keeps milliseconds.
		starts, err = t.client.offsets(ctx, uncommitted, everywhere(places, max(0, t.opts.From.UnixMilli())))
	}
	if err != nil {
		return err
	}
	t.ends = ends
	if !t.opts.Stop {
		if err := t.settled(ctx, ends, starts); err != nil {
			return err
		}
	}
	for p, start := range starts {
		if start < 0 { // no record is so young
			start = ends[p]
		}
		if !t.opts.Stop || start < ends[p] {
			t.reader.add(p, start)
		}
	}
	return nil
}

// settled waits until all is decided of what lies before the partitions that are
// read from their end. What is committed later lies behind it.
func (t *tail) settled(ctx context.Context, ends, starts map[partition]int64) error {
	open := map[partition]int64{}
	for p, end := range ends {
		if starts[p] < 0 || starts[p] >= end {
			open[p] = atEnd
		}
	}
	for wait := endPause; len(open) > 0 && time.Now().Before(t.until); wait = min(2*wait, readTick) {
		stable, err := t.client.offsets(ctx, committed, open)
		if err != nil {
			return err
		}
		for p, at := range stable {
			if at >= ends[p] {
				delete(open, p)
			}
		}
		if len(open) > 0 && !pause(ctx, wait) {
			return ctx.Err()
		}
	}
	return nil
}

// done says whether the end is reached, and takes partitions out that are read.
func (t *tail) done() bool {
	late := !time.Now().Before(t.until)
	for _, p := range slices.Clone(t.reader.order) {
		end := t.ends[p.partition]
		if late && p.stable >= 0 {
			end = min(end, p.stable) // the rest will not be decided
		}
		// Where nothing comes though all is decided, compaction has taken it.
		if p.next >= end || p.idle > 1 && p.stable >= end {
			t.reader.remove(p)
		}
	}
	return len(t.reader.order) == 0
}

// look adds partitions that have appeared.
func (t *tail) look(ctx context.Context) error {
	if t.opts.Stop || time.Since(t.looked) < tailLook {
		return nil
	}
	t.looked = time.Now()
	places, err := t.client.layout(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case again(err):
		return nil
	default:
		return err
	}
	for p := range places {
		if t.reader.cursors[p] == nil {
			t.reader.add(p, 0)
		}
	}
	return nil
}

func (t *tail) deliver(p *cursor, r *record) error {
	if t.opts.Stop && r.offset >= t.ends[p.partition] {
		return nil
	}
	m := &t.msg
	m.FullTopic, m.Partition, m.Sequence, m.Stored = r.topic, int(r.id), uint64(r.offset), r.time.UTC()
	m.Topic = t.b.names.name(r.topic)
	m.Attributes = attributes(m.Attributes, r.headers)
	m.Connector = attribute(m.Attributes, "connector")
	if m.Key != string(r.key) {
		m.Key = string(r.key)
	}
	m.Data = r.value
	if err := t.fn(*m); err != nil {
		return &ownError{err}
	}
	return nil
}
