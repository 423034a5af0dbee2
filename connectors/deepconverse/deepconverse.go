// Package deepconverse reads the DeepConverse Export API (now Workato AgentX
// Support): conversations and messages, in windows of time, page by page along
// an opaque cursor, three requests a second for each endpoint.
package deepconverse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	vendor         = "deepconverse"
	defaultBaseURL = "https://api.converseapps.com"
	defaultRate    = 3    // requests a second for each endpoint, by the vendor's overview
	perPage        = 1000 // the most that the vendor allows
)

var streams = []string{"conversations", "messages"}

// Type is the connector's entry in the table of connectors.
var Type = connectors.Type{
	Name:     vendor,
	Doc:      "Conversations and messages of one bot, from the DeepConverse Export API (Workato AgentX Support).",
	Streams:  streams,
	Settings: func() any { return new(Settings) },
	New:      newConnector,
}

// Settings are the connector's keys.
type Settings struct {
	APIKey              string `mapstructure:"api_key" doc:"The key that the vendor gave, sent in the header x-api-key." required:"true" secret:"true"`
	BotName             string `mapstructure:"bot_name" doc:"The bot's name or id, e.g. r3-218210." required:"true"`
	connectors.Settings `mapstructure:",squash"`
}

// endpoint is what tells one stream from the other.
type endpoint struct {
	path      string
	versioned bool
	defaults  func(*connectors.Options)
	record    func(raw []byte, f *connectors.Fields, bot string) events.Record
}

var endpoints = map[string]endpoint{
	"conversations": {
		path:      "/conversations/export/v1/conversations",
		versioned: true,
		// Whether a window filters the start or the last activity is not
		// documented, so those that started lately are read again and again.
		defaults: func(o *connectors.Options) { o.SweepEvery, o.SweepBack = 15*time.Minute, 0 }, // back: quiet
		record:   conversation,
	},
	"messages": {
		path: "/conversations/export/v1/messages",
		// The export reads an archive, which can lag.
		defaults: func(o *connectors.Options) { o.SweepEvery, o.SweepBack = time.Hour, 24*time.Hour },
		record:   message,
	},
}

func newConnector(section connectors.Section, env connectors.Env) (*connectors.Connector, error) {
	var s Settings
	if err := config.Decode(section.Raw, &s); err != nil {
		return nil, err
	}
	for _, required := range []struct{ key, value string }{{"api_key", s.APIKey}, {"bot_name", s.BotName}} {
		if required.value == "" {
			return nil, errors.New(required.key + " is required")
		}
	}
	c := &connectors.Connector{Name: section.Name, Vendor: vendor, Account: s.BotName}
	if s.Account != "" {
		c.Account = s.Account
	}
	credential := connectors.Credential{
		Secret:    s.APIKey,
		Authorize: func(r *http.Request, _ string) { r.Header.Set("x-api-key", s.APIKey) },
	}
	for _, name := range streams {
		e := endpoints[name]
		options, chosen, err := section.StreamOptions(name, s.StreamOptions, new(connectors.StreamOptions), func(o *connectors.Options) {
			o.BaseURL, o.Rate = defaultBaseURL, defaultRate
			e.defaults(o)
		})
		if err != nil {
			return nil, err
		}
		if !chosen {
			continue
		}
		if e.versioned && options.SweepBack == 0 {
			options.SweepBack = options.Quiet
		}
		client, err := connectors.NewClient(options, credential, env)
		if err != nil {
			return nil, err
		}
		p := &pager{client: client, endpoint: e, name: name, bot: s.BotName, maxRecord: options.MaxRecord}
		c.Add(name, e.path, &connectors.Stream{Options: options, Versioned: e.versioned, Pager: p, Map: p.mapRecord}, client, env)
		if c.Probe == nil {
			c.Probe = p.probe
		}
	}
	return c, nil
}

// pager asks one endpoint for pages.
type pager struct {
	endpoint
	client    *connectors.Client
	name      string
	bot       string
	maxRecord int
}

func (p *pager) query(r connectors.Request, limit int) (url.Values, error) {
	q := url.Values{
		"bot_name":   {p.bot},
		"start_time": {strconv.FormatInt(r.From.Unix(), 10)},
		"end_time":   {strconv.FormatInt(r.To.Unix(), 10)},
		"per_page":   {strconv.Itoa(limit)},
	}
	if r.Cursor != nil {
		var cursor string
		if err := json.Unmarshal(r.Cursor, &cursor); err != nil {
			return nil, &connectors.Error{Kind: connectors.Restart, Op: "reading the stored cursor", Err: errors.New("it is not a string")}
		}
		q.Set("cursor", cursor)
	}
	return q, nil
}

// Page asks for one page; see [connectors.Pager].
func (p *pager) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	return p.ask(ctx, r, perPage)
}

func (p *pager) ask(ctx context.Context, r connectors.Request, limit int) (*connectors.Page, error) {
	query, err := p.query(r, limit)
	if err != nil {
		return nil, err
	}
	answer, err := p.client.Get(ctx, "listing "+p.name, p.path, query)
	if err != nil {
		return nil, expired(err, r)
	}
	return connectors.NewPage(answer, r.Key, p.maxRecord, []string{"data"}, p.mapRecord, nextCursor), nil
}

func (p *pager) mapRecord(raw []byte, f *connectors.Fields) events.Record {
	return p.record(raw, f, p.bot)
}

// expired tells a cursor that has ended from other refusals: the API answers
// 400 or 410 to a request that carries one.
func expired(err error, r connectors.Request) error {
	var e *connectors.Error
	if r.Cursor != nil && errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusGone) {
		return &connectors.Error{Kind: connectors.Restart, Op: e.Op, Status: e.Status, Err: fmt.Errorf("the cursor is not accepted any more: %w", e.Err)}
	}
	return err
}

// nextCursor reads the cursor beside the list; null, "" and none are the end.
func nextCursor(a *connectors.Array) (json.RawMessage, error) {
	cursor, err := a.Member("cursor")
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.Fail, Op: "reading the cursor", Err: err}
	}
	switch string(cursor) {
	case "", "null", `""`:
		return nil, nil
	}
	text := connectors.Text(cursor)
	if text == "" {
		return nil, &connectors.Error{Kind: connectors.Retry, Op: "reading the cursor", Err: errors.New("it is neither a string nor null")}
	}
	return json.Marshal(text)
}

// probe proves the key, and that it is the API that answers, with one record of a
// window of one second.
func (p *pager) probe(ctx context.Context) error {
	now := p.client.Now().Truncate(time.Second)
	page, err := p.ask(ctx, connectors.Request{From: now.Add(-time.Second), To: now}, 1)
	if err != nil {
		return err
	}
	defer page.Close()
	for _, err := range page.Records {
		if err != nil {
			return &connectors.Error{Kind: connectors.KindOf(err), Op: "reading " + p.name, Err: err}
		}
	}
	return nil
}
