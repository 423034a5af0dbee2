package connectors

import (
	"net/http"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestRetryAfter(t *testing.T) {
	date := func(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, " 5 ": 5 * time.Second, "0": 0, "-3": 0, "0.5": 500 * time.Millisecond, "1e9": time.Hour, "7200": time.Hour,
		"NaN": 0, "inf": time.Hour, "soon": 0, "99999999999999999999999": time.Hour,
		date(90 * time.Second): 90 * time.Second, date(-time.Hour): 0, date(48 * time.Hour): time.Hour,
		noon.Add(time.Minute).Format(time.RFC850): time.Minute, noon.Add(time.Minute).Format(time.ANSIC): time.Minute,
	} {
		if got := retryAfter(headers("Retry-After", value), noon); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	// The API's own clock is the one that a date means.
	if got := retryAfter(headers("Retry-After", date(time.Minute), "Date", date(20*time.Second)), noon.Add(-time.Hour)); got != 40*time.Second {
		t.Errorf("with a date of its own: %s", got)
	}
}

func TestRateLimited(t *testing.T) {
	for _, c := range []struct {
		header []string
		want   time.Duration
	}{
		{nil, 0},
		{[]string{"RateLimit-Remaining", "3", "RateLimit-Reset", "10"}, 0},
		{[]string{"RateLimit-Remaining", "0", "RateLimit-Reset", "10"}, 10 * time.Second},
		{[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "10"}, 10 * time.Second},
		{[]string{"X-Rate-Limit-Remaining", "0", "X-Rate-Limit-Reset", "10"}, 10 * time.Second},
		{[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1772625630"}, 30 * time.Second},
		{[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1772625630000"}, 30 * time.Second},
		{[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1772625600", "Date", "Wed, 04 Mar 2026 11:59:50 GMT"}, 10 * time.Second},
		{[]string{"X-RateLimit-Remaining", "0"}, 0},
		{[]string{"X-RateLimit-Remaining", "none", "X-RateLimit-Reset", "10"}, 0},
		{[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "nan"}, 0},
		{[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "99999"}, time.Hour},
		{[]string{"RateLimit", `"default";r=0;t=30`}, 30 * time.Second},
		{[]string{"RateLimit", `"default";r=5;t=30`}, 0},
		{[]string{"RateLimit", `limit=10, remaining=0, reset=7`}, 7 * time.Second},
		{[]string{"RateLimit", `reset=7, remaining=0`}, 7 * time.Second},
		// Of several limits each that is used up counts.
		{[]string{"RateLimit", `"day";r=0;t=30, "burst";r=5;t=1`}, 30 * time.Second},
		{[]string{"RateLimit", `"burst";r=5;t=1, "day";t=30;r=0`}, 30 * time.Second},
		{[]string{"RateLimit", `"burst";r=0;t=1,"day";r=0;t=30`}, 30 * time.Second},
		{[]string{"RateLimit", `"burst";r=0, "day";r=5;t=30`}, 0},
		{[]string{"RateLimit-Remaining", "3", "RateLimit-Reset", "60", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "10"}, 10 * time.Second},
	} {
		if got := rateLimited(headers(c.header...), noon); got != c.want {
			t.Errorf("%q: %s, want %s", c.header, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for failures := range 70 {
		bound, shortest, longest := backoffCap, time.Hour, time.Duration(0)
		if failures < 8 {
			bound = min(backoffCap, backoffBase<<max(0, failures-1))
		}
		for range 2000 {
			wait := backoff(failures)
			shortest, longest = min(shortest, wait), max(longest, wait)
		}
		if shortest <= 0 || shortest > bound/10 || longest > bound+time.Millisecond || longest < bound*9/10 {
			t.Errorf("after %d failures: %s to %s, want up to %s", failures, shortest, longest, bound)
		}
	}
}
