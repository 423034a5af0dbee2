// Package nativechat reads the Administration API of Progress NativeChat: the
// conversations and messages of one bot, documents that are asked for with
// MongoDB predicates. Pages follow the time; how dates are written in a predicate
// is found out, as the vendor does not document it.
package nativechat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	vendor         = "nativechat"
	defaultBaseURL = "https://api.nativechat.com"
	// The vendor documents no limit. Five requests a second for each endpoint is
	// our choice: each conversation with something new is one request.
	defaultRate   = 5
	conversations = "conversations"
	messages      = "messages"

	byConversation = "by_conversation"
	all            = "all"
)

var streams = []string{conversations, messages}

// Type is the connector's entry in the table of connectors.
var Type = connectors.Type{
	Name:     vendor,
	Doc:      "Conversations and messages of one bot, from the Administration API of Progress NativeChat.",
	Streams:  streams,
	Settings: func() any { return new(Settings) },
	New:      newConnector,
}

// Settings are the connector's keys.
type Settings struct {
	BotID               string   `mapstructure:"bot_id" doc:"The bot's id, as it stands in the API's paths." required:"true"`
	AccessToken         string   `mapstructure:"access_token" doc:"The bot's server access token." required:"true" secret:"true"`
	Messages            string   `mapstructure:"messages" doc:"How messages are asked for: by_conversation, one request for each that was active lately, or all, by their own time, for accounts where that works." default:"by_conversation" oneof:"by_conversation|all"`
	IDFields            []string `mapstructure:"id_fields" doc:"Names under which a document may have its id, the best first; a dot leads into an object." default:"(_id, Id, id)"`
	TimeFields          []string `mapstructure:"time_fields" doc:"Names under which a document may have the time of its beginning, the best first. The first that documents show is what they are asked for and sorted by." default:"(StartedAt, CreatedAt and others)"`
	connectors.Settings `mapstructure:",squash"`
}

func decode(raw map[string]any) (*Settings, error) {
	s := &Settings{Messages: byConversation}
	if err := config.Decode(raw, s); err != nil {
		return nil, err
	}
	switch {
	case s.BotID == "":
		return nil, errors.New("bot_id is required")
	case s.AccessToken == "":
		return nil, errors.New("access_token is required")
	case s.Messages != byConversation && s.Messages != all:
		return nil, errors.New("messages wants by_conversation or all")
	case slices.Contains(s.IDFields, ""), slices.Contains(s.TimeFields, ""):
		return nil, errors.New("id_fields and time_fields want lists of names such as [CreatedAt, Data.at]")
	case len(s.TimeFields) > maxTimes:
		return nil, fmt.Errorf("time_fields wants at most %d names", maxTimes)
	}
	return s, nil
}

func newConnector(section connectors.Section, env connectors.Env) (*connectors.Connector, error) {
	s, err := decode(section.Raw)
	if err != nil {
		return nil, err
	}
	c := &connectors.Connector{Name: section.Name, Vendor: vendor, Account: s.BotID}
	if s.Account != "" {
		c.Account = s.Account
	}
	for _, name := range streams {
		options, chosen, err := section.StreamOptions(name, s.StreamOptions, new(connectors.StreamOptions), func(o *connectors.Options) {
			o.BaseURL, o.Rate = defaultBaseURL, defaultRate
			if name == conversations {
				o.SweepEvery, o.SweepBack = 15*time.Minute, 0 // back: quiet
			} else {
				o.SweepEvery, o.SweepBack = 6*time.Hour, 168*time.Hour
			}
		})
		if err != nil {
			return nil, err
		}
		if !chosen {
			continue
		}
		if name == conversations && options.SweepBack == 0 {
			options.SweepBack = options.Quiet
		}
		client, err := connectors.NewClient(options, s.credential(), env)
		if err != nil {
			return nil, err
		}
		talks := s.collection(conversations, client, options)
		stream, path := conversationStream(talks), talks.path
		if name == messages {
			stream, path = s.messageStream(talks, s.collection(messages, client, options))
		}
		stream.Options = options
		c.Add(name, path, stream, client, env)
		if c.Probe == nil {
			c.Probe = func(ctx context.Context) error { return probe(ctx, c, talks, s.Messages == byConversation) }
		}
	}
	return c, nil
}

func (s *Settings) credential() connectors.Credential {
	return connectors.Credential{Secret: s.AccessToken, Authorize: func(r *http.Request, _ string) {
		r.Header.Set("Authorization", "Bot-Server-Access-Token "+s.AccessToken)
		r.Header.Set("Content-Type", "application/json") // also without a body, as documented
	}}
}

// collection is one of the bot's lists, as a stream with these options asks for it.
func (s *Settings) collection(name string, client *connectors.Client, o connectors.Options) *collection {
	ids, times := s.IDFields, s.TimeFields
	names, known, mapping := conversationNames, conversationTimes, (*shape).conversation
	if name == messages {
		names, known, mapping = messageNames, messageTimes, (*shape).message
	}
	if len(ids) == 0 {
		ids = defaultIDs
	}
	if len(times) == 0 {
		times = known
	}
	return &collection{
		client: client, name: name, path: "/v1/bots/" + url.PathEscape(s.BotID) + "/" + name,
		shape: newShape(ids, times, names, name == conversations), mapping: mapping,
		bot: s.BotID, maxRecord: o.MaxRecord, turn: make(chan struct{}, 1),
	}
}

// mapRecord makes a record of an element; see [connectors.Mapper].
func (c *collection) mapRecord(raw []byte, f *connectors.Fields) events.Record {
	return c.mapped(raw, f, new(document))
}

// noID is what check tells of documents without an id.
const noID = "the API shows %s without an id under any of the names in id_fields: they are told apart by what they say, and a change is a new record; if they have an id, set id_fields"

const (
	// notFound is what check tells where the last activity cannot be asked for.
	notFound = "conversations show %s, but are not found by it: changes of those that began before the sweep reads are not seen by it"
	// noTime is what check tells where not all documents can be asked for by time.
	noTime = "%d of %d conversations are not found by any %s: they are read while they show activity, and else not; if another field has their time, set time_fields"
)

// probe proves the token, that it is the API that answers, and that it can be
// asked by time; where messages are asked for by conversation, also that
// there are conversations with ids.
func probe(ctx context.Context, c *connectors.Connector, talks *collection, byID bool) error {
	list, err := talks.look(ctx, nil)
	if err != nil {
		return err
	}
	named := func(s sample) bool { return s.id != "" }
	if len(list) > 0 && !slices.ContainsFunc(list, named) && byID &&
		slices.ContainsFunc(c.Streams, func(s *connectors.Stream) bool { return s.Key.Stream == messages }) {
		return errNameless
	}
	if slices.ContainsFunc(list, func(s sample) bool { return !named(s) }) {
		c.Notes = append(c.Notes, fmt.Sprintf(noID, talks.name))
	}
	d, err := talks.known(ctx, func(context.Context) ([]sample, predicate, error) { return list, nil, nil })
	if err != nil || d == nil {
		return err
	}
	for _, name := range d.blind {
		c.Notes = append(c.Notes, fmt.Sprintf(notFound, name))
	}
	// All are counted first: what is new meanwhile has a time to be asked for.
	all, err1 := talks.counted(ctx, nil)
	some, err2 := talks.counted(ctx, d.query(asking{started: span{from: time.Unix(0, 0)}}, &cursor{}))
	if err1 == nil && err2 == nil && some < all {
		c.Notes = append(c.Notes, fmt.Sprintf(noTime, all-some, all, d.name))
	}
	return nil
}
