package app

import (
	"fmt"
	"time"

	"github.com/millrace-io/millrace/ledger"
)

// Lateness is how long after they occurred records were first seen.
type Lateness struct {
	// P50 and P99 are within what half of the records, and 99 of 100, were seen.
	P50     LatenessBound   `json:"p50"`
	P99     LatenessBound   `json:"p99"`
	Classes []LatenessClass `json:"classes"`
}

// LatenessBound is an upper bound in seconds; with Beyond the records exceed it.
type LatenessBound struct {
	Seconds float64 `json:"seconds"`
	Beyond  bool    `json:"beyond,omitempty"`
}

// LatenessClass counts the records that were seen within UpTo seconds, and not
// within those of the class before it; nil is without an end.
type LatenessClass struct {
	UpTo    *float64 `json:"up_to_seconds"`
	Records int64    `json:"records"`
}

// latenessOf tells a histogram with its bounds; nil for an empty one.
func latenessOf(h *ledger.Histogram) *Lateness {
	p50, beyond50, ok := h.Quantile(0.5)
	if !ok {
		return nil
	}
	p99, beyond99, _ := h.Quantile(0.99)
	l := &Lateness{P50: LatenessBound{p50.Seconds(), beyond50}, P99: LatenessBound{p99.Seconds(), beyond99}}
	for n, records := range h {
		class := LatenessClass{Records: records}
		if n < len(ledger.LatenessClasses) {
			bound := ledger.LatenessClasses[n].Seconds()
			class.UpTo = &bound
		}
		l.Classes = append(l.Classes, class)
	}
	return l
}

// String tells a bound for people: within 10m, or more than 30d.
func (b LatenessBound) String() string {
	text := brief(time.Duration(b.Seconds * float64(time.Second)))
	if b.Beyond {
		return ">" + text
	}
	return text
}

// brief tells a duration with one or two units, which is enough for people: 45s,
// 10m, 1h5m, 3d4h.
func brief(d time.Duration) string {
	if d < 0 {
		return "-" + brief(-d)
	}
	const day = 24 * time.Hour
	units := []struct {
		length time.Duration
		name   string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	d = d.Round(time.Second)
	for n, unit := range units {
		if d < unit.length && n < len(units)-1 {
			continue
		}
		text := fmt.Sprint(int64(d/unit.length), unit.name)
		if n == len(units)-1 {
			return text
		}
		next := units[n+1]
		if rest := d % unit.length / next.length; rest > 0 {
			text += fmt.Sprint(int64(rest), next.name)
		}
		return text
	}
	return ""
}
