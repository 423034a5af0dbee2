package connectors

import "slices"

// multiset holds how often each content comes, known by 64 bits of its hash: the
// answers may be very long. It lies in shards, by the first bits: one that grows
// takes its memory twice for a moment. All are added before any is taken.
type multiset struct {
	n      int // how many were added
	shards [1 << multisetBits]shard
}

const multisetBits = 6

type shard struct {
	hashes []uint64         // sorted and different once one was taken
	counts []uint8          // of each hash; many says that the count is in more
	more   map[uint64]int32 // where it is too much for counts
}

const many = 255

func (m *multiset) add(h uint64) {
	m.n++
	s := &m.shards[h>>(64-multisetBits)]
	s.hashes = append(s.hashes, h)
}

// sort is called between the last that is added and the first that is taken.
func (m *multiset) sort() {
	for i := range m.shards {
		m.shards[i].sort()
	}
}

// subtract takes out what is in another, as far as it is there.
func (m *multiset) subtract(other *multiset) {
	for i := range other.shards {
		for _, h := range other.shards[i].hashes {
			m.take(h)
		}
	}
}

// take takes one out, if there is one, and returns how many are left.
func (m *multiset) take(h uint64) (left int, ok bool) {
	return m.shards[h>>(64-multisetBits)].take(h)
}

func (s *shard) sort() {
	slices.Sort(s.hashes)
	s.counts = make([]uint8, 0, len(s.hashes))
	unique := s.hashes[:0]
	for _, h := range s.hashes {
		if n := len(unique); n == 0 || unique[n-1] != h {
			unique, s.counts = append(unique, h), append(s.counts, 0)
		}
		s.put(h, len(s.counts)-1)
	}
	s.hashes = unique
}

// put counts one more of h, which is at i.
func (s *shard) put(h uint64, i int) {
	switch {
	case s.counts[i] < many-1:
		s.counts[i]++
	case s.counts[i] < many:
		if s.more == nil {
			s.more = map[uint64]int32{}
		}
		s.counts[i], s.more[h] = many, many
	default:
		s.more[h]++
	}
}

func (s *shard) take(h uint64) (left int, ok bool) {
	i, found := slices.BinarySearch(s.hashes, h)
	switch {
	case !found || s.counts[i] == 0:
		return 0, false
	case s.counts[i] < many:
		s.counts[i]--
		return int(s.counts[i]), true
	case s.more[h] > many:
		s.more[h]--
		return int(s.more[h]), true
	}
	delete(s.more, h)
	s.counts[i] = many - 1
	return many - 1, true
}
