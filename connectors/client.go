package connectors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxRedirects = 5
	maxBody      = 16 << 30         // bytes of one answer, unpacked
	maxAnswer    = 30 * time.Minute // from the request to the answer's last byte
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
	dated  atomic.Bool
}

// Credential is what a connector proves itself with.
type Credential struct {
	Secret    string              // what rate budgets hang on; never shown
	Authorize func(*http.Request) // adds it to a request
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
			return fmt.Errorf("the API redirects to another host (%s), which is refused; check base_url", next.URL.Host)
		}
		if len(made) > maxRedirects {
			return fmt.Errorf("the API redirects more than %d times", maxRedirects)
		}
		return nil
	}
	return c, nil
}

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

// Now returns the earlier of our clock and the API's, as far as the API has told.
func (c *Client) Now() time.Time {
	return c.now().Add(-time.Duration(c.behind.Load()))
}

// Answer is a good answer: its body is the caller's to read and close.
type Answer struct {
	io.Reader
	Header http.Header
	Began  time.Time // when the request was sent
	close  func()
}

// Close ends the answer, and breaks the connection where it was not read to its
// end. It may be called more than once.
func (a *Answer) Close() { a.close() }

// Get asks for base_url + path?query. Op says what for, in the gerund. It waits
// for the endpoint's rate budget. A status other than 200 is an *Error.
func (c *Client) Get(ctx context.Context, op, path string, query url.Values) (*Answer, error) {
	waited := time.Now()
	budget := c.Budget(path)
	if err := budget.Wait(ctx); err != nil {
		return nil, asError(op, err)
	}
	if m, ok := ctx.Value(metricsKey{}).(*streamMetrics); ok {
		m.budgetWait.Add(time.Since(waited).Seconds())
	}
	target := *c.base
	target.Path = strings.TrimSuffix(target.Path, "/") + path
	target.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeoutCause(ctx, maxAnswer, errors.New("the answer took longer than "+maxAnswer.String()))
	watch := newWatchdog(ctx, c.idle)
	end := func() { watch.stop(); cancel() }
	req, err := http.NewRequestWithContext(watch.ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		end()
		return nil, &Error{Kind: Fail, Op: op, Err: errors.New("base_url does not make a valid address")}
	}
	c.credential.Authorize(req)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "millrace")
	began := c.now()
	watch.start()
	res, err := c.http.Do(req)
	watch.pause()
	if err != nil {
		end()
		return nil, requestError(op, watch.cause(err))
	}
	c.learnClock(res.Header)
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, maxErrorBody)
		_ = res.Body.Close()
		end()
		refused := statusError(op, res, c.now())
		if refused.After > 0 {
			budget.Pause(refused.After)
		}
		return nil, refused
	}
	body := io.LimitReader(&watchedBody{res.Body, watch}, maxBody)
	return &Answer{Reader: body, Header: res.Header, Began: began, close: func() { _ = res.Body.Close(); end() }}, nil
}

// learnClock compares the API's Date header with our clock.
func (c *Client) learnClock(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	// The header has whole seconds: it may be a second older than it looks.
	behind := c.now().Sub(date.Add(time.Second))
	c.behind.Store(int64(max(0, behind)))
	c.dated.Store(true)
}

// requestError classifies what made a request fail before there was an answer.
// It keeps the address out: a query may hold a credential.
func requestError(op string, err error) *Error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	kind := Retry
	if strings.Contains(err.Error(), "redirects") {
		kind = Fail
	}
	return &Error{Kind: kind, Op: op, Err: err}
}

type metricsKey struct{}

// watchdog ends a request that has been waited for too long without a byte.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
}

func newWatchdog(ctx context.Context, idle time.Duration) *watchdog {
	w := &watchdog{idle: idle}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(time.Hour, func() {
		w.cancel(fmt.Errorf("the API sent nothing for %s (timeout)", idle))
	})
	w.timer.Stop()
	return w
}

func (w *watchdog) start() { w.timer.Reset(w.idle) }
func (w *watchdog) pause() { w.timer.Stop() }
func (w *watchdog) stop()  { w.timer.Stop(); w.cancel(nil) }

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
