package netcore

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

// A key's ID holds all that is to be asked and mapped with, whatever is in it.
func TestKeys(t *testing.T) {
	for _, k := range []key{{1014, "+919876543210", "u1"}, {1010, "a/b", "c/d%2F"}, {1, "č ?#", "..//"}, {1014, "x", "x"}, {channel: 1014}} {
		if got := keyOf(k.id()); got != k {
			t.Errorf("%q: %+v, want %+v", k.id(), got, k)
		}
	}
}

// A user who gains a phone number keeps the place among the others: a walk that is
// interrupted passes over nobody.
func TestTheOrderOfKeys(t *testing.T) {
	for _, other := range []string{"a", "m", "z"} {
		k := key{1014, other, other}.id()
		if (key{1014, "m2", "m2"}.id() < k) != (key{1014, "+91", "m2"}.id() < k) {
			t.Errorf("m2 passes by %s", other)
		}
	}
}

// Who is asked for, and by which id: the user's own in the channel comes first,
// and it is the userId that names them.
func TestWhoIsAskedFor(t *testing.T) {
	a := &fakeAPI{answer: says(200, `{"users":[
		{"userId":"u1","phoneNumber":"+91","botUserId":"b1"},{"userId":"u2","phoneNumber":"+92"},{"userId":3},
		{"userId":"u4","phoneNumber":null,"botUserId":""},{"botUserId":"b5"},{"userName":"nobody"},null,{"userId":"a","userId":"b"}]}`)}
	s := streamOf(t, a, transcripts, nil)
	from := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for all, start := range map[bool]string{false: "2026-11-20T10:00:00.000Z", true: "2000-01-01T00:00:00.000Z"} {
		keys, err := s.Walk.Keys(t.Context(), connectors.KeysRequest{From: from, All: all, Parts: []string{"1014"}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range keys.Keys {
			got = append(got, k.ID)
		}
		if want := []string{"1014/u1/b1", "1014/u2/+92", "1014/3/3", "1014/u4/u4", "1014/b5/b5"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if body := a.asked[len(a.asked)-1]; !strings.Contains(body, `"startDate":"`+start+`"`) {
			t.Errorf("all %t: %s", all, body)
		}
	}
}

// What was said to a user who does not answer comes with a sweep. No sweep reads
// the beginning of a long window, as after a time without the service, so live
// reads ask for all users in it.
func TestWhoIsAskedForAfterALongTime(t *testing.T) {
	a := &fakeAPI{answer: says(200, `{"users":[]}`)}
	to := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		keys   map[string]any
		length time.Duration
		all    bool
	}{
		{nil, 17 * time.Hour, false},
		{nil, 20 * time.Hour, true},
		{map[string]any{"overlap": "24h"}, 25 * time.Hour, false},
		{map[string]any{"sweep": map[string]any{"back": "24h", "every": "24h"}}, 15 * time.Minute, false},
		{map[string]any{"sweep": map[string]any{"back": "24h", "every": "24h"}}, 3 * time.Hour, true},
	} {
		s := streamOf(t, a, transcripts, c.keys)
		if _, err := s.Walk.Keys(t.Context(), connectors.KeysRequest{From: to.Add(-c.length), To: to}); err != nil {
			t.Fatal(err)
		}
		if body := a.asked[len(a.asked)-1]; strings.Contains(body, `"startDate":"2000-`) != c.all {
			t.Errorf("%v, %s: %s", c.keys, c.length, body)
		}
	}
}

// What a row is told by: its content without updatedAt, with its channel and
// user. Another updatedAt is a version of it.
func TestIdentity(t *testing.T) {
	s := streamOf(t, &fakeAPI{}, transcripts, nil)
	prepare := func(k key, row string) connectors.Prepared {
		p, ok := s.Prepare([]byte(row), 0, connectors.Window{}, k.id())
		if !ok || p.Dead != nil || p.ID != "" || p.Key != k.user {
			t.Fatalf("%s: %+v", row, p)
		}
		return p
	}
	who := key{1014, "+91", "u1"}
	const row = `{"from":"User","createdAt":"2026-03-04T12:00:00.000Z","updatedAt":%s,"n":1.0}`
	one := prepare(who, fmt.Sprintf(row, `"2026-03-04T12:00:00.000Z"`))
	if want := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC); one.Time != want {
		t.Errorf("%s", one.Time)
	}
	for _, c := range []struct {
		who                  key
		row                  string
		sameID, sameVersions bool
	}{
		{who, fmt.Sprintf(row, `"2026-03-04T12:00:00.000Z"`), true, true},
		{who, ` { "n" : 1, "updatedAt":"2026-03-04T12:00:00.000Z","createdAt":"2026-03-04T12:00:00.000Z","from":"User"}`, true, true},
		{who, fmt.Sprintf(row, `"2026-03-05T12:00:00.000Z"`), true, false},
		{who, fmt.Sprintf(row, `null`), true, false},
		{who, `{"from":"User","createdAt":"2026-03-04T12:00:00.000Z","n":1}`, true, false},
		{who, `{"updatedAt":1,"from":"User","createdAt":"2026-03-04T12:00:00.000Z","n":1}`, true, false},
		{key{1014, "b1", "u1"}, fmt.Sprintf(row, `"2026-03-04T12:00:00.000Z"`), true, true}, // asked for by another id
		{who, fmt.Sprintf(row, `null,"m":1`), false, false},
		{key{1016, "+91", "u1"}, fmt.Sprintf(row, `"2026-03-04T12:00:00.000Z"`), false, true},
		{key{1014, "+91", "u2"}, fmt.Sprintf(row, `"2026-03-04T12:00:00.000Z"`), false, true},
		{key{channel: 1014}, fmt.Sprintf(row, `"2026-03-04T12:00:00.000Z"`), false, true},
	} {
		got := prepare(c.who, c.row)
		if (got.Identity == one.Identity) != c.sameID || (got.Content == one.Content) != c.sameVersions {
			t.Errorf("%+v, %s: the same identity: %t, the same content: %t", c.who, c.row, got.Identity == one.Identity, got.Content == one.Content)
		}
	}
	for _, c := range []struct{ row, basis string }{
		{`{"updatedAt":1}`, `[1014,"u1",{}]`},
		{`{ "a" : {"updatedAt":1} ,"updatedAt":1, "b":[]}`, `[1014,"u1",{"a" : {"updatedAt":1},"b":[]}]`},
	} {
		r := mapTranscript(t, func(testing.TB, *events.Event) {}, c.row)
		if want := strings.Replace(c.basis, "u1", "u", 1); string(r.Basis) != want {
			t.Errorf("%s: %s, want %s", c.row, r.Basis, want)
		}
	}
}

// Rows as deep as can be have an identity too, though it is told by a level more.
func TestDeepRows(t *testing.T) {
	deep := strings.Repeat("[", events.MaxDepth-2) + "%d" + strings.Repeat("]", events.MaxDepth-2)
	seen := map[events.Identity]bool{}
	for name, k := range map[string]string{transcripts: "1014/a/u", users: "1014"} {
		s := streamOf(t, &fakeAPI{}, name, map[string]any{"enrich_users": true})
		for i := range 2 {
			p, ok := s.Prepare(fmt.Appendf(nil, `{"a":{"b":`+deep+`}}`, i), 0, connectors.Window{}, k)
			if !ok || p.Dead != nil || seen[p.Identity] {
				t.Errorf("%s: %t, %+v", name, ok, p.Dead)
			}
			seen[p.Identity] = true
		}
	}
}

func TestSenders(t *testing.T) {
	validate := eventtest.Schemas(t)
	for from, want := range map[string]string{
		`"User"`: `,"sender":"user","direction":"inbound"`, `"user"`: `,"sender":"user","direction":"inbound"`,
		`"Bot"`: `,"sender":"bot","direction":"outbound"`, `"Agent"`: `,"sender":"agent","direction":"outbound"`,
		`"jana@example.com"`: `,"sender":"agent","direction":"outbound"`, `""`: "", `null`: "", `5`: "",
	} {
		got := mapTranscript(t, validate, `{"from":`+from+`,"createdAt":1772625600,"type":null}`)
		if want := `"user_id":"u","bot":"app","channel":"whatsapp","occurred_at":"2026-03-04T12:00:00Z"` + want; string(got.Members) != want {
			t.Errorf("%s:\n got %s\nwant %s", from, got.Members, want)
		}
	}
}

// A window that one answer does not hold is too much; but of a second all pages
// are read.
func TestMoreThanAnAnswerHolds(t *testing.T) {
	details := ""
	a := &fakeAPI{answer: func(r *http.Request, _ string) (int, string) {
		page := r.URL.Query().Get("page")
		return 200, `{"botUser":{},"transcripts":[{"n":` + page + `}],"paginationDetails":` + strings.Replace(details, "PAGE", page, 1) + `}`
	}}
	to := time.Now().Truncate(time.Second)
	for _, way := range []string{byUser, byChannel} {
		s := streamOf(t, a, transcripts, map[string]any{"transcripts": way})
		for text, much := range map[string]bool{
			`{"page":PAGE,"pages":3,"total":3}`: true, `{"pages":"2"}`: true, `{"total":2,"limit":1}`: true, `{"pages":1,"total":1}`: false, `{}`: false, `null`: false, `{"pages":0}`: false,
		} {
			details = text
			r := connectors.Request{From: to.Add(-4 * time.Second), To: to, Parts: []string{"1014"}}
			if way == byUser {
				r.Key.ID = "1014/u/+91"
			}
			records, _, key, err := ask(t, s, r)
			if (connectors.KindOf(err) == connectors.TooMuch) != much || !much && err != nil || len(records) != 1 {
				t.Errorf("%s, %s: %v", way, text, err)
			}
			if want := map[string]string{byUser: r.Key.ID, byChannel: "1014"}[way]; key != want {
				t.Errorf("%s: the page's key is %q", way, key)
			}
			r.From = to.Add(-3 * time.Second) // a second with one more on both sides
			rows := ""
			for {
				records, next, _, err := ask(t, s, r)
				if err != nil {
					t.Fatal(err)
				}
				rows += string(records[0].Raw)
				if r.Cursor = next; next == nil {
					break
				}
			}
			want := map[string]string{`{"page":PAGE,"pages":3,"total":3}`: `{"n":1}{"n":2}{"n":3}`, `{"pages":"2"}`: `{"n":1}{"n":2}`, `{"total":2,"limit":1}`: `{"n":1}{"n":2}`}[text]
			if !much {
				want = `{"n":1}`
			}
			if rows != want {
				t.Errorf("%s, %s: %s, want %s", way, text, rows, want)
			}
		}
	}
}

// by_channel reads one channel after the other.
func TestTranscriptsByChannel(t *testing.T) {
	a := &fakeAPI{answer: func(_ *http.Request, body string) (int, string) {
		var asked struct {
			ChannelID int
			BotUserID *string
		}
		if err := json.Unmarshal([]byte(body), &asked); err != nil || asked.BotUserID != nil {
			t.Error(body, err)
		}
		return 200, fmt.Sprintf(`{"transcripts":[{"n":%d}]}`, asked.ChannelID)
	}}
	s := streamOf(t, a, transcripts, map[string]any{"transcripts": byChannel})
	to := time.Now().Truncate(time.Second)
	r := connectors.Request{From: to.Add(-time.Hour), To: to}
	var got []string
	for {
		records, next, key, err := ask(t, s, r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, key, string(records[0].Basis), string(records[0].Members))
		if r.Cursor = next; next == nil {
			break
		}
	}
	want := []string{"1010", `[1010,{"n":1010}]`, `"bot":"app","channel":"webchat"`, "1014", `[1014,{"n":1014}]`, `"bot":"app","channel":"whatsapp"`}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What is out of the API's reach by the time that it is asked for is not asked
// for: the API would refuse the rest with it.
func TestTheReach(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	a := &fakeAPI{answer: says(200, `{"transcripts":[]}`), now: func() time.Time { return now }}
	s := streamOf(t, a, transcripts, nil)
	for _, c := range []struct{ from, to, start string }{
		{"2026-08-21T10:01:00Z", "2026-11-21T10:00:00Z", "2026-08-21T10:01:00.000Z"},
		{"2026-08-21T10:00:00Z", "2026-11-21T10:00:00Z", "2026-08-21T10:01:00.000Z"},
		{"2025-01-01T00:00:00Z", "2026-08-21T10:01:00Z", ""},
	} {
		from, err := time.Parse(time.RFC3339, c.from)
		to, err2 := time.Parse(time.RFC3339, c.to)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		a.asked = nil
		if _, next, _, err := ask(t, s, connectors.Request{From: from, To: to, Key: connectors.Key{ID: "1014/a/b"}}); next != nil || err != nil {
			t.Error(next, err)
		}
		if got := strings.Join(a.asked, " "); c.start == "" && got != "" || !strings.Contains(got, c.start) {
			t.Errorf("%s: %s", c.from, got)
		}
	}
}

// Equal messages of one second make equal pages. Each of them counts, as many as
// the API says that there are.
func TestEqualPagesOfOneSecond(t *testing.T) {
	const all, limit = 2_300, 1000
	row := `{"from":"User","type":"text","text":{"message":"a"},"createdAt":"2026-11-01T00:00:00.000Z"}`
	a := &fakeAPI{answer: func(r *http.Request, _ string) (int, string) {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		here := min(limit, all-(page-1)*limit)
		return 200, fmt.Sprintf(`{"transcripts":[%s],"paginationDetails":{"total":%d}}`, strings.TrimSuffix(strings.Repeat(row+",", here), ","), all)
	}}
	s := streamOf(t, a, transcripts, nil)
	now := time.Now()
	r := connectors.Request{From: now.Add(-3 * time.Second), To: now, Key: connectors.Key{ID: "1014/a/b"}}
	rows := 0
	for page := 1; ; page++ {
		records, next, _, err := ask(t, s, r)
		if rows += len(records); err != nil || page > 3 {
			t.Fatalf("page %d: %v", page, err)
		}
		if r.Cursor = next; next == nil {
			break
		}
	}
	if rows != all {
		t.Errorf("%d rows of %d", rows, all)
	}
}
