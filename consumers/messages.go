package consumers

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/segmentio/kafka-go"
)

// How brokers' messages carry the attributes of an event: in headers with a prefix,
// but for its content type.
const (
	natsPrefix    = "ce-"
	kafkaPrefix   = "ce_" // also in Watermill's metadata, on both brokers
	contentHeader = "content-type"
)

var errNoMessage = errors.New("there is no message")

// parts returns the attributes and the data of a message.
func parts(msg any) (attributes map[string]string, data []byte, err error) {
	switch m := msg.(type) {
	case *nats.Msg:
		if m != nil {
			return fromNATS(m.Header), m.Data, nil
		}
	case jetstream.Msg:
		return fromNATS(m.Headers()), m.Data(), nil
	case kafka.Message:
		return fromKafka(m.Headers), m.Value, nil
	case *kafka.Message:
		if m != nil {
			return fromKafka(m.Headers), m.Value, nil
		}
	case *message.Message:
		if m != nil {
			return fromWatermill(m.Metadata), m.Payload, nil
		}
	case nil:
	default:
		return nil, nil, fmt.Errorf("a %T is no message of a client that is known here", msg)
	}
	return nil, nil, errNoMessage
}

// fromNATS reads headers as the CloudEvents binding for NATS writes them: values are
// percent-encoded. One that no encoder wrote stays as it is, and of several values
// the first counts.
func fromNATS(header nats.Header) map[string]string {
	attributes := make(map[string]string, len(header))
	for key, values := range header {
		if name := attribute(key, natsPrefix); name != "" && len(values) > 0 {
			attributes[name] = values[0]
			if plain, err := url.PathUnescape(values[0]); err == nil && name != contentType {
				attributes[name] = plain
			}
		}
	}
	return attributes
}

// fromKafka reads headers as the CloudEvents binding for Kafka writes them. Of
// several of one name the first counts.
func fromKafka(headers []kafka.Header) map[string]string {
	attributes := make(map[string]string, len(headers))
	for i := range headers {
		name := attribute(headers[i].Key, kafkaPrefix)
		if _, there := attributes[name]; !there && name != "" {
			attributes[name] = string(headers[i].Value)
		}
	}
	return attributes
}

func fromWatermill(metadata message.Metadata) map[string]string {
	attributes := make(map[string]string, len(metadata))
	for key, value := range metadata {
		if name := attribute(key, kafkaPrefix); name != "" {
			attributes[name] = value
		}
	}
	return attributes
}

// attribute returns the name of the attribute that a header holds; "" for none.
func attribute(header, prefix string) string {
	if header == contentHeader {
		return contentType
	}
	name, ok := strings.CutPrefix(header, prefix)
	if !ok || name == contentType { // which no binding writes so
		return ""
	}
	return name
}
