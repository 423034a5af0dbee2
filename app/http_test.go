package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The metrics say what /readyz says, and do not wait for a broker that hangs.
func TestReadyIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer error
		hangs := false
		registry := prometheus.NewPedanticRegistry()
		RegisterReady(registry, func(ctx context.Context) error {
			if hangs {
				<-ctx.Done()
				return ctx.Err()
			}
			return answer
		})
		for _, tt := range []struct {
			err   error
			hangs bool
			want  float64
		}{{nil, false, 1}, {errors.New("away"), false, 0}, {nil, true, 0}, {nil, false, 1}} {
			answer, hangs = tt.err, tt.hangs
			began := time.Now()
			families, err := registry.Gather()
			if err != nil || len(families) != 1 || families[0].GetName() != "millrace_broker_ready" {
				t.Fatalf("%v, %v", families, err)
			}
			if got, took := families[0].GetMetric()[0].GetGauge().GetValue(), time.Since(began); got != tt.want || took > readyScrapeWait {
				t.Errorf("%+v: it is %v after %v", tt, got, took)
			}
		}
	})
}
