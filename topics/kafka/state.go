package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/millrace-io/millrace/topics"
)

// state is what a partition of the topic of state holds of one stream. It reads
// up to the end and not to the last stable offset, as another stream's open
// transaction would hide what we have committed; what a transaction wrote counts
// from its COMMIT marker on. It is not for concurrent use.
type state struct {
	client *client
	at     partition
	key    string // of the checkpoint
	ledger string // what the ledger's keys begin with

	next       int64                  // the offset to go on from
	began      bool                   // next is known
	open       map[int64]*transaction // by producer id, where it wrote keys of ours
	checkpoint kept
	entries    map[string]place // by name
	cached     int              // bytes of values that are in memory
	caching    bool             // the first reading is under way
}

// transaction is one whose end has not been read.
type transaction struct {
	epoch   int16
	records []pending
}

// pending is a record of ours whose transaction is open.
type pending struct {
	key     string
	offset  int64
	value   []byte // nil: the key is deleted
	written time.Time
	stamp   stamp

	partitions string
}

// kept is a committed checkpoint.
type kept struct {
	data       []byte
	stamp      stamp
	partitions string
}

// place is where a ledger entry lies.
type place struct {
	offset  int64
	written time.Time
	value   []byte // nil where it must be fetched
}

const (
	// fetchBytes is how much is asked for at once.
	fetchBytes = 8 << 20
	// cacheBytes is how much of a ledger is kept in memory when a stream begins,
	// until it is asked for.
	cacheBytes = 24 << 20
)

func newState(c *client, at partition, key, ledger string) *state {
	return &state{client: c, at: at, key: key, ledger: ledger, open: map[int64]*transaction{}, entries: map[string]place{}, caching: true}
}

// catchUp reads what was written until now.
func (s *state) catchUp(ctx context.Context) error {
	if !s.began {
		start, err := s.offset(ctx, atStart)
		if err != nil {
			return err
		}
		s.next, s.began = start, true
	}
	end, err := s.offset(ctx, atEnd)
	if err != nil {
		return err
	}
	if end < s.next {
		return fmt.Errorf("%s/%d ends at %d, and was read to %d: was the topic made anew?", s.at.topic, s.at.id, end, s.next)
	}
	for s.next < end {
		from := s.next
		found, err := s.fetch(ctx, from, fetchBytes)
		if err != nil {
			return err
		}
		if err := s.apply(found); err != nil {
			return fmt.Errorf("reading %s/%d: %w", s.at.topic, s.at.id, err)
		}
		if s.next == from {
			s.next++ // the end of a batch was compacted away
		}
	}
	s.caching = false
	return nil
}

func (s *state) offset(ctx context.Context, at int64) (offset int64, err error) {
	err = s.client.patiently(ctx, func() error {
		offset, err = s.client.offset(ctx, s.at.topic, s.at.id, at, uncommitted)
		return err
	})
	return offset, err
}

// fetch reads where something is. A broker may give nothing all the same, when
// it holds us back to a quota, or is new to the partition.
func (s *state) fetch(ctx context.Context, from int64, bytes int32) (found []protocol.RecordReader, err error) {
	err = s.client.patiently(ctx, func() error {
		found, err = s.client.fetch(ctx, s.at, from, bytes)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("reading %s/%d: the broker gives nothing at offset %d, though more is there", s.at.topic, s.at.id, from)
		}
		return err
	})
	return found, err
}

// fetch reads batches from an offset on, whoever wrote them, decided or not.
func (c *client) fetch(ctx context.Context, at partition, from int64, bytes int32) ([]protocol.RecordReader, error) {
	answer, err := c.do(ctx, &fetch.Request{
		ReplicaID: -1, MaxWaitTime: 100, MinBytes: 1, MaxBytes: bytes, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: at.topic, Partitions: []fetch.RequestPartition{{
			Partition: at.id, CurrentLeaderEpoch: -1, FetchOffset: from, LogStartOffset: -1, PartitionMaxBytes: bytes,
		}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s/%d: %w", at.topic, at.id, err)
	}
	r := answer.(*fetch.Response)
	if r.ErrorCode != 0 {
		return nil, fmt.Errorf("reading %s/%d: %w", at.topic, at.id, failed(r.ErrorCode))
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("reading %s/%d: %w", at.topic, at.id, failed(p.ErrorCode))
			}
			if stream, ok := p.RecordSet.Records.(*protocol.RecordStream); ok {
				return stream.Records, nil
			}
		}
	}
	return nil, nil
}

// apply takes in batches.
func (s *state) apply(batches []protocol.RecordReader) error {
	from := s.next
	for _, b := range batches {
		switch b := b.(type) {
		case *protocol.ControlBatch:
			s.next = max(s.next, b.BaseOffset+1)
			marker, err := b.ReadControlRecord()
			if err != nil || b.BaseOffset < from {
				continue // emptied by the cleaner, or known
			}
			s.end(b.ProducerID, marker.Type == 1)
		case *protocol.RecordBatch:
			s.next = max(s.next, b.BaseOffset+1)
			if err := s.records(b, from); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a batch of an old format (%T): only millrace may write to this topic", b)
		}
	}
	return nil
}

// end settles a transaction.
func (s *state) end(producer int64, commit bool) {
	t := s.open[producer]
	delete(s.open, producer)
	if t == nil || !commit {
		return
	}
	for i := range t.records {
		s.settle(&t.records[i])
	}
}

// records takes in the records of a batch that are ours.
func (s *state) records(b *protocol.RecordBatch, from int64) error {
	for {
		r, err := b.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.next = max(s.next, r.Offset+1)
		found, ours, err := s.take(r, from)
		switch {
		case err != nil:
			return err
		case !ours:
		case !b.Attributes.Transactional():
			s.settle(&found)
		default:
			t := s.open[b.ProducerID]
			if t == nil {
				t = &transaction{}
				s.open[b.ProducerID] = t
			}
			// Readers of committed records too take what is open under two epochs
			// for one transaction.
			t.epoch = b.ProducerEpoch
			t.records = append(t.records, found)
		}
	}
}

// take copies a record of ours, and gives back the others.
func (s *state) take(r *protocol.Record, from int64) (p pending, ours bool, err error) {
	defer closeBytes(r.Key)
	defer closeBytes(r.Value)
	if r.Key == nil || r.Offset < from {
		return p, false, nil
	}
	key, err := protocol.ReadAll(r.Key)
	if err != nil {
		return p, false, err
	}
	if string(key) != s.key && !strings.HasPrefix(string(key), s.ledger) {
		return p, false, nil
	}
	p = pending{key: string(key), offset: r.Offset, written: r.Time}
	if r.Value != nil {
		value, err := protocol.ReadAll(r.Value)
		if err != nil {
			return p, false, err
		}
		p.value = append([]byte{}, value...)
	}
	for _, h := range r.Headers {
		switch h.Key {
		case headerCommit:
			p.stamp.commit = string(h.Value)
		case headerTerm:
			p.stamp.term = string(h.Value)
		case headerPartitions:
			p.partitions = string(h.Value)
		}
	}
	return p, true, nil
}

func closeBytes(b protocol.Bytes) {
	if b != nil {
		_ = b.Close()
	}
}

// settle makes a committed record count.
func (s *state) settle(p *pending) {
	if p.key == s.key {
		s.checkpoint = kept{p.value, p.stamp, p.partitions}
		return
	}
	name := strings.TrimPrefix(p.key, s.ledger)
	s.cached -= len(s.entries[name].value)
	if p.value == nil {
		delete(s.entries, name)
		return
	}
	at := place{offset: p.offset, written: p.written}
	if s.caching && s.cached+len(p.value) <= cacheBytes {
		at.value = p.value
		s.cached += len(p.value)
	}
	s.entries[name] = at
}

func (s *state) has(name string) bool {
	_, ok := s.entries[name]
	return ok
}

// names lists the ledger, sorted.
func (s *state) names() []string { return slices.Sorted(maps.Keys(s.entries)) }

// entry returns a ledger entry; what was in memory for it is given back.
func (s *state) entry(ctx context.Context, name string) ([]byte, error) {
	at, ok := s.entries[name]
	if !ok {
		return nil, topics.ErrNoEntry
	}
	if value := at.value; value != nil {
		s.cached -= len(value)
		s.entries[name] = place{offset: at.offset, written: at.written}
		return value, nil
	}
	batches, err := s.fetch(ctx, at.offset, 1) // one batch is always given whole
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		records, ok := b.(*protocol.RecordBatch)
		if !ok {
			continue
		}
		for {
			r, err := records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			found, ours, err := s.take(r, at.offset)
			if err != nil {
				return nil, err
			}
			if ours && found.offset == at.offset {
				return found.value, nil
			}
		}
	}
	return nil, fmt.Errorf("%s/%d has no record at offset %d any more: %w", s.at.topic, s.at.id, at.offset, topics.ErrNoEntry)
}

// readCheckpoints reads all checkpoints of a partition.
func readCheckpoints(ctx context.Context, c *client, at partition) ([]topics.Stored, error) {
	s := newState(c, at, "", checkpointPrefix) // they are a ledger of their own
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	var all []topics.Stored
	for _, name := range s.names() {
		key, ok := streamOf(checkpointPrefix + name)
		if !ok {
			continue
		}
		written := s.entries[name].written
		data, err := s.entry(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, topics.Stored{Key: key, Checkpoint: data, Written: written})
	}
	return all, nil
}
