package pipeline

import (
	"math"
	"time"
)

// meter is a rate over about the last minute, or since it began where that is
// shorter. It is not for concurrent use.
type meter struct {
	began  time.Time
	weight float64 // of what was counted, the older the less
	at     time.Time
}

const meterSpan = time.Minute

func (m *meter) add(n int64, now time.Time) {
	if m.began.IsZero() {
		m.began, m.at = now, now
	}
	m.weight = m.weight*fade(now.Sub(m.at)) + float64(n)
	m.at = now
}

// rate is what was counted, a second.
func (m *meter) rate(now time.Time) float64 {
	if m.began.IsZero() {
		return 0
	}
	// The weight of one a second since the beginning.
	full := meterSpan.Seconds() * (1 - fade(max(time.Second, now.Sub(m.began))))
	return m.weight * fade(now.Sub(m.at)) / full
}

func fade(d time.Duration) float64 { return math.Exp(-max(0, d.Seconds()) / meterSpan.Seconds()) }
