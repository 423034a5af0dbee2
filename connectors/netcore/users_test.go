package netcore

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

const userRow = `"userId":"u1","channelName":"whatsapp","userName":"Jana","createdDate":"2026-03-04T10:00:00.000Z","first interacted date":1772622000,"last interacted date":"2026-03-04T12:00:00"`

// userData is what an event says of a row that has these.
const userData = `"user_id":"u1","bot":"app","channel":"whatsapp","occurred_at":"2026-03-04T12:00:00Z","name":"Jana"`

const userDates = `"created_at":"2026-03-04T10:00:00Z","first_seen_at":"2026-03-04T11:00:00Z","last_seen_at":"2026-03-04T12:00:00Z"`

var userCases = []struct{ raw, kept, want, id string }{
	{`{` + userRow + `}`, "", userData + "," + userDates, "1014/u1"},
	{`{` + userRow + `, "phoneNumber" : null,"x":{"a": 1}}`, "", `"attributes":{"phoneNumber" : null,"x":{"a": 1}},` + userData + "," + userDates, "1014/u1"},
	{`{` + userRow + `}`, `{"customFields":{},"tags":[]}`, userData + `,"tags":[],` + userDates, "1014/u1"},
	{
		`{"city":"row",` + userRow + `}`, `{"tags":["vip",5],"customFields":{"city":"custom","c\u0069ty2": [1] ,"points":1.50}}`,
		`"attributes":{"city":"row","c\u0069ty2": [1],"points":1.50},` + userData + `,"tags":["vip","5"],` + userDates, "1014/u1",
	},
	{`{"userId":17,"channelName":"other"}`, `{"customFields":[],"tags":"vip"}`, `"user_id":"17","bot":"app","channel":"whatsapp"`, "1014/17"},
	{`{"userName":5,"userId":null,"last interacted date":"soon"}`, `{"customFields":null,"tags":[{}]}`, `"bot":"app","channel":"whatsapp"`, ""},
}

func TestUsers(t *testing.T) {
	validate := eventtest.Schemas(t)
	a := &api{app: "app"}
	for _, c := range userCases {
		f := &connectors.Fields{Key: connectors.Key{ID: "1014"}}
		var kept []byte
		if c.kept != "" {
			kept = []byte(c.kept)
		}
		mapper := connectors.Mapper(func(raw []byte, f *connectors.Fields) events.Record { return a.user(raw, f, kept) })
		r := mapper.Map([]byte(c.raw), f)
		if r.Dead != nil {
			t.Errorf("%s: %+v", c.raw, r.Dead)
			continue
		}
		validate(t, &events.Event{Type: r.Type, Members: r.Members, Raw: r.Raw})
		if string(r.Members) != c.want || r.ID != c.id || r.Key != strings.TrimPrefix(c.id, "1014/") {
			t.Errorf("%s, %s: %q, %q\n got %s\nwant %s", c.raw, c.kept, r.ID, r.Key, r.Members, c.want)
		}
	}
	// A channel that has no name here is called as the row calls it.
	for id, want := range map[string]string{"1999": `"channel":"whatsapp"`, "1010": `"channel":"webchat"`} {
		f := &connectors.Fields{Key: connectors.Key{ID: id}}
		if a.user([]byte(`{`+userRow+`}`), f, nil); !strings.Contains(string(f.Members), want) {
			t.Errorf("%s: %s", id, f.Members)
		}
	}
}

func TestWhatIsNoObjectIsDead(t *testing.T) {
	a := &fakeAPI{}
	for name, keys := range map[string]map[string]any{usage: nil, users: nil, users + " ": {"enrich_users": true}, transcripts: nil} {
		s := streamOf(t, a, strings.TrimSpace(name), keys)
		for _, raw := range []string{"", "null", "[]", `"x"`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{"type":"\ud800"}`, `{"a":1`, `{} {}`} {
			if p, _ := s.Prepare([]byte(raw), 0, connectors.Window{}, "1014/x"); p.Dead == nil {
				t.Errorf("%s: %q is alive", name, raw)
			}
		}
	}
}

// Each user comes with what the bot keeps of them, under the row as it was
// listed; a change of either is a version.
func TestEnrichedUsers(t *testing.T) {
	rows := []string{
		`{"userId":"u1","phoneNumber":"+91 1"}`, `{"userId":"u2","botUserId":"b/2","phoneNumber":"+91"}`, `{"userId":"u3"}`, `{"userName":"nobody"}`, `null`, `{"userName":"nobody"}`,
	}
	kept := map[string]string{
		"+91 1": `{"customFields":{"a":1},"tags":["x"]}`,
		"b/2":   ` {"customFields":{"a":1,"a":2},"tags":[]} `, // nobody reads it alike
	}
	a := &fakeAPI{answer: func(r *http.Request, _ string) (int, string) {
		if r.URL.Path == usersPath {
			return 200, `{"users":[` + strings.Join(rows, ",") + `]}`
		}
		if text, ok := kept[strings.TrimPrefix(r.URL.Path, userDataPath+"/")]; ok {
			return 200, text
		}
		return 404, ""
	}}
	s := streamOf(t, a, users, map[string]any{"enrich_users": true, "channels": []int{1014}})
	keys, err := s.Walk.Keys(t.Context(), connectors.KeysRequest{All: true})
	if err != nil || len(keys.Keys) != len(rows) || keys.Next != nil {
		t.Fatalf("%+v, %v", keys, err)
	}
	if keys.Keys[3].ID != keys.Keys[5].ID || keys.Keys[3].ID == keys.Keys[4].ID || keys.Keys[0].ID != "1014/u1" {
		t.Errorf("%q", keys.Keys)
	}
	for i, c := range []struct{ state, attributes string }{
		{`[` + rows[0] + `,` + kept["+91 1"] + `]`, `"attributes":{"phoneNumber":"+91 1","a":1}`},
		{`[` + rows[1] + `,null]`, `"attributes":{"botUserId":"b/2","phoneNumber":"+91"}`},
		{`[` + rows[2] + `,null]`, `"user_id":"u3"`},
		{`[` + rows[3] + `,null]`, `"name":"nobody"`},
	} {
		records, next, _, err := ask(t, s, connectors.Request{Key: keys.Keys[i]})
		if err != nil || next != nil || len(records) != 1 {
			t.Fatal(records, err)
		}
		if r := records[0]; string(r.State) != c.state || string(r.Raw) != rows[i] || !strings.Contains(string(r.Members), c.attributes) {
			t.Errorf("%s\n%s\n%s", r.State, r.Raw, r.Members)
		}
	}
	if records, _, _, err := ask(t, s, connectors.Request{Key: keys.Keys[4]}); err != nil || records[0].Dead == nil || string(records[0].Raw) != "null" {
		t.Errorf("%+v, %v", records, err)
	}
	for _, body := range []string{"", "<html>", "{}", "[]", `{"tags":[]`, `{"tags":[]}]`} {
		kept["+91 1"] = body
		if _, _, _, err := ask(t, s, connectors.Request{Key: keys.Keys[0]}); connectors.KindOf(err) != connectors.Retry || err == nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// A row is as old as its list, whenever what the bot keeps is asked for: a newer
// one that was published meanwhile stays the latest.
func TestRowsAreAsOldAsTheirList(t *testing.T) {
	status := 200
	a := &fakeAPI{answer: func(*http.Request, string) (int, string) { return status, `{"tags":[]}` }}
	s := streamOf(t, a, users, map[string]any{"enrich_users": true, "channels": []int{1014}})
	r := connectors.Request{Key: connectors.Key{ID: "1014/u1", Data: []byte(`{"userId":"u1"}`)}, Listed: time.Now().Add(-time.Hour)}
	for status = range map[int]bool{200: true, 404: true} {
		page, err := s.Pager.Page(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		page.Close()
		if !page.Began.Equal(r.Listed) {
			t.Errorf("%d: %s, want %s", status, page.Began, r.Listed)
		}
	}
}

// A user for whom the API goes on failing comes without what the bot keeps; one
// whose messages it does not give has none.
func TestUsersWhoAreRefused(t *testing.T) {
	row := `{"userId":"u1"}`
	r := connectors.Request{Key: connectors.Key{ID: "1014/u1", Data: []byte(row)}, Listed: time.Now().Add(-time.Hour)}
	for name, want := range map[string]string{users: "[" + row + ",null]", transcripts: ""} {
		page := streamOf(t, &fakeAPI{}, name, map[string]any{"enrich_users": true}).Without(r)
		got := ""
		for record, err := range page.Records {
			if got += string(record.State); err != nil || record.ID != "1014/u1" || !page.Began.Equal(r.Listed) {
				t.Errorf("%+v, %v", record, err)
			}
		}
		if next, err := page.Next(); got != want || next != nil || err != nil {
			t.Errorf("%s: %q, want %q; %v", name, got, want, err)
		}
		page.Close()
	}
}

// Errors name whom or what the API was asked for.
func TestErrorsNameWhatWasAskedFor(t *testing.T) {
	a := &fakeAPI{answer: says(500, "")}
	to := time.Now().Truncate(time.Second)
	for name, want := range map[string]string{
		usage: "reading usage of " + to.UTC().Format(monthForm) + "/1010: ", users: "reading a user's data (1014/u1/+91): ", transcripts: "reading transcripts of user u1 of channel 1014: ",
	} {
		s := streamOf(t, a, name, map[string]any{"enrich_users": true})
		r := connectors.Request{From: to, To: to, Key: connectors.Key{ID: "1014/u1/+91", Data: []byte(`{"userId":"u1"}`)}}
		if name == transcripts {
			r.From = to.Add(-time.Minute)
		}
		if _, _, _, err := ask(t, s, r); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := streamOf(t, a, users, nil)
	if _, _, _, err := ask(t, s, connectors.Request{}); err == nil || !strings.HasPrefix(err.Error(), "listing users of channel 1010: ") {
		t.Error(err)
	}
}
