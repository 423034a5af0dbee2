package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// statuses returns how the documents that are read again and again stood, each
// status once until it changes.
func statuses(t *testing.T, o Options) map[string][]string {
	c := newClock()
	o.Now = c.Now
	s := live(t, o)
	seen, last := map[string][]string{}, map[string]bool{}
	for range 400 {
		c.add(500 * time.Millisecond)
		now := map[string]bool{}
		for _, text := range allDocuments(t, s, "conversations", nil) {
			if now[text] = true; last[text] {
				continue
			}
			d := fieldsOf(t, text)
			id, status := fmt.Sprint(d["_id"], d["Id"]), d["Status"].(string)
			if list := seen[id]; len(list) == 0 || list[len(list)-1] != status {
				seen[id] = append(list, status)
			}
		}
		last = now
	}
	return seen
}

func TestConversationsChangeBack(t *testing.T) {
	ways := map[string]int{}
	for _, list := range statuses(t, Options{Seed: 6, Rate: 1, ChangeBack: 1}) {
		ways[strings.ReplaceAll(strings.Join(list, " "), "expired", "success")]++
	}
	const before, after = "open waiting open success", "open success waiting success"
	if ways[before] < 5 || ways[after] < 5 {
		t.Errorf("conversations went %v", ways)
	}
	for way := range ways { // some are on their way still
		if !strings.HasPrefix(before, way) && !strings.HasPrefix(after, way) {
			t.Errorf("conversations went %v", ways)
		}
	}
	for _, list := range statuses(t, Options{Seed: 6, Rate: 1}) {
		if slices.Contains(list, "waiting") {
			t.Errorf("a conversation went %v", list)
		}
	}
}

func TestVersionsOfConversations(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 6, Backlog: 100, Rate: 5, ChangeBack: 0.3, Now: c.Now})
	past := len(nativeRecords(s, "conversations"))
	c.add(10 * time.Minute)
	documents := map[string]bool{}
	for _, text := range allDocuments(t, s, "conversations", nil) {
		documents[text] = true
	}
	back, grown := 0, 0
	records := nativeRecords(s, "conversations")
	for _, r := range records {
		if !documents[string(r.Raw)] || sha256Hex(string(r.Raw)) != r.SHA256 || r.Versions[len(r.Versions)-1] != r.SHA256 || r.Key != r.ID {
			t.Fatalf("the account has %+v", r)
		}
		if len(slices.Compact(slices.Clone(r.Versions))) != len(r.Versions) {
			t.Fatalf("%s did not change, but has a version more", r.ID)
		}
		for i := 2; i < len(r.Versions); i++ {
			if r.Versions[i] == r.Versions[i-2] {
				back++
			}
		}
		if len(r.Versions) > 3 {
			grown++
		}
	}
	share := float64(back) / float64(len(records)-past)
	if len(documents) != len(records) || grown < 100 || share < 0.15 || share > 0.45 {
		t.Errorf("of %d conversations %d grew and %d changed back", len(records), grown, back)
	}
	if versions := nativeRecords(s, "messages")[0].Versions; versions != nil {
		t.Errorf("a message has the versions %v", versions)
	}
}

func TestConversationsTellOfTheirMessages(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 6, Backlog: 300, Rate: 5, Now: c.Now})
	c.add(3 * time.Minute)
	for _, text := range allDocuments(t, s, "conversations", nil) {
		d := fieldsOf(t, text)
		id := d["_id"]
		if id == nil {
			id = d["Id"]
		}
		messages := allDocuments(t, s, "messages", params{"query": fmt.Sprintf(`{"Conversation":%q}`, id)})
		user := 0
		last := ""
		for _, text := range messages {
			m := fieldsOf(t, text)
			if m["From"] == "user" || at(m, "Sender", "Type") == "user" {
				user++
			}
			last = max(last, m["CreatedAt"].(string))
		}
		if fmt.Sprint(at(d, "Messages", "user")) != fmt.Sprint(user) || d["StartedAt"].(string) > last || d["LastActivityAt"].(string) < last {
			t.Fatalf("%d messages by the user, the last of all at %s: %s", user, last, text)
		}
	}
}

func TestNativeChatWithoutIDs(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 2000, NativeChatNoID: true})
	for _, path := range []string{"conversations", "messages"} {
		texts := allDocuments(t, s, path, anyMessage)
		if path == "conversations" {
			texts = allDocuments(t, s, path, nil)
		}
		for _, text := range texts {
			if strings.HasPrefix(text, `{"_id"`) || strings.HasPrefix(text, `{"Id"`) {
				t.Fatalf("it has an id: %s", text)
			}
		}
		for i, r := range nativeRecords(s, path) {
			if r.ID != "" || (r.Key == "") != (path == "conversations") || r.SHA256 != sha256Hex(texts[i]) {
				t.Fatalf("the account has %+v of %s", r, texts[i])
			}
		}
	}
}

func TestTiesAreLargerThanAPage(t *testing.T) {
	const size = 5000
	c := newClock()
	s := live(t, Options{Seed: 1, Backlog: 30_000, Ties: size, Rate: 20, LateShare: 0.1, Now: c.Now})
	for path, field := range map[string]string{"messages": "CreatedAt", "conversations": "StartedAt"} {
		counts := map[time.Time]int{}
		records := nativeRecords(s, path)
		for _, r := range records {
			counts[r.Time]++
		}
		if want := (len(records) + size - 1) / size; len(counts) != want || counts[records[0].Time] != min(size, len(records)) {
			t.Fatalf("%s: the times are %v", path, counts)
		}
		// One time, page by page, in one order.
		var read []string
		for len(read) < counts[records[0].Time] {
			page := documents(t, s, path, params{
				"query": fmt.Sprintf(`{%q:%q}`, field, records[0].Time.Format(nativeISO)),
				"sort":  field, "limit": "100", "skip": fmt.Sprint(len(read)),
			})
			if len(page) == 0 {
				t.Fatalf("%s: no page after %d", path, len(read))
			}
			for _, text := range page {
				read = append(read, sha256Hex(text))
			}
		}
		if !slices.Equal(read, hashesOf(records[:len(read)])) {
			t.Errorf("%s: ties are not in the order of the account", path)
		}
	}
	// What is new shares a time with what is as new.
	c.add(time.Minute)
	now := map[time.Time]int{}
	for _, r := range nativeRecords(s, "messages")[30_000:] {
		if r.Time.Before(noon) {
			t.Fatalf("a new message is of %s", r.Time)
		}
		now[r.Time]++
	}
	if len(now) < 50 || len(now) > 300 {
		t.Errorf("what a minute brought has %d times", len(now))
	}
}

func TestTiesNeverGoBack(t *testing.T) {
	past := ties{size: 3}
	var got []int64
	for _, at := range []int64{100, 90, 500, 80, 120, 110, 300} {
		got = append(got, past.shown(at, true))
	}
	for _, at := range []int64{90_000, 90_999, 200, 90_999, 90_999, 91_000, 92_000} {
		got = append(got, past.shown(at, false))
	}
	if want := []int64{100, 100, 100, 100, 100, 100, 300, 90_000, 90_000, 200, 90_000, 90_999, 90_999, 92_000}; !slices.Equal(got, want) {
		t.Errorf("times are shown as %v, want %v", got, want)
	}
	for _, size := range []int{0, 1} {
		none := ties{size: size}
		if a, b := none.shown(5, true), none.shown(3, true); a != 5 || b != 3 {
			t.Errorf("without ties, 5 and 3 are shown as %d and %d", a, b)
		}
	}
}

func TestDocumentsComeWhileTheyAreRead(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Backlog: 500, Rate: 50, LateShare: 0.2, LateBy: time.Minute, Now: c.Now})
	before := allDocuments(t, s, "messages", anyMessage)
	latest := anyMessage.with("sort", `{"CreatedAt":-1}`)
	if got := documents(t, s, "messages", latest); fieldsOf(t, got[0])["CreatedAt"] != fieldsOf(t, before[len(before)-1])["CreatedAt"] {
		t.Errorf("the latest is %s", got[0])
	}
	c.add(time.Second)
	if next := documents(t, s, "messages", latest.with("skip", "100")); next[0] == before[len(before)-101] {
		t.Error("skip is stable")
	}
	c.add(2 * time.Minute)
	after := allDocuments(t, s, "messages", anyMessage)
	if !slices.Equal(after[:len(before)], before) || len(after) <= len(before)+5000 {
		t.Errorf("%d documents after %d, not in the order of insertion", len(after), len(before))
	}
	byTime := allDocuments(t, s, "messages", anyMessage.with("sort", "CreatedAt"))
	if slices.Equal(byTime, after) || len(byTime) != len(after) {
		t.Error("nothing came late")
	}
}

func TestPutAMessageOfNativeChat(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 200})
	when := noon.Add(-time.Hour)
	odd := []string{
		`{"Id":"m-1","Conversation":"c-1","User":"u-1","Tags":["a",["b"],3]}`, `{"_id":"m-2","Conversation":"c-1","CreatedAt":5}`,
		`{"Conversation":["c-1"]}`, `{"Conversation":"c-1"`, `[1]`, `null`,
	}
	for _, text := range odd {
		if err := s.Put("nativechat/messages", when, []byte(text), 2); err != nil {
			t.Fatal(err)
		}
	}
	got := native(t, s, "messages", params{"query": `{"Conversation":"c-1"}`}).Body.String()
	if want := fmt.Sprintf("[%s,%[1]s,%s,%[2]s]", odd[0], odd[1]); got != want {
		t.Errorf("of the conversation there is %s, want %s", got, want)
	}
	if got := documents(t, s, "messages", params{"query": `{"User":"u-1"}`}); len(got) != 2 {
		t.Errorf("of the user there is %v", got)
	}
	for value, want := range map[string]int{`"a"`: 2, `["b"]`: 2, `["a",["b"],3]`: 2, `{"$gt":2}`: 2, `{"$in":["z",3]}`: 2, `"b"`: 0, `{"$gt":3}`: 0, `["a"]`: 0} {
		if got := documents(t, s, "messages", params{"query": `{"Conversation":"c-1","Tags":` + value + `}`}); len(got) != want {
			t.Errorf("with the tag %s there is %v", value, got)
		}
	}
	p := params{"query": fmt.Sprintf(`{"CreatedAt":%q}`, when.Format(nativeISO))}
	if got := native(t, s, "messages", p).Body.String(); strings.Count(got, "[1]") != 2 || counted(t, s, "messages", p) != 12 {
		t.Errorf("at the time there is %s", got)
	}
	records := nativeRecords(s, "messages")
	i := slices.IndexFunc(records, func(r Record) bool { return r.ID == "m-2" })
	if i < 0 || records[i].Key != "c-1" || !records[i].Time.Equal(when) || records[i].SHA256 != sha256Hex(odd[1]) || len(records) != 212 {
		t.Errorf("the account has %d messages", len(records))
	}
	if err := s.Put("nativechat/conversations", when, []byte(`{}`), 1); err == nil {
		t.Error("a conversation can be put")
	}
}

func TestNativeChatIsLimitedAndFaulty(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 200, Limit: 2})
	codes := []int{}
	for _, path := range []string{"conversations", "conversations/_count", "conversations", "messages/_count"} {
		codes = append(codes, serve(s, nativeRequest(path, nil)).Code)
	}
	if !slices.Equal(codes, []int{200, 200, 429, 200}) {
		t.Errorf("answers are %v", codes)
	}
	s = build(t, Options{Seed: 4, Backlog: 200, Faults: Faults{Poison: 1}})
	w := native(t, s, "conversations", params{"limit": "2"})
	e := s.Account().Endpoints["nativechat/conversations"]
	if len(e.Poison) == 0 || !strings.Contains(w.Body.String(), string(e.Poison[0])) || e.Served != 2 {
		t.Errorf("%d elements of poison, %d documents", len(e.Poison), e.Served)
	}
	if got := native(t, s, "conversations/_count", nil).Body.String(); strings.ContainsAny(got, "[,") {
		t.Errorf("a count is poisoned: %s", got)
	}
	s = build(t, Options{Seed: 4, Backlog: 200, Faults: Faults{Broken: 1}})
	if w := serve(s, nativeRequest("messages/_count", nil)); w.Code != http.StatusInternalServerError {
		t.Errorf("a broken answer is %d", w.Code)
	}
}

// What is read all the time looks at no more documents than it returns: a look at
// one takes an allocation at least.
func TestCommonQueriesDoNotScan(t *testing.T) {
	const messages = 8000
	for _, form := range []string{NativeChatISO, NativeChatDate, NativeChatMillis} {
		s := build(t, Options{Seed: 1, Backlog: messages, NativeChatDates: form})
		last := nativeRecords(s, "messages")[messages-300]
		bound := map[string]string{
			NativeChatISO:    fmt.Sprintf("%q", last.Time.Format(nativeISO)),
			NativeChatDate:   fmt.Sprintf(`{"$date":%d}`, last.Time.UnixMilli()),
			NativeChatMillis: fmt.Sprint(last.Time.UnixMilli()),
		}[form]
		for _, p := range []params{
			{"query": fmt.Sprintf(`{"Conversation":%q}`, last.Key), "sort": "CreatedAt"},
			{"query": fmt.Sprintf(`{"Conversation":%q}`, last.Key)},
			{"query": fmt.Sprintf(`{"CreatedAt":{"$gte":%s}}`, bound), "sort": "CreatedAt"},
			{"query": fmt.Sprintf(`{"CreatedAt":{"$lt":%s}}`, bound), "sort": "CreatedAt", "skip": "5000"},
			{"query": fmt.Sprintf(`{"CreatedAt":{"$lt":%s}}`, bound), "sort": `{"CreatedAt":-1}`},
		} {
			r := nativeRequest("messages", p)
			if got := documents(t, s, "messages", p); len(got) == 0 {
				t.Errorf("%s, %v: nothing is found", form, p)
			}
			if n := testing.AllocsPerRun(3, func() { s.ServeHTTP(&sink{http.Header{}}, r) }); n > 500 {
				t.Errorf("%s, %v: %v allocations", form, p, n)
			}
		}
	}
}
