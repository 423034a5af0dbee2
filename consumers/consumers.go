// Package consumers is for those who read topics: it decodes a message, as the
// client of either broker delivers it, into an event with typed data.
package consumers

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Event is one event: its CloudEvents attributes, and its data. What is absent is
// the zero value.
type Event struct {
	ID              string    // 32 hex digits, the same for the same record for ever: tells duplicates
	Source          string    // /<vendor>/<account>/<stream>, where it was read
	Type            string    // "message" for io.millrace.message.v1; of a later version "message.v2"
	Subject         string    // what orders it: the conversation, else the user, else the record
	PartitionKey    string    // the same
	Time            time.Time // when it happened; zero when unknown
	DataSchema      string    // urn:millrace:<event type>:v1
	DataContentType string    // application/json
	RecordID        string    // the same for all versions of a record that changes
	RecordedTime    time.Time // when it was first read
	Connector       string    // the connector's name
	Replay          bool      // published again on demand
	// Extensions are further attributes, which this version does not know; nil
	// without any.
	Extensions map[string]string

	// Data points to the struct of its type: *Message, *Email, *SMS, *Click,
	// *IntegrationCall, *User, *UserSnapshot, *UnhandledInput, *Answer,
	// *Conversation, *Usage or *DeadLetter. It is nil for a type, or a version of
	// one, that this package does not know, as newer services may publish.
	Data any
	// JSON is the data as it came: members that transforms have added can be read
	// from it. It shares the message's memory.
	JSON []byte
}

var (
	// ErrNotEvent is of messages that are no events of millrace in the binary mode of
	// CloudEvents.
	ErrNotEvent = errors.New("not an event of millrace")
	// ErrData is of events whose data are not as the type's schema says: a transform
	// has given a member a value of another type.
	ErrData = errors.New("the event's data do not fit its type")
)

// Decode reads an event from a *nats.Msg or a jetstream.Msg (nats.go), a
// kafka.Message or a *kafka.Message (segmentio/kafka-go), or a *message.Message
// (Watermill) that a Subscriber of topics/nats or topics/kafka has delivered.
//
// What it is comes from its attributes alone, never from the topic, to which a
// transform may have routed it. Members that the type does not have are left to
// Event.JSON. A number that does not fit its field is the nearest that does.
//
// Errors wrap [ErrNotEvent], then the event is nil, or [ErrData], then it has
// everything but Data. Neither holds a value of the data. Whoever has errors
// delivered again should acknowledge both: the message stays as it is. A type that
// is not known is no error.
//
// Safe for concurrent use.
func Decode(msg any) (*Event, error) {
	attributes, data, err := parts(msg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotEvent, err)
	}
	e, err := fromAttributes(attributes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotEvent, err)
	}
	e.JSON = data
	if e.Data, err = decodeData(e.Type, data); err != nil {
		return e, fmt.Errorf("%w: %s %s from %s: %w", ErrData, e.Type, e.ID, e.Source, err)
	}
	return e, nil
}

// contentType is the attribute that has a header of its own name.
const contentType = "datacontenttype"

// fromAttributes returns an event without data.
func fromAttributes(attributes map[string]string) (*Event, error) {
	if attributes["specversion"] == "" {
		return nil, errors.New("it has no CloudEvents attributes in its headers")
	}
	name, err := shortType(attributes["type"])
	if err != nil {
		return nil, err
	}
	e := &Event{}
	list := make([]events.Attribute, 0, len(attributes))
	for name, value := range attributes {
		switch name {
		case "type":
			continue
		case "partitionkey":
			e.PartitionKey = value
		case "dataschema":
			e.DataSchema = value
		case contentType:
			e.DataContentType = value
		case "specversion", "id", "source", "subject", "time", "recordid", "recordedtime", "connector", "replay":
		default:
			if e.Extensions == nil {
				e.Extensions = map[string]string{}
			}
			e.Extensions[name] = value
			continue
		}
		list = append(list, events.Attribute{Name: name, Value: value})
	}
	// A type of another version is one of another name here.
	list = append(list, events.Attribute{Name: "type", Value: typePrefix + name + typeVersion})
	known, err := events.FromAttributes(list)
	if err != nil {
		return nil, err
	}
	e.ID, e.Source, e.Type, e.Subject = known.ID.String(), attributes["source"], known.Type, known.Key
	e.Time, e.RecordedTime = known.Time, known.Recorded
	e.RecordID, e.Connector, e.Replay = known.RecordID, known.Connector, known.Replay
	return e, nil
}

const (
	typePrefix  = "io.millrace."
	typeVersion = ".v1"
)

// shortType returns "message" for io.millrace.message.v1, and "message.v2" for
// another version.
func shortType(value string) (string, error) {
	name, ours := strings.CutPrefix(value, typePrefix)
	short, version, versioned := strings.Cut(name, ".")
	if !ours || !versioned || short == "" || strings.Trim(version, "0123456789") != "v" {
		return "", fmt.Errorf("the type %q is not %s<event type>.v<number>", value, typePrefix)
	}
	return strings.TrimSuffix(name, typeVersion), nil
}
