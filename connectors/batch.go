package connectors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"time"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/events"
)

// builder fills one batch: records come out of a buffer that the next one
// overwrites, so their bytes are copied into two arenas of the batch's own.
type builder struct {
	stream    *Stream
	cell      time.Time // of records that have neither an id nor a time
	records   []Prepared
	spans     []span
	raw       []byte // the records' text, a line each: also the message's payload
	members   []byte
	deadBytes int
	multiline bool
}

// span is where a record's bytes are in the arenas, which move while they grow.
type span struct{ raw, rawEnd, members, membersEnd int }

// sizes are how much a batch took. The stream's next one will take about as much,
// so that its arenas need not grow.
type sizes struct{ records, raw, members int }

// maxReserved is how much is reserved unseen, in bytes.
const maxReserved = 2 << 20

func (b *builder) reserve() {
	if last := b.stream.last.Load(); last != nil {
		b.records = make([]Prepared, 0, last.records)
		b.spans = make([]span, 0, last.records)
		b.raw = make([]byte, 0, min(last.raw+last.raw/8, maxReserved))
		b.members = make([]byte, 0, min(last.members+last.members/8, maxReserved))
	}
}

func (b *builder) full() bool {
	return len(b.records) >= MaxBatchRecords || len(b.raw)+len(b.members)+b.deadBytes >= MaxBatchBytes
}

// add takes a record over and gives it its identity; seen counts the pass's
// records that have nothing but their content to be told by, and number is that of
// a record with neither an id nor a time among equal ones.
func (b *builder) add(r events.Record, seen *tally, number int) {
	if b.records == nil {
		b.reserve()
	}
	p := Prepared{Record: r}
	var s span
	if r.Dead == nil {
		shown := r.Raw
		if r.Masked != nil {
			shown, p.Masked = r.Masked, nil
		}
		s = span{raw: len(b.raw), members: len(b.members)}
		b.multiline = b.multiline || bytes.IndexByte(shown, '\n') >= 0
		b.raw = append(append(b.raw, shown...), '\n')
		b.members = append(b.members, r.Members...)
		s.rawEnd, s.membersEnd = len(b.raw)-1, len(b.members)
	} else {
		p.Raw = bytes.Clone(r.Raw)
		b.deadBytes += len(p.Raw)
	}
	b.identify(&p, r.Raw, seen, number)
	p.Basis, p.State = nil, nil
	b.records = append(b.records, p)
	b.spans = append(b.spans, s)
}

func (b *builder) identify(p *Prepared, raw []byte, seen *tally, number int) {
	key := b.stream.Key
	if p.Dead != nil {
		p.Number = seen.next(events.DeadLetterIdentity(key, raw, 0, 0))
		p.Identity = events.DeadLetterIdentity(key, raw, p.Number, 0)
		return
	}
	var canonical []byte
	if p.ID == "" {
		canonical = canonicalOf(p.Basis, raw)
	}
	if b.stream.Versioned {
		state := canonical
		if state == nil || p.Basis != nil || p.State != nil {
			state = canonicalOf(p.State, raw)
		}
		p.Content = events.HashOf(state)
	}
	switch {
	case p.ID != "":
		p.Identity = events.RecordIdentity(key, p.ID)
	case b.stream.timeless(&p.Record):
		p.Number = number
		p.Identity = events.CellIdentity(key, canonical, b.cell, p.Number)
	default:
		p.Identity = events.ContentIdentity(key, canonical, 0)
		if p.Number = seen.next(p.Identity); p.Number > 0 {
			p.Identity = events.ContentIdentity(key, canonical, p.Number)
		}
	}
}

// canonicalOf returns the canonical content of what counts of a record: a part
// that its mapping made, else all of it.
func canonicalOf(part, raw []byte) []byte {
	if part == nil {
		part = raw
	}
	// The scan that mapped the record has proved that it is I-JSON.
	canonical, _ := events.Canonical(part)
	return canonical
}

// finish returns the batch and leaves the builder empty.
func (b *builder) finish() *Batch {
	for i, s := range b.spans {
		if b.records[i].Dead == nil {
			b.records[i].Raw = b.raw[s.raw:s.rawEnd:s.rawEnd]
			b.records[i].Members = b.members[s.members:s.membersEnd:s.membersEnd]
		}
	}
	batch := &Batch{Stream: b.stream, Records: b.records, payload: b.raw}
	batch.size = len(b.raw) + len(b.members) + b.deadBytes + len(b.records)*int(unsafe.Sizeof(Prepared{}))
	if b.multiline {
		batch.payload = jsonLines(b.records)
		batch.size += len(batch.payload)
	}
	if len(b.records) > 0 {
		b.stream.last.Store(&sizes{len(b.records), len(b.raw), len(b.members)})
	}
	*b = builder{stream: b.stream, cell: b.cell}
	return batch
}

// jsonLines writes records that stand on several lines on one each.
func jsonLines(records []Prepared) []byte {
	var out []byte
	for i := range records {
		if records[i].Dead != nil {
			continue
		}
		line := jsontext.Value(bytes.Clone(records[i].Raw))
		_ = line.Compact()
		out = append(append(out, line...), '\n')
	}
	return out
}

// tally counts equal things within one pass over a window. It knows them by 64
// bits of their identities, as an answer can be very long: two of a million
// records are taken for equal in one pass of 36 million.
type tally struct {
	first int                 // where counting begins
	seen  *events.Set[uint64] // by the pages that were read, or the first that is being read
	page  map[uint64]struct{} // by the page that is being read, but for the first
	more  map[uint64]int32    // how many came after the first, where any did
	again []uint64            // of these, what the page that is being read has added
	later bool                // a page was read: what the next one adds must be known apart
}

// next returns how many equals came before.
func (t *tally) next(id events.Identity) int {
	short := binary.BigEndian.Uint64(id[:])
	if t.isNew(short) {
		return t.first
	}
	if t.more == nil {
		t.more = map[uint64]int32{}
	}
	t.more[short]++
	if t.later {
		t.again = append(t.again, short)
	}
	return t.first + int(t.more[short])
}

func (t *tally) isNew(short uint64) bool {
	if t.seen == nil {
		t.seen = events.NewSet(cmp.Compare[uint64], func(short uint64) uint64 { return short })
	}
	if !t.later {
		return t.seen.Add(short)
	}
	if _, ok := t.page[short]; ok || t.seen.Has(short) {
		return false
	}
	if t.page == nil {
		t.page = map[uint64]struct{}{}
	}
	t.page[short] = struct{}{}
	return true
}

// commitPage keeps what the page has added, dropPage takes it back: the page is
// read again.
func (t *tally) commitPage() {
	for short := range t.page {
		t.seen.Add(short)
	}
	clear(t.page)
	t.again, t.later = t.again[:0], true
}

func (t *tally) dropPage() {
	if !t.later {
		*t = tally{first: t.first}
		return
	}
	for _, short := range t.again {
		if t.more[short]--; t.more[short] == 0 {
			delete(t.more, short)
		}
	}
	clear(t.page)
	t.again = t.again[:0]
}

func (t *tally) empty() bool { return t.seen == nil || t.seen.Len() == 0 }

type batchKey struct{}

// BatchOf returns the batch that a message of a [Subscriber] stands for, from
// the message's context.
func BatchOf(ctx context.Context) (*Batch, bool) {
	b, ok := ctx.Value(batchKey{}).(*Batch)
	return b, ok
}
