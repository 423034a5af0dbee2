package events

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	typePrefix   = "io.millrace."
	schemaPrefix = "urn:millrace:"
	version      = "v1"

	// ContentType is the media type of every event's data.
	ContentType = "application/json"
)

// Attribute is one CloudEvents context attribute. Its name has no prefix: a
// broker's binding adds its own ("ce-" on NATS, "ce_" on Kafka).
type Attribute struct{ Name, Value string }

// Encoder writes events' attributes. It keeps the texts that one event has in
// common with the next. The zero value is ready; it is not for concurrent use.
type Encoder struct {
	source     StreamKey
	sourceText string
	recorded   time.Time
	timeText   string
	kind       string
	typeText   string
	schemaText string
}

// AppendAttributes appends the event's CloudEvents 1.0 attributes, those of a
// known value only, always in the same order. Control characters, which no
// attribute may hold, are written as %00 and the like.
func (c *Encoder) AppendAttributes(dst []Attribute, e *Event) []Attribute {
	if c.sourceText == "" || c.source != e.Source {
		c.source, c.sourceText = e.Source, reference(e.Source.Source())
	}
	if c.timeText == "" || !c.recorded.Equal(e.Recorded) {
		c.recorded, c.timeText = e.Recorded, timeText(e.Recorded)
	}
	if c.kind != e.Type {
		c.kind, c.typeText, c.schemaText = e.Type, typePrefix+e.Type+"."+version, SchemaURN(e.Type)
	}
	key := clean(e.Key)
	dst = append(dst,
		Attribute{"specversion", "1.0"},
		Attribute{"id", e.ID.String()},
		Attribute{"source", c.sourceText},
		Attribute{"type", c.typeText},
		Attribute{"subject", key},
		Attribute{"dataschema", c.schemaText},
		Attribute{"partitionkey", key},
		Attribute{"recordid", clean(e.RecordID)},
		Attribute{"recordedtime", c.timeText},
		Attribute{"connector", e.Connector},
	)
	if !e.Time.IsZero() {
		dst = append(dst, Attribute{"time", timeText(e.Time)})
	}
	if e.Replay {
		dst = append(dst, Attribute{"replay", "true"})
	}
	return dst
}

// AppendData appends the event's data, one JSON object.
func (e *Event) AppendData(dst []byte) []byte {
	dst = append(dst, '{')
	dst = append(dst, e.Members...)
	if e.Raw != nil {
		if len(e.Members) > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `"raw":`...)
		dst = append(dst, e.Raw...)
	}
	return append(dst, '}')
}

// DataLen returns the length of what AppendData appends, at most two bytes too many.
func (e *Event) DataLen() int { return len(e.Members) + len(e.Raw) + len(`{,"raw":}`) }

// FromAttributes reads the attributes that AppendAttributes wrote; data stays
// with the caller. Attributes that it does not know are left alone.
func FromAttributes(attrs []Attribute) (Event, error) {
	var e Event
	var errs []error
	var spec string
	for _, a := range attrs {
		switch a.Name {
		case "specversion":
			spec = a.Value
		case "id":
			id, ok := ParseID(a.Value)
			if !ok {
				errs = append(errs, fmt.Errorf("id %q is not 32 hex digits", a.Value))
			}
			e.ID = id
		case "source":
			key, ok := ParseSource(unreferenced(a.Value))
			if !ok {
				errs = append(errs, fmt.Errorf("source %q is not /vendor/account/stream", a.Value))
			}
			e.Source = key
		case "type":
			name, ok := strings.CutPrefix(a.Value, typePrefix)
			name, ok2 := strings.CutSuffix(name, "."+version)
			if !ok || !ok2 {
				errs = append(errs, fmt.Errorf("type %q is not %s<event type>.%s", a.Value, typePrefix, version))
			}
			e.Type = name
		case "subject":
			e.Key = a.Value
		case "recordid":
			e.RecordID = a.Value
		case "connector":
			e.Connector = a.Value
		case "replay":
			e.Replay = a.Value == "true"
		case "time", "recordedtime":
			t, err := time.Parse(time.RFC3339Nano, a.Value)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %q is not a time as RFC 3339 writes it", a.Name, a.Value))
			}
			if a.Name == "time" {
				e.Time = t
			} else {
				e.Recorded = t
			}
		}
	}
	if spec != "1.0" {
		errs = append(errs, fmt.Errorf("specversion %q is not 1.0", spec))
	}
	if e.ID == (ID{}) || e.Type == "" || e.Source == (StreamKey{}) {
		errs = append(errs, errors.New("id, source or type is missing"))
	}
	return e, errors.Join(errs...)
}

// SchemaURN names the JSON Schema of an event type's data.
func SchemaURN(eventType string) string { return schemaPrefix + eventType + ":" + version }

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// reference writes a source as a URI reference, which that attribute has to be: what
// no path may hold (RFC 3986, section 3.3) as percent and two hex digits. Vendors
// name accounts as they like.
func reference(source string) string {
	var b strings.Builder
	for n := range len(source) {
		switch c := source[n]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unreferenced is the inverse. Earlier versions wrote a source as it is: one that is
// no URI reference stays so.
func unreferenced(text string) string {
	if source, err := url.PathUnescape(text); err == nil {
		return source
	}
	return text
}

// clean writes control characters as percent and two hex digits.
func clean(s string) string {
	control := func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }
	if strings.IndexFunc(s, control) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if control(r) {
			fmt.Fprintf(&b, "%%%02X", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
