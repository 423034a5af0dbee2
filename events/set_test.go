package events_test

import (
	"cmp"
	"testing"

	"github.com/millrace-io/millrace/events"
)

func same(n uint64) uint64 { return n }

func TestSet(t *testing.T) {
	const n = 600_000
	s := events.NewSet(cmp.Compare[uint64], same)
	spread := func(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 } // 0 first
	for i := range n {
		if s.Has(spread(i)) || !s.Add(spread(i)) {
			t.Fatalf("%d is there before it was added", i)
		}
	}
	for i := range n {
		if !s.Has(spread(i)) || s.Add(spread(i)) {
			t.Fatalf("%d is not there", i)
		}
	}
	for i := n; i < 2*n; i++ {
		if s.Has(spread(i)) {
			t.Fatalf("%d is there, which was not added", i)
		}
	}
	if s.Len() != n {
		t.Errorf("%d members, want %d", s.Len(), n)
	}
}

// Numbers at both ends, next to each other and in one place are members as others are.
func TestSetOfNeighbours(t *testing.T) {
	s := events.NewSet(cmp.Compare[uint64], same)
	want := map[uint64]bool{}
	for i := range uint64(300) { // few to be in one place, many to be in runs
		for _, k := range []uint64{i, ^uint64(0) - i, 1<<63 + i*i, i << 47} {
			if s.Add(k) == want[k] {
				t.Fatalf("%x was there: %v", k, want[k])
			}
			want[k] = true
		}
	}
	for i := range uint64(300_000) {
		k := i * 0x9e3779b97f4a7c15
		s.Put(k)
		want[k] = true
	}
	for k := range want {
		if !s.Has(k) {
			t.Fatalf("%x is not there", k)
		}
	}
	for k := range uint64(1000) {
		if s.Has(k) != want[k] || s.Has(k<<40) != want[k<<40] {
			t.Fatalf("%x or %x is there", k, k<<40)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	const n = 1_000_000
	spread := func(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 }
	b.ReportAllocs()
	for b.Loop() { // a million are looked for in vain and added
		s := events.NewSet(cmp.Compare[uint64], same)
		for i := range n {
			s.Add(spread(i))
		}
	}
}
