package consumers

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/events"
)

// schema is a schema of the catalogue, or what it says of one member.
type schema struct {
	Type, Format, Pattern string
	ContentEncoding       string
	Enum                  []string
	Items                 *schema
	Properties            map[string]schema
	Required              []string
	Minimum               int
}

func schemaOf(t testing.TB, eventType string) schema {
	t.Helper()
	for _, e := range events.Catalogue() {
		if e.Name == eventType {
			var s schema
			if err := json.Unmarshal(e.Schema, &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatalf("the catalogue has no %s", eventType)
	return schema{}
}

// sample returns data of a type with all its members, which differ from each other.
func sample(t testing.TB, eventType string) []byte {
	t.Helper()
	properties := schemaOf(t, eventType).Properties
	var members []string
	for i, name := range slices.Sorted(maps.Keys(properties)) {
		members = append(members, fmt.Sprintf("%q:%s", name, properties[name].value(i)))
	}
	return []byte("{" + strings.Join(members, ",") + "}")
}

// value is one that a member may have.
func (s schema) value(n int) string {
	switch {
	case s.Enum != nil:
		return fmt.Sprintf("%q", s.Enum[0])
	case s.Pattern == "^[0-9a-f]{64}$":
		return fmt.Sprintf("%q", fmt.Sprintf("%064x", n))
	case s.Pattern == "^[0-9a-f]{32}$":
		return fmt.Sprintf("%q", fmt.Sprintf("%032x", n))
	case s.Format == "date-time":
		return fmt.Sprintf("%q", time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).Format(time.RFC3339Nano))
	case s.ContentEncoding == "base64":
		return `"AP8="`
	}
	switch s.Type {
	case "string":
		return fmt.Sprintf(`"text %d"`, n)
	case "boolean":
		return "false"
	case "integer":
		return fmt.Sprint(s.Minimum + n)
	case "number":
		return fmt.Sprintf("%d.5", n)
	case "array":
		return "[" + s.Items.value(n) + "," + s.Items.value(n+100) + "]"
	}
	return fmt.Sprintf(`{"free":[%d,null]}`, n)
}

// attributesOf are those that an event of a type has.
func attributesOf(eventType string) map[string]string {
	return map[string]string{
		"specversion": "1.0", "id": "00112233445566778899aabbccddeeff", "source": "/vendor/host:80/path/stream",
		"type": "io.millrace." + eventType + ".v1", "subject": `čau "50 %"`, "partitionkey": "čau 50%", "time": "2026-01-15T11:00:00.5Z",
		"dataschema": "urn:millrace:" + eventType + ":v1", "recordid": "a%20b", "recordedtime": "2026-01-15T12:00:00Z",
		"connector": "support", "replay": "true", "datacontenttype": "application/json",
	}
}

// messagesOf returns a message of each client that carries the same event.
func messagesOf(attributes map[string]string, data []byte) map[string]any {
	onNATS := &nats.Msg{Subject: "elsewhere", Data: data, Header: nats.Header{"Nats-Batch-Id": {"x"}}}
	onKafka := kafka.Message{Topic: "elsewhere", Value: data, Headers: []kafka.Header{{Key: "other", Value: []byte("x")}}}
	inWatermill := message.NewMessage("uuid", data)
	inWatermill.Metadata["other"] = "x"
	for name, value := range attributes {
		if name == contentType {
			onNATS.Header[contentHeader] = []string{value}
			onKafka.Headers = append(onKafka.Headers, kafka.Header{Key: contentHeader, Value: []byte(value)})
			inWatermill.Metadata[contentHeader] = value
			continue
		}
		onNATS.Header["ce-"+name] = []string{percentEncoded(value), "second"}
		onKafka.Headers = append(onKafka.Headers, kafka.Header{Key: "ce_" + name, Value: []byte(value)})
		inWatermill.Metadata["ce_"+name] = value
	}
	for name := range attributes {
		onKafka.Headers = append(onKafka.Headers, kafka.Header{Key: "ce_" + name, Value: []byte("second")})
	}
	return map[string]any{
		"*nats.Msg": onNATS, "jetstream.Msg": fromJetStream{Msg: nil, of: onNATS},
		"kafka.Message": onKafka, "*kafka.Message": &onKafka, "*message.Message": inWatermill,
	}
}

// fromJetStream is what a JetStream consumer delivers.
type fromJetStream struct {
	jetstream.Msg
	of *nats.Msg
}

func (m fromJetStream) Headers() nats.Header { return m.of.Header }
func (m fromJetStream) Data() []byte         { return m.of.Data }

// percentEncoded writes what the CloudEvents binding for NATS does not let through.
func percentEncoded(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
