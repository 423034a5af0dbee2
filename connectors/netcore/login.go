package netcore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	loginPath = "/login"
	loggingIn = "logging in"
	maxLogin  = 1 << 20 // bytes of the answer to a login
)

// login gets tokens.
type login struct {
	client         *connectors.Client
	id, secret     string
	now            func() time.Time
	scan, payloads events.Scanner
}

// tokens returns what all streams share, so that they log in once.
func (s *Settings) tokens(env connectors.Env) (*connectors.Tokens, error) {
	options := connectors.Defaults()
	options.BaseURL, options.Rate = defaultBaseURL, defaultRate
	options, err := options.Apply(s.StreamOptions)
	if err != nil {
		return nil, err
	}
	// The credential is in the body.
	credential := connectors.Credential{Secret: s.AppSecret, Authorize: func(*http.Request, string) {}}
	client, err := connectors.NewClient(options, credential, env)
	if err != nil {
		return nil, err
	}
	l := &login{client: client, id: s.AppID, secret: s.AppSecret, now: env.Now}
	if l.now == nil {
		l.now = time.Now
	}
	return connectors.NewTokens(l.ask), nil
}

// ask logs in. It is not called concurrently.
func (l *login) ask(ctx context.Context) (connectors.Token, error) {
	answer, err := l.client.Do(ctx, connectors.Call{
		Op: loggingIn, Method: http.MethodPost, Path: loginPath,
		Body: map[string]string{"appId": l.id, "appSecret": l.secret},
	})
	if err != nil {
		return connectors.Token{}, notAccepted(err)
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxLogin))
	if err != nil {
		return connectors.Token{}, &connectors.Error{Kind: connectors.Retry, Op: loggingIn, Err: err}
	}
	// The answer says when the token ends by the API's clock.
	now, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		now = l.now()
	}
	return l.token(body, now)
}

// notAccepted tells a wrong id or secret, which is documented as 400 or 409, from
// other failures.
func notAccepted(err error) error {
	var e *connectors.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		return &connectors.Error{
			Kind: connectors.Fail, Op: loggingIn, Status: e.Status, After: e.After,
			Err: fmt.Errorf("app_id or app_secret is not accepted (the API answered %d): check both in the configuration", e.Status),
		}
	}
	return err
}

// token reads the answer to a login. The field of the expiry is documented as
// expireAt and was seen as expiresAt; without either, or where they tell no time
// to come, the token itself may say.
func (l *login) token(body []byte, now time.Time) (connectors.Token, error) {
	var t connectors.Token
	var ends [3]time.Time // the best first
	dead := l.scan.Object(body, func(name, value []byte) {
		switch string(name) {
		case "authToken":
			t.Text = connectors.Text(connectors.String(value))
		case "expiresAt":
			ends[0] = connectors.Time(value)
		case "expireAt":
			ends[1] = connectors.Time(value)
		}
	})
	if dead != nil || t.Text == "" || strings.ContainsFunc(t.Text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return connectors.Token{}, &connectors.Error{Kind: connectors.Retry, Op: loggingIn, Err: errors.New("the answer is no object with an authToken; check base_url")}
	}
	ends[2] = l.expiry(t.Text)
	for _, end := range ends {
		if end.After(now) {
			t.Life = end.Sub(now)
			break
		}
	}
	return t, nil
}

// expiry reads the end that a JSON Web Token bears; the zero time for none.
func (l *login) expiry(token string) (end time.Time) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return end
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return end
	}
	dead := l.payloads.Object(payload, func(name, value []byte) {
		if string(name) == "exp" {
			end = connectors.Time(value)
		}
	})
	if dead != nil {
		return time.Time{}
	}
	return end
}
