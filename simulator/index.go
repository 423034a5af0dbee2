package simulator

import (
	"cmp"
	"crypto/sha256"
	"slices"
)

// position orders the records of an endpoint: by time, then in the order in
// which they were produced. It is unique within an endpoint.
type position struct {
	time int64 // UNIX milliseconds, no finer than the record shows
	seq  uint64
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.time, q.time), cmp.Compare(p.seq, q.seq))
}

// record is one record of an endpoint, rendered once. It is immutable, so that
// a page can be written while the world goes on: a change makes a new record.
type record struct {
	at           position
	id           string
	conversation string // the id of the conversation, of Feedyou that of the user
	turn         int    // of a message: its place in the conversation, from 0
	raw          []byte
	versions     [][sha256.Size]byte // of a record that changes: the hash of each raw that there was
	hidden       *hidden             // of a record that holds credentials
}

// hidden is what must not be seen of a record.
type hidden struct {
	hash    [sha256.Size]byte // of the raw with each credential masked
	secrets []string          // the credentials
}

// index holds the records of an endpoint in order.
type index struct {
	records []*record
	loading bool // records are appended in any order until sort
}

// search returns where at is or would be.
func (x *index) search(at position) int {
	i, _ := slices.BinarySearchFunc(x.records, at, func(r *record, at position) int {
		return r.at.compare(at)
	})
	return i
}

// insert puts r in its place, most often the end.
func (x *index) insert(r *record) {
	if n := len(x.records); x.loading || n == 0 || x.records[n-1].at.compare(r.at) < 0 {
		x.records = append(x.records, r)
		return
	}
	x.records = slices.Insert(x.records, x.search(r.at), r)
}

// replace puts the next version of a record where it belongs.
func (x *index) replace(old, next *record) {
	i := x.search(old.at)
	if old.at == next.at {
		x.records[i] = next
		return
	}
	x.records = slices.Delete(x.records, i, i+1)
	x.insert(next)
}

// sort ends the loading.
func (x *index) sort() {
	x.loading = false
	slices.SortFunc(x.records, func(a, b *record) int { return a.at.compare(b.at) })
}

// span is a range of times in milliseconds, [from, to).
type span struct{ from, to int64 }

// span returns the milliseconds of a window of UNIX seconds.
func (b Bounds) span(start, end int64) span {
	s := span{start * 1000, end * 1000}
	if b == Inclusive || b == OpenStart {
		s.to++
	}
	if b == Exclusive || b == OpenStart {
		s.from++
	}
	return s
}

// within returns the records of a span, which the caller must not change.
func (x *index) within(s span) []*record {
	first, last := x.search(position{time: s.from}), x.search(position{time: s.to})
	return x.records[first:max(first, last)]
}

// page returns a copy of the first records of a span, at most limit, that come
// after a position, and whether there are more.
func (x *index) page(s span, after position, limit int) (records []*record, more bool) {
	first := max(x.search(position{time: s.from}), x.search(position{after.time, after.seq + 1}))
	last := x.search(position{time: s.to})
	if first >= last {
		return nil, false
	}
	found := x.records[first:last]
	if len(found) > limit {
		found, more = found[:limit], true
	}
	return slices.Clone(found), more
}

// slab keeps small byte slices that live as long as the world, without one
// allocation for each.
type slab struct{ free []byte }

const slabSize = 1 << 20

func (s *slab) keep(b []byte) []byte {
	if cap(s.free)-len(s.free) < len(b) {
		s.free = make([]byte, 0, max(slabSize, len(b)))
	}
	start := len(s.free)
	s.free = append(s.free, b...)
	return s.free[start:len(s.free):len(s.free)]
}
