package pipeline

import (
	"math"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	var m meter
	now := time.Unix(0, 0)
	if m.rate(now) != 0 {
		t.Error("a rate of nothing")
	}
	for second := range 600 {
		m.add(3, now)
		now = now.Add(time.Second)
		if second > 2 && math.Abs(m.rate(now)-3) > 0.1 {
			t.Fatalf("3 a second are measured as %.2f after %d s", m.rate(now), second)
		}
	}
	if r := m.rate(now.Add(5 * time.Minute)); r > 0.05 {
		t.Errorf("after five idle minutes the rate is %.2f", r)
	}
}
