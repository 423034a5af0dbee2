package connectors

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Kind says what the caller of a connector can do about an error.
type Kind int

// The kinds of errors.
const (
	// Retry: the same request may succeed later.
	Retry Kind = iota
	// Restart: the cursor is not good any more; the window begins again.
	Restart
	// Login: the token is not accepted any more; log in and try again.
	Login
	// Unavailable: the account does not have this endpoint; ask again rarely.
	Unavailable
	// Fail: a person has to do something (a wrong key, a wrong address).
	Fail
	// TooMuch: one answer does not hold what was asked for, and the pages of more
	// than one cannot be trusted; half the time is asked for.
	TooMuch
)

func (k Kind) String() string {
	return [...]string{"retry", "restart", "login", "unavailable", "fail", "too much"}[k]
}

// Error is the one error that leaves a connector.
type Error struct {
	Kind   Kind
	Op     string        // what was being done, in the gerund: "listing messages"
	Status int           // the HTTP status, 0 when there was no answer
	After  time.Duration // do not try again sooner; 0: no wish
	Told   bool          // another stream has met the same failure, and reported it
	Err    error         // what went wrong and what to do; holds no secret
}

func (e *Error) Error() string {
	return e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error, Retry for one of another type.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Retry
}

// asError gives every error a kind and an operation.
func asError(op string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	kind := Retry
	if tooLong := (*TooLongError)(nil); errors.As(err, &tooLong) {
		kind = Fail
	}
	return &Error{Kind: kind, Op: op, Err: err}
}

// statusError says what an answer's status means for the caller.
func statusError(op string, res *http.Response, now time.Time) *Error {
	e := &Error{Op: op, Status: res.StatusCode, After: retryAfter(res.Header, now)}
	what := fmt.Sprintf("the API answered %d", res.StatusCode)
	if text := http.StatusText(res.StatusCode); text != "" {
		what += " (" + text + ")"
	}
	switch s := res.StatusCode; {
	case s == http.StatusUnauthorized:
		e.Kind, e.Err = Fail, errors.New(what+": the credential is not accepted; check it in the configuration")
	case s == http.StatusForbidden:
		e.Kind, e.Err = Fail, errors.New(what+": the credential may not use this export; check the account's plan and the credential's rights")
	case s == http.StatusNotFound:
		e.Kind, e.Err = Unavailable, errors.New(what+": this account does not have the endpoint, or base_url or the account's name is wrong")
	case s == http.StatusTooManyRequests:
		e.Kind, e.Err = Retry, errors.New(what+": too many requests; something else may be using the same credential, or rate is set too high")
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s >= 500, s < 400:
		e.Kind, e.Err = Retry, errors.New(what)
	default:
		e.Kind, e.Err = Fail, errors.New(what+": the API refuses the request; check the connector's settings")
	}
	return e
}

// outcome is how a failed request is counted: by its status, where the answer
// had a bad one, else by its kind.
func outcome(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Status != 0 && e.Status != http.StatusOK {
		return strconv.Itoa(e.Status)
	}
	if KindOf(err) == TooMuch { // it was answered well
		return "ok"
	}
	return KindOf(err).String()
}
