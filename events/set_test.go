package events_test

import (
	"cmp"
	"testing"

	"github.com/millrace-io/millrace/events"
)

func TestSet(t *testing.T) {
	const n = 400_000
	s := events.NewSet(cmp.Compare[uint64])
	spread := func(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 }
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
	if s.Has(spread(n)) || s.Len() != n {
		t.Errorf("%d members, want %d", s.Len(), n)
	}
}
