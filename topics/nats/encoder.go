package nats

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// encoder makes the messages of one polled stream. It fills one message again
// and again: the connection encodes each before it returns, so a batch of a
// thousand events makes no thousand header maps.
type encoder struct {
	names      names
	key        events.StreamKey
	checkpoint string
	term       string
	tag        string // names the stream in its batch ids

	msg        natsgo.Msg
	headers    map[string]*slot // by header name
	attributes map[string]*slot // by attribute name
	// subject of the last event: neighbours mostly share it.
	lastTopic, lastConnector, lastSubject string
}

// slot is one header that is used again.
type slot struct {
	name  string
	plain string // what value is the encoding of: neighbours share many values
	value []string
}

func newEncoder(n names, key events.StreamKey, term string) *encoder {
	subject := n.checkpoint(key)
	return &encoder{
		names: n, key: key, checkpoint: subject, term: term, tag: batchTag(subject),
		msg:     natsgo.Msg{Header: natsgo.Header{}},
		headers: map[string]*slot{}, attributes: map[string]*slot{},
	}
}

const tagLen = 11

// batchTag names a stream, by its checkpoint's subject, in the ids of its
// batches: so the repair of a half-written batch finds the checkpoint that
// would prove it whole.
func batchTag(checkpointSubject string) string {
	sum := sha256.Sum256([]byte(checkpointSubject))
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}

// batchID is new for each attempt: the messages of one that was cut off may
// still lie open on the server.
func (e *encoder) batchID() string { return e.tag + "." + nuid.Next()[10:] }

// tagOf is the inverse of batchID, as far as it can be.
func tagOf(batchID string) (tag string, ours bool) {
	if len(batchID) != tagLen+1+12 || batchID[tagLen] != '.' {
		return "", false
	}
	return batchID[:tagLen], true
}

func (e *encoder) set(name, value string) {
	s := e.headers[name]
	if s == nil {
		s = &slot{name: name, value: make([]string, 1)}
		e.headers[name] = s
	}
	s.value[0] = value
	e.msg.Header[s.name] = s.value
}

// attribute is set with the binding's prefix, without making its name anew.
func (e *encoder) attribute(a events.Attribute) {
	s := e.attributes[a.Name]
	if s == nil {
		s = &slot{name: attributePrefix + a.Name, value: make([]string, 1)}
		e.attributes[a.Name] = s
	}
	if s.plain != a.Value {
		s.plain, s.value[0] = a.Value, encodeValue(a.Value)
	}
	e.msg.Header[s.name] = s.value
}

// begin empties the message for the n-th place of a batch.
func (e *encoder) begin(batch string, n int) {
	clear(e.msg.Header)
	e.set(headerBatchID, batch)
	e.set(headerBatchSeq, strconv.Itoa(n))
}

// event fills the message with an event.
func (e *encoder) event(m *topics.Message, batch string, n int) (*natsgo.Msg, error) {
	if m.Topic != e.lastTopic || m.Connector != e.lastConnector || e.lastSubject == "" {
		subject, err := e.names.event(m.Topic, m.Connector)
		if err != nil {
			return nil, err
		}
		e.lastTopic, e.lastConnector, e.lastSubject = m.Topic, m.Connector, subject
	}
	e.begin(batch, n)
	e.set(headerContentType, events.ContentType)
	for _, a := range m.Attributes {
		e.attribute(a)
	}
	e.msg.Subject, e.msg.Data = e.lastSubject, m.Data
	return &e.msg, nil
}

// entry fills the message with a ledger entry.
func (e *encoder) entry(entry *topics.Entry, batch string, n int) *natsgo.Msg {
	e.begin(batch, n)
	e.set(headerTTL, "never")
	e.msg.Subject, e.msg.Data = e.names.entry(e.key, entry.Name), entry.Data
	return &e.msg
}

// last fills the message with the checkpoint that ends a batch.
func (e *encoder) last(id string, checkpoint []byte, after uint64, batch string, n int) *natsgo.Msg {
	e.begin(batch, n)
	e.set(headerBatchCommit, "1")
	return e.swap(id, checkpoint, after)
}

// alone fills the message with a checkpoint outside any batch.
func (e *encoder) alone(id string, checkpoint []byte, after uint64) *natsgo.Msg {
	clear(e.msg.Header)
	return e.swap(id, checkpoint, after)
}

func (e *encoder) swap(id string, checkpoint []byte, after uint64) *natsgo.Msg {
	e.set(headerExpected, strconv.FormatUint(after, 10))
	e.set(headerRollup, "sub")
	e.set(headerTTL, "never")
	e.set(headerCommit, id)
	e.set(headerTerm, e.term)
	e.msg.Subject, e.msg.Data = e.checkpoint, checkpoint
	return &e.msg
}
