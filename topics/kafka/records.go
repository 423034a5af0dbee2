package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// markerAbort is the type of the control record that ends an aborted
// transaction; others are of no interest here.
const markerAbort = 0

// aborted tells the records of aborted transactions, of one answer and partition.
// Its methods are called in the order of the batches.
type aborted struct {
	coming []fetch.ResponseTransaction // by first offset
	open   map[int64]bool              // producers whose records are to be dropped now
}

func newAborted(list []fetch.ResponseTransaction) *aborted {
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b fetch.ResponseTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return &aborted{coming: list, open: map[int64]bool{}}
}

// has says whether a transactional batch is of an aborted transaction.
func (a *aborted) has(producer, offset int64) bool {
	if a == nil {
		return false
	}
	for len(a.coming) > 0 && a.coming[0].FirstOffset <= offset {
		a.open[a.coming[0].ProducerID] = true
		a.coming = a.coming[1:]
	}
	return a.open[producer]
}

// end notes that a producer's transaction was aborted at this offset.
func (a *aborted) end(producer, offset int64) {
	if a.has(producer, offset) {
		delete(a.open, producer)
	}
}

// batch hands out the records of one batch, but for those before the offset and
// those that were not committed.
func (r *reader) batch(p *cursor, batch protocol.RecordReader, drop *aborted, fn func(*cursor, *record) error) error {
	skip, base := false, p.next-1
	switch b := batch.(type) {
	case *protocol.ControlBatch:
		return control(p, b, drop)
	case *protocol.RecordBatch:
		base = b.BaseOffset
		skip = b.Attributes.Transactional() && drop.has(b.ProducerID, base)
	}
	for {
		rec, err := batch.ReadRecord()
		if errors.Is(err, io.EOF) {
			p.next = max(p.next, base+1) // it may have been emptied
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a batch of %s at %d: %w", p.partition, p.next, err)
		}
		if !skip && rec.Offset >= p.next {
			err = r.load(p, rec)
			if err == nil {
				err = fn(p, &r.record)
			}
		}
		closeRecord(rec)
		if err != nil {
			return err
		}
		p.next = max(p.next, rec.Offset+1)
	}
}

// control passes over a control batch.
func control(p *cursor, b *protocol.ControlBatch, drop *aborted) error {
	for {
		rec, err := b.ReadRecord()
		if errors.Is(err, io.EOF) {
			p.next = max(p.next, b.BaseOffset+1)
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a control batch of %s: %w", p.partition, err)
		}
		offset := rec.Offset
		marker, err := protocol.ReadControlRecord(rec)
		if err != nil {
			return fmt.Errorf("reading a control record of %s at %d: %w", p.partition, offset, err)
		}
		if marker.Type == markerAbort {
			drop.end(b.ProducerID, offset)
		}
		p.next = max(p.next, offset+1)
	}
}

// load copies a record out of kafka-go's pages.
func (r *reader) load(p *cursor, rec *protocol.Record) (err error) {
	r.record = record{partition: p.partition, offset: rec.Offset, time: rec.Time, headers: rec.Headers}
	if r.record.key, err = content(&r.key, rec.Key); err == nil {
		r.record.value, err = content(&r.value, rec.Value)
	}
	if err != nil {
		return fmt.Errorf("reading %s at %d: %w", p.partition, rec.Offset, err)
	}
	return nil
}

// content reads into a buffer that grows as it must. It returns nil for null.
func content(buffer *[]byte, b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	n := b.Len()
	if *buffer == nil || n > cap(*buffer) {
		*buffer = make([]byte, n, n+n/4)
	}
	_, err := io.ReadFull(b, (*buffer)[:n])
	return (*buffer)[:n], err
}

// closeRecord gives the pages of a record back.
func closeRecord(rec *protocol.Record) {
	if rec.Key != nil {
		rec.Key.Close()
	}
	if rec.Value != nil {
		rec.Value.Close()
	}
}

// release gives the pages back of what was not read of an answer.
func release(got *fetch.ResponsePartition) {
	stream, _ := got.RecordSet.Records.(*protocol.RecordStream)
	if stream == nil {
		return
	}
	for _, batch := range stream.Records {
		for {
			rec, err := batch.ReadRecord()
			if err != nil {
				break
			}
			closeRecord(rec)
		}
	}
}
