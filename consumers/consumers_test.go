package consumers

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/events"
)

// The same event is decoded from whatever delivers it.
func TestDecode(t *testing.T) {
	for _, e := range events.Catalogue() {
		data := sample(t, e.Name)
		typed, err := decodeData(e.Name, data)
		if err != nil {
			t.Fatal(err)
		}
		want := &Event{
			ID: "00112233445566778899aabbccddeeff", Source: "/vendor/host:80/path/stream", Type: e.Name,
			Subject: `čau "50 %"`, PartitionKey: "čau 50%", Time: time.Date(2026, 1, 15, 11, 0, 0, 5e8, time.UTC),
			DataSchema: "urn:millrace:" + e.Name + ":v1", DataContentType: "application/json", RecordID: "a%20b",
			RecordedTime: time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC), Connector: "support", Replay: true,
			Data: typed, JSON: data,
		}
		for kind, msg := range messagesOf(attributesOf(e.Name), data) {
			if have, err := Decode(msg); err != nil || !reflect.DeepEqual(have, want) {
				t.Errorf("%s as %s is\n%+v, %v, want\n%+v", e.Name, kind, have, err, want)
			}
		}
	}
}

// Decode tells what others have added, and a type or version of later.
func TestDecodeOfLaterVersions(t *testing.T) {
	for given, want := range map[string]string{"io.millrace.alert.v1": "alert", "io.millrace.message.v2": "message.v2", "io.millrace.message.v10": "message.v10"} {
		attributes := attributesOf(events.TypeMessage)
		maps.Copy(attributes, map[string]string{"type": given, "severity": "50 %"})
		for kind, msg := range messagesOf(attributes, []byte(`["anything"]`)) {
			e, err := Decode(msg)
			if err != nil || e.Type != want || e.Data != nil || string(e.JSON) != `["anything"]` || e.ID == "" {
				t.Errorf("%s as %s is %+v, %v", given, kind, e, err)
			} else if !maps.Equal(e.Extensions, map[string]string{"severity": "50 %"}) {
				t.Errorf("%s as %s has the extensions %v", given, kind, e.Extensions)
			}
		}
	}
}

// What is no event is told from what is one with data that do not fit.
func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		attribute, value string
		want             string
	}{
		{"specversion", "", "no CloudEvents attributes"},
		{"specversion", "0.3", "specversion"},
		{"id", "4711", "32 hex digits"},
		{"id", "", "id"},
		{"source", "vendor", "/vendor/account/stream"},
		{"type", "com.example.order", "io.millrace."},
		{"type", "io.millrace.message", "io.millrace."},
		{"type", "io.millrace..v1", "io.millrace."},
		{"type", "io.millrace.message.v1.v1", "io.millrace."},
		{"type", "", "io.millrace."},
		{"time", "yesterday", "RFC 3339"},
		{"recordedtime", "0", "RFC 3339"},
	} {
		attributes := attributesOf(events.TypeMessage)
		attributes[c.attribute] = c.value
		if c.value == "" {
			delete(attributes, c.attribute)
		}
		for kind, msg := range messagesOf(attributes, []byte("{}")) {
			if e, err := Decode(msg); e != nil || !errors.Is(err, ErrNotEvent) || errors.Is(err, ErrData) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("with the %s %q a %s is %v, %v", c.attribute, c.value, kind, e, err)
			}
		}
	}
	for _, msg := range []any{
		nil, (*nats.Msg)(nil), (*kafka.Message)(nil), (*message.Message)(nil), "text", 5, nats.Msg{},
		&nats.Msg{}, kafka.Message{}, &kafka.Message{}, &message.Message{}, fromJetStream{of: &nats.Msg{}},
		// Structured mode.
		&nats.Msg{Header: nats.Header{"content-type": {"application/cloudevents+json"}}, Data: []byte(`{"specversion":"1.0"}`)},
	} {
		if e, err := Decode(msg); e != nil || !errors.Is(err, ErrNotEvent) {
			t.Errorf("%#v is %v, %v", msg, e, err)
		}
	}
}

// The error for data says where they are wrong, and holds none of them.
func TestDecodeOfDataThatDoNotFit(t *testing.T) {
	for data, want := range map[string]string{
		``:                                "no JSON",
		`null`:                            "null",
		`["secret"]`:                      "an array",
		`"secret"`:                        "a string",
		`{"status":"secret"}`:             "/status is a string that cannot be read as int64",
		`{"status":4711.5}`:               "/status is a number that cannot be read as int64",
		`{"status":{"secret":1}}`:         "/status is an object",
		`{"ok":"secret"}`:                 "/ok is a string that cannot be read as bool",
		`{"url":4711}`:                    "/url is a number that cannot be read as string",
		`{"occurred_at":"secret"}`:        "/occurred_at is a string that cannot be read as time.Time",
		`{"occurred_at":4711}`:            "/occurred_at is a number that cannot be read as time.Time",
		`{"url":"secret",`:                "byte",
		`{"url":"a"} "secret"`:            "byte 12",
		`{"raw":{"secret":1,"secret":2}}`: "byte",
		"{\"url\":\"secret\xff\"}":        "byte",
	} {
		attributes := attributesOf(events.TypeIntegrationCall)
		for kind, msg := range messagesOf(attributes, []byte(data)) {
			e, err := Decode(msg)
			if !errors.Is(err, ErrData) || errors.Is(err, ErrNotEvent) {
				t.Errorf("%s as %s: %v", data, kind, err)
				continue
			}
			said := err.Error()
			if !strings.Contains(said, want) || !strings.Contains(said, attributes["id"]) || strings.Contains(said, "secret") || strings.Contains(said, "4711") {
				t.Errorf("of %s as %s it says %q, want %q in it", data, kind, said, want)
			}
			if e == nil || e.Data != nil || string(e.JSON) != data || e.Type != events.TypeIntegrationCall || e.ID != attributes["id"] {
				t.Errorf("%s as %s is %+v", data, kind, e)
			}
		}
	}
	_, err := decodeData(events.TypeDeadLetter, []byte(`{"record_base64":"secret!"}`))
	if err == nil || !strings.Contains(err.Error(), "/record_base64") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	_, err = decodeData(events.TypeEmail, []byte(`{"to":["a",4711]}`))
	if err == nil || !strings.Contains(err.Error(), "/to/1 is a number") {
		t.Error(err)
	}
}

func BenchmarkDecode(b *testing.B) {
	data := sample(b, events.TypeMessage)
	for kind, msg := range messagesOf(attributesOf(events.TypeMessage), data) {
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
