package nativechat

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/simulator"
)

// Whatever the account's dates are like, everything is read, once, also where far
// more documents share a time than fit on a page.
func TestReadsAll(t *testing.T) {
	for _, c := range []struct{ dates, wrapper, mode string }{
		{simulator.NativeChatISO, "", byConversation}, {simulator.NativeChatISO, "data", all},
		{simulator.NativeChatDate, "Result", byConversation}, {simulator.NativeChatDate, "", all},
		{simulator.NativeChatMillis, "data", byConversation}, {simulator.NativeChatMillis, "Result", all},
	} {
		o := simulator.Options{Seed: 1, Backlog: 1200, NativeChatDates: c.dates, NativeChatWrapper: c.wrapper, NativeChatAllMessages: c.mode == all}
		if c.mode == all {
			o.Ties = 500
		}
		s, api := simulated(t, o)
		for _, stream := range connect(t, api, map[string]any{"messages": c.mode}).Streams {
			want := s.Account().Endpoints["nativechat/"+stream.Key.Stream].Records
			got, kept, err := readOnce(t, stream)
			if err != nil || len(got) != len(want) || len(want) < 100 {
				t.Errorf("%v, %s: %d of %d records, %v", c, stream.Key.Stream, len(got), len(want), err)
			}
			if time.Since(kept.Live.At) > 5*time.Second {
				t.Errorf("%v, %s: it stands at %s", c, stream.Key.Stream, kept.Live.At)
			}
		}
	}
}

// Inside a tie pages follow each other without gaps and without repeats.
func TestTies(t *testing.T) {
	s, api := simulated(t, simulator.Options{Seed: 2, Backlog: 6000, Ties: 5000, NativeChatAllMessages: true})
	stream := streamOf(t, api, messages, map[string]any{"messages": all})
	want := s.Account().Endpoints["nativechat/messages"].Records
	at := want[len(want)/2].Time
	ties := 0
	for _, record := range want {
		if record.Time.Equal(at) {
			ties++
		}
	}
	got, r := 0, connectors.Request{From: at.Truncate(time.Second), To: at.Truncate(time.Second).Add(time.Second)}
	ids := map[string]bool{}
	for {
		page, err := stream.Pager.Page(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for record, err := range page.Records {
			if err != nil {
				t.Fatal(err)
			}
			got++
			ids[record.ID] = true
		}
		r.Cursor, err = page.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r.Cursor == nil {
			break
		}
	}
	if ties != 5000 || len(ids) < ties || got != len(ids) || api.requests() > 60+got/perPage {
		t.Errorf("%d documents, %d of them different, with %d of one time, in %d requests", got, len(ids), ties, api.requests())
	}
}

// A server that does not do what it is asked ends in an error, not in a loop, and
// nothing counts as read.
func TestWhatIsIgnored(t *testing.T) {
	for parameter, ties := range map[string]int{"query": 0, "sort": 0, "skip": 1000} {
		for _, name := range streams {
			s, api := simulated(t, simulator.Options{Seed: 3, Backlog: 1500, Ties: ties, NativeChatAllMessages: true})
			api.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				if !strings.HasSuffix(r.URL.Path, "_count") { // else nothing would be asked for by time
					q.Del(parameter)
				}
				if parameter == "sort" && q.Has("query") && q.Has("limit") {
					q.Set("sort", `{"StartedAt":-1,"CreatedAt":-1}`) // some other order
				}
				r.URL.RawQuery = q.Encode()
				s.ServeHTTP(w, r)
			})
			stream := streamOf(t, api, name, map[string]any{"messages": all})
			if name == conversations && parameter == "skip" {
				continue // it has too few of one time to skip any
			}
			wantFail(t, parameter+" of "+name, stream, api, parameter)
		}
	}
}

// Without a query at all the whole list is no conversation's.
func TestAnotherConversation(t *testing.T) {
	api := &served{handler: says(func(path string, q url.Values) string {
		switch {
		case q.Has("skip"), path == "conversations" && countOf(q) == "0":
			return "[]"
		case path == "conversations":
			return `[{"_id":"a","StartedAt":"` + recent() + `"}]`
		case path == "messages":
			return `[{"_id":"1","Conversation":"b","CreatedAt":"` + recent() + `"}]`
		}
		return countOf(q)
	})}
	wantFail(t, "another conversation", streamOf(t, api, messages, nil), api, "another conversation", "query")
}

// What is outside of the range was not asked for.
func TestOutside(t *testing.T) {
	for _, at := range []string{"2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"} {
		api := &served{handler: says(func(path string, q url.Values) string {
			if strings.HasSuffix(path, "_count") {
				return countIf(q, at)
			}
			return `[{"_id":"a","StartedAt":"` + at + `"}]`
		})}
		stream := streamOf(t, api, conversations, nil)
		for _, asked := range []connectors.Request{{From: time.Now().Add(-time.Hour), To: time.Now()}, {From: time.Now()}} {
			err := error(nil)
			for _, err = range page(t, stream, asked).Records {
				break
			}
			if outside := asked.To.Year() > 1 || at < "2021"; outside != (connectors.KindOf(err) == connectors.Fail) {
				t.Errorf("%s, asked for from %s to %s: %v", at, asked.From, asked.To, err)
			}
		}
	}
}

// recent is a time in the window that is read.
func recent() string {
	return time.Now().Add(-time.Hour).UTC().Truncate(time.Minute).Format("2006-01-02T15:04:05Z")
}

// countOf counts one document, of the time recent, if that is in the range.
func countOf(q url.Values) string { return countIf(q, recent()) }

func countIf(q url.Values, at string) string {
	limit := func(operator string) string {
		_, rest, _ := strings.Cut(q.Get("query"), operator+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	if from, to := limit("$gte"), limit("$lte"); from > at || to != "" && to < at {
		return "0"
	}
	return "1"
}

// An empty answer does not count before it is known that a full one would come.
func TestNothingFindsWhatIsThere(t *testing.T) {
	for count, words := range map[string][]string{"0": {"StartedAt 2026", "text, $date, a number", "time_fields"}, "1": {"ignore", "query"}, "400": {"StartedAt"}} {
		api := &served{handler: says(func(path string, q url.Values) string {
			switch {
			case strings.HasSuffix(path, "_count"):
				return count
			case q.Has("query"):
				return "[]"
			}
			return `[{"_id":"a","StartedAt":"2026-01-02T03:04:05.678Z"}]`
		})}
		for _, name := range streams {
			wantFail(t, count+" "+name, streamOf(t, api, name, nil), api, words...)
		}
		if err := connect(t, api, nil).Probe(t.Context()); connectors.KindOf(err) != connectors.Fail {
			t.Errorf("%s: %v", count, err)
		}
	}
	// An account that has nothing moves on.
	api := &served{handler: says(func(path string, _ url.Values) string {
		return map[bool]string{true: "0", false: `{"Result":[]}`}[strings.HasSuffix(path, "_count")]
	})}
	for _, mode := range []string{byConversation, all} {
		for _, stream := range connect(t, api, map[string]any{"messages": mode}).Streams {
			if got, kept, err := readOnce(t, stream); err != nil || len(got) > 0 || time.Since(kept.Live.At) > 5*time.Second {
				t.Errorf("%s: %d, it stands at %s, %v", stream.Key, len(got), kept.Live.At, err)
			}
		}
	}
}

// Where the API does not count, a list tells as well.
func TestWithoutCount(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"404":  http.NotFound,
		"form": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"a":1,"b":2}`)) },
	} {
		s, api := simulated(t, simulator.Options{Seed: 4, Backlog: 300, NativeChatDates: simulator.NativeChatDate})
		api.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "_count") {
				refuse(w, r)
				return
			}
			s.ServeHTTP(w, r)
		})
		for _, stream := range connect(t, api, nil).Streams {
			want := s.Account().Endpoints["nativechat/"+stream.Key.Stream].Records
			if got, _, err := readOnce(t, stream); err != nil || len(got) != len(want) {
				t.Errorf("%s, %s: %d of %d records, %v", name, stream.Key.Stream, len(got), len(want), err)
			}
		}
	}
}

func TestCountForms(t *testing.T) {
	for text, want := range map[string]int64{
		"7": 7, ` "7" `: 7, `{"count":7}`: 7, `{"Result":7}`: 7, `{"Result":{"count":7},"status":"ok"}`: 7, `{"n":"7"}`: 7, "0": 0,
		"-1": -1, "[]": -1, "{}": -1, "null": -1, `{"a":1,"b":2}`: -1, "7.5": -1, `"x"`: -1, "7 7": -1, "<html>": -1, "": -1,
	} {
		api := &served{handler: says(func(string, url.Values) string { return text })}
		n, err := streamOf(t, api, conversations, nil).Pager.(conversationPager).counted(t.Context(), nil)
		if (err == nil) != (want >= 0) || err == nil && n != want {
			t.Errorf("%s: %d, %v; want %d", text, n, err, want)
		}
	}
}

// Without ids what a document says is its identity; check tells of it.
func TestNoID(t *testing.T) {
	s, api := simulated(t, simulator.Options{Seed: 5, Backlog: 1000, NativeChatNoID: true, NativeChatAllMessages: true})
	c := connect(t, api, map[string]any{"messages": all})
	for _, stream := range c.Streams {
		want := s.Account().Endpoints["nativechat/"+stream.Key.Stream].Records
		first, _, err := readOnce(t, stream)
		again, _, _ := readOnce(t, stream)
		if err != nil || len(first) != len(want) || len(again) != len(first) {
			t.Errorf("%s: %d and %d of %d records, %v", stream.Key.Stream, len(first), len(again), len(want), err)
		}
		for id := range again {
			if first[id] == 0 {
				t.Fatalf("%s: another identity the second time", stream.Key.Stream)
			}
		}
	}
	if err := c.Probe(t.Context()); err != nil || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "id_fields") {
		t.Errorf("check tells %q, %v", c.Notes, err)
	}
	wantFail(t, "by conversation", streamOf(t, api, messages, nil), api, "id_fields", "messages: all")
	if err := connect(t, api, nil).Probe(t.Context()); !errors.Is(err, errNameless) {
		t.Errorf("by conversation check tells %v", err)
	}
	_, good := simulated(t, simulator.Options{Seed: 5, Backlog: 100})
	c = connect(t, good, nil)
	if err := c.Probe(t.Context()); err != nil || len(c.Notes) > 0 {
		t.Errorf("with ids check tells %q, %v", c.Notes, err)
	}
}

// The names of id and time are settings, paths too.
func TestNames(t *testing.T) {
	api := &served{handler: says(func(path string, q url.Values) string {
		if strings.HasSuffix(path, "_count") {
			return countOf(q)
		}
		if countOf(q) == "0" || q.Has("skip") {
			return "[]"
		}
		return `[{"_id":"wrong","meta":{"key":"k1","at":"` + recent() + `"}}]`
	})}
	wantFail(t, "no time", streamOf(t, api, conversations, nil), api, "time_fields", "StartedAt")
	stream := streamOf(t, api, conversations, map[string]any{"id_fields": []string{"meta.no", "meta.key"}, "time_fields": []string{"At", "meta.at"}})
	got, _, err := readOnce(t, stream)
	if err != nil || len(got) != 1 || !slices.ContainsFunc(api.asked, func(u *url.URL) bool { return u.Query().Get("sort") == `{"meta.at":1,"meta.key":1}` }) {
		t.Errorf("%v, %v, asked with %v", got, err, api.asked)
	}
	for id := range got {
		if !strings.HasPrefix(id, "k1") {
			t.Errorf("the id is %s", id)
		}
	}
}

// A conversation that began long before is read when something happens in it, and
// its messages with it.
func TestActivity(t *testing.T) {
	s, api := simulated(t, simulator.Options{Seed: 6, Backlog: 3000})
	all := s.Account().Endpoints["nativechat/conversations"].Records
	var since time.Time // something happened in all[10] a second later
	for record, err := range page(t, streamOf(t, api, conversations, nil), connectors.Request{From: all[10].Time, To: all[10].Time}).Records {
		if err != nil {
			t.Fatal(err)
		}
		if record.ID == all[10].ID {
			since = record.Time.Add(-time.Second).Truncate(time.Second)
		}
	}
	stream := streamOf(t, api, conversations, nil)
	before := 0
	for record, err := range page(t, stream, connectors.Request{From: since, To: since.Add(time.Minute)}).Records {
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(r simulator.Record) bool { return r.ID == record.ID })
		if all[i].Time.Before(since) {
			before++
		}
	}
	keys, err := streamOf(t, api, messages, nil).Walk.Keys(t.Context(), connectors.KeysRequest{From: since, To: since.Add(time.Minute)})
	if err != nil || before == 0 || len(keys.Keys) < before {
		t.Errorf("%d that began before were found, %d conversations may have messages, %v", before, len(keys.Keys), err)
	}
	to, later := since.Add(time.Minute), 0
	for _, record := range all {
		if !record.Time.After(to.Add(beganMargin)) {
			continue
		}
		later++
		if slices.ContainsFunc(keys.Keys, func(k connectors.Key) bool { return k.ID == record.ID }) {
			t.Fatalf("the messages of one that began at %s are asked for, of a window to %s", record.Time, to)
		}
	}
	if later == 0 {
		t.Error("none began behind the window")
	}
}

func page(t testing.TB, stream *connectors.Stream, r connectors.Request) *connectors.Page {
	t.Helper()
	p, err := stream.Pager.Page(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCount(t *testing.T) {
	s, api := simulated(t, simulator.Options{Seed: 7, Backlog: 1000, NativeChatAllMessages: true})
	now := time.Now()
	for _, stream := range connect(t, api, map[string]any{"messages": all}).Streams {
		want := int64(len(s.Account().Endpoints["nativechat/"+stream.Key.Stream].Records))
		n, err := stream.Count(t.Context(), now.Add(-7*time.Hour), now.Add(time.Hour))
		none, _ := stream.Count(t.Context(), now.Add(-70*time.Hour), now.Add(-60*time.Hour))
		if n != want || none != 0 || err != nil {
			t.Errorf("%s: %d and %d of %d, %v", stream.Key.Stream, n, none, want, err)
		}
	}
	if streamOf(t, api, messages, nil).Count != nil {
		t.Error("messages of conversations are counted")
	}
}

// Accounts that list no messages by their time are told what to do.
func TestMessagesAllIsRefused(t *testing.T) {
	_, api := simulated(t, simulator.Options{Seed: 8, Backlog: 300})
	handler := api.handler
	api.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/messages") && !strings.Contains(r.URL.Query().Get("query"), "Conversation") {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		handler.ServeHTTP(w, r)
	})
	wantFail(t, "all", streamOf(t, api, messages, map[string]any{"messages": all}), api, "by_conversation")
}

func TestSettings(t *testing.T) {
	for key, value := range map[string]any{"messages": "some", "id_fields": []string{""}, "time_fields": slices.Repeat([]string{"a"}, 20)} {
		_, err := Type.New(connectors.Section{Name: "c", Raw: map[string]any{"bot_id": "b", "access_token": token, key: value}},
			connectors.Env{Budgets: connectors.NewBudgets(), Transport: http.DefaultTransport})
		if err == nil || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", key, err)
		}
	}
	c := connect(t, &served{}, nil)
	if c.Account != "bot/ä" || !c.Streams[0].Versioned || !c.Streams[0].OpenEnd || c.Streams[1].Versioned {
		t.Errorf("%+v", c)
	}
	if o := c.Streams[0].Options; o.SweepBack != o.Quiet || o.SweepEvery != 15*time.Minute {
		t.Errorf("%+v", o)
	}
}
