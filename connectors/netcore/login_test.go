package netcore

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/connectors"
)

// token makes a JSON Web Token.
func token(payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(payload)) + ".c2ln"
}

// What an answer to a login says of the token's end, in all the ways it may.
func TestTokens(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	withExp := token(`{"exp":1795302000}`) // 11:00 + 12 h
	for _, c := range []struct {
		body string
		life time.Duration
	}{
		{`{"authToken":"t","expiresAt":"2026-11-21T11:00:00.000Z"}`, time.Hour},
		{`{"authToken":"t","expireAt":"2026-11-21T11:00:00+01:00","more":1}`, 0},
		{`{"authToken":"t","expireAt":"2026-11-21T12:00:00+01:00"}`, time.Hour},
		{`{"authToken":"t","expireAt":1795302000}`, 13 * time.Hour},
		{`{"authToken":"t","expiresAt":"1795302000000"}`, 13 * time.Hour},
		{`{"authToken":"t","expiresAt":null,"expireAt":"2026-11-21 10:10:00"}`, 10 * time.Minute},
		{`{"authToken":"t","expireAt":"2026-11-21T10:20:00Z","expiresAt":"2026-11-21T10:10:00Z"}`, 10 * time.Minute},
		{`{"authToken":"` + withExp + `"}`, 13 * time.Hour},
		{`{"authToken":"` + withExp + `","expiresAt":"soon"}`, 13 * time.Hour},
		{`{"authToken":"` + withExp + `","expiresAt":3600}`, 13 * time.Hour},
		{`{"authToken":"` + withExp + `","expiresAt":"2026-11-21T10:01:00Z"}`, time.Minute},
		{`{"authToken":"` + token(`{"exp":"x"}`) + `"}`, 0},
		{`{"authToken":"` + token(`{"exp":1795302000`) + `"}`, 0},
		{`{"authToken":"a.!.c"}`, 0},
		{`{"authToken":"t"}`, 0},
	} {
		got, err := new(login).token([]byte(c.body), now)
		if err != nil || got.Text == "" || got.Life != c.life {
			t.Errorf("%s: %+v, %v; want %s", c.body, got, err, c.life)
		}
	}
	for _, body := range []string{"", "<html>", "[]", "null", `{}`, `{"authToken":null}`, `{"authToken":""}`, `{"authToken":5}`, `{"authToken":"a\nb"}`, `{"authToken":"t"`, `{"authToken":"t"}}`} {
		if got, err := new(login).token([]byte(body), now); connectors.KindOf(err) != connectors.Retry || err == nil {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

// A token's end is told by the API's clock, which may be hours from ours.
func TestTheAPIsClockTellsWhenATokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := func() time.Time { return time.Now().Add(-5 * time.Hour).UTC() }
		a := &fakeAPI{answer: says(200, `{"totalUsers":1}`), header: http.Header{}}
		a.login = func() (int, string) {
			a.header.Set("Date", there().Format(http.TimeFormat))
			return 200, `{"authToken":"t","expiresAt":"` + there().Add(time.Hour).Format(time.RFC3339) + `"}`
		}
		s := streamOf(t, a, usage, nil)
		for _, c := range []struct {
			after  time.Duration
			logins int
		}{{0, 1}, {58 * time.Minute, 1}, {2 * time.Minute, 2}} {
			time.Sleep(c.after)
			if _, _, _, err := ask(t, s, connectors.Request{From: time.Now(), To: time.Now()}); err != nil || a.logins != c.logins {
				t.Errorf("after %s more: %d logins, want %d, %v", c.after, a.logins, c.logins, err)
			}
		}
	})
}

// All streams log in once between them, and again when a token is refused.
func TestStreamsShareALogin(t *testing.T) {
	a := &fakeAPI{}
	good := "t1"
	a.login = func() (int, string) { return 200, `{"authToken":"` + good + `"}` }
	a.answer = func(r *http.Request, _ string) (int, string) {
		if r.Header.Get("Authorization") != good {
			return 401, ""
		}
		return 200, `{"totalUsers":1,"users":[],"transcripts":[]}`
	}
	c, err := connect(a, map[string]any{"transcripts": byChannel}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for logins, next := range []string{"t2", "t3"} {
		var all sync.WaitGroup
		for _, s := range c.Streams {
			all.Go(func() {
				if _, err := s.Pager.Page(t.Context(), connectors.Request{From: now.Add(-time.Hour), To: now}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if a.logins != logins+1 {
			t.Errorf("%d logins, want %d", a.logins, logins+1)
		}
		good = next
	}
}

// A wrong id or secret is one error that a person has to mend, and no storm of
// logins; other failures are tried again.
func TestAWrongSecret(t *testing.T) {
	for status, kind := range map[int]connectors.Kind{400: connectors.Fail, 401: connectors.Fail, 403: connectors.Fail, 409: connectors.Fail, 404: connectors.Unavailable, 500: connectors.Retry, 429: connectors.Retry} {
		a := &fakeAPI{login: func() (int, string) { return status, "" }}
		c, err := connect(a, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for range 20 {
			err := c.Probe(t.Context())
			var e *connectors.Error
			if !errors.As(err, &e) || e.Kind != kind || e.Status != status || strings.Contains(err.Error(), "app_secret") != (kind == connectors.Fail) {
				t.Fatalf("%d: %v", status, err)
			}
			if e.Told {
				told++
			}
		}
		if a.logins != 1 || told != 19 {
			t.Errorf("%d: %d logins, %d of 20 errors are told", status, a.logins, told)
		}
	}
}
