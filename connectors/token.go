package connectors

import (
	"context"
	"errors"
	"time"
)

// Token is what a login gave.
type Token struct {
	Text string
	// Life is how long it is good for, from now on; 0: the API did not say, and
	// it is used until it is refused.
	Life time.Duration
}

// Tokens logs in, once for all requests that need a token, and again before the
// token ends or when the API does not accept it any more. It may be used
// concurrently, by all streams that share a credential.
type Tokens struct {
	login func(context.Context) (Token, error)
	turn  chan struct{} // held by the one that logs in, or looks

	text        string    // the token; "": there is none
	renew, ends time.Time // when it is to be renewed, when it ends; zero: never
	failed      *Error    // the latest login failed with it; nil: it did not
	failures    int       // in a row
	again       time.Time // when the next login may be tried
	useless     time.Time // until then no login helps whose token is refused
}

// NewTokens returns tokens that come from a login. It makes no request; login
// does, its errors are *Error, and it is not called concurrently.
func NewTokens(login func(context.Context) (Token, error)) *Tokens {
	return &Tokens{login: login, turn: make(chan struct{}, 1)}
}

// Get returns a token, logging in where there is none that is good for a while.
// Where logging in has failed, nobody tries again for some time: the error is
// returned at once, and marked as told for all but the first.
func (t *Tokens) Get(ctx context.Context) (string, error) {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-t.turn }()
	now := time.Now()
	if t.text != "" && (t.renew.IsZero() || now.Before(t.renew)) {
		return t.text, nil
	}
	good := t.text != "" && now.Before(t.ends) // it can be used until it ends
	if t.failed != nil && now.Before(t.again) {
		if good {
			return t.text, nil
		}
		told := *t.failed
		told.Told, told.After = true, t.again.Sub(now)
		return "", &told
	}
	token, err := t.login(ctx)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err == nil && token.Text == "" {
		err = errors.New("the answer has no token")
	}
	if err != nil {
		t.fail(asError("logging in", err))
		if good {
			return t.text, nil
		}
		first := *t.failed
		first.After = max(first.After, time.Until(t.again))
		return "", &first
	}
	t.keep(token, now)
	return t.text, nil
}

// maxRenewal is how long before its end a token is renewed, at most: a fifth of
// its life where that is less.
const maxRenewal = time.Minute

func (t *Tokens) keep(token Token, asked time.Time) {
	t.text, t.renew, t.ends = token.Text, time.Time{}, time.Time{}
	if token.Life > 0 {
		t.ends = asked.Add(token.Life)
		t.renew = t.ends.Add(-min(maxRenewal, token.Life/5))
	}
	t.failed, t.failures = nil, 0
}

func (t *Tokens) fail(err *Error) {
	t.failures++
	wait := backoff(t.failures)
	if err.Kind == Fail { // only a person can mend it
		wait = backoffCap/2 + backoff(1<<10)/2
	}
	t.failed, t.again = err, time.Now().Add(max(wait, err.After))
}

// Refused says that the API did not accept a token: the next one logs in, unless
// somebody has done that since. Where the token of a login that was made for the
// request is refused too (again), it is not the token: others may use it, and for
// some time nobody logs in for being refused. It returns whether to ask once more.
func (t *Tokens) Refused(text string, again bool) bool {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	now := time.Now()
	switch {
	case again:
		t.useless = now.Add(backoffCap/2 + backoff(1<<10)/2)
		return false
	case t.text != text:
		return true
	case now.Before(t.useless):
		return false
	}
	t.text = ""
	return true
}
