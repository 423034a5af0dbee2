package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// login returns a login's answer and the token in it.
func login(t testing.TB, s *Simulator) (map[string]json.RawMessage, string) {
	t.Helper()
	w := serve(s, loginRequest(`{"appId":"`+DefaultAppID+`","appSecret":"`+DefaultAPIKey+`"}`))
	var got map[string]json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != 200 || err != nil {
		t.Fatalf("login: %d, %v: %s", w.Code, err, w.Body)
	}
	var token string
	if err := json.Unmarshal(got["authToken"], &token); err != nil {
		t.Fatal(err)
	}
	return got, token
}

func loginRequest(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(body))
}

func netcoreRequest(token, method, target string, body any) *http.Request {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	if body == nil {
		encoded = nil
	}
	r := httptest.NewRequest(method, target, bytes.NewReader(encoded))
	r.Header.Set("Authorization", token)
	return r
}

type fields map[string]any

// everything is a body that asks for all that can be asked for.
func everything(more fields) fields {
	body := fields{"startDate": noon.AddDate(0, 0, -90), "endDate": noon.AddDate(1, 0, 0)}
	for name, value := range more {
		body[name] = value
	}
	return body
}

var allChannels = []int{webchat, whatsapp, telegram, instagram}

// netcoreAnswer is a page of users or of transcripts.
type netcoreAnswer struct {
	Users       []json.RawMessage
	Transcripts []json.RawMessage
	numbers
	HasNextPage       json.RawMessage
	PaginationDetails numbers
	BotUser           struct{ CustomFields map[string]json.RawMessage }
}

type numbers struct{ Page, Pages, Total, Limit int }

// askNetcore returns the answer to a request for a page.
func askNetcore(t testing.TB, s *Simulator, token, target string, body any) netcoreAnswer {
	t.Helper()
	w := serve(s, netcoreRequest(token, http.MethodPost, target, body))
	var got netcoreAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != 200 || err != nil {
		t.Fatalf("%s %v: %d, %v: %.300s", target, body, w.Code, err, w.Body)
	}
	return got
}

// walkNetcore returns the rows of all pages of a list, calling between after each.
func walkNetcore(t testing.TB, s *Simulator, list string, limit int, body any, between func()) (rows []string) {
	t.Helper()
	for page := 1; ; page++ {
		_, token := login(t, s)
		got := askNetcore(t, s, token, fmt.Sprintf("/%s?page=%d&limit=%d", list, page, limit), body)
		details := got.numbers
		if list == "transcripts" {
			details = got.PaginationDetails
		}
		for _, row := range append(got.Users, got.Transcripts...) {
			rows = append(rows, string(row))
		}
		if details.Page != page || details.Limit != limit {
			t.Fatalf("%s, page %d: %+v", list, page, details)
		}
		if page >= details.Pages {
			return rows
		}
		if between != nil {
			between()
		}
	}
}

func netcoreRecords(s *Simulator, name string) []Record {
	return s.Account().Endpoints["netcore/"+name].Records
}

// fieldsOf returns the fields of a row.
func fieldsOf(t testing.TB, row string) map[string]json.RawMessage {
	t.Helper()
	var got map[string]json.RawMessage
	if err := json.Unmarshal([]byte(row), &got); err != nil {
		t.Fatalf("%v: %s", err, row)
	}
	return got
}

// textOf returns a field that is text, "" for none.
func textOf(row map[string]json.RawMessage, name string) string {
	var text string
	_ = json.Unmarshal(row[name], &text) // what is no text is none
	return text
}

// askID is what transcripts of a user are asked for with.
func askID(row map[string]json.RawMessage) string {
	for _, name := range []string{"botUserId", "phoneNumber"} {
		if id := textOf(row, name); id != "" {
			return id
		}
	}
	return textOf(row, "userId")
}

func channelOf(name string) int {
	for id, n := range netcoreChannels {
		if n == name {
			return id
		}
	}
	return 0
}

// A client that walks all that there is finds what the account has, from the
// backlog and after a live time, for each order of users.
func TestNetcoreAccountIsWhatIsServed(t *testing.T) {
	for i, o := range []Options{
		{Seed: 1, Backlog: 3000}, {Seed: 2, Backlog: 1000, Rate: 20, LateShare: .2, Identical: .2, UsersBy: UsersDescending},
	} {
		c := newClock()
		o.Now = c.Now
		s := live(t, o)
		c.add(3 * time.Minute)
		account := s.Account()
		rows := walkNetcore(t, s, "users", 40+i*10, everything(fields{"channelIds": allChannels}), nil)
		records := account.Endpoints["netcore/users"].Records
		if o.UsersBy == UsersDescending {
			slices.Reverse(records)
		}
		if len(rows) != len(records) || len(rows) < 100 {
			t.Fatalf("%d users, the account has %d", len(rows), len(records))
		}
		want := map[string][]string{}
		for _, r := range account.Endpoints["netcore/transcripts"].Records {
			want[r.Key] = append(want[r.Key], r.SHA256)
		}
		total, asked := 0, map[string]bool{}
		for j, text := range rows {
			row := fieldsOf(t, text)
			channel := channelOf(textOf(row, "channelName"))
			r := records[j]
			if string(r.Raw) != text || r.ID != fmt.Sprint(channel, "/", r.Key) || r.Key != textOf(row, "userId") {
				t.Fatalf("the account has %+v of %s", r, text)
			}
			asked[fmt.Sprint(channel, askID(row))] = true
			got := walkNetcore(t, s, "transcripts", 25, everything(fields{"channelId": channel, "botUserId": askID(row)}), nil)
			if !slices.Equal(hashes("", got), want[r.Key]) {
				t.Errorf("user %s: %d transcripts, the account has %d", r.ID, len(got), len(want[r.Key]))
			}
			total += len(got)
		}
		if total != len(account.Endpoints["netcore/transcripts"].Records) || total < o.Backlog || len(asked) != len(rows) {
			t.Errorf("%d transcripts of %d users", total, len(asked))
		}
	}
}

func TestNetcoreTranscriptsOfAChannel(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 3000, Identical: .1})
	var got []string
	for _, channel := range allChannels {
		got = append(got, walkNetcore(t, s, "transcripts", 1000, everything(fields{"channelId": channel}), nil)...)
	}
	if want := hashesOf(netcoreRecords(s, "transcripts")); !slices.Equal(hashes("", got), want) {
		t.Errorf("%d transcripts, the account has %d", len(got), len(want))
	}
}

func TestNetcoreUsageIsWhatIsVisible(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Backlog: 2000, Rate: 5, Identical: .1, LateShare: .2, Now: c.Now})
	c.add(time.Minute)
	_, token := login(t, s)
	rows, people := map[string]int{}, map[string]map[string]bool{}
	channels := map[string]string{} // of a user
	for _, r := range netcoreRecords(s, "users") {
		channels[r.Key], _, _ = strings.Cut(r.ID, "/")
	}
	for _, r := range netcoreRecords(s, "transcripts") {
		id := r.Time.Format("2006-01/") + channels[r.Key]
		if rows[id]++; people[id] == nil {
			people[id] = map[string]bool{}
		}
		people[id][r.Key] = true
	}
	records := netcoreRecords(s, "usage")
	if len(records) != len(rows) || len(rows) != 2*len(allChannels) { // the backlog begins in February
		t.Errorf("counts of %d months and channels, want %d", len(records), len(rows))
	}
	for _, r := range records {
		month, channel, _ := strings.Cut(r.ID, "/")
		w := serve(s, netcoreRequest(token, http.MethodGet, "/botUsage?monthDate="+month+"-01&channelId="+channel, nil))
		want := fmt.Sprintf(`{"totalMessages":%d,"totalUsers":%d}`, rows[r.ID], len(people[r.ID]))
		if w.Body.String() != want || string(r.Raw) != want || r.Key != r.ID || r.Versions[len(r.Versions)-1] != r.SHA256 {
			t.Errorf("%s: %s, the account has %+v, want %s", r.ID, w.Body, r, want)
		}
		if live := month == "2026-03"; live != (len(r.Versions) > 10) {
			t.Errorf("%s: %d versions", r.ID, len(r.Versions))
		}
	}
	if w := serve(s, netcoreRequest(token, http.MethodGet, "/botUsage?monthDate=2021-08-01&channelId=1014", nil)); w.Body.String() != `{"totalMessages":0,"totalUsers":0}` {
		t.Errorf("a month without activity: %s", w.Body)
	}
}

func TestNetcoreUserData(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 2000})
	_, token := login(t, s)
	filled := 0
	for _, r := range netcoreRecords(s, "users") {
		id := askID(fieldsOf(t, string(r.Raw)))
		w := serve(s, netcoreRequest(token, http.MethodGet, "/userData/"+url.PathEscape(id), nil))
		var got struct {
			CustomFields map[string]json.RawMessage
			Tags         json.RawMessage
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != 200 || err != nil || got.CustomFields == nil || got.Tags == nil {
			t.Fatalf("%s: %d, %v: %s", id, w.Code, err, w.Body)
		}
		if len(got.CustomFields) > 0 {
			filled++
		}
	}
	if filled == 0 {
		t.Error("nothing is stored of anybody")
	}
}

func TestNetcoreDependsOnTheSeedOnly(t *testing.T) {
	grow := func(seed uint64, steps ...time.Duration) string {
		c := newClock()
		s := live(t, Options{Seed: seed, Backlog: 300, Rate: 40, LateShare: 0.2, LateBy: 3 * time.Second, Identical: 0.1, Now: c.Now})
		for _, step := range steps {
			c.add(step)
			s.catchUp(c.Now())
		}
		_, token := login(t, s)
		return fmt.Sprint(token, netcoreRecords(s, "users"), netcoreRecords(s, "transcripts"), netcoreRecords(s, "usage"))
	}
	one := grow(3, time.Minute)
	if one != grow(3, slices.Repeat([]time.Duration{100 * time.Millisecond}, 600)...) {
		t.Error("one step and many small steps give different worlds")
	}
	if one == grow(4, time.Minute) {
		t.Error("two seeds give one world")
	}
}

func TestNetcoreOptionsAreChecked(t *testing.T) {
	for says, o := range map[string]Options{"TokenLife": {TokenLife: -1}, `"descending"`: {UsersBy: "name"}} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", o, err, says)
		}
	}
}
