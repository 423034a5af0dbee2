package consumers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/events"
)

// Whatever a message holds, Decode does not panic, and takes an event from each
// broker for the same; what it decodes is what the attributes say, and encodes to
// the same event again. Members that a type does not have change nothing.
func FuzzDecode(f *testing.F) {
	var samples []typed
	for i, e := range events.Catalogue() {
		data, properties := sample(f, e.Name), schemaOf(f, e.Name).Properties
		want, err := decodeData(e.Name, data)
		if err != nil {
			f.Fatal(err)
		}
		samples = append(samples, typed{e.Name, data, want, properties})
		attributes := attributesOf(e.Name)
		if i%2 == 0 {
			delete(attributes, "time")
			attributes["more"] = "text"
		}
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			lines = append(lines, name+":"+attributes[name])
		}
		f.Add(strings.Join(lines, "\n"), data, "added")
	}
	f.Add("specversion:1.0\nid:00112233445566778899aabbccddeefF\nsource:/a//b\ntype:io.millrace.x.v2\ntime:0000-01-01T00:00:00+23:59", []byte(`{"status":1e400}`), "raw")
	f.Add("ce-id:%zz\nce_id:\xff\ncontent-type:%41", []byte("\x00"), "")
	f.Fuzz(func(t *testing.T, header string, data []byte, member string) {
		anything(header, data)
		attributes := map[string]string{}
		for line := range strings.SplitSeq(header, "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && name != "" {
				attributes[name] = value
			}
		}
		e := sameOnAll(t, attributes, data)
		if e != nil {
			saysWhatItHas(t, e, attributes, data)
		}
		for _, s := range samples {
			s.withMember(t, member, data)
		}
	})
}

// anything decodes headers as they come.
func anything(header string, data []byte) {
	onNATS, inWatermill := nats.Header{}, message.NewMessage("", data)
	var onKafka []kafka.Header
	for line := range strings.SplitSeq(header, "\n") {
		name, value, _ := strings.Cut(line, ":")
		onNATS[name] = append(onNATS[name], value)
		onKafka = append(onKafka, kafka.Header{Key: name, Value: []byte(value)})
		inWatermill.Metadata[name] = value
	}
	onNATS["ce-empty"] = nil
	for _, msg := range []any{&nats.Msg{Header: onNATS, Data: data}, kafka.Message{Headers: onKafka, Value: data}, inWatermill} {
		_, _ = Decode(msg)
	}
}

// sameOnAll returns the event that all clients' messages hold; nil for none.
func sameOnAll(t *testing.T, attributes map[string]string, data []byte) (e *Event) {
	t.Helper()
	var first error
	for i, msg := range slices.Collect(maps.Values(messagesOf(attributes, data))) {
		other, err := Decode(msg)
		if i == 0 {
			e, first = other, err
		}
		if !reflect.DeepEqual(other, e) || (err == nil) != (first == nil) {
			t.Fatalf("%T is %+v, %v, another\n%+v, %v", msg, other, err, e, first)
		}
		if err == nil && other == nil {
			t.Fatalf("%T is neither an event nor an error", msg)
		}
	}
	return e
}

func saysWhatItHas(t *testing.T, e *Event, attributes map[string]string, data []byte) {
	t.Helper()
	again := reencoded(e)
	for name, value := range attributes {
		have := again[name]
		switch name {
		case "id":
			value = strings.ToLower(value)
		case "replay": // else it is none
			if value != "true" {
				value = ""
			}
		case "time", "recordedtime":
			at, err := time.Parse(time.RFC3339Nano, value)
			if back, err2 := time.Parse(time.RFC3339Nano, have); err != nil || err2 != nil && have != "" && inRange(at) || err2 == nil && !back.Equal(at) {
				t.Fatalf("the %s %q is %q", name, value, have)
			}
			continue
		}
		if have != value {
			t.Fatalf("the attribute %s is %q, want %q", name, have, value)
		}
	}
	if string(e.JSON) != string(data) {
		t.Fatalf("JSON is %q", e.JSON)
	}
	if !inRange(e.Time) || !inRange(e.RecordedTime) {
		return
	}
	if back := sameOnAll(t, again, data); back == nil || !back.Time.Equal(e.Time) || !back.RecordedTime.Equal(e.RecordedTime) {
		t.Fatalf("%+v comes back as %+v", e, back)
	}
}

// reencoded returns an event's attributes as the service writes them.
func reencoded(e *Event) map[string]string {
	to := maps.Clone(e.Extensions)
	if to == nil {
		to = map[string]string{}
	}
	name, version := e.Type, "v1"
	if short, other, ok := strings.Cut(e.Type, "."); ok {
		name, version = short, other
	}
	for attribute, value := range map[string]string{
		"specversion": "1.0", "id": e.ID, "source": e.Source, "type": "io.millrace." + name + "." + version, "subject": e.Subject,
		"partitionkey": e.PartitionKey, "dataschema": e.DataSchema, contentType: e.DataContentType,
		"recordid": e.RecordID, "connector": e.Connector,
	} {
		if value != "" {
			to[attribute] = value
		}
	}
	if e.Replay {
		to["replay"] = "true"
	}
	for attribute, at := range map[string]time.Time{"time": e.Time, "recordedtime": e.RecordedTime} {
		if !at.IsZero() {
			to[attribute] = at.UTC().Format(time.RFC3339Nano)
		}
	}
	return to
}

// inRange says whether RFC 3339 can write a time in UTC.
func inRange(at time.Time) bool { return at.UTC().Year() >= 0 && at.UTC().Year() <= 9999 }

// typed is a valid event of a type.
type typed struct {
	name       string
	data       []byte
	want       any
	properties map[string]schema
}

// withMember adds a member that the type does not have.
func (s *typed) withMember(t *testing.T, name string, value []byte) {
	t.Helper()
	if _, known := s.properties[name]; known {
		return
	}
	if !jsontext.Value(value).IsValid() {
		value = []byte(`"other"`)
	}
	quoted, err := jsontext.AppendQuote(nil, name)
	if err != nil {
		return // no UTF-8
	}
	more := fmt.Appendf(nil, "{%s:%s,%s", quoted, value, s.data[1:])
	if have, err := decodeData(s.name, more); err != nil || !reflect.DeepEqual(have, s.want) {
		t.Fatalf("%s is\n%+v, %v, want\n%+v", more, have, err, s.want)
	}
}
