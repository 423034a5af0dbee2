package events

import "slices"

const (
	// fewMembers is how many members of a [Set] are in its table.
	fewMembers = 1 << 16
	// perStep is how many members of a run share an entry of its index, about.
	perStep = 16
	// What is not in the table lies in shards, by the first bits of its number: where
	// runs are merged, only one shard takes its memory twice.
	shardBits = 6
	shards    = 1 << shardBits
)

// Set is a set that may grow very large: the latest members are in a hash table,
// and what is more lies sorted in runs, which take as much memory as the members
// themselves. Make it with [NewSet]. It is not for concurrent use.
type Set[K comparable] struct {
	compare func(a, b K) int
	number  func(K) uint64
	table   []K // those that are in it; the zero K is an empty place
	zero    bool
	n       int        // in the table
	bits    int        // of the table's length
	runs    [][]run[K] // of each shard; nil until there are any
	more    int        // in runs
}

// run are sorted members. Those with a number whose first bits are i begin at
// starts[i] or, where there are none, would. The bits are those behind the shard's.
type run[K comparable] struct {
	members []K
	starts  []uint32
	shift   int // leaves the first bits
}

// NewSet returns an empty set of members in the order of compare. number has to
// spread them evenly over all 64 bits, as a hash does, and must not go down from a
// member to one behind it.
func NewSet[K comparable](compare func(a, b K) int, number func(K) uint64) *Set[K] {
	return &Set[K]{compare: compare, number: number}
}

// Has says whether k is in the set.
func (s *Set[K]) Has(k K) bool {
	if _, found := s.find(k); found {
		return true
	}
	if s.runs == nil {
		return false
	}
	number := s.number(k)
	runs := s.runs[number>>(64-shardBits)]
	for i := range runs {
		r := &runs[i]
		step := number << shardBits >> r.shift
		if _, found := slices.BinarySearchFunc(r.members[r.starts[step]:r.starts[step+1]], k, s.compare); found {
			return true
		}
	}
	return false
}

// find looks for k in the table, and returns the place where it is or would be.
func (s *Set[K]) find(k K) (at int, found bool) {
	var zero K
	if k == zero {
		return 0, s.zero
	}
	if len(s.table) == 0 {
		return 0, false
	}
	for at = int(s.number(k) >> (64 - s.bits)); s.table[at] != zero; at = (at + 1) & (len(s.table) - 1) {
		if s.table[at] == k {
			return at, true
		}
	}
	return at, false
}

// Add puts k into the set; it returns false when it was there.
func (s *Set[K]) Add(k K) bool {
	if s.Has(k) {
		return false
	}
	s.Put(k)
	return true
}

// Put puts k into the set, in which it is not.
func (s *Set[K]) Put(k K) {
	var zero K
	switch {
	case k == zero:
		s.zero = true
		return
	case s.n == fewMembers:
		s.flush()
	case 2*s.n >= len(s.table):
		old := s.table
		s.bits = max(6, s.bits+1)
		s.table = make([]K, 1<<s.bits)
		for _, member := range old {
			if member != zero {
				at, _ := s.find(member)
				s.table[at] = member
			}
		}
	}
	at, found := s.find(k)
	if !found {
		s.table[at] = k
		s.n++
	}
}

// flush moves what is in the table to the shards.
func (s *Set[K]) flush() {
	var zero K
	members := make([]K, 0, s.n)
	for _, member := range s.table {
		if member == zero {
			continue
		}
		// They lie in order, but for a few steps.
		members = append(members, member)
		for i := len(members) - 1; i > 0 && s.compare(members[i], members[i-1]) < 0; i-- {
			members[i], members[i-1] = members[i-1], members[i]
		}
	}
	clear(s.table)
	s.more, s.n = s.more+len(members), 0
	if s.runs == nil {
		s.runs = make([][]run[K], shards)
	}
	for shard := range s.runs {
		n := 0
		for n < len(members) && s.number(members[n])>>(64-shardBits) == uint64(shard) {
			n++
		}
		if n > 0 {
			s.runs[shard] = s.extend(s.runs[shard], members[:n])
		}
		members = members[n:]
	}
}

// extend adds sorted members to runs of a shard. Runs that are about as long as
// each other are merged, so that there are few.
func (s *Set[K]) extend(runs []run[K], members []K) []run[K] {
	n := len(runs)
	for ; n > 0 && 2*len(runs[n-1].members) <= 3*len(members); n-- {
		members = s.merge(runs[n-1].members, members)
		runs[n-1] = run[K]{}
	}
	if n == len(runs) {
		members = slices.Clone(members) // not to keep what others lie in
	}
	return append(runs[:n], s.index(members))
}

func (s *Set[K]) merge(a, b []K) []K {
	out := make([]K, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if s.compare(a[0], b[0]) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// index makes a run of sorted members.
func (s *Set[K]) index(members []K) run[K] {
	steps, shift := 1, 64
	for steps*perStep < len(members) {
		steps, shift = 2*steps, shift-1
	}
	r := run[K]{members: members, shift: shift, starts: make([]uint32, steps+1)}
	for i, step := 0, 0; step < steps; step++ {
		for i < len(members) && s.number(members[i])<<shardBits>>shift == uint64(step) {
			i++
		}
		r.starts[step+1] = uint32(i)
	}
	return r
}

// Len returns how many members there are.
func (s *Set[K]) Len() int {
	n := s.n + s.more
	if s.zero {
		n++
	}
	return n
}
