package events

import "slices"

// fewMembers is how many members of a [Set] are in a map.
const fewMembers = 1 << 17

// Set is a set that may grow very large: the latest members are in a map, and
// what is more lies sorted in arrays, which take as much memory as the members
// themselves. Make it with [NewSet]. It is not for concurrent use.
type Set[K comparable] struct {
	compare func(a, b K) int
	recent  map[K]struct{}
	sorted  [][]K
}

// NewSet returns an empty set of members in this order.
func NewSet[K comparable](compare func(a, b K) int) *Set[K] {
	return &Set[K]{compare: compare, recent: map[K]struct{}{}}
}

// Has says whether k is in the set.
func (s *Set[K]) Has(k K) bool {
	if _, ok := s.recent[k]; ok {
		return true
	}
	for _, members := range s.sorted {
		if _, ok := slices.BinarySearchFunc(members, k, s.compare); ok {
			return true
		}
	}
	return false
}

// Add puts k into the set; it returns false when it was there.
func (s *Set[K]) Add(k K) bool {
	if s.Has(k) {
		return false
	}
	if len(s.recent) == fewMembers {
		members := make([]K, 0, fewMembers)
		for member := range s.recent {
			members = append(members, member)
		}
		slices.SortFunc(members, s.compare)
		s.sorted = append(s.sorted, members)
		clear(s.recent)
	}
	s.recent[k] = struct{}{}
	return true
}

// Len returns how many members there are.
func (s *Set[K]) Len() int { return len(s.recent) + len(s.sorted)*fewMembers }
