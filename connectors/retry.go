package connectors

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffCap  = time.Minute
	// maxRetryAfter is how long an API may make us wait; what is longer is
	// waited for as this, and reported.
	maxRetryAfter = time.Hour
)

// backoff returns a random time up to a bound that doubles with each failure in
// a row (full jitter), so that many who failed together do not return together.
func backoff(failures int) time.Duration {
	bound := backoffCap
	if shift := failures - 1; shift < 7 {
		bound = min(backoffCap, backoffBase<<max(shift, 0))
	}
	return rand.N(bound) + time.Millisecond
}

// retryAfter reads the Retry-After header, in seconds or as an HTTP date
// (RFC 9110, 10.2.3); 0 when there is none that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		if seconds <= 0 || seconds != seconds {
			return 0
		}
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // the API's own clock is the one it means
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}

// sleep waits; it returns the context's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
