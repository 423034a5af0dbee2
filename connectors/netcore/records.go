package netcore

import (
	"strconv"
	"strings"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// transcript maps the rows of one answer.
type transcript struct {
	*api
	who   key
	basis []byte // of the latest row
}

// record maps a row: from, type, one field named after the type, createdAt,
// updatedAt and isPreviewUser are documented. There is no id of any kind, so the
// content is the identity, with the channel and the userId: a phone number on two
// channels is two users. The userId stays when a user gains a phone number, which
// is then the id to ask with. Another updatedAt is a version of the same row.
func (t *transcript) record(raw []byte, f *connectors.Fields) events.Record {
	r := events.Record{Type: events.TypeMessage, Key: t.who.user}
	t.beginBasis()
	var from, kind, payload []byte
	var word string
	behind := 0 // the member before
	r.Dead = f.Object(raw, func(name, value []byte) {
		member := trimMember(raw[behind:f.End()])
		behind = f.End()
		switch string(name) {
		case "updatedAt":
			return
		case "from":
			from = value
		case "type":
			kind = value
			word = connectors.Text(connectors.String(value))
		case "createdAt":
			r.Time = connectors.Time(value)
		default:
			if word != "" && string(name) == word {
				payload = raw[behind-len(value) : behind]
			}
		}
		t.addBasis(member)
	})
	if r.Dead != nil {
		return r
	}
	r.Basis = t.endBasis()
	if payload == nil && word != "" { // it may stand in front of the type
		payload = payloadOf(raw, word, &f.Inner)
	}
	t.write(f, &r, connectors.Text(connectors.String(from)), connectors.Text(connectors.String(kind)), payload)
	return r
}

// write writes the event's data.
func (t *transcript) write(f *connectors.Fields, r *events.Record, from, kind string, payload []byte) {
	f.TextOf("user_id", t.who.user)
	f.Text("bot", t.app)
	f.Text("channel", nameOrID(t.who.channel))
	f.Time("occurred_at", r.Time)
	switch {
	case from == "":
	case strings.EqualFold(from, "user"):
		f.Text("sender", "user")
		f.Text("direction", "inbound")
	case strings.EqualFold(from, "bot"):
		f.Text("sender", "bot")
		f.Text("direction", "outbound")
	default: // only User is documented; whoever else it is writes to the user
		f.Text("sender", "agent")
		f.Text("direction", "outbound")
	}
	if kind != "" {
		f.Text("kind", connectors.SnakeCase(kind))
	}
	if payload != nil && string(payload) != "null" {
		f.TextOf("text", textOf(kind, payload, &f.Inner))
		f.JSON("payload", payload)
	}
}

// payloadOf finds the field that is named after the type. What every row has is
// no payload.
func payloadOf(raw []byte, kind string, scan *events.Scanner) (payload []byte) {
	switch kind {
	case "from", "type", "createdAt", "updatedAt":
		return nil
	}
	return member(raw, kind, scan)
}

// The basis of a row's identity is [channel,"userId",{...}], or [channel,{...}]
// where no user is known: the row's members are copied as they stand.
func (t *transcript) beginBasis() {
	t.basis = append(t.basis[:0], '[')
	t.basis = strconv.AppendInt(t.basis, int64(t.who.channel), 10)
	t.basis = append(t.basis, ',')
	if t.who.user != "" {
		t.basis = append(append(t.basis, quoted(t.who.user)...), ',')
	}
	t.basis = append(t.basis, '{')
}

func (t *transcript) addBasis(member []byte) {
	if t.basis[len(t.basis)-1] != '{' {
		t.basis = append(t.basis, ',')
	}
	t.basis = append(t.basis, member...)
}

func (t *transcript) endBasis() []byte {
	t.basis = append(t.basis, "}]"...)
	return t.basis
}
