package connectors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// loginAPI gives tokens that live for a while, and refuses all others.
type loginAPI struct {
	life  time.Duration // 0: for ever, and it does not say so
	down  error         // what logins fail with
	mu    sync.Mutex
	good  map[string]time.Time // when each token ends
	count int                  // logins
	asked int
}

func (a *loginAPI) login(ctx context.Context) (Token, error) {
	if err := sleep(ctx, 100*time.Millisecond); err != nil {
		return Token{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	if a.down != nil {
		return Token{}, a.down
	}
	if a.good == nil {
		a.good = map[string]time.Time{}
	}
	text := fmt.Sprint("token-", a.count)
	a.good[text] = time.Now().Add(a.life)
	return Token{Text: text, Life: a.life}, nil
}

func (a *loginAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := wait(r, 20*time.Millisecond); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	ends, ok := a.good[r.Header.Get("Authorization")]
	if !ok || a.life > 0 && !time.Now().Before(ends) {
		return respond(r, 401, "{}"), nil
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	return respond(r, 200, r.Method+" "+r.URL.EscapedPath()+" "+string(body)), nil
}

func (a *loginAPI) client(t *testing.T) *Client {
	tokens := NewTokens(a.login)
	c := testClient(t, a, nil)
	c.credential = Credential{Secret: secret, Tokens: tokens, Authorize: func(r *http.Request, token string) { r.Header.Set("Authorization", token) }}
	return c
}

// Many requests that need a token cause one login, also when it has ended early.
func TestOneLoginForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{}
		c := a.client(t)
		all := func() {
			var done sync.WaitGroup
			for range 50 {
				done.Go(func() {
					if _, err := get(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
			}
			done.Wait()
		}
		all()
		if a.count != 1 {
			t.Errorf("%d logins", a.count)
		}
		a.good = map[string]time.Time{} // all tokens have ended
		all()
		if a.count != 2 || a.asked != 150 {
			t.Errorf("%d logins, %d requests", a.count, a.asked)
		}
	})
}

// Tokens are renewed before they end, so that no request is refused for its age.
func TestTokensAreRenewedBeforeTheyEnd(t *testing.T) {
	for life, logins := range map[time.Duration]int{5 * time.Second: 15, 10 * time.Minute: 1, 0: 1} {
		synctest.Test(t, func(t *testing.T) {
			a := &loginAPI{life: life}
			c := a.client(t)
			requests := 0
			for began := time.Now(); time.Since(began) < time.Minute; requests++ {
				if _, err := get(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if a.count < logins || a.count > logins+1 || a.asked != requests {
				t.Errorf("life %s: %d logins, want %d; %d requests for %d", life, a.count, logins, a.asked, requests)
			}
		})
	}
}

// A token that is refused although it is new fails the request; it does not log
// in for ever.
func TestANewTokenThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{life: time.Nanosecond} // the API forgets each token at once
		c := a.client(t)
		c.credential.Tokens = NewTokens(func(ctx context.Context) (Token, error) {
			token, err := a.login(ctx)
			return Token{Text: token.Text}, err
		})
		_, err := get(t.Context(), c)
		if KindOf(err) != Fail || a.count != 2 || a.asked != 2 {
			t.Errorf("%v, %d logins, %d requests", err, a.count, a.asked)
		}
	})
}

// A wrong secret makes one login a minute at most, whoever asks how often, and
// one of the errors is not marked as told.
func TestAWrongSecretMakesNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{down: &Error{Kind: Fail, Op: "logging in", Err: errors.New("wrong")}}
		c := a.client(t)
		first, told := 0, 0
		for range 600 {
			_, err := get(t.Context(), c)
			var e *Error
			if !errors.As(err, &e) || e.Kind != Fail || e.After <= 0 || !strings.Contains(err.Error(), "wrong") {
				t.Fatalf("%v", err)
			}
			if e.Told {
				told++
			} else {
				first++
			}
			time.Sleep(time.Second)
		}
		if a.count < 10 || a.count > 20 || first != a.count || told != 600-first || a.asked > 0 {
			t.Errorf("%d logins, %d first errors, %d told, %d requests", a.count, first, told, a.asked)
		}
		a.down = nil
		time.Sleep(time.Minute)
		if _, err := get(t.Context(), c); err != nil {
			t.Errorf("with the right secret: %v", err)
		}
	})
}

// A login that fails while the token is still good changes nothing.
func TestAGoodTokenOutlivesAFailedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{life: 100 * time.Second}
		c := a.client(t)
		if _, err := get(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		a.down = &Error{Kind: Retry, Op: "logging in", Err: errors.New("down")}
		time.Sleep(85 * time.Second) // it is to be renewed since 5 s
		if _, err := get(t.Context(), c); err != nil || a.count != 2 {
			t.Errorf("%v, %d logins", err, a.count)
		}
		time.Sleep(16 * time.Second)
		if _, err := get(t.Context(), c); err == nil {
			t.Error("a token that has ended was used")
		}
	})
}

// A request whose caller goes away while it logs in leaves the login to others.
func TestALoginThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{}
		c := a.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := get(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if _, err := get(t.Context(), c); err != nil || a.count != 1 {
			t.Errorf("%v, %d logins", err, a.count)
		}
	})
}

// A path is sent as it was escaped, a body as JSON.
func TestRequestsWithABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{}
		c := a.client(t)
		for _, call := range []Call{
			{Op: "asking", Method: http.MethodPost, Path: "/a%2Fb%20c", Endpoint: "/a", Body: map[string]any{"n": 1}},
			{Op: "asking", Path: "/a%2Fb%20c", Endpoint: "/a"},
		} {
			answer, err := c.Do(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(answer)
			answer.Close()
			want := "GET /base/a%2Fb%20c "
			if call.Body != nil {
				want = `POST /base/a%2Fb%20c {"n":1}`
			}
			if string(text) != want {
				t.Errorf("%s, want %s", text, want)
			}
		}
	})
}

// An endpoint that no token opens makes a login a minute, and leaves the token to
// those whom it serves.
func TestATokenThatIsRefusedByOneEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{}
		c := a.client(t)
		other := a.client(t)
		other.credential.Tokens = c.credential.Tokens
		c.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { return respond(r, 401, "{}"), nil })
		for range 600 {
			if _, err := get(t.Context(), c); KindOf(err) != Fail {
				t.Fatal(err)
			}
			if _, err := get(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if a.count < 5 || a.count > 21 {
			t.Errorf("%d logins in ten minutes", a.count)
		}
		a.good = map[string]time.Time{} // all tokens have ended
		time.Sleep(time.Minute)
		if _, err := get(t.Context(), other); err != nil {
			t.Error(err)
		}
	})
}

// What the network says of a request is not shown where it holds the token.
func TestNoErrorShowsAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{}
		c := a.client(t)
		c.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("malformed answer %q", r.Header.Get("Authorization"))
		})
		if _, err := get(t.Context(), c); err == nil || strings.Contains(err.Error(), "token-") {
			t.Errorf("%v", err)
		}
	})
}

// A request may wait for its turn longer than a token lives.
func TestATokenThatEndsBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &loginAPI{life: 5 * time.Second}
		c := a.client(t)
		c.rate = .1 // a request in ten seconds
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := get(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if a.asked != 3 {
			t.Errorf("%d requests for 3", a.asked)
		}
	})
}
