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
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds == seconds {
		return bounded(seconds)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return bounded(at.Sub(apiNow(h, now)).Seconds())
}

// rateLimited reads how long the API lets no more requests through, from the
// headers RateLimit (the draft's and its forerunners') and X-RateLimit-*; 0 when
// there are requests left, or nothing is told. Of several limits the longest counts.
func rateLimited(h http.Header, now time.Time) (wait time.Duration) {
	for _, prefix := range []string{"RateLimit-", "X-RateLimit-", "X-Rate-Limit-"} {
		wait = max(wait, untilReset(h.Get(prefix+"Remaining"), h.Get(prefix+"Reset"), h, now))
	}
	for _, value := range h.Values("RateLimit") { // "default";r=0;t=30, before that remaining=0, reset=30
		limits := []string{value}
		if strings.Contains(value, ";") {
			limits = strings.Split(value, ",")
		}
		for _, limit := range limits {
			remaining, reset := "", ""
			for item := range strings.FieldsFuncSeq(limit, func(r rune) bool { return r == ';' || r == ',' }) {
				switch name, value, _ := strings.Cut(strings.TrimSpace(item), "="); name {
				case "r", "remaining":
					remaining = value
				case "t", "reset":
					reset = value
				}
			}
			wait = max(wait, untilReset(remaining, reset, h, now))
		}
	}
	return wait
}

// untilReset is how long one limit lets no more requests through.
func untilReset(remaining, reset string, h http.Header, now time.Time) time.Duration {
	left, err := strconv.ParseFloat(strings.TrimSpace(remaining), 64)
	if err != nil || left > 0 {
		return 0
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(reset), 64)
	if err != nil || seconds != seconds {
		return 0
	}
	if seconds > 1e9 { // a UNIX time, in seconds or milliseconds
		if seconds > 1e12 {
			seconds /= 1000
		}
		seconds -= float64(apiNow(h, now).UnixMilli()) / 1000
	}
	return bounded(seconds)
}

// bounded makes a wait of seconds, from none to maxRetryAfter.
func bounded(seconds float64) time.Duration {
	return time.Duration(min(max(seconds, 0), maxRetryAfter.Seconds()) * float64(time.Second))
}

// apiNow is the API's own clock, which is the one that its headers mean.
func apiNow(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		return date
	}
	return now
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
