package transforms

import (
	"fmt"
	"maps"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/events"
)

// attributePrefix is how the subscribers of topics/nats and topics/kafka name
// CloudEvents attributes in a message's metadata.
const attributePrefix = "ce_"

// Middleware has a Watermill router apply the chain to messages that are events of
// millrace, as the subscribers of topics/nats and topics/kafka deliver them. The
// handler behind it gets each event that is left, one call after the other; what
// the calls return is returned together. A message whose event is dropped is
// acknowledged, one that a step fails on is not: the error is a [*StepError], and
// a poison queue or a retry is the router's business. What is not an event is an
// error as well.
//
// What the chain routes to another topic has its name in the metadata "topic". A
// message that is handed on has the event's attributes, keeps other metadata and its
// context; one that was split has the id of its event as its UUID.
func (c *Chain) Middleware(h message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		e, err := eventOf(m)
		if err != nil {
			return nil, err
		}
		out, err := c.Apply(m.Context(), e)
		if err != nil {
			return nil, err
		}
		var produced []*message.Message
		for n := range out {
			made, err := h(messageOf(m, &out[n], len(out) > 1))
			if err != nil {
				return nil, err
			}
			produced = append(produced, made...)
		}
		return produced, nil
	}
}

// eventOf reads an event from a message.
func eventOf(m *message.Message) (events.Event, error) {
	attributes := make([]events.Attribute, 0, len(m.Metadata))
	for name, value := range m.Metadata {
		if name, ok := strings.CutPrefix(name, attributePrefix); ok {
			attributes = append(attributes, events.Attribute{Name: name, Value: value})
		}
	}
	e, err := events.FromAttributes(attributes)
	if err != nil {
		return e, fmt.Errorf("message %s is no event of millrace: %w", m.UUID, err)
	}
	if err := readData(&e, m.Payload); err != nil {
		return e, fmt.Errorf("the data of event %s: %w", e.ID, err)
	}
	return e, nil
}

// readData takes an event's data apart: one JSON object.
func readData(e *events.Event, data []byte) error {
	value := jsontext.Value(data)
	if value.Kind() != '{' || !value.IsValid() {
		return fmt.Errorf("it is not one JSON object")
	}
	var members []byte
	for i := space(data, 0) + 1; ; {
		name, v, end, ok := nextMember(data, i)
		if !ok {
			e.Members = members
			return nil
		}
		i = end
		if string(unquoted(name)) == rawName {
			e.Raw = v
			continue
		}
		if len(members) > 0 {
			members = append(members, ',')
		}
		members = append(append(append(members, name...), ':'), v...)
	}
}

// messageOf makes a message of an event that came of another message's.
func messageOf(m *message.Message, e *events.Event, several bool) *message.Message {
	uuid := m.UUID
	if several {
		uuid = e.ID.String()
	}
	made := message.NewMessage(uuid, e.AppendData(nil))
	made.SetContext(m.Context())
	maps.Copy(made.Metadata, m.Metadata)
	delete(made.Metadata, attributePrefix+"time") // which not all events have
	delete(made.Metadata, attributePrefix+"replay")
	for _, a := range new(events.Encoder).AppendAttributes(nil, e) {
		made.Metadata[attributePrefix+a.Name] = a.Value
	}
	if e.Topic != "" {
		made.Metadata["topic"] = e.Topic
	}
	return made
}
