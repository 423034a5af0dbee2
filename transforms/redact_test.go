package transforms_test

import (
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
)

// What redaction makes of data.
func TestRedact(t *testing.T) {
	const every = "kinds: [email, phone, card, ip, credentials]"
	for _, c := range []struct{ redact, data, want string }{
		{every, `{"text":"mail jane@example.com"}`, `{"text":"mail ***"}`},
		{every, `{"text":"mail jane\u0040example.com\n"}`, `{"text":"mail ***\n"}`},
		{every, `{"text":"https:\/\/me:pw@example.com\/a"}`, `{"text":"https://***@example.com/a"}`},
		{every, `{"text":"nothing\/here \u00e9"}`, `{"text":"nothing\/here \u00e9"}`},
		{every, `{"raw":{ "a" : [ "jane@example.com" , 4111111111111111 , true ] , "n" : 1.0}}`, `{"raw":{"a":["***","***",true],"n":1.0}}`},
		{every, `{"raw":{"jane@example.com":1,"joe@example.com":2,"***":3,"a":4}}`, `{"raw":{"***":1,"***_2":2,"***_3":3,"a":4}}`},
		{every, `{"raw":{"s":"{\"to\":\"jane\\u0040example.com\",\"at\":1.0}"}}`, `{"raw":{"s":"{\"to\":\"***\",\"at\":1.0}"}}`},
		{every, `{"raw":{"s":" [\"call\\n0791234567\"] "}}`, `{"raw":{"s":"[\"call\\n***\"]"}}`},
		{every, `{"raw":{"s":"[\"https:\\\/\\\/me:pw@example.com\"]"}}`, `{"raw":{"s":"[\"https://***@example.com\"]"}}`},
		{every, `{"occurred_at":"2026-01-01T00:00:00Z","sender":"user","raw":{"time":1767225600}}`, `{"occurred_at":"2026-01-01T00:00:00Z","sender":"user","raw":{"time":1767225600}}`},
		{every + ", raw: keep", `{"text":"jane@example.com","raw":{"a":"jane@example.com"}}`, `{"text":"***","raw":{"a":"jane@example.com"}}`},
		{every + ", raw: drop", `{"text":"jane@example.com","raw":{"a":"jane@example.com"}}`, `{"text":"***"}`},
		{every + ", mask: x", `{"text":"a@x.example@b.example https://me:pw@h"}`, `{"text":"x https://x@h"}`},
		{every + ", mask: x", `{"raw":{"https://x@h":1}}`, `{"raw":{"https://x@h":1}}`},
		{every + ", mask: ''", `{"text":"a jane@example.com b"}`, `{"text":"a  b"}`},
		{every + ", with: drop", `{"text":"a jane@example.com b","raw":{"n":4111111111111111}}`, `{"text":"a  b","raw":{"n":""}}`},
		{"kinds: [email], fields: [text]", `{"text":"jane@example.com","user_id":"jane@example.com","raw":{"a":"jane@example.com"}}`, `{"text":"***","user_id":"jane@example.com","raw":{"a":"***"}}`},
		{"fields: [text]", `{"text":"a","user_id":"u","raw":{"a":1}}`, `{"text":"***","user_id":"u"}`},
		{"fields: [text], raw: keep", `{"text":"a","raw":{"a":1}}`, `{"text":"***","raw":{"a":1}}`},
		{"fields: [text, raw.a]", `{"text":"a","raw":{"a":1,"b":"x"}}`, `{"text":"***","raw":{"a":"***","b":"x"}}`},
		{"fields: ['raw.*.a'], with: drop", `{"raw":{"x":{"a":1,"b":2},"y":[{"a":1}]}}`, `{"raw":{"x":{"b":2},"y":[{}]}}`},
		{"fields: [occurred_at], with: drop", `{"occurred_at":"2026-01-01T00:00:00Z","bot":"b"}`, `{"bot":"b"}`},
		{"fields: [payload]", `{"payload":null}`, `{"payload":null}`},
		{"fields: [payload]", `{"payload":[1,{}]}`, `{"payload":"***"}`},
	} {
		out, err := chainOf(t, "  - {redact: {"+c.redact+"}, types: [message]}\n").Apply(t.Context(), event(t, "message", c.data))
		if err != nil || len(out) != 1 || string(out[0].AppendData(nil)) != c.want {
			t.Errorf("%s\non   %s\ngot  %s %v\nwant %s", c.redact, c.data, out[0].AppendData(nil), err, c.want)
		}
	}
}

// One thing has one hash, however it is written; another key gives another.
func TestHash(t *testing.T) {
	hash := func(key, id string, e events.Event) events.Event {
		t.Helper()
		out, err := chainOf(t, "  - {redact: {kinds: [email, phone, card], with: hash, key: "+key+id+"}}\n").Apply(t.Context(), e)
		if err != nil || len(out) != 1 {
			t.Fatal(out, err)
		}
		return out[0]
	}
	text := func(s string) string {
		e := hash("0123456789abcdef", "", event(t, "message", `{"text":"`+s+`"}`))
		return string(e.AppendData(nil))
	}
	for _, same := range [][2]string{{"Jane@Example.com", "jane@example.com"}, {"+41 79 123 45 67", "+41791234567"}, {"4111 1111 1111 1111", "4111-1111-1111-1111"}} {
		if a, b := text(same[0]), text(same[1]); a != b || strings.Contains(a, same[0]) {
			t.Errorf("%s and %s: %s and %s", same[0], same[1], a, b)
		}
	}
	e := event(t, "message", `{"text":"jane@example.com"}`)
	e.Key, e.RecordID = "jane@example.com", "no address"
	one, other := hash("0123456789abcdef", "", e), hash("0123456789abcdeF", ", key_id: k2", e)
	if string(one.Members) != `"text":"`+one.Key+`"` || len(one.Key) != 32 || one.RecordID != "no address" {
		t.Errorf("%s, key %s, record %s", one.Members, one.Key, one.RecordID)
	}
	if !strings.HasPrefix(other.Key, "k2:") || strings.HasSuffix(other.Key, one.Key) || one.ID != e.ID {
		t.Errorf("%s and %s", one.Key, other.Key)
	}
}

// Attributes that are named are hashed, and nothing else then; what an event does not
// have it does not get.
func TestHashOfAttributes(t *testing.T) {
	for _, c := range []struct {
		redact, key, want string
		changed           bool
	}{
		{"fields: [event.key]", "jane", `{"text":"jane@example.com"}`, true},
		{"fields: [event.key]", "", `{"text":"jane@example.com"}`, false},
		{"fields: [event.key], kinds: [email], raw: keep", "jane@example.com", `{"text":"jane@example.com","raw":{"a":1}}`, true},
		{"fields: [event.key], kinds: [email], raw: keep", "jane", `{"text":"jane@example.com","raw":{"a":1}}`, false},
		{"fields: [event.record_id], raw: keep", "jane", `{"text":"jane@example.com","raw":{"a":1}}`, false},
	} {
		e := event(t, "message", `{"text":"jane@example.com","raw":{"a":1}}`)
		e.Key = c.key
		out, err := chainOf(t, "  - {redact: {"+c.redact+", with: hash, key: 0123456789abcdef}}\n").Apply(t.Context(), e)
		if err != nil || string(out[0].AppendData(nil)) != c.want || (out[0].Key != c.key) != c.changed {
			t.Errorf("%s: %s, key %q, %v", c.redact, out[0].AppendData(nil), out[0].Key, err)
		}
		if (out[0].RecordID != e.RecordID) != strings.Contains(c.redact, "record_id") {
			t.Errorf("%s: record %q", c.redact, out[0].RecordID)
		}
	}
}

// White space around a record changes nothing.
func TestRecordInSpace(t *testing.T) {
	e := event(t, "message", `{}`)
	e.Raw = []byte(" \n{\"a\":\"jane@example.com\"} ")
	out := applied(t, chainOf(t, "  - {redact: {kinds: [email]}}\n  - {drop_fields: [raw.b]}\n  - {filter: raw.a == \"***\"}\n"), &e, schemas(t))
	if len(out) != 1 || strings.TrimSpace(string(out[0].Raw)) != `{"a":"***"}` {
		t.Error(out)
	}
}

// A mask may not be valid where it is written: that is an error of the step, which
// holds nothing of the event.
func TestRedactWhatHasAType(t *testing.T) {
	chain := chainOf(t, "  - {redact: {fields: ['to.*', 'attributes.*']}, types: [email, user]}\n")
	valid := schemas(t)
	for _, e := range []events.Event{event(t, "email", `{"to":["jane@example.com",{"a":1}]}`), event(t, "user", `{"attributes":{"a":1}}`)} {
		if len(applied(t, chain, &e, valid)) != 1 {
			t.Error(e.Type)
		}
	}
}
