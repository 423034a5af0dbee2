// Package events holds what flows through millrace: records as an export API
// returned them, the events made of them, their identity, the catalogue of
// event types with its JSON Schemas, and the CloudEvents codec.
//
// It knows nothing of where records come from nor where events go; every other
// package may import it, and it imports none of them.
package events

import (
	"encoding/hex"
	"strings"
	"time"
)

// StreamKey names one polled stream for ever: all state hangs on it, so that
// renaming a connector changes nothing.
type StreamKey struct {
	Vendor  string // the API, e.g. "deepconverse"
	Account string // the bot or account read, as the vendor names it
	Stream  string // the endpoint, e.g. "messages"
}

// Source returns the key as the CloudEvents source, /<vendor>/<account>/<stream>.
func (k StreamKey) Source() string {
	return "/" + k.Vendor + "/" + k.Account + "/" + k.Stream
}

// String returns the key as vendor/account/stream, for people.
func (k StreamKey) String() string { return k.Source()[1:] }

// ParseSource is the inverse of [StreamKey.Source]. An account may hold slashes
// (host:port/path), a vendor or a stream may not.
func ParseSource(source string) (StreamKey, bool) {
	vendor, rest, ok := strings.Cut(strings.TrimPrefix(source, "/"), "/")
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return StreamKey{}, false
	}
	return StreamKey{Vendor: vendor, Account: rest[:i], Stream: rest[i+1:]}, true
}

// ID is the identity of an event: 128 bits of SHA-256, printed as 32 hex digits.
type ID [16]byte

// String returns the id as 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads 32 hex digits.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != 2*len(id) {
		return ID{}, false
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, false
	}
	return id, true
}

// Record is one element of what an API returned: either one JSON object, mapped
// by its connector, or, where Dead is set, bytes that are no I-JSON object.
type Record struct {
	// Raw is the element's text as it came. It is immutable, as are all the
	// slices of a record.
	Raw []byte
	// Type is the event type that the record becomes, e.g. "message".
	Type string
	// ID is the vendor's own id; empty where the content is the identity.
	ID string
	// Key orders the record: the conversation, else the user, else empty for
	// the record's own id.
	Key string
	// Time is when it happened; zero when unknown.
	Time time.Time
	// Members are the event's data without braces and without raw: the members
	// `"text":"hi","direction":"inbound"` of a JSON object. May be empty.
	Members []byte
	// Masked is Raw with the values of credentials masked, where there are any;
	// nil: Raw is what is shown. Identity is taken of Raw.
	Masked []byte
	// Basis is the I-JSON whose content is the identity of a record without an
	// ID, where that is not all of Raw, or more; nil: Raw.
	Basis []byte
	// State is the I-JSON whose content tells one version of a record that
	// changes from another, where that is not Raw; nil: Raw.
	State []byte

	// Dead says why the element cannot become an event; nil for one that can.
	Dead *Dead
}

// Dead says why a record became a dead letter.
type Dead struct {
	Reason string // one of the Reason constants
	Detail string // for people; holds none of the record's bytes
	Stage  string // the station that gave up: one of the Stage constants
}

// Why a record became a dead letter.
const (
	ReasonNotJSON   = "not_json"      // not one I-JSON value: syntax, UTF-8, duplicate keys, surrogates
	ReasonNotObject = "not_an_object" // JSON, but not an object
	ReasonTooDeep   = "too_deep"      // nested deeper than MaxDepth
	ReasonTooLarge  = "too_large"     // its event is larger than the broker takes
	ReasonTransform = "transform"     // a transform failed on its event
)

// The stations that can give a record up.
const (
	StageConnector = "connector"
	StageTransform = "transform"
	StageCommit    = "commit"
)

// Event is one CloudEvents 1.0 event made of one record.
type Event struct {
	ID        ID
	Source    StreamKey
	Connector string // the connector's name in the configuration
	Type      string // the event type without namespace, e.g. "message"
	// Topic is where it goes, behind the prefix: a name that CheckTopic takes; ""
	// for the event type's own. No attribute tells it, and none changes by it.
	Topic    string
	Key      string    // subject and partition key
	RecordID string    // the vendor's id, else the identity's hash
	Time     time.Time // when it occurred; zero when unknown
	Recorded time.Time // when it was first seen
	Replay   bool      // published again on demand

	Members []byte // as Record.Members
	Raw     []byte // as Record.Raw; nil to leave it out
	// ReadFor is the user or conversation that was asked for when its record was
	// found; "" for none. Dead letters tell it.
	ReadFor string
}
