package app

import (
	"slices"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

func TestSummary(t *testing.T) {
	var types []string
	for _, c := range []struct{ eventType, data, want string }{
		{events.TypeMessage, `{"sender":"user","kind":"text","text":"hi"}`, "user: hi"},
		{events.TypeMessage, `{"direction":"outbound","kind":"image"}`, "outbound: [image]"},
		{events.TypeEmail, `{"to":["a@b","c@d"],"subject":"Your request"}`, "to a@b, c@d: Your request"},
		{events.TypeSMS, `{"to":["+1"],"text":"hi"}`, "to +1: hi"},
		{events.TypeClick, `{"url":"https://x/y","domain":"x"}`, "https://x/y"},
		{events.TypeIntegrationCall, `{"url":"https://x/y","host":"x","method":"POST","status":500,"duration_ms":1e400}`, "POST x 500"},
		{events.TypeIntegrationCall, `{"url":"/y"}`, "/y"},
		{events.TypeUser, `{"user_id":"u1","name":"Jana","tags":["a","b"]}`, "Jana a,b"},
		{events.TypeUserSnapshot, `{"user_id":"u1"}`, "u1"},
		{events.TypeUnhandledInput, `{"text":"hm","result":null}`, "not understood: hm"},
		{events.TypeUnhandledInput, `{"result":{"a":1}}`, `not understood: {"a":1}`},
		{events.TypeAnswer, `{"text":"when?","intent":"hours","score":1e400}`, "when? -> hours 1e400"},
		{events.TypeConversation, `{"status":"open","tags":["a"]}`, "open a"},
		{events.TypeUsage, `{"month":"2026-11","channel":"whatsapp","total_messages":70,"total_users":9}`, "2026-11 whatsapp: 70 messages, 9 users"},
		{events.TypeDeadLetter, `{"reason":"not_json","detail":"cut"}`, "not_json: cut"},
		{"later", `{"a":1}`, `{"a":1}`},
	} {
		types = append(types, c.eventType)
		if got := summary(c.eventType, []byte(c.data)); got != c.want {
			t.Errorf("%s: %q, want %q", c.eventType, got, c.want)
		}
	}
	for _, e := range events.Catalogue() {
		if !slices.Contains(types, e.Name) {
			t.Errorf("%s has no summary", e.Name)
		}
	}
}

// Whatever a message on a topic says it is, a terminal takes no orders from it.
func TestPrettyIsSafe(t *testing.T) {
	for _, attributes := range [][]events.Attribute{
		{{Name: "type", Value: "io.millrace.\x1b[2J.v1"}, {Name: "source", Value: "/a/b/c"}, {Name: "specversion", Value: "1.0"}, {Name: "id", Value: events.ID{1}.String()}},
		{{Name: "specversion", Value: "\x1b[2J"}},
	} {
		var b strings.Builder
		m := topics.Received{FullTopic: "millrace.\x1b[2J", Message: topics.Message{Attributes: attributes, Data: []byte(`{}`)}}
		if err := writePretty(&b, &m); err != nil || strings.Contains(b.String(), "\x1b") || b.Len() == 0 {
			t.Errorf("%q, %v", b.String(), err)
		}
	}
}
