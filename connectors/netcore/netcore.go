// Package netcore reads the Bot Open API of Netcore Conversational Commerce: how
// much a bot was used, month by month, its users, and what was said, which is
// asked for user by user. It is asked with a token that a login gives for a while.
package netcore

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	vendor         = "netcore"
	defaultBaseURL = "https://open-api.conversationalcommerce.netcorecloud.com"
	// The vendor documents no limit. Five requests a second for each endpoint is
	// our choice.
	defaultRate = 5
	usagePoll   = 15 * time.Minute
	usage       = "usage"
	users       = "users"
	transcripts = "transcripts"
)

var streams = []string{usage, users, transcripts}

// Type is the connector's entry in the table of connectors.
var Type = connectors.Type{
	Name: vendor,
	Doc: "Usage, users and messages of one bot, from the Bot Open API of Netcore Conversational Commerce. " +
		"The vendor documents no limit; the default of 5 requests a second for each endpoint is ours.",
	Streams:  streams,
	Settings: func() any { return new(Settings) },
	New:      newConnector,
}

// api is what the streams of a connector share. It does not change, but for its
// tokens and the sizes of pages, and may be used concurrently.
type api struct {
	app      string
	channels []int
	// Of these endpoints large pages may be refused, each on its own.
	userPages, transcriptPages pageSize
	now                        func() time.Time
}

func newConnector(section connectors.Section, env connectors.Env) (*connectors.Connector, error) {
	s, err := decode(section.Raw)
	if err != nil {
		return nil, err
	}
	c := &connectors.Connector{Name: section.Name, Vendor: vendor, Account: s.AppID, Notes: s.channelNotes()}
	if s.Account != "" {
		c.Account = s.Account
	}
	a := &api{app: s.AppID, channels: s.Channels, now: env.Now}
	if a.now == nil {
		a.now = time.Now
	}
	tokens, err := s.tokens(env)
	if err != nil {
		return nil, err
	}
	credential := connectors.Credential{
		Secret: s.AppSecret,
		// Seen of the live API: "Bearer TOKEN" is answered 401.
		Authorize: func(r *http.Request, token string) { r.Header.Set("Authorization", token) },
		Tokens:    tokens,
	}
	for _, name := range streams {
		options, chosen, err := section.StreamOptions(name, s.StreamOptions, new(connectors.StreamOptions), defaultsOf(name))
		if err != nil {
			return nil, err
		}
		if !chosen {
			continue
		}
		client, err := connectors.NewClient(options, credential, env)
		if err != nil {
			return nil, err
		}
		stream, path := a.stream(name, s, client, options)
		stream.Options = options
		for _, channel := range a.channels {
			stream.Parts = append(stream.Parts, channelText(channel))
		}
		c.Add(name, path, stream, client, env)
		if _, written := section.Raw["transcripts"]; name == transcripts && written {
			c.Notes = append(c.Notes, switchNote(s.Transcripts))
		}
		if c.Probe == nil {
			list := &listing{api: a, client: client, maxRecord: options.MaxRecord}
			c.Probe = list.probe
		}
	}
	return c, nil
}

// defaultsOf returns what the API's sheet says of a stream's options.
func defaultsOf(stream string) func(*connectors.Options) {
	return func(o *connectors.Options) {
		o.BaseURL, o.Rate = defaultBaseURL, defaultRate
		switch stream {
		case usage: // what is read is a state, not what has happened in a while
			o.Poll, o.Overlap, o.SweepBack = usagePoll, 0, 0
		case transcripts:
			o.SweepEvery = 6 * time.Hour
		}
	}
}

// stream makes a stream, and tells the path that it asks for.
func (a *api) stream(name string, s *Settings, client *connectors.Client, o connectors.Options) (*connectors.Stream, string) {
	list := &listing{api: a, client: client, maxRecord: o.MaxRecord}
	switch name {
	case usage:
		p := &usagePager{api: a, client: client, maxRecord: o.MaxRecord}
		return &connectors.Stream{Versioned: true, Whole: true, Pager: p, Map: p.record}, usagePath
	case users:
		// A listing ends at the present, always: a window that did not end there
		// would list the same users again.
		stream := &connectors.Stream{Versioned: true, Whole: true, OpenEnd: true}
		if s.EnrichUsers {
			p := &enricher{listing: list}
			stream.Pager, stream.Walk, stream.Map, stream.Without = p, p, p.record, p.without
			return stream, userDataPath
		}
		p := &userPager{listing: list}
		stream.Pager, stream.Map = p, p.record
		return stream, usersPath
	}
	p := &transcriptPager{listing: list, swept: sweptOf(o)}
	stream := &connectors.Stream{Versioned: true, Fixed: true, Pager: p, Map: p.record, Oldest: oldest}
	if s.Transcripts == byUser {
		stream.Walk = p
		stream.Without = func(connectors.Request) *connectors.Page { return connectors.EmptyPage(a.now()) }
	}
	return stream, transcriptsPath
}

// selected returns the configured channels that are among parts; all for nil.
func (a *api) selected(parts []string) []int {
	if parts == nil {
		return a.channels
	}
	return slices.DeleteFunc(slices.Clone(a.channels), func(channel int) bool {
		return !slices.Contains(parts, channelText(channel))
	})
}

// date writes a time as the API's documentation does.
func date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// probe proves the credential, and that it is the API that answers, with a login
// and the users of one channel who were active in the last second.
func (l *listing) probe(ctx context.Context) error {
	at := place{Channel: l.channels[0], Page: 1, Limit: smallPage}
	page, err := l.page(ctx, at, l.channels[:1], l.client.Now().Add(-time.Second), func([]byte, *connectors.Fields) events.Record {
		return events.Record{}
	})
	if err != nil {
		return err
	}
	defer page.Close()
	for _, err := range page.Records {
		if err != nil {
			return failed(listingUsers, err)
		}
	}
	return nil
}

// failed gives an answer that could not be read the kind that it has.
func failed(op string, err error) error {
	kind := connectors.KindOf(err)
	if tooLong := (*connectors.TooLongError)(nil); errors.As(err, &tooLong) {
		kind = connectors.Fail
	}
	return &connectors.Error{Kind: kind, Op: op, Err: err}
}
