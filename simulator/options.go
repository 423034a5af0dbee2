package simulator

import (
	"fmt"
	"slices"
	"time"
)

// Defaults of [Options] where the zero value means nothing by itself.
const (
	DefaultSpan    = 7 * 24 * time.Hour
	DefaultAPIKey  = "demo-key"
	DefaultBotName = "r3-218210"
	DefaultLateBy  = time.Minute
	// DefaultAppID and DefaultTokenLife are of Netcore.
	DefaultAppID     = "demo-app"
	DefaultTokenLife = time.Hour
	// DefaultLimit is the vendor's documented limit, for callers that offer a
	// default: the zero of [Options.Limit] is "none".
	DefaultLimit = 3
)

// maxRate is more than any machine can produce.
const maxRate = 1_000_000

// Bounds says whether the bounds of a window belong to it. Vendors rarely
// document it, so a client has to be right with all of them.
type Bounds string

// The bounds that a simulator can have.
const (
	HalfOpen  Bounds = "half-open"  // [start, end)
	Inclusive Bounds = "inclusive"  // [start, end]
	Exclusive Bounds = "exclusive"  // (start, end)
	OpenStart Bounds = "open-start" // (start, end]
)

var allBounds = []Bounds{HalfOpen, Inclusive, Exclusive, OpenStart}

// What the window of a listing of conversations filters by.
const (
	ByStart    = "start"
	ByActivity = "activity"
)

// The orders that Netcore's list of users can have.
const (
	UsersAscending  = "ascending"
	UsersDescending = "descending"
)

// Options describe a world and how it is served. The zero value is an empty
// world without limits or faults.
type Options struct {
	// Vendors are those whose APIs are served, e.g. "deepconverse"; nil: all.
	Vendors []string
	// Seed decides everything that is made up: the same seed, options and Now
	// give the same bytes.
	Seed uint64
	// Backlog is how many messages there are from the start; 0: none. Their
	// conversations are all over.
	Backlog int
	// Span is the time before now over which the backlog is spread; 0:
	// [DefaultSpan].
	Span time.Duration
	// Rate is how many messages a second [Simulator.Run] produces, a million at
	// most; 0: none.
	Rate float64
	// LateShare is the share, 0 to 1, of the messages produced by Run that can
	// be seen only some time after the time that they bear.
	LateShare float64
	// LateBy is how late these are at most; 0: [DefaultLateBy].
	LateBy time.Duration
	// Corpus is the path of a file of dialogues, gzipped JSON lines; "": a few
	// dialogues in many scripts that come with the package.
	Corpus string

	// Limit is how many requests an endpoint accepts in any one second, a
	// sliding window; 0: no limit. A request that was refused does not count.
	Limit int
	// Latency is how long each answer takes.
	Latency time.Duration
	// Faults are the probabilities with which requests go wrong.
	Faults Faults

	// APIKey is the key to ask with; "": [DefaultAPIKey]. To DeepConverse the key
	// "basic-plan" is always known, and always refused for its plan.
	APIKey string
	// BotName is the one bot that exists; "": [DefaultBotName].
	BotName string
	// CursorLife is how long a cursor is accepted; 0: for ever.
	CursorLife time.Duration
	// Bounds of the windows; "": [HalfOpen].
	Bounds Bounds
	// ConversationsBy is what the windows of conversations filter by: [ByStart]
	// (also "") or [ByActivity].
	ConversationsBy string

	// ChangeBack is the share, 0 to 1, of NativeChat's conversations produced by
	// Run whose document changes after the last message and, seconds later,
	// changes back to the very bytes that it had: half of them while they are open
	// and half once they are closed, which is then their last state. 0: none.
	ChangeBack float64
	// Ties is how many consecutive conversations of NativeChat share one StartedAt,
	// and how many messages one CreatedAt, all to the millisecond; 0 and 1: each has
	// its own. Those that Run produces share one for a second at most, so that none
	// bears a time long past.
	Ties int
	// NativeChatDates is how NativeChat shows and compares dates: [NativeChatISO]
	// (also ""), [NativeChatDate] or [NativeChatMillis]. A query with dates of
	// another spelling matches nothing.
	NativeChatDates string
	// NativeChatAllMessages lets NativeChat list messages whatever the query; false:
	// 400 for a listing whose query does not constrain Conversation, User or
	// CreatedAt (with any operator; an $or has to in all its branches). They are
	// counted either way.
	NativeChatAllMessages bool
	// NativeChatWrapper is the name of the member, e.g. "Result" or "data", that
	// holds the list in an object beside the "Total" of matches; "": a bare array.
	NativeChatWrapper string
	// NativeChatNoID leaves the ids out of NativeChat's documents; messages name
	// their conversation even so. In the account the ID of all, and the Key of
	// conversations, is "" then.
	NativeChatNoID bool

	// Identical is the share, 0 to 1, of Feedyou's rows and Netcore's transcripts
	// that come as 2 to 4 exact copies of the same time; 0: none. A user is never
	// there twice.
	Identical float64
	// Unsorted lets Feedyou answer in an order that depends on the seed and on the
	// request only; false: by time.
	Unsorted bool
	// OldBot makes Feedyou's bot one that knows userData only: 404 for the rest.
	OldBot bool
	// Timestamped adds userId and timestamp to the rows of Feedyou that have
	// neither by the vendor's documentation: nlpLog, outgoingSms and urlTracker.
	Timestamped bool

	// AppID is the one app that Netcore knows; "": [DefaultAppID]. Its secret is
	// APIKey.
	AppID string
	// TokenLife is how long a token that a login of Netcore gave is accepted; 0:
	// [DefaultTokenLife]. The token itself shows its end in whole seconds, rounded
	// down.
	TokenLife time.Duration
	// NetcoreSmallPages lets Netcore refuse pages of more than 50 users; false:
	// they hold 1000 at most.
	NetcoreSmallPages bool
	// UsersBy is the order of Netcore's users by their last interaction:
	// [UsersAscending] (also "") or [UsersDescending]. In both a user who acts
	// moves to another page.
	UsersBy string

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// withDefaults returns the options filled in, or what is wrong with them.
func (o Options) withDefaults() (Options, error) {
	setDefault(&o.Span, DefaultSpan)
	setDefault(&o.LateBy, DefaultLateBy)
	setDefault(&o.APIKey, DefaultAPIKey)
	setDefault(&o.BotName, DefaultBotName)
	setDefault(&o.Bounds, HalfOpen)
	setDefault(&o.ConversationsBy, ByStart)
	setDefault(&o.AppID, DefaultAppID)
	setDefault(&o.TokenLife, DefaultTokenLife)
	setDefault(&o.UsersBy, UsersAscending)
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.Backlog < 0:
		return o, fmt.Errorf("simulator: Backlog is %d; it must be 0 or more", o.Backlog)
	case o.Span < time.Second:
		return o, fmt.Errorf("simulator: Span is %v; it must be 1s or more", o.Span)
	case !(o.Rate >= 0 && o.Rate <= maxRate):
		return o, fmt.Errorf("simulator: Rate is %v; it must be 0 to %d messages a second", o.Rate, maxRate)
	case !(o.LateShare >= 0 && o.LateShare <= 1):
		return o, fmt.Errorf("simulator: LateShare is %v; it must be 0 to 1", o.LateShare)
	case o.LateBy < 0 || o.Latency < 0 || o.CursorLife < 0:
		return o, fmt.Errorf("simulator: LateBy (%v), Latency (%v) and CursorLife (%v) must not be negative", o.LateBy, o.Latency, o.CursorLife)
	case o.Limit < 0:
		return o, fmt.Errorf("simulator: Limit is %d; it must be 0 (none) or more requests a second", o.Limit)
	case !(o.Identical >= 0 && o.Identical <= 1):
		return o, fmt.Errorf("simulator: Identical is %v; it must be 0 to 1", o.Identical)
	case !slices.Contains(allBounds, o.Bounds):
		return o, fmt.Errorf("simulator: Bounds is %q; valid are %q", o.Bounds, allBounds)
	case o.ConversationsBy != ByStart && o.ConversationsBy != ByActivity:
		return o, fmt.Errorf("simulator: ConversationsBy is %q; valid are %q and %q", o.ConversationsBy, ByStart, ByActivity)
	case o.TokenLife < 0:
		return o, fmt.Errorf("simulator: TokenLife is %v; it must not be negative", o.TokenLife)
	case o.UsersBy != UsersAscending && o.UsersBy != UsersDescending:
		return o, fmt.Errorf("simulator: UsersBy is %q; valid are %q and %q", o.UsersBy, UsersAscending, UsersDescending)
	}
	if err := o.Faults.validate(); err != nil {
		return o, fmt.Errorf("simulator: %w", err)
	}
	if err := o.checkNativeChat(); err != nil {
		return o, fmt.Errorf("simulator: %w", err)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
