package netcore

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

func TestMonths(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"2026-11-20T10:00:00Z", "2026-11-20T10:15:00Z", "2026-11"},
		{"2026-11-30T23:59:00Z", "2026-12-01T00:01:00Z", "2026-11 2026-12"},
		{"2026-12-01T00:10:00Z", "2026-12-02T23:59:59Z", "2026-11 2026-12"},
		{"2026-12-02T00:10:00Z", "2026-12-03T00:00:00Z", "2026-12"},
		{"2026-10-31T23:00:00-05:00", "2026-11-05T00:00:00Z", "2026-11"}, // November by UTC
		{"2025-11-20T10:00:00Z", "2026-01-31T00:00:00Z", "2025-11 2025-12 2026-01"},
		{"2025-11-20T10:00:00Z", "2026-01-01T00:00:00Z", "2025-11 2025-12 2026-01"},
	} {
		from, err := time.Parse(time.RFC3339, c.from)
		to, err2 := time.Parse(time.RFC3339, c.to)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if got := strings.Join(months(from, to), " "); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

// Each month and channel is asked for once, in one order, and a cursor leads on
// from wherever the read was stopped.
func TestUsageIsReadOneByOne(t *testing.T) {
	a := &fakeAPI{answer: func(r *http.Request, _ string) (int, string) {
		if r.URL.Query().Get("channelId") == "1010" {
			return 200, ` {"totalMessages": "12", "totalUsers":3.0, "new":1} `
		}
		return 200, `{"totalMessages":null,"totalUsers":9007199254740993}`
	}}
	s := streamOf(t, a, usage, nil)
	r := connectors.Request{From: time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}
	validate := eventtest.Schemas(t)
	var ids, data []string
	for {
		records, next, key, err := ask(t, s, r)
		if err != nil || len(records) != 1 {
			t.Fatal(records, err)
		}
		record := records[0]
		validate(t, &events.Event{Type: record.Type, Members: record.Members, Raw: record.Raw})
		if record.ID != key || record.Key != key || !record.Time.IsZero() || record.Type != events.TypeUsage {
			t.Errorf("%+v of %s", record, key)
		}
		// It can be mapped again with its text and key alone.
		if again, ok := s.Prepare(record.Raw, 0, connectors.Window{}, key); !ok || again.ID != record.ID || string(again.Members) != string(record.Members) {
			t.Errorf("%+v", again)
		}
		ids, data = append(ids, record.ID), append(data, string(record.Members)+string(record.Raw))
		if r.Cursor = next; next == nil {
			break
		}
	}
	if want := []string{"2026-10/1010", "2026-10/1014", "2026-11/1010", "2026-11/1014"}; !slices.Equal(ids, want) {
		t.Errorf("%v, want %v", ids, want)
	}
	if want := `"bot":"app","channel":"webchat","month":"2026-10","total_messages":12,"total_users":3{"totalMessages": "12", "totalUsers":3.0, "new":1}`; data[0] != want {
		t.Errorf("%s, want %s", data[0], want)
	}
	if want := `"bot":"app","channel":"whatsapp","month":"2026-11","total_users":9007199254740993{"totalMessages":null,"totalUsers":9007199254740993}`; data[3] != want {
		t.Errorf("%s, want %s", data[3], want)
	}
	for _, cursor := range []string{`5`, `{"month":"2026-10","channel":7}`, `{"month":"2020-10","channel":1010}`} {
		if _, _, _, err := ask(t, s, connectors.Request{From: r.From, To: r.To, Cursor: json.RawMessage(cursor)}); connectors.KindOf(err) != connectors.Restart {
			t.Errorf("%s: %v", cursor, err)
		}
	}
}

// Invariant 9: what is not the object that was asked for is a failed request.
func TestUsageOfTheWrongShape(t *testing.T) {
	now := time.Now()
	for body, dead := range map[string]bool{
		"": false, "<html>": false, "[]": false, "null": false, "5": false, "{}": false, `{"message":"ok"}`: false,
		`[{"totalUsers":1}]`: false, `{"totalUsers":1`: false, `{"totalUsers":1}]`: false, `{"totalUsers":1},{}`: false,
		`{"totalUsers":1} {}`: true, `{"totalUsers":1,"totalUsers":2}`: true, "{\"totalUsers\":1,\"a\":\"\xff\"}": true,
	} {
		records, _, _, err := ask(t, streamOf(t, &fakeAPI{answer: says(200, body)}, usage, nil), connectors.Request{From: now, To: now})
		if dead && (err != nil || len(records) != 1 || records[0].Dead == nil || string(records[0].Raw) != body) || !dead && err == nil {
			t.Errorf("%q: %+v, %v", body, records, err)
		}
	}
}
