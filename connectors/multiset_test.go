package connectors

import (
	"math/rand/v2"
	"testing"
)

// A multiset gives out each content as often as it came in, however often that
// was, less what was subtracted.
func TestMultiset(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var m, less multiset
	want := map[uint64]int{}
	for _, times := range []int{1, 2, 253, 254, 255, 256, 257, 70_000} {
		for range 20 {
			h := r.Uint64()
			for range times {
				m.add(h)
			}
			off := r.IntN(times + 3)
			for range off {
				less.add(h)
			}
			want[h] = max(0, times-off)
		}
	}
	stranger := r.Uint64()
	less.add(stranger)
	m.sort()
	m.subtract(&less)
	for h, n := range want {
		for i := range n {
			if left, ok := m.take(h); !ok || left != n-i-1 {
				t.Fatalf("%x: %d of %d, %d left", h, i, n, left)
			}
		}
		if _, ok := m.take(h); ok {
			t.Fatalf("%x: more than %d", h, n)
		}
	}
	if _, ok := m.take(stranger); ok {
		t.Fatal("what was only subtracted is there")
	}
}
