package simulator

// dice are a small random generator (SplitMix64) whose numbers are the same for
// ever on every platform: worlds are compared across versions of Go.
type dice struct{ state uint64 }

func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	return mix(d.state)
}

// below returns a number from 0 to n-1.
func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

// share returns a number in [0, 1).
func (d *dice) share() float64 { return float64(d.next()>>11) / (1 << 53) }

// oneIn returns true one time in n.
func (d *dice) oneIn(n int) bool { return d.below(n) == 0 }

// pick returns one of the choices.
func pick[T any](d *dice, choices []T) T { return choices[d.below(len(choices))] }

// mix spreads the bits of x. It is a bijection: different numbers stay different.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
