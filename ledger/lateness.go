package ledger

import "time"

// Histogram counts how late records were first seen: how many in each class of
// [LatenessClasses], and at the end those that were later than all.
type Histogram [13]int64

// LatenessClasses are the upper bounds of the histogram's classes, inclusive.
var LatenessClasses = [len(Histogram{}) - 1]time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute,
	30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour,
}

// Observe counts one record.
func (h *Histogram) Observe(late time.Duration) {
	class := 0
	for class < len(LatenessClasses) && late > LatenessClasses[class] {
		class++
	}
	h[class]++
}

// Quantile returns the upper bound of the class that a share of the records, 0
// to 1, does not exceed; beyond is true where they exceed all bounds, and ok is
// false where none was counted.
func (h *Histogram) Quantile(share float64) (bound time.Duration, beyond, ok bool) {
	total := int64(0)
	for _, n := range h {
		total += n
	}
	sum := int64(0)
	for class, n := range h {
		if sum += n; n > 0 && float64(sum) >= share*float64(total) {
			if class == len(LatenessClasses) {
				return LatenessClasses[class-1], true, true
			}
			return LatenessClasses[class], false, true
		}
	}
	return 0, false, false
}

// Late is what a sweep found that live reads had missed: records that turned up
// when no poll's overlap reached back to them any more.
type Late struct {
	Records int64     `json:"records"`
	Overlap Seconds   `json:"overlap_seconds"` // that would have caught them
	At      time.Time `json:"at,omitzero"`     // when the sweep had ended; zero for one under way
}

// Seconds is a duration, told in whole seconds.
type Seconds int64

// SecondsOf returns a duration, rounded up.
func SecondsOf(d time.Duration) Seconds { return Seconds((d + time.Second - 1) / time.Second) }

// Duration returns the time that it is.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }
