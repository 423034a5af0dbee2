package feedyou

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const timed = `"userId":"u1","timestamp":1772625600`

// known is what an event says of a record that begins as timed does.
const known = `"user_id":"u1","bot":"bot","occurred_at":"2026-03-04T12:00:00Z"`

var recordCases = []struct {
	stream, raw, want string // want is the event's data without raw
}{
	{"nlpLog", `{"result":"none","processed":false}`, `"bot":"bot","result":"none","processed":false`},
	{"nlpLog", `{` + timed + `,"text":"h\u00e9","result":{"score":1e400},"processed":null}`, known + `,"text":"h\u00e9","result":{"score":1e400}`},
	{"nlpLog", `{"userId":42,"timestamp":"2026-03-04T12:00:00.5","text":{}}`, `"user_id":"42","bot":"bot","occurred_at":"2026-03-04T12:00:00.5Z"`},
	{"nlpLog", `{"USERID":"x","Text":"x","userId":null,"timestamp":"soon"}`, `"bot":"bot"`},

	{"outgoingEmail", `{` + timed + `,"body":"<p>","from":"F <f@x>","recipients":"a@b","replyTo":"r@x","stepId":7,"subject":""}`,
		known + `,"from":"F <f@x>","to":["a@b"],"reply_to":"r@x","subject":"","body":"<p>","step_id":"7"`},
	{"outgoingEmail", `{"recipients":"a@b, c@d;e@f ,"}`, `"bot":"bot","to":["a@b","c@d","e@f"]`},
	{"outgoingEmail", `{"recipients":"\"Doe, \\\"J\\\" <x>\" <j@d>; O'Neil <o@n>,\"a;b\"@c"}`, `"bot":"bot","to":["j@d","o@n","\"a;b\"@c"]`},
	{"outgoingEmail", `{"recipients":"5\" pipe, a@b; <c@d, \"e@f, \"g"}`, `"bot":"bot","to":["5\" pipe, a@b; <c@d, \"e@f","\"g"]`},
	{"outgoingEmail", `{"recipients":["a@b, Ž <c@d>",{"name":"E","email":"e@f"},{"EmailAddress":"g@h"},null,[],{"x":1},4.20]}`, `"bot":"bot","to":["a@b","c@d","e@f","g@h","4.20"]`},
	{"outgoingEmail", `{"recipients":{"number":1,"address":"a@b"}}`, `"bot":"bot","to":["a@b"]`},
	{"outgoingEmail", `{"recipients":[]}`, `"bot":"bot"`},
	{"outgoingEmail", `{"recipients":" ,; <> "}`, `"bot":"bot"`},
	{"outgoingEmail", `{"recipients":true,"from":["a"],"body":null,"subject":{}}`, `"bot":"bot"`},

	{"outgoingSms", `{"channel":"viber","link":"https://x/t","message":"hi\n","provider":"gosms","recipients":[420600000042,"+1"]}`,
		`"bot":"bot","channel":"viber","to":["420600000042","+1"],"text":"hi\n","provider":"gosms","link":"https://x/t"`},

	{"fuzzyQuestionAnswerLog", `{` + timed + `,"intent":"i","score":"0.81","text":"t","stepId":"s","dialogId":"d","matched":" True","otherClassifications":[{"a": 1}]}`,
		known + `,"text":"t","intent":"i","score":0.81,"matched":true,"step_id":"s","dialog_id":"d","other_classifications":[{"a": 1}]`},
	{"fuzzyQuestionAnswerLog", `{"score":1e400,"matched":false,"otherClassifications":{"a":1}}`, `"bot":"bot","score":1e400,"matched":false,"other_classifications":{"a":1}`},
	{"fuzzyQuestionAnswerLog", `{"score":"0,8","matched":1,"otherClassifications":"a"}`, `"bot":"bot"`},
	{"fuzzyQuestionAnswerLog", `{"score":"NaN","matched":"yes","otherClassifications":null}`, `"bot":"bot"`},
	{"fuzzyQuestionAnswerLog", `{"score":"-8e-1\u0020"}`, `"bot":"bot","score":-8e-1`},

	{"integrationLog", `{` + timed + `,"url":"https://CRM.example.com:8443/v2?lang=cs","method":"post","requestBody":{"a": [1]},"requestHeaders":{"Accept":"*/*"},"responseStatus":204,"responseBody":"OK","duration":182.40}`,
		known + `,"url":"https://CRM.example.com:8443/v2?lang=cs","host":"crm.example.com","method":"POST","request_body":{"a": [1]},"request_headers":{"Accept":"*/*"},"status":204,"response_body":"OK","duration_ms":182.40,"ok":true`},
	{"integrationLog", `{"url":"/v2","requestBody":null,"requestHeaders":null,"responseStatus":"500","responseBody":false,"duration":"95"}`,
		`"bot":"bot","url":"/v2","status":500,"response_body":false,"duration_ms":95,"ok":false`},
	{"integrationLog", `{"url":{},"method":1,"responseStatus":1e400,"duration":1e400}`, `"bot":"bot","duration_ms":1e400`},
	{"integrationLog", `{"responseStatus":"200.0"}`, `"bot":"bot","status":200,"ok":true`},
	{"integrationLog", `{"responseStatus":0}`, `"bot":"bot","status":0,"ok":false`},
	{"integrationLog", `{"responseStatus":200.5}`, `"bot":"bot"`},
	{"integrationLog", `{"responseStatus":399}`, `"bot":"bot","status":399,"ok":true`},
	{"integrationLog", `{"responseStatus":400}`, `"bot":"bot","status":400,"ok":false`},
	{"integrationLog", `{"responseStatus":199}`, `"bot":"bot","status":199,"ok":false`},

	{"urlTracker", `{"domain":"x.cz","url":"https://x.cz/?token=1"}`, `"bot":"bot","url":"https://x.cz/?token=1","domain":"x.cz"`},

	{"userData", `{ ` + timed + ` , "name" : "Jana" , "a\u0062":{"x": 1},"tags":["a","b"] }`,
		`"attributes":{"name" : "Jana","a\u0062":{"x": 1},"tags":["a","b"]},` + known + `,"name":"Jana","tags":["a","b"],"last_seen_at":"2026-03-04T12:00:00Z"`},
	{"userData", `{` + timed + `}`, known + `,"last_seen_at":"2026-03-04T12:00:00Z"`},
	{"userData", `{"firstName":"Jana","name":"","surname":" Nováková ","userId":"u1","tags":"a","createdAt":1772625600,"firstSeenAt":"2026-03-04"}`,
		`"attributes":{"firstName":"Jana","name":"","surname":" Nováková ","tags":"a","createdAt":1772625600,"firstSeenAt":"2026-03-04"},"user_id":"u1","bot":"bot","name":"Jana Nováková","created_at":"2026-03-04T12:00:00Z","first_seen_at":"2026-03-04T00:00:00Z"`},
	{"userData", `{"name":5,"lastname":"N"}`, `"attributes":{"name":5,"lastname":"N"},"bot":"bot","name":"N"`},
	{"userDataSnapshot", `{"a":1,` + timed + `,"b":2}`, `"attributes":{"a":1,"b":2},` + known + `,"last_seen_at":"2026-03-04T12:00:00Z"`},
}

func TestRecords(t *testing.T) {
	validate := eventtest.Schemas(t)
	for _, c := range recordCases {
		var f connectors.Fields
		record := mapOne(c.stream, c.raw, &f)
		if record.Dead != nil {
			t.Errorf("%s, %s: %+v", c.stream, c.raw, record.Dead)
			continue
		}
		validate(t, &events.Event{Type: record.Type, Members: record.Members, Raw: record.Raw})
		if string(record.Members) != c.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", c.stream, c.raw, record.Members, c.want)
		}
		var user string
		var at time.Time
		if strings.Contains(c.want, `"user_id":"u1"`) {
			user = "u1"
		}
		if strings.Contains(c.want, known) {
			at = time.Unix(1772625600, 0).UTC()
		}
		if user != "" && record.Key != user || !at.IsZero() && record.Time != at {
			t.Errorf("%s, %s: the key is %q, the time %s", c.stream, c.raw, record.Key, record.Time)
		}
		if wantID := c.stream == userData; (record.ID != "") != (wantID && user != "") {
			t.Errorf("%s, %s: the id is %q", c.stream, c.raw, record.ID)
		}
	}
}

func mapOne(stream, raw string, f *connectors.Fields) events.Record {
	return connectors.Mapper(func(raw []byte, f *connectors.Fields) events.Record { return mappings[stream](raw, f, "bot") }).Map([]byte(raw), f)
}

func TestWhatIsNoObjectIsDead(t *testing.T) {
	for _, stream := range streams {
		for _, raw := range []string{"", "null", "[]", `"x"`, `{"a":1,"a":2}`, `{"userId":"a","userId":"b"}`, "{\"a\":\"\xff\"}", `{"url":"\ud800"}`, `{"a":1`, `{} {}`} {
			var f connectors.Fields
			if record := mapOne(stream, raw, &f); record.Dead == nil || record.Masked != nil {
				t.Errorf("%s: %q is alive", stream, raw)
			}
		}
	}
}
