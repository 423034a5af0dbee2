// Package feedyou reads the Feedyou (feedbot) Export API: users and seven logs of
// one bot. An endpoint takes a window of time in whole seconds and answers with
// all that is in it, one array without pages. Most records have no id, and what
// integrationLog holds of credentials is masked before it leaves the package.
package feedyou

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	vendor = "feedyou"
	// The vendor documents no limit, but warns that large reads slow the bot
	// down. Two requests a second for each endpoint is our choice.
	defaultRate = 2
	userData    = "userData"
	snapshots   = "userDataSnapshot"
)

var streams = []string{userData, snapshots, "nlpLog", "outgoingEmail", "outgoingSms", "fuzzyQuestionAnswerLog", "integrationLog", "urlTracker"}

// Type is the connector's entry in the table of connectors.
var Type = connectors.Type{
	Name: vendor,
	Doc: "Users and logs (e-mails, text messages, integration calls, answers, clicks, ...) of one bot, from the Feedyou Export API. " +
		"The vendor documents no limit; the default of 2 requests a second for each endpoint is ours. " +
		"Bot hosting older than v1.7.474 has `userData` alone: the other streams are `unavailable` then, and asked for now and then.",
	Streams:        streams,
	Settings:       func() any { return new(Settings) },
	StreamSettings: keysOf,
	New:            newConnector,
}

// mapping makes a record of an element's text.
type mapping func(raw []byte, f *connectors.Fields, bot string) events.Record

var mappings = map[string]mapping{
	userData:                 user,
	snapshots:                userSnapshot,
	"nlpLog":                 unhandledInput,
	"outgoingEmail":          email,
	"outgoingSms":            sms,
	"fuzzyQuestionAnswerLog": answer,
	"integrationLog":         integrationCall,
	"urlTracker":             click,
}

func pathOf(stream string) string { return "/api/management/export/" + stream }

func newConnector(section connectors.Section, env connectors.Env) (*connectors.Connector, error) {
	s, err := decode(section.Raw)
	if err != nil {
		return nil, err
	}
	c := &connectors.Connector{Name: section.Name, Vendor: vendor, Account: s.account()}
	bot := s.BotID
	if bot == "" {
		bot = c.Account
	}
	for _, name := range streams {
		keys := keysOf(name)
		options, chosen, err := section.StreamOptions(name, s.StreamOptions, keys, func(o *connectors.Options) {
			o.BaseURL, o.Rate = s.defaultBaseURL(), defaultRate
			if name == snapshots {
				// A snapshot bears the time of the user's last message, which can be
				// weeks before it is made.
				o.SweepEvery, o.SweepBack = 24*time.Hour, 30*24*time.Hour
			}
		})
		if err != nil {
			return nil, err
		}
		if !chosen {
			continue
		}
		filters, err := filtersOf(name, keys)
		if err != nil {
			return nil, err
		}
		client, err := connectors.NewClient(options, s.credential(), env)
		if err != nil {
			return nil, err
		}
		p := &pager{client: client, name: name, filters: filters, mapping: mappings[name], bot: bot, maxRecord: options.MaxRecord}
		c.Add(name, pathOf(name), &connectors.Stream{
			Options: options, Versioned: name == userData, OpenEnd: name == userData, LateByNature: name == snapshots,
			Pager: p, Map: p.mapRecord,
		}, client, env)
		if c.Probe == nil {
			c.Probe = p.probe
		}
	}
	return c, nil
}

// pager asks one endpoint for windows.
type pager struct {
	client    *connectors.Client
	name      string
	filters   url.Values // of the stream's settings; shared, not changed
	mapping   mapping
	bot       string
	maxRecord int
}

// Page asks for one window, which is one answer; see [connectors.Pager].
func (p *pager) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	query := url.Values{"fromTimestamp": {strconv.FormatInt(r.From.Unix(), 10)}}
	if !r.To.IsZero() {
		query.Set("toTimestamp", strconv.FormatInt(r.To.Unix(), 10))
	}
	for name, value := range p.filters {
		query[name] = value
	}
	response, err := p.client.Get(ctx, "reading "+p.name, pathOf(p.name), query)
	if err != nil {
		return nil, err
	}
	return connectors.NewPage(response, r.Key, p.maxRecord, nil, p.mapRecord, nil), nil
}

func (p *pager) mapRecord(raw []byte, f *connectors.Fields) events.Record {
	return p.mapping(raw, f, p.bot)
}

// probe proves the key, and that it is the API that answers, with the users of
// one second: every bot has that endpoint, also one that is too old for the rest.
func (p *pager) probe(ctx context.Context) error {
	users := *p
	users.name, users.filters, users.mapping = userData, nil, user
	now := p.client.Now().Truncate(time.Second)
	page, err := users.Page(ctx, connectors.Request{From: now.Add(-time.Second), To: now})
	if err != nil {
		return err
	}
	defer page.Close()
	for _, err := range page.Records {
		if err != nil {
			return &connectors.Error{Kind: connectors.KindOf(err), Op: "reading " + users.name, Err: err}
		}
	}
	return nil
}

// credential adds the key to a request: in a header, which stays out of addresses
// and of the logs of what stands in between, or where it was asked for in the query.
func (s *Settings) credential() connectors.Credential {
	key := s.FunctionKey
	authorize := func(r *http.Request, _ string) { r.Header.Set("x-functions-key", key) }
	if s.Auth == authQuery {
		authorize = func(r *http.Request, _ string) {
			query := r.URL.Query()
			query.Set("code", key)
			r.URL.RawQuery = query.Encode()
		}
	}
	return connectors.Credential{Secret: key, Authorize: authorize}
}
