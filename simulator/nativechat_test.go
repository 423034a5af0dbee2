package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNativeChatRefusals(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 100})
	const token = "Bot-Server-Access-Token " + DefaultAPIKey
	one := `{"Conversation":"x"}`
	for name, c := range map[string]struct {
		auth, bot string
		params    params
		want      int
		says      string
	}{
		"right":                 {token, DefaultBotName, params{"query": one, "limit": "1000", "skip": "0"}, 200, ""},
		"no token":              {"", DefaultBotName, nil, 401, "Missing"},
		"wrong token":           {token + "x", DefaultBotName, nil, 401, "Invalid"},
		"bearer":                {"Bearer " + DefaultAPIKey, DefaultBotName, nil, 401, "Invalid"},
		"no scheme":             {DefaultAPIKey, DefaultBotName, nil, 401, "Invalid"},
		"another bot":           {token, "r3-1", params{"query": one}, 404, "Bot not found"},
		"another bot, no token": {"", "r3-1", nil, 401, "Missing"},
		"page too large":        {token, DefaultBotName, params{"limit": "1001"}, 400, "1 to 1000"},
		"page of nothing":       {token, DefaultBotName, params{"limit": "0"}, 400, "1 to 1000"},
		"limit of text":         {token, DefaultBotName, params{"limit": "all"}, 400, "1 to 1000"},
		"negative skip":         {token, DefaultBotName, params{"skip": "-1"}, 400, "skip must"},
		"broken query":          {token, DefaultBotName, params{"query": `{"a":`}, 400, "query must be a JSON object"},
		"more than a query":     {token, DefaultBotName, params{"query": `{} {}`}, 400, "query must be a JSON object"},
		"no object":             {token, DefaultBotName, params{"query": `[]`}, 400, "query must be a JSON object"},
		"null":                  {token, DefaultBotName, params{"query": `null`}, 400, "query must be a JSON object"},
		"empty query":           {token, DefaultBotName, params{"query": ``}, 400, "query must be a JSON object"},
		"$regex":                {token, DefaultBotName, params{"query": `{"Status":{"$regex":"."}}`}, 400, "unknown operator: $regex"},
		"$where":                {token, DefaultBotName, params{"query": `{"$where":"1"}`}, 400, "unknown operator: $where"},
		"$eq":                   {token, DefaultBotName, params{"query": `{"Status":{"$eq":"open"}}`}, 400, "unknown operator: $eq"},
		"deep inside":           {token, DefaultBotName, params{"query": `{"$or":[{"$and":[{"a":{"$ne":1}}]}]}`}, 400, "unknown operator: $ne"},
		"$in of one":            {token, DefaultBotName, params{"query": `{"Status":{"$in":"open"}}`}, 400, "$in must be an array"},
		"$or of nothing":        {token, DefaultBotName, params{"query": `{"$or":[]}`}, 400, "$or must be an array"},
		"$and of text":          {token, DefaultBotName, params{"query": `{"$and":["a"]}`}, 400, "$and must be an array"},
		"no date":               {token, DefaultBotName, params{"query": `{"StartedAt":{"$gt":{"$date":"today"}}}`}, 400, "$date must be"},
		"sort by nothing":       {token, DefaultBotName, params{"sort": ""}, 400, "sort must not be empty"},
		"broken sort":           {token, DefaultBotName, params{"sort": `{"StartedAt"`}, 400, "sort is not valid JSON"},
		"no direction":          {token, DefaultBotName, params{"sort": `{"StartedAt":"asc"}`}, 400, "1 or -1"},
	} {
		for _, path := range []string{"conversations", "messages", "conversations/_count", "messages/_count"} {
			r := nativeRequest(path, c.params)
			r.URL.Path = "/v1/bots/" + c.bot + "/" + path
			r.Header.Set("Authorization", c.auth)
			w := serve(s, r)
			if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s, %s: %d %s, want %d with %q", path, name, w.Code, w.Body, c.want, c.says)
			}
		}
	}
}

func TestMessagesAreListedByAQueryOnly(t *testing.T) {
	o := Options{Seed: 1, Backlog: 50}
	s := build(t, o)
	o.NativeChatAllMessages = true
	open := build(t, o)
	for query, want := range map[string]int{
		``: 400, `{}`: 400, `{"From":"user"}`: 400, `{"Data.User":"x"}`: 400,
		`{"$or":[{"User":"x"},{"From":"user"}]}`:                                    400,
		`{"$or":[{"User":"x"},{"$and":[{"From":"user"},{"CreatedAt":{"$gt":1}}]}]}`: 200,
		`{"Conversation":"x"}`:                                                      200,
		`{"User":{"$in":["x"]}}`:                                                    200,
		`{"CreatedAt":{"$gte":"2026"}}`:                                             200,
		`{"$and":[{"Conversation":"x"}]}`:                                           200,
	} {
		p := params{}
		if query != "" {
			p["query"] = query
		}
		if w := serve(s, nativeRequest("messages", p)); w.Code != want {
			t.Errorf("%q: %d, want %d", query, w.Code, want)
		}
		if w := serve(open, nativeRequest("messages", p)); w.Code != http.StatusOK {
			t.Errorf("%q where all is allowed: %d", query, w.Code)
		}
		counted(t, s, "messages", p)
	}
	if got := counted(t, s, "messages", nil); got != 50 {
		t.Errorf("%d messages are counted", got)
	}
	if got := documents(t, open, "messages", nil); len(got) != 50 {
		t.Errorf("%d messages are listed", len(got))
	}
}

func TestNativeChatDocumentsHaveTheirFields(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 3000})
	conversations := allDocuments(t, s, "conversations", nil)
	messages := allDocuments(t, s, "messages", anyMessage)
	if len(messages) != 3000 || len(conversations) < 300 {
		t.Fatalf("%d conversations of %d messages", len(conversations), len(messages))
	}
	known := map[string]bool{}
	for _, text := range conversations {
		d := fieldsOf(t, text)
		id, _ := d["_id"].(string)
		if id == "" {
			id, _ = d["Id"].(string)
		}
		known[id] = true
		for _, path := range []string{"StartedAt", "LastActivityAt", "Status", "Errors", "Messages.user", "Data.user.FirstName", "Data.channel.ProviderName"} {
			if at(d, strings.Split(path, ".")...) == nil {
				t.Fatalf("no %s: %s", path, text)
			}
		}
	}
	for _, text := range messages {
		d := fieldsOf(t, text)
		if id, _ := d["Conversation"].(string); !known[id] || d["User"] == nil || d["CreatedAt"] == nil {
			t.Fatalf("a message of nothing: %s", text)
		}
		if (d["From"] == nil) == (at(d, "Sender", "Type") == nil) || (d["Text"] == nil) == (at(d, "Message", "Text") == nil) {
			t.Fatalf("what is said is there once: %s", text)
		}
	}
	for list, samples := range map[string][]string{
		strings.Join(messages, "\n"): {`{"_id":`, `{"Id":`, `"From":"user"`, `"From":"bot"`, `"From":"agent"`, `"Sender":{"Type":"agent"`,
			`"Attachments":[{"Type":"image`, `"QuickReplies":[{"Title"`, `"QuickReplies":null`, `"CreatedAt":"2026-0`},
		strings.Join(conversations, "\n"): {`"Status":"success"`, `"Status":"expired"`, `"Errors":0`, `"Errors":1`, `"Errors":"`,
			`"facebook"`, `"viber"`, `"LastName":null`, `"StartedAt":"2026-0`},
	} {
		for _, sample := range samples {
			if !strings.Contains(list, sample) {
				t.Errorf("no document has %s", sample)
			}
		}
	}
}

func TestNativeChatAccountIsWhatIsServed(t *testing.T) {
	s := build(t, Options{Seed: 7, Backlog: 3000, Ties: 150})
	for path, field := range map[string]string{"conversations": "StartedAt", "messages": "CreatedAt"} {
		turns := map[string]int{}
		for _, r := range nativeRecords(s, path) {
			if path == "messages" && r.Position != turns[r.Key] {
				t.Fatalf("message %d of %s is the %d. in time", r.Position, r.Key, turns[r.Key])
			}
			turns[r.Key]++
		}
		// By key range: from the last time seen on, without what was seen.
		var read []Record
		from, skip := "", 0
		for {
			page := documents(t, s, path, params{
				"query": fmt.Sprintf(`{"%s":{"$gte":%q}}`, field, from), "sort": field, "skip": fmt.Sprint(skip), "limit": "100",
			})
			for _, text := range page {
				d := fieldsOf(t, text)
				time := d[field].(string)
				if time != from {
					from, skip = time, 0
				}
				skip++
				id, _ := d["_id"].(string)
				if id == "" {
					id = d["Id"].(string)
				}
				read = append(read, Record{ID: id, SHA256: sha256Hex(text)})
			}
			if len(page) < 100 {
				break
			}
		}
		records := nativeRecords(s, path)
		if len(read) != len(records) {
			t.Fatalf("%s: %d documents, %d in the account", path, len(read), len(records))
		}
		for i, r := range records {
			if r.ID != read[i].ID || r.SHA256 != read[i].SHA256 {
				t.Fatalf("%s: the account has %+v, the list %+v", path, r, read[i])
			}
		}
	}
}

func TestNativeChatDependsOnTheSeedOnly(t *testing.T) {
	grow := func(seed uint64, steps ...time.Duration) string {
		c := newClock()
		s := live(t, Options{Seed: seed, Backlog: 200, Rate: 40, LateShare: 0.2, LateBy: 3 * time.Second, ChangeBack: 0.5, Ties: 7, Now: c.Now})
		for _, step := range steps {
			c.add(step)
			s.catchUp(c.Now())
		}
		return fmt.Sprint(allDocuments(t, s, "conversations", nil), allDocuments(t, s, "messages", anyMessage),
			nativeRecords(s, "conversations"), nativeRecords(s, "messages"))
	}
	one := grow(3, time.Minute)
	if one != grow(3, slices.Repeat([]time.Duration{100 * time.Millisecond}, 600)...) {
		t.Error("one step and many small steps give different worlds")
	}
	if one == grow(4, time.Minute) {
		t.Error("two seeds give one world")
	}
}

func TestTheWorldOfOthersDoesNotDependOnNativeChat(t *testing.T) {
	grow := func(o Options) string {
		c := newClock()
		o.Seed, o.Backlog, o.Rate, o.Now = 3, 100, 20, c.Now
		s := live(t, o)
		c.add(3 * time.Minute)
		a := s.Account()
		return fmt.Sprint(a.Endpoints["deepconverse/conversations"].Records, a.Endpoints["deepconverse/messages"].Records, a.Endpoints["feedyou/userDataSnapshot"].Records)
	}
	if grow(Options{}) != grow(Options{ChangeBack: 1, Ties: 5, NativeChatDates: NativeChatMillis}) {
		t.Error("the options of NativeChat change what others show")
	}
}

func TestNativeChatOptionsAreChecked(t *testing.T) {
	for says, o := range map[string]Options{
		"ChangeBack": {ChangeBack: 1.5}, "Ties": {Ties: -1}, `"date" "millis"`: {NativeChatDates: "ISO"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", o, err, says)
		}
	}
}
