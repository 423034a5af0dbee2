package nats

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
)

func TestMetadataBecomesHeaders(t *testing.T) {
	msg := message.NewMessage("an id", []byte("x"))
	msg.Metadata = message.Metadata{
		"ce_source": "/a b/ž%", "content-type": "text/plain; charset=utf-8", "link": "https://x/a%20b", "name": "Žluťoučký", "padded": " a ",
		"marked": "UTF-8''a", "empty": "", "Nats-Msg-Id": "x", "nats-rollup": "all", "MILLRACE-Term": "x", "_watermill_message_uuid": "x",
	}
	got, err := header(msg)
	if err != nil {
		t.Fatal(err)
	}
	want := natsgo.Header{
		"ce-source": {"/a%20b/%C5%BE%25"}, "content-type": {"text/plain; charset=utf-8"}, "link": {"https://x/a%20b"},
		"name": {"UTF-8''%C5%BDlu%C5%A5ou%C4%8Dk%C3%BD"}, "padded": {"UTF-8''%20a%20"}, "marked": {"UTF-8''UTF-8''a"}, "empty": {""},
		"_watermill_message_uuid": {"an id"},
	}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestMetadataThatNoHeaderCanCarry(t *testing.T) {
	for name, payload := range map[string]string{
		"": "x", "a b": "x", "a:b": "x", "a\r\nb": "x", "ž": "x", "a(b": "x", "ce_a b": "x", "ce-id": "x", "Status": "",
	} {
		msg := message.NewMessage("id", []byte(payload))
		msg.Metadata[name] = "value"
		if h, err := header(msg); err == nil || strings.Contains(err.Error(), "value") {
			t.Errorf("metadata %q: %q, %v", name, h, err)
		}
	}
	msg := message.NewMessage("id", []byte("x"))
	msg.Metadata["Status"] = "503"
	if _, err := header(msg); err != nil {
		t.Errorf("a message with a payload may have a status: %v", err)
	}
}

// TestHeadersOfOthers reads what no publisher of ours has written.
func TestHeadersOfOthers(t *testing.T) {
	msg := received([]byte("x"), natsgo.Header{
		"Nats-Batch-Id": {"1"}, "nats-ttl": {"1"}, "Millrace-Term": {"1"}, "several": {"first", "second"}, "none": {},
		"odd": {"UTF-8''%zz"}, "ce-type": {"%zz"}, "ce-id": {"a%20b"}, "_watermill_message_uuid": {"other"},
	})
	want := message.Metadata{"several": "first", "odd": "UTF-8''%zz", "ce_type": "%zz", "ce_id": "a b"}
	if msg.UUID != "a b" || !maps.Equal(msg.Metadata, want) {
		t.Errorf("got %q with %q, want %q", msg.UUID, msg.Metadata, want)
	}
}

// FuzzMetadata sends any metadata: either it is refused, or it is received as it
// was, through headers that cannot speak to a server or be split.
func FuzzMetadata(f *testing.F) {
	f.Add("uuid", "name", "value")
	f.Add("a\nb", "ce_id", "%41 \r\nNats-Rollup: all")
	f.Add("", "Nats-Batch-Id", "1")
	f.Add(" ", "X", "UTF-8''a")
	f.Fuzz(func(t *testing.T, uuid, name, value string) {
		msg := message.NewMessage(uuid, []byte("x"))
		msg.Metadata[name] = value
		h, err := header(msg)
		if err != nil {
			return
		}
		for key, values := range h {
			if !headerName(key) || strings.HasPrefix(strings.ToLower(key), "nats-") || strings.HasPrefix(strings.ToLower(key), "millrace-") {
				t.Errorf("a header is named %q", key)
			}
			odd := func(r rune) bool { return r < ' ' || r > '~' }
			if len(values) != 1 || strings.ContainsFunc(values[0], odd) || strings.TrimSpace(values[0]) != values[0] {
				t.Errorf("header %q has the value %q", key, values)
			}
		}
		got := received(msg.Payload, h)
		if reserved(name) {
			delete(msg.Metadata, name)
		}
		if !maps.Equal(got.Metadata, msg.Metadata) {
			t.Errorf("got %q, want %q", got.Metadata, msg.Metadata)
		}
		if want := msg.Metadata[metadataID]; want == "" && uuid != "" && got.UUID != uuid || want != "" && got.UUID != want {
			t.Errorf("the UUID is %q of %q and id %q", got.UUID, uuid, want)
		}
	})
}
