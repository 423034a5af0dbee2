package connectors

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is planted as the credential; no error may show it.
const secret = "s3cr3t-k3y"

// roundTrip is a transport that is a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// respond makes an answer; header is pairs of names and values.
func respond(r *http.Request, status int, body string, header ...string) *http.Response {
	return respondWith(r, status, io.NopCloser(strings.NewReader(body)), header...)
}

func respondWith(r *http.Request, status int, body io.ReadCloser, header ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, Body: body, Request: r, ProtoMajor: 1, ProtoMinor: 1}
	for i := 0; i+1 < len(header); i += 2 {
		res.Header.Set(header[i], header[i+1])
	}
	return res
}

// wait waits as long as a request may be waited for.
func wait(r *http.Request, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func testClient(t testing.TB, transport http.RoundTripper, change func(*Options)) *Client {
	t.Helper()
	o := Defaults()
	o.BaseURL = "https://api.example.com/base/"
	if change != nil {
		change(&o)
	}
	c, err := NewClient(o, Credential{Secret: secret, Authorize: func(r *http.Request, _ string) { r.Header.Set("x-api-key", secret) }},
		Env{Budgets: NewBudgets(), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(ctx context.Context, c *Client) (string, error) {
	answer, err := c.Get(ctx, "listing things", "/things", nil)
	if err != nil {
		return "", err
	}
	defer answer.Close()
	body, err := io.ReadAll(answer)
	return string(body), err
}
