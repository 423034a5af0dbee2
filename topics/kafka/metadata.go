package kafka

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	// headerUUID carries the UUID of a message that is no event.
	headerUUID = "_watermill_message_uuid"
	// reservedPrefix begins, in any case, the names of headers that are ours.
	reservedPrefix = "millrace-"

	attributeID  = attributePrefix + "id"
	attributeKey = attributePrefix + "partitionkey"
)

// Position says where a message lies on the cluster.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	Stored    time.Time // the record's timestamp: when it was made or stored, as the topic is set
}

type positionKey struct{}

// PositionOf returns where a message that a [Subscriber] has delivered lies; ctx is
// the message's.
func PositionOf(ctx context.Context) (Position, bool) {
	p, ok := ctx.Value(positionKey{}).(Position)
	return p, ok
}

// reserved says whether metadata of this name stay behind.
func reserved(name string) bool {
	return name == headerUUID || len(name) >= len(reservedPrefix) && strings.EqualFold(name[:len(reservedPrefix)], reservedPrefix)
}

// recordKey is the key of the record that a message becomes; nil for none.
func recordKey(m *message.Message) []byte {
	if key, ok := m.Metadata[attributeKey]; ok {
		return []byte(key)
	}
	return nil
}

// recordHeaders are those of the record that a message becomes.
func recordHeaders(m *message.Message) []protocol.Header {
	headers := make([]protocol.Header, 0, len(m.Metadata)+1)
	for name, value := range m.Metadata {
		if !reserved(name) {
			headers = append(headers, protocol.Header{Key: name, Value: []byte(value)})
		}
	}
	slices.SortFunc(headers, func(a, b protocol.Header) int { return strings.Compare(a.Key, b.Key) })
	if m.UUID != "" && m.Metadata[attributeID] == "" {
		headers = append(headers, protocol.Header{Key: headerUUID, Value: []byte(m.UUID)})
	}
	return headers
}

// delivery is a record to be delivered as a message, more than once if need be.
type delivery struct {
	at      Position
	uuid    string
	value   []byte
	headers []protocol.Header
}

// newDelivery copies what is kept of a record.
func newDelivery(r *record) *delivery {
	d := &delivery{
		at:    Position{Topic: r.topic, Partition: r.id, Offset: r.offset, Stored: r.time.UTC()},
		value: slices.Clone(r.value), headers: r.headers,
	}
	for _, h := range r.headers {
		if h.Key == attributeID && len(h.Value) > 0 {
			d.uuid = string(h.Value)
			break
		}
		if h.Key == headerUUID {
			d.uuid = string(h.Value)
		}
	}
	if d.uuid == "" {
		d.uuid = watermill.NewUUID()
	}
	return d
}

// message makes a message of it. Of several headers of one name the first counts.
func (d *delivery) message(ctx context.Context) *message.Message {
	m := message.NewMessage(d.uuid, d.value)
	for _, h := range d.headers {
		if _, there := m.Metadata[h.Key]; !there && !reserved(h.Key) {
			m.Metadata[h.Key] = string(h.Value)
		}
	}
	m.SetContext(context.WithValue(ctx, positionKey{}, d.at))
	return m
}
