package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Fault is a way in which a request goes wrong.
type Fault string

// The faults. None of them changes what the world holds.
const (
	TooMany   Fault = "429"      // refused, with Retry-After in seconds or as a date, in turn
	Broken    Fault = "500"      // 500, 502 or 503 with a page of HTML
	Reset     Fault = "reset"    // the connection is torn, before the answer or inside it
	Truncated Fault = "truncate" // 200 and well-formed HTTP, but the JSON is cut
	Slow      Fault = "slow"     // the answer dribbles for some hundred milliseconds
	SignIn    Fault = "html"     // 200 with a page of HTML that asks to sign in
	Redirect  Fault = "redirect" // 302 or 307 to another host, with the request's query
	Poison    Fault = "poison"   // one to three elements of a good list are no JSON objects
)

// faultKinds has new ones at its end: what befalls a request depends on the order.
var faultKinds = []Fault{TooMany, Broken, Reset, Truncated, Slow, SignIn, Redirect, Poison}

// Faults are the probabilities of faults for each request. At most one befalls a
// request, so they add up to 1 at most.
type Faults map[Fault]float64

// ParseFaults reads "429=0.05,500=0.05,reset=0.01"; "" is none.
func ParseFaults(s string) (Faults, error) {
	faults := Faults{}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		kind, value, ok := strings.Cut(item, "=")
		p, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("fault %q: write KIND=PROBABILITY, e.g. %s=0.05", item, TooMany)
		}
		fault := Fault(strings.TrimSpace(kind))
		if _, twice := faults[fault]; twice {
			return nil, fmt.Errorf("fault %q is given twice", fault)
		}
		faults[fault] = p
	}
	if err := faults.validate(); err != nil {
		return nil, err
	}
	return faults, nil
}

// String is the inverse of [ParseFaults].
func (f Faults) String() string {
	var items []string
	for _, kind := range slices.Sorted(maps.Keys(f)) {
		items = append(items, fmt.Sprintf("%s=%v", kind, f[kind]))
	}
	return strings.Join(items, ",")
}

func (f Faults) validate() error {
	sum := 0.0
	for _, kind := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(faultKinds, kind) {
			return fmt.Errorf("unknown fault %q; valid are %q", kind, faultKinds)
		}
		if p := f[kind]; !(p >= 0 && p <= 1) {
			return fmt.Errorf("fault %s=%v: a probability is 0 to 1", kind, p)
		}
		sum += f[kind]
	}
	if sum > 1+1e-9 {
		return fmt.Errorf("the faults' probabilities add up to %v; they must not exceed 1", sum)
	}
	return nil
}

// injury is what befalls one request; the zero value is nothing.
type injury struct {
	fault Fault
	// turn alternates the variants of a fault, counting from 0 for each.
	turn int
	// depth is how much of an answer survives, 0 to 1.
	depth float64
}

// fate draws the injuries of requests, in the order of the requests.
type fate struct {
	mu     sync.Mutex
	dice   dice
	faults Faults
	turns  map[Fault]int
}

func newFate(seed uint64, faults Faults) *fate {
	return &fate{dice: dice{mix(seed ^ 0xfa7e)}, faults: faults, turns: map[Fault]int{}}
}

func (f *fate) set(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults
}

func (f *fate) draw() injury {
	f.mu.Lock()
	defer f.mu.Unlock()
	share, depth := f.dice.share(), f.dice.share()
	for _, kind := range faultKinds {
		if p := f.faults[kind]; share >= p {
			share -= p
			continue
		}
		turn := f.turns[kind]
		f.turns[kind]++
		return injury{kind, turn, depth}
	}
	return injury{}
}
