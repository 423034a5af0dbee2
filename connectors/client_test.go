package connectors

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestGet(t *testing.T) {
	var asked *http.Request
	c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = r
		return respond(r, 200, "[]"), nil
	}), nil)
	if body, err := get(t.Context(), c); body != "[]" || err != nil {
		t.Fatalf("%q, %v", body, err)
	}
	if got := asked.URL.String(); got != "https://api.example.com/base/things" {
		t.Errorf("asked for %s", got)
	}
	if asked.Header.Get("x-api-key") != secret || asked.Header.Get("Accept") != "application/json" {
		t.Errorf("asked with %v", asked.Header)
	}
	if asked.Context().Err() == nil {
		t.Error("a closed answer's request goes on")
	}
}

func TestBaseURL(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://api.example.com": true, "http://127.0.0.1:8080/x/y/": true,
		"": false, "api.example.com": false, "ftp://x": false, "https://": false,
		"https://user:" + secret + "@x": false, "https://x?key=" + secret: false, "https://x/%zz" + secret: false,
	} {
		_, err := NewClient(Options{BaseURL: address}, Credential{}, Env{})
		if (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// A credential goes to the configured place and nowhere else.
func TestRedirects(t *testing.T) {
	for location, want := range map[string]string{
		"/base/other":                          "",
		"https://api.example.com/base/other":   "",
		"http://api.example.com/base/other":    "another place (http://api.example.com)",
		"https://evil.example.com/other":       "another place (https://evil.example.com)",
		"https://api.example.com:8443/other":   "another place",
		"https://x:" + secret + "@evil.com/":   "another place (https://evil.com)",
		"//evil.example.com/other?k=" + secret: "another place",
		"/base/things":                         "more than 5 times",
	} {
		requests := 0
		c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			requests++
			if r.URL.Host != "api.example.com" || r.URL.Scheme != "https" {
				t.Errorf("redirected to %s with the key %q", r.URL, r.Header.Get("x-api-key"))
			}
			if strings.HasSuffix(r.URL.Path, "other") {
				return respond(r, 200, "[]"), nil
			}
			return respond(r, 302, "", "Location", location), nil
		}), nil)
		_, err := get(t.Context(), c)
		if want == "" {
			if err != nil || requests != 2 {
				t.Errorf("%s: %v after %d requests", location, err, requests)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || KindOf(err) != Retry || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %q", location, err, want)
		}
	}
}

func TestGzip(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		io.WriteString(z, `[1]`)
	}))
	defer server.Close()
	transport := NewTransport()
	defer transport.CloseIdleConnections()
	c := testClient(t, transport, func(o *Options) { o.BaseURL = server.URL })
	if body, err := get(t.Context(), c); body != "[1]" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

// pausingBody gives a byte after each of its pauses.
type pausingBody struct {
	r      *http.Request
	pauses []time.Duration
}

func (b *pausingBody) Read(p []byte) (int, error) {
	if len(b.pauses) == 0 {
		return 0, io.EOF
	}
	if err := wait(b.r, b.pauses[0]); err != nil {
		return 0, err
	}
	b.pauses = b.pauses[1:]
	p[0] = 'x'
	return 1, nil
}

func (b *pausingBody) Close() error { return nil }

func TestTimeouts(t *testing.T) {
	almost, long := 59*time.Second, 61*time.Second
	for name, c := range map[string]struct {
		status int
		before time.Duration
		body   []time.Duration
		want   string
	}{
		"slow, but alive":           {200, almost, []time.Duration{almost, almost, almost}, ""},
		"no answer":                 {200, long, nil, "sent nothing for 1m0s"},
		"stops inside":              {200, 0, []time.Duration{almost, long}, "sent nothing for 1m0s"},
		"a byte a minute, for ever": {200, 0, repeat(almost, 40), "longer than 30m0s"},
		"a refusal that stops":      {500, 0, []time.Duration{long}, "500"},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				if err := wait(r, c.before); err != nil {
					return nil, err
				}
				return respondWith(r, c.status, &pausingBody{r, c.body}), nil
			}), nil)
			began := time.Now()
			_, err := get(t.Context(), client)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
			if took := time.Since(began); took > 31*time.Minute || c.status == 500 && took > long {
				t.Errorf("%s: took %s", name, took)
			}
			if KindOf(err) != Retry {
				t.Errorf("%s: %v", name, KindOf(err))
			}
		})
	}
}

func repeat(d time.Duration, n int) []time.Duration {
	list := make([]time.Duration, n)
	for i := range list {
		list[i] = d
	}
	return list
}

// Who reads slowly is not timed out: the broker may be away for hours.
func TestASlowReaderIsNotATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			return respondWith(r, 200, &pausingBody{r, repeat(time.Second, 10)}), nil
		}), nil)
		answer, err := c.Get(t.Context(), "listing things", "/things", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Close()
		for n := 0; n < 10; n++ {
			time.Sleep(10 * time.Hour)
			if _, err := answer.Read(make([]byte, 1)); err != nil {
				t.Fatalf("byte %d: %v", n, err)
			}
		}
	})
}

func TestClockOfTheAPI(t *testing.T) {
	for ahead, want := range map[time.Duration]time.Duration{
		0: 0, time.Hour: 0, -500 * time.Millisecond: -500 * time.Millisecond, -time.Minute: -time.Minute, -24 * time.Hour: -24 * time.Hour,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				return respond(r, 200, "[]", "Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat)), nil
			}), nil)
			if got := c.Now(); !got.Equal(time.Now()) {
				t.Errorf("before the first answer it is %s from now", time.Until(got))
			}
			if _, err := get(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got := time.Until(c.Now()); got < want-time.Second || got > want {
				t.Errorf("an API that is %s ahead: its clock is %s from ours, want %s", ahead, got, want)
			}
			c.forgetClock()
			if got := c.Now(); !got.Equal(time.Now()) {
				t.Errorf("forgotten, it is %s from now", time.Until(got))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) { return respond(r, 200, "[]", "Date", "yesterday"), nil }), nil)
		if _, err := get(t.Context(), c); err != nil || !c.Now().Equal(time.Now()) {
			t.Errorf("a date that is none moves the clock by %s, %v", time.Until(c.Now()), err)
		}
	})
}

// What an API asks for holds for all who share the budget.
func TestRetryAfterPausesTheBudget(t *testing.T) {
	for name, header := range map[string][]string{
		"seconds": {"Retry-After", "30"},
		"limits":  {"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "30"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Time
			c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				if at = append(at, time.Now()); len(at) == 1 {
					return respond(r, 429, "no", header...), nil
				}
				return respond(r, 200, "[]"), nil
			}), nil)
			_, err := get(t.Context(), c)
			var refused *Error
			if !errors.As(err, &refused) || refused.Status != 429 || refused.Kind != Retry {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := get(t.Context(), c); err != nil || at[1].Sub(at[0]) != 30*time.Second {
				t.Errorf("%s: the next request came after %s, %v", name, at[1].Sub(at[0]), err)
			}
		})
	}
}

// Invariant 10, for all that a request can fail with.
func TestNoErrorShowsASecret(t *testing.T) {
	for name, f := range map[string]roundTrip{
		"network": func(r *http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"refused": func(r *http.Request) (*http.Response, error) { return respond(r, 401, "wrong key "+secret), nil },
		"moved": func(r *http.Request) (*http.Response, error) {
			return respond(r, 302, "", "Location", "https://e.com/"+secret), nil
		},
		"nowhere": func(r *http.Request) (*http.Response, error) {
			return respond(r, 302, "", "Location", "https://%zz"+secret), nil
		},
		"broken": func(r *http.Request) (*http.Response, error) {
			return respondWith(r, 200, io.NopCloser(io.MultiReader(strings.NewReader("["), brokenReader{}))), nil
		},
	} {
		c := testClient(t, f, nil)
		c.credential.Authorize = func(r *http.Request, _ string) { r.URL.RawQuery = "key=" + secret } // as auth: query does
		_, err := get(t.Context(), c)
		for e := err; e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(e.Error(), secret) {
				t.Errorf("%s: %s", name, text)
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Where no connection can be made, the error says what to look at.
func TestUnreachable(t *testing.T) {
	for says, cause := range map[string]error{
		"reached (dial tcp: refused): check base_url": &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")},
		"plain http: check base_url":                  http.ErrSchemeMismatch,
		"things: read tcp: reset":                     &net.OpError{Op: "read", Net: "tcp", Err: errors.New("reset")},
	} {
		c := testClient(t, roundTrip(func(*http.Request) (*http.Response, error) { return nil, cause }), nil)
		if _, err := get(t.Context(), c); KindOf(err) != Retry || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestStatus(t *testing.T) {
	for status := 201; status < 600; status++ {
		want := Fail
		switch {
		case status == 404:
			want = Unavailable
		case status < 400, status == 408, status == 425, status == 429, status >= 500:
			want = Retry
		}
		res := respond(nil, status, "", "Retry-After", "7")
		e := statusError("listing things", res, time.Now())
		if e.Kind != want || e.Status != status || e.After != 7*time.Second || !strings.HasPrefix(e.Error(), fmt.Sprintf("listing things: the API answered %d", status)) {
			t.Errorf("%d: %v, after %s: %v", status, e.Kind, e.After, e)
		}
	}
}

func TestKinds(t *testing.T) {
	cause := errors.New("cause")
	for kind := Retry; kind <= Fail; kind++ {
		err := fmt.Errorf("wrapped: %w", &Error{Kind: kind, Op: "listing", Err: cause})
		if KindOf(err) != kind || !errors.Is(err, cause) || kind.String() == "" || asError("x", err).Kind != kind {
			t.Errorf("%v", err)
		}
	}
	if KindOf(cause) != Retry || asError("reading", cause).Error() != "reading: cause" {
		t.Error("a foreign error is to be retried, and says what for")
	}
	if asError("reading", &TooLongError{5}).Kind != Fail {
		t.Error("only a person can raise max_record")
	}
}

func TestGetEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) { return nil, wait(r, time.Hour) }), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := get(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
