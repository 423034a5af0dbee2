package nativechat

import (
	"bytes"
	"testing"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

const started = `"_id":"c1","StartedAt":"2026-03-04T12:00:00.000Z"`

// begun is what an event says of a conversation that begins as started does.
const begun = `"conversation_id":"c1","bot":"bot","occurred_at":"2026-03-04T12:00:00Z"`

var recordCases = []struct {
	stream, raw, id, key, want string // want is the event's data without raw
}{
	{conversations, `{` + started + `,"Status":"success","Errors":0,"Messages":{"user":3,"bot":4},"Data":{"user":{"Id":"u1","Locale":"cs"},"channel":{"ProviderName":"viber"}},"Tags":["a",1]}`, "c1", "c1",
		`"status":"success","started_at":"2026-03-04T12:00:00Z","locale":"cs","tags":["a","1"],"errors":0,"user_messages":3,"metadata":{"user":{"Id":"u1","Locale":"cs"},"channel":{"ProviderName":"viber"}},"user_id":"u1",` +
			`"conversation_id":"c1","bot":"bot","channel":"viber","occurred_at":"2026-03-04T12:00:00Z"`},
	{conversations, `{"Id":7,"StartedAt":1772625600000,"UpdatedAt":"2026-03-04T14:00:00Z","LastMessageAt":"2026-03-04T13:00:00.5+01:00"}`, "7", "7",
		`"started_at":"2026-03-04T12:00:00Z","last_activity_at":"2026-03-04T12:00:00.5Z","conversation_id":"7","bot":"bot","occurred_at":"2026-03-04T12:00:00.5Z"`},
	{conversations, `{"_id":{"$oid":"65f0"},"StartedAt":{"$date":{"$numberLong":"1772625600000"}}}`, "65f0", "65f0",
		`"started_at":"2026-03-04T12:00:00Z","conversation_id":"65f0","bot":"bot","occurred_at":"2026-03-04T12:00:00Z"`},
	{conversations, `{` + started + `,"Status":5,"Errors":"2","Messages":{"user":"many"},"Data":[],"Tags":"a","Locale":{}}`, "c1", "c1",
		`"started_at":"2026-03-04T12:00:00Z","errors":2,` + begun},
	{conversations, `{"_id":null,"id":"c1","Id":"","StartedAt":"soon","CreatedAt":"2026-03-04T12:00:00"}`, "c1", "c1", `"started_at":"2026-03-04T12:00:00Z",` + begun},
	{conversations, `{"Errors":"1,5"}`, "", "", `"bot":"bot"`},

	{messages, `{"_id":"m1","Conversation":"c1","User":"u1","CreatedAt":"2026-03-04T12:00:00Z","From":"user","Type":"text","Text":"h\u00e9","Attachments":[]}`, "m1", "c1",
		`"message_id":"m1","sender":"user","direction":"inbound","kind":"text","text":"h\u00e9","user_id":"u1",` + begun},
	{messages, `{"Id":"m2","Conversation":{"$oid":"c1"},"SentAt":1772625600,"Sender":{"Type":"Agent","Name":"Ana"},"Message":{"Type":"QuickReply","Text":"yes","x":1}}`, "m2", "c1",
		`"message_id":"m2","sender":"agent","direction":"outbound","kind":"quick_reply","text":"yes","payload":{"Type":"QuickReply","Text":"yes","x":1},` + begun},
	{messages, `{"Date":"2026-03-04 12:00:00","IsFromUser":false,"Message":"hi","QuickReplies":[{"Title":"Yes"}]}`, "", "asked",
		`"direction":"outbound","kind":"text","text":"hi","payload":[{"Title":"Yes"}],"conversation_id":"asked","bot":"bot","occurred_at":"2026-03-04T12:00:00Z"`},
	{messages, `{"Direction":"Incoming","Body":{"x":1}}`, "", "asked", `"sender":"user","direction":"inbound","payload":{"x":1},"conversation_id":"asked","bot":"bot"`},
	{messages, `{"From":"Petr","Sender":5,"Author":{"Role":"bot"},"IsUser":"yes","Text":5,"Kind":"PRODUCT"}`, "", "asked",
		`"sender":"bot","direction":"outbound","kind":"product","conversation_id":"asked","bot":"bot"`},
	{messages, `{"Type":"user","Text":""}`, "", "asked", `"sender":"user","direction":"inbound","conversation_id":"asked","bot":"bot"`},
	{messages, `{"Type":[],"From":null}`, "", "asked", `"conversation_id":"asked","bot":"bot"`},
}

func TestRecords(t *testing.T) {
	validate := eventtest.Schemas(t)
	for _, c := range recordCases {
		f := connectors.Fields{Key: connectors.Key{ID: "asked"}}
		record := streamFor(t, c.stream).mapRecord([]byte(c.raw), &f)
		if record.Dead != nil || record.ID != c.id || record.Key != c.key {
			t.Errorf("%s: id %q, key %q, %+v", c.raw, record.ID, record.Key, record.Dead)
		}
		e := events.Event{Type: record.Type, Members: f.Members, Raw: []byte(c.raw)}
		validate(t, &e)
		e.Raw = nil
		got, errGot := events.Canonical(e.AppendData(nil))
		want, errWant := events.Canonical([]byte("{" + c.want + "}"))
		if errGot != nil || errWant != nil || !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s, %v", c.raw, got, want, errWant)
		}
	}
}

// streamFor returns the collection of a bot that is called bot.
func streamFor(t testing.TB, name string) *collection {
	t.Helper()
	s, err := decode(map[string]any{"bot_id": "bot", "access_token": token})
	if err != nil {
		t.Fatal(err)
	}
	return s.collection(name, nil, connectors.Options{MaxRecord: 1 << 20})
}
