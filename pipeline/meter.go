package pipeline

import (
	"math"
	"time"
)

// meter is a rate over about the last minute. It is not for concurrent use.
type meter struct {
	value float64 // a second
	at    time.Time
}

const meterSpan = time.Minute

func (m *meter) add(n int64, now time.Time) {
	m.value = m.rate(now) + float64(n)/meterSpan.Seconds()
	m.at = now
}

func (m *meter) rate(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.value * math.Exp(-max(0, now.Sub(m.at).Seconds())/meterSpan.Seconds())
}
