package events

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Members builds an event's data, member by member: the braces and raw are
// added when the event is encoded. The zero value is ready; values that are
// unknown are simply not added.
type Members []byte

// Text adds a string. Bytes that are not UTF-8 become U+FFFD.
func (m *Members) Text(name, value string) {
	m.name(name)
	*m, _ = jsontext.AppendQuote(*m, value)
}

// TextOf adds a string that is there; an empty one is left out.
func (m *Members) TextOf(name, value string) {
	if value != "" {
		m.Text(name, value)
	}
}

// Time adds a time as RFC 3339 in UTC; the zero time is left out.
func (m *Members) Time(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	m.name(name)
	*m = append(*m, '"')
	*m = t.UTC().AppendFormat(*m, time.RFC3339Nano)
	*m = append(*m, '"')
}

// JSON adds one valid JSON value as it is; an empty one is left out.
func (m *Members) JSON(name string, value []byte) {
	if len(value) == 0 {
		return
	}
	m.name(name)
	*m = append(*m, value...)
}

func (m *Members) name(name string) {
	if len(*m) > 0 {
		*m = append(*m, ',')
	}
	*m = append(*m, '"')
	*m = append(*m, name...)
	*m = append(*m, `":`...)
}
