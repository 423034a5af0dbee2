package connectors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxRedirects = 5
	maxBody      = 16 << 30         // bytes of one answer, unpacked
	maxAnswer    = 30 * time.Minute // waiting for one answer's bytes, all in all
	maxErrorBody = 4 << 10          // read of a refusal, so that its connection can be used again
)

// Client makes a stream's requests: bounded in time and size, never to
// another host, paced by rate budgets. Its methods may be called concurrently.
type Client struct {
	base       *url.URL
	http       *http.Client
	credential Credential
	budgets    *Budgets
	rate       float64
	idle       time.Duration
	now        func() time.Time
	// behind is how far the API's clock is behind ours, in nanoseconds; 0 until
	// an answer told, and where the API's clock is ahead.
	behind atomic.Int64
}

// Credential is what a connector proves itself with.
type Credential struct {
	Secret string // what rate budgets hang on; never shown
	// Authorize adds it, or the token that came for it, to a request.
	Authorize func(r *http.Request, token string)
	Tokens    *Tokens // where the API wants a login; nil: it does not
}

// NewClient returns a client for one stream.
func NewClient(o Options, credential Credential, env Env) (*Client, error) {
	base, err := url.Parse(o.BaseURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" {
		return nil, errors.New("base_url wants a scheme (https), a host and at most a path, such as https://api.example.com/v2")
	}
	c := &Client{
		base: base, credential: credential,
		budgets: env.Budgets, rate: float64(o.Rate), idle: o.Timeout, now: env.Now,
		http: &http.Client{Transport: env.Transport},
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.http.CheckRedirect = func(next *http.Request, made []*http.Request) error {
		if next.URL.Host != made[0].URL.Host || next.URL.Scheme != made[0].URL.Scheme {
			return redirectError(fmt.Sprintf("the API redirects to another place (%s://%s), which is refused; check base_url", next.URL.Scheme, next.URL.Host))
		}
		if len(made) > maxRedirects {
			return redirectError(fmt.Sprintf("the API redirects more than %d times; check base_url", maxRedirects))
		}
		return nil
	}
	return c, nil
}

type redirectError string

func (e redirectError) Error() string { return string(e) }

// NewTransport returns what connectors make their requests with.
func NewTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	t.MaxResponseHeaderBytes = 256 << 10
	return t
}

// Budget returns the rate budget of an endpoint of this client.
func (c *Client) Budget(path string) *Budget {
	return c.budgets.Get(c.credential.Secret, c.base.String()+path, c.rate)
}

// Now returns the earlier of our clock and the API's, as far as the API has told:
// a second or so less than that, as its clock is told in whole seconds.
func (c *Client) Now() time.Time {
	return c.now().Add(-time.Duration(c.behind.Load()))
}

// Answer is a good answer: its body is the caller's to read and close.
type Answer struct {
	io.Reader
	Header http.Header
	Began  time.Time     // when the request was sent
	Took   time.Duration // until its first byte had come
	close  func()
}

// Close ends the answer, and breaks the connection where it was not read to its
// end. It may be called more than once.
func (a *Answer) Close() {
	if a.close != nil {
		a.close()
	}
}

// Call is one request to an API.
type Call struct {
	Op       string // what it is for, in the gerund
	Method   string // "": GET
	Path     string // behind base_url
	Endpoint string // what its rate budget is called, where not Path
	Query    url.Values
	Body     any // sent as JSON; nil: none
}

// Get asks for base_url + path?query; see [Client.Do].
func (c *Client) Get(ctx context.Context, op, path string, query url.Values) (*Answer, error) {
	return c.Do(ctx, Call{Op: op, Path: path, Query: query})
}

// Do makes a request. It waits for the endpoint's rate budget, and for a login
// where one is needed; a token that is refused is replaced once. A status other
// than 200 is an *Error.
func (c *Client) Do(ctx context.Context, call Call) (*Answer, error) {
	for first := true; ; first = false {
		token, err := c.turn(ctx, call)
		if err != nil {
			return nil, asError(call.Op, err)
		}
		a, err := c.try(ctx, call, token)
		var refused *Error
		if token == "" || !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
			return a, err
		}
		if !c.credential.Tokens.Refused(token, !first) {
			return a, err
		}
	}
}

// budgetOf returns the rate budget of a call.
func (c *Client) budgetOf(call Call) *Budget { return c.Budget(cmp.Or(call.Endpoint, call.Path)) }

// turn waits until a call may be made, and returns the token to make it with. A
// login comes first, so that no turn is spent on it; the token may end before the
// turn has come, and is asked for again then.
func (c *Client) turn(ctx context.Context, call Call) (string, error) {
	if _, err := c.token(ctx); err != nil {
		return "", err
	}
	waited := time.Now()
	if err := c.budgetOf(call).Wait(ctx); err != nil {
		return "", err
	}
	if m, ok := ctx.Value(metricsKey{}).(*streamMetrics); ok {
		m.budgetWait.Add(time.Since(waited).Seconds())
	}
	return c.token(ctx)
}

// token returns the token that requests need now; "" where they need none.
func (c *Client) token(ctx context.Context) (string, error) {
	if c.credential.Tokens == nil {
		return "", nil
	}
	return c.credential.Tokens.Get(ctx)
}

// try makes a request once, when its turn has come.
func (c *Client) try(ctx context.Context, call Call, token string) (*Answer, error) {
	budget := c.budgetOf(call)
	watch := newWatchdog(ctx, c.idle)
	req, err := c.request(watch.ctx, call, token)
	if err != nil {
		watch.stop()
		return nil, err
	}
	began := c.now()
	watch.start()
	res, err := c.http.Do(req)
	watch.pause()
	if err != nil {
		watch.stop()
		return nil, c.requestError(call.Op, token, watch.cause(err))
	}
	c.learnClock(res.Header)
	budget.Pause(rateLimited(res.Header, c.now()))
	body := io.LimitReader(&watchedBody{res.Body, watch}, maxBody)
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, body, maxErrorBody)
		_ = res.Body.Close()
		watch.stop()
		refused := statusError(call.Op, res, c.now())
		budget.Pause(refused.After)
		return nil, refused
	}
	return &Answer{Reader: body, Header: res.Header, Began: began, Took: watch.waited, close: func() { _ = res.Body.Close(); watch.stop() }}, nil
}

func (c *Client) request(ctx context.Context, call Call, token string) (*http.Request, error) {
	target := *c.base
	// A path may hold an id with anything in it, escaped by who made the call.
	path := strings.TrimSuffix(target.EscapedPath(), "/") + call.Path
	var body io.Reader
	if call.Body != nil {
		text, err := json.Marshal(call.Body)
		if err != nil {
			return nil, &Error{Kind: Fail, Op: call.Op, Err: errors.New("what is to be asked for cannot be written as JSON")}
		}
		body = bytes.NewReader(text)
	}
	plain, err := url.PathUnescape(path)
	if err == nil {
		target.Path, target.RawPath, target.RawQuery = plain, path, call.Query.Encode()
	}
	req, err2 := http.NewRequestWithContext(ctx, cmp.Or(call.Method, http.MethodGet), target.String(), body)
	if err != nil || err2 != nil {
		return nil, &Error{Kind: Fail, Op: call.Op, Err: errors.New("base_url does not make a valid address")}
	}
	c.credential.Authorize(req, token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "millrace")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// forgetClock lets our clock count until the next answer tells of the API's.
func (c *Client) forgetClock() { c.behind.Store(0) }

// learnClock compares the API's Date header with our clock.
func (c *Client) learnClock(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	// The header has whole seconds and was on its way: the API's clock may be
	// ahead of it, and is not behind it.
	c.behind.Store(int64(max(0, c.now().Sub(date))))
}

// requestError classifies what made a request fail before there was an answer.
// It keeps addresses with a credential out: one in a query, or one that a
// redirect's Location repeats.
func (c *Client) requestError(op, token string, err error) *Error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	// What net/http says of a Location that it cannot read quotes it, with all that
	// the API repeats there of our address.
	switch text := err.Error(); {
	case strings.Contains(text, "Location header"):
		err = redirectError("the API redirects to an address that cannot be read; check base_url")
	case holds(text, c.credential.Secret), holds(text, token):
		err = errors.New("it failed with an error that holds the credential, and is not shown")
	}
	return &Error{Kind: Retry, Op: op, Err: unreachable(err)}
}

// unreachable says what to look at where no connection to the API can be made.
func unreachable(err error) error {
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("the API cannot be reached (%w): check base_url and the network", err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("base_url says https, and what answers there speaks plain http: check base_url")
	}
	return err
}

type metricsKey struct{}

// watchdog ends a request whose bytes are waited for too long: one of them, or
// all together. While nobody waits it sleeps: a slow reader is not a slow API.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	since  time.Time
	waited time.Duration
}

func newWatchdog(ctx context.Context, idle time.Duration) *watchdog {
	w := &watchdog{idle: idle}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w
}

// start is called before, pause after each wait, by one goroutine.
func (w *watchdog) start() {
	w.since = time.Now()
	wait := min(w.idle, maxAnswer-w.waited)
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.bite)
		return
	}
	w.timer.Reset(wait)
}

func (w *watchdog) pause() {
	w.timer.Stop()
	w.waited += time.Since(w.since)
}

func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(nil)
}

func (w *watchdog) bite() {
	w.cancel(fmt.Errorf("the API sent nothing for %s (timeout), or took longer than %s for one answer", w.idle, maxAnswer))
}

// cause names the reason where the watchdog, not the network, ended the request.
func (w *watchdog) cause(err error) error {
	if cause := context.Cause(w.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// watchedBody is a body whose reads are watched.
type watchedBody struct {
	io.Reader
	watch *watchdog
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.start()
	n, err := b.Reader.Read(p)
	b.watch.pause()
	if err != nil && err != io.EOF {
		err = b.watch.cause(err)
	}
	return n, err
}
