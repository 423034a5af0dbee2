package kafka

import (
	"strings"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/millrace-io/millrace/events"
)

// The CloudEvents Kafka protocol binding in binary mode: an attribute is a
// header with this prefix and the value as it is, in UTF-8; the record's value
// is the data and its key the partition key.
const (
	attributePrefix   = "ce_"
	headerContentType = "content-type"
)

// attributes reads the CloudEvents attributes of a record. It writes over dst
// from its start, and keeps the texts there that come again: most attributes are
// the same from one event to the next.
func attributes(dst []events.Attribute, headers []protocol.Header) []events.Attribute {
	before := dst[:cap(dst)]
	dst = dst[:0]
	for i := range headers {
		name, ok := strings.CutPrefix(headers[i].Key, attributePrefix)
		if !ok {
			continue
		}
		a := events.Attribute{Name: name}
		if n := len(dst); n < len(before) && before[n].Value == string(headers[i].Value) {
			a.Value = before[n].Value
		} else {
			a.Value = string(headers[i].Value)
		}
		dst = append(dst, a)
	}
	return dst
}

// attribute returns the value of one attribute, "" where it is missing.
func attribute(attributes []events.Attribute, name string) string {
	for i := range attributes {
		if attributes[i].Name == name {
			return attributes[i].Value
		}
	}
	return ""
}
