// Package connectors is where records come from: the contract of a connector to
// one export API, and everything that all connectors share, so that a new one is
// little more than a request and a mapping. A connector asks for one page; the
// package owns windows, lanes, cursors, rate budgets, retries and clocks, and
// gives the outcome to Watermill as a message.Subscriber: one message for each
// batch, acknowledged when the batch is committed.
package connectors

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
)

// Type is one kind of connector, an entry of the table that the application
// holds. Types are values, not registrations: a test can walk the table.
type Type struct {
	// Name is the vendor's word in configuration, stream keys and event sources.
	Name string
	// Doc is one sentence for the reference of the configuration.
	Doc string
	// Streams are the names of all its streams, in the order of the flow.
	Streams []string
	// Settings returns a pointer to a zero value of its settings, whose fields
	// carry mapstructure and doc tags: the configuration is checked, decoded and
	// documented by them.
	Settings func() any
	// StreamSettings returns the same for a stream's own map; nil where all have
	// [StreamOptions] alone. What it returns embeds StreamOptions, squashed.
	StreamSettings func(stream string) StreamKeys
	// New makes a connector of its section of the configuration. It makes no
	// request. Errors name the key and what to do, never a value.
	New func(Section, Env) (*Connector, error)
}

// Section is a connector's part of the configuration, keys checked.
type Section struct {
	Name    string                    // the connector's name
	Raw     map[string]any            // its keys
	Streams map[string]map[string]any // the chosen streams with keys of their own; nil: all
}

// Env is what the application lends to connectors.
type Env struct {
	Budgets   *Budgets          // shared by all connectors; required
	Transport http.RoundTripper // required; shared by all connectors
	Metrics   *Metrics          // nil: none are kept
	Now       func() time.Time  // nil: time.Now
}

// Connector reads one account of one export API.
type Connector struct {
	Name    string
	Vendor  string
	Account string
	Streams []*Stream
	// Probe makes the smallest request that proves the credential.
	Probe func(context.Context) error
	// Notes are what a person should know of its settings, a sentence each, for
	// those who check the configuration; nil: nothing. Probe may add to them.
	Notes []string
}

// Stream is one endpoint of a connector that is polled on its own.
type Stream struct {
	Key       events.StreamKey
	Connector string // the connector's name
	Options   Options
	// Versioned streams hold records that change: each change is a version,
	// published once. Others hold records that never change.
	Versioned bool
	// Fixed says of a Versioned stream that all versions of a record bear the
	// same time, so that it is always found in the same window.
	Fixed bool
	// Whole streams are read up to the present in one window, however long.
	Whole bool
	// OpenEnd streams are filtered by something that moves on, such as the last
	// activity: a record may leave its window before it is read, for a later one.
	// The window that ends at the present is asked for without an end.
	OpenEnd bool
	// LateByNature streams hold records that turn up long after the time they
	// bear. Sweeps find them, and that is no reason to warn.
	LateByNature bool
	Pager        Pager
	// Walk lists the keys (users, conversations) that the stream is read by, one
	// after the other in each window; nil: it is read by time alone. Such a
	// stream is Whole.
	Walk Walker
	// Without makes what counts as the answer for a key that the API refuses, while
	// it answers for others, so that the walk can go on; nil: it does not go on.
	Without func(Request) *Page
	// Parts are what the stream is made of, e.g. channels; nil: one whole. One
	// that is added later is read from since on, one that was left out for a while
	// from there on.
	Parts []string
	// Oldest is how far back the API can be asked for, at a time; nil: for ever.
	Oldest func(now time.Time) time.Time
	// Count asks how many records a range holds, for the progress of a backfill;
	// nil: nobody knows.
	Count func(ctx context.Context, from, to time.Time) (int64, error)
	// Map makes a record of an element's text; see [NewPage].
	Map Mapper

	client  *Client
	budget  *Budget
	metrics *streamMetrics
	last    atomic.Pointer[sizes] // of the latest batch; nil before the first
}

// Pager asks an API for one page. Page is called by several goroutines at once,
// for different windows. It never sleeps, retries, stores or logs, and waits for
// nothing but the API; its errors are *Error.
type Pager interface {
	Page(ctx context.Context, r Request) (*Page, error)
}

// Request says which page to ask for.
type Request struct {
	// From and To are the bounds to ask for, whole seconds. They are already a
	// second wider on both sides than the window that is read (invariant 8), so
	// it does not matter whether the vendor includes its bounds. A zero To is no
	// end: it is asked for of OpenEnd streams only.
	From, To time.Time
	// Cursor is the one that the page before returned; nil for the first page.
	Cursor json.RawMessage
	// Key is the one to read, of a stream with a Walk; zero for others.
	Key Key
	// Listed is when listing the keys began, of a stream with a Walk.
	Listed time.Time
	// Parts are those of [Stream.Parts] to ask for; nil: all of them.
	Parts []string
}

// Second is the shortest that a window can be, as it is asked for: what is longer
// can be halved (TooMuch).
func (r Request) Second() bool { return r.To.Sub(r.From) <= 3*time.Second }

// Page is one answer, its body still being read.
type Page struct {
	// Records yields the answer's elements; what it yields is valid until the
	// next one. An error ends it: the page counts as not read.
	Records iter.Seq2[events.Record, error]
	// Next returns the cursor of the page that follows, nil when this was the
	// window's last. It is called once Records has ended without an error.
	Next func() (json.RawMessage, error)
	// Key is what a record of the page can be mapped with again, as [Key.ID], where
	// its text is not enough and the stream has no Walk; "": nothing is needed.
	Key string
	// Began is when the request was sent.
	Began time.Time
	// Took is how long the API thought before it began to answer.
	Took time.Duration
	// Close ends the answer, read or not.
	Close func()
}

// MaxCursor is how long a cursor may be, in bytes.
const MaxCursor = 64 << 10

// Lane is one of the reads that a stream does.
type Lane string

// The lanes.
const (
	Live     Lane = "live"     // follows the present
	Sweep    Lane = "sweep"    // reads the recent past again, for what turned up late
	Backfill Lane = "backfill" // reads a range of the past on demand
)

// Window is a range of time, whole seconds, the end not included.
type Window struct{ From, To time.Time }

// Position is where a lane stands.
type Position struct {
	// At is the end of what was read: everything before it is committed.
	At time.Time
	// Window is the one that is being read; zero between windows.
	Window Window
	// Cursor is where to continue inside Window; nil for its beginning.
	Cursor json.RawMessage
}

// Progress is where a stream stands in all its lanes.
type Progress struct {
	Since time.Time // where the stream begins; zero before its first start
	// Floor is how far back may be read again: what was published before it is
	// not remembered. Zero: all is.
	Floor time.Time
	Live  Position
	Sweep SweepPosition
	// Backfill is the one that is carried out; nil for none. What it points to does
	// not change.
	Backfill *BackfillPosition
	// Cells: a record with neither an id nor a time was met, and windows are read
	// in cells of a quarter of an hour from then on.
	Cells bool
}

// SweepPosition is where the sweep lane stands.
type SweepPosition struct {
	Due   time.Time // when the next sweep begins; zero before the first start
	Until time.Time // end of the sweep that is under way; zero when none is
	Position
}

// Batch is what one commit holds: at most MaxBatchRecords records and about
// MaxBatchBytes, complete in memory, and those that have joined it. Nothing of it
// changes once it is delivered.
type Batch struct {
	Stream  *Stream
	Lane    Lane
	Window  Window
	Key     string // the ID of the key that was read, or that its page has; "" where there are none
	Records []Prepared
	// Began is when the request was sent that gave the records, Ended when the
	// last of them had come.
	Began, Ended time.Time
	// Origin is the request that gave the records; all batches of one page share it.
	// Nil where none did.
	Origin *Origin
	// Requests is how many requests were made for it, failed ones included.
	Requests int
	// EndsPage is false when more of the same page follows: Progress is as before.
	EndsPage bool
	// Jump: nothing was read. The lane goes on behind Window, for which the API
	// cannot be asked any more ([Stream.Oldest]).
	Jump bool
	// Progress is where the stream stands once this batch is committed.
	Progress Progress
	// Joined are the batches of the same lane that follow this one and were waiting
	// with it, each with a window and a progress of its own: one commit takes all.
	// Nil: none were, or [SubscriberOptions].Join is 0.
	Joined []*Batch

	after   Position // where its lane stands then
	ends    bool     // nothing of its window follows
	cells   bool     // it was read in cells
	payload []byte   // the records as JSON Lines
	size    int      // what it holds in memory, near enough
}

// Bounds of a batch.
const (
	MaxBatchRecords = 1000
	MaxBatchBytes   = 8 << 20
)

// Prepared is a record with its identity.
type Prepared struct {
	events.Record
	Identity events.Identity
	ReadFor  string      // the ID of the key that it was found for; "" for none
	Content  events.Hash // of the canonical content; set for versioned streams only
	Number   int         // among records of equal content without an id, or equal dead letters, of the pass
}

// Add gives the connector one more stream, which asks for path through the
// client. The caller fills in what kind of stream it is: Options, Versioned,
// OpenEnd, LateByNature, Pager and Map.
func (c *Connector) Add(name, path string, s *Stream, client *Client, env Env) {
	metrics := env.Metrics
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	s.Key = events.StreamKey{Vendor: c.Vendor, Account: c.Account, Stream: name}
	s.Connector = c.Name
	s.client, s.budget, s.metrics = client, client.Budget(path), metrics.of(c.Name, name)
	c.Streams = append(c.Streams, s)
}

// StreamKeys are the keys of a stream's own map: a pointer to [StreamOptions], or
// to a struct that embeds it beside keys of its own.
type StreamKeys interface{ streamOptions() *StreamOptions }

func (o *StreamOptions) streamOptions() *StreamOptions { return o }

// KeysOf returns a zero value of the settings of a stream's own map.
func (t *Type) KeysOf(stream string) StreamKeys {
	if t.StreamSettings == nil {
		return new(StreamOptions)
	}
	return t.StreamSettings(stream)
}

// StreamOptions resolves one stream's options: the package's defaults, the
// stream's own, the connector's keys, the stream's keys, which it decodes into
// keys. It returns false for a stream that the configuration leaves out.
func (s Section) StreamOptions(name string, connector StreamOptions, keys StreamKeys, defaults func(*Options)) (Options, bool, error) {
	own, chosen := s.Streams[name]
	if s.Streams != nil && !chosen {
		return Options{}, false, nil
	}
	o := Defaults()
	defaults(&o)
	o, err := o.Apply(connector)
	if err != nil {
		return Options{}, false, err
	}
	if err := config.Decode(own, keys); err != nil {
		return Options{}, false, fmt.Errorf("streams.%s: %w", name, err)
	}
	if o, err = o.Apply(*keys.streamOptions()); err != nil {
		return Options{}, false, fmt.Errorf("streams.%s: %w", name, err)
	}
	return o, true, nil
}

// Budget tells the rate that the stream's requests may have, in requests a
// second (0: no limit), and how long the API has asked to wait.
func (s *Stream) Budget() (rate float64, paused time.Duration) {
	return s.budget.Rate(), s.budget.Paused()
}
