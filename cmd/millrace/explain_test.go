package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// asked is a request that the simulator got.
type asked struct {
	endpoint, cursor string
	from, to         int64
	at               time.Time
}

// spied has all requests written down, and spoils one answer of the messages.
func (w *world) spied(t *testing.T) (all func() []asked) {
	t.Helper()
	var mu sync.Mutex
	var list []asked
	spoilt := false
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		one := asked{endpoint: path.Base(r.URL.Path), cursor: q.Get("cursor"), at: time.Now()}
		one.from, _ = strconv.ParseInt(q.Get("start_time")+q.Get("fromTimestamp"), 10, 64)
		one.to, _ = strconv.ParseInt(q.Get("end_time")+q.Get("toTimestamp"), 10, 64)
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, r)
		mu.Lock()
		defer mu.Unlock()
		list = append(list, one)
		body := answer.Body.String()
		if worse := strings.Replace(body, `"data":[{`, `"data":["not an object",{`, 1); worse != body && !spoilt && one.endpoint == "messages" {
			body, spoilt = worse, true
		}
		out.WriteHeader(answer.Code)
		_, _ = io.WriteString(out, body)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return func() []asked {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}

// explained is what explain tells in JSON.
func explained(t *testing.T, config string, args ...string) (all []app.Explained) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, append([]string{"explain", "-o", "json", "-c", config}, args...)...)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestExplain(t *testing.T) {
	t.Parallel()
	explains(t, newListening(t))
}

func TestExplainOnAServerOfYours(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.await()
	explains(t, server)
}

func TestExplainOnKafka(t *testing.T) {
	t.Parallel()
	explains(t, newKafka(t))
}

// explains has events explained that came in different ways, while the service runs
// and when it has ended, and compares that with what the API served and what a
// client that knows nothing of millrace reads.
func explains(t *testing.T, on target) {
	w := startBoth(t, simulator.Options{Seed: 91, Backlog: 300, Span: 2 * time.Hour, Rate: 10, Timestamped: true})
	requests := w.spied(t)
	config := w.configure(t, settings{on: on, extra: live})
	c := startChild(t, "run", "-c", config)
	var all []event
	next := on.follow(t)
	await(t, c, func() bool { return len(conversationsOf(all)) > 0 || more(t, next, &all) })
	late := w.place(t, time.Now().Add(-5*time.Minute))
	await(t, c, func() bool { return find(all, late) != nil || more(t, next, &all) })
	old := w.place(t, time.Now().Add(-time.Hour))
	must(t, "backfill", "demo/outgoingEmail", "--from", "90m", "--to", "45m", "-c", config)
	await(t, c, func() bool { return find(all, old) != nil || more(t, next, &all) })
	w.Pause()

	message := slices.IndexFunc(all, func(e event) bool { return e.Source.Stream == "messages" && e.RecordID != "" })
	changing := conversationsOf(all)
	version := slices.IndexFunc(all, func(e event) bool { return e.RecordID == changing && e.Type == events.TypeConversation })
	want := []struct {
		what, lane string
		e          *event
	}{
		{"a message", "live", &all[message]}, {"a version", "live", &all[version]}, {"a late one", "sweep", find(all, late)}, {"an old one", "backfill", find(all, old)},
	}
	told := map[string][]app.Explained{}
	for _, one := range want {
		told[one.what] = explained(t, config, one.e.ID.String())
		wantExplained(t, one.what, told[one.what], one.e, one.lane, requests())
	}
	wantVersions(t, explained(t, config, changing), all, changing)
	letter := wantLetter(t, config)
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	for _, one := range want {
		if again := explained(t, config, one.e.ID.String(), "--stream", one.e.Source.Stream); one.what != "a version" && !reflect.DeepEqual(again, told[one.what]) {
			t.Errorf("of %s it tells, once the service is stopped:\n%+v\nwhile it ran:\n%+v", one.what, again, told[one.what])
		}
	}
	must(t, "dead-letters", "discard", letter, "-c", config)
	if x := explained(t, config, letter); len(x) != 1 || len(x[0].Letters) != 1 || x[0].Letters[0].Resolved != "discarded" {
		t.Errorf("of a letter that was discarded it tells %+v", x)
	}
	fails(t, 2, []string{"no event and no record", "no ledger names it", "topics.retention"}, "explain", strings.Repeat("0a", 16), "-c", config)
	fails(t, 2, []string{"demo"}, "explain", all[message].ID.String(), "--stream", "demo/outgoingEmail", "-c", config)
}

// more takes in what has come since.
func more(t *testing.T, next func(context.Context) []event, all *[]event) bool {
	t.Helper()
	*all = append(*all, next(t.Context())...)
	return false
}

// place puts a record with an own URL at a time.
func (w *world) place(t *testing.T, at time.Time) (url string) {
	t.Helper()
	url = fmt.Sprintf("https://placed.example.com/%d", at.UnixNano())
	row := fmt.Appendf(nil, `{"userId":"u-1","timestamp":%d,"domain":"placed.example.com","url":%q}`, at.Unix(), url)
	if err := w.Put("feedyou/outgoingEmail", at, row, 1); err != nil {
		t.Fatal(err)
	}
	return url
}

// find returns the event whose data holds a text; nil where there is none.
func find(all []event, text string) *event {
	for n := range all {
		if strings.Contains(string(all[n].data), text) {
			return &all[n]
		}
	}
	return nil
}

// conversationsOf returns a conversation of which two versions came; "" for none.
func conversationsOf(all []event) string {
	seen := map[string]bool{}
	for _, e := range all {
		if e.Source.Stream == "conversations" {
			if seen[e.RecordID] {
				return e.RecordID
			}
			seen[e.RecordID] = true
		}
	}
	return ""
}

// wantExplained compares what is told of an event with where a foreign consumer has
// read it, and with the requests that the simulator got.
func wantExplained(t *testing.T, what string, told []app.Explained, e *event, lane string, requests []asked) {
	t.Helper()
	if len(told) != 1 || told[0].Event == nil || len(told[0].Origins) != 1 || told[0].Origins[0].Page == nil {
		t.Fatalf("of %s it tells %+v", what, told)
	}
	x, o := told[0], told[0].Origins[0]
	if place := x.Event.Place; place.Sequence != nil && *place.Sequence != e.sequence || place.Sequence == nil && !strings.HasSuffix(fmt.Sprintf("%s/%d %d", place.Topic, *place.Partition, *place.Offset), fmt.Sprintf("%s %d", e.topic, e.sequence)) {
		t.Errorf("%s is told to be at %+v; it is at %s, %d", what, place, e.topic, e.sequence)
	}
	if x.Event.Attributes["id"] != e.ID.String() || x.Stream != e.Source.String() || x.RecordID != e.RecordID || !sameJSON(t, x.Raw, e.raw(t)) {
		t.Errorf("of %s it tells %+v", what, x)
	}
	if o.How != app.OriginRead || o.Lane != lane || o.Commit == 0 {
		t.Errorf("%s is told to come from %+v, want the lane %s", what, o, lane)
	}
	p := o.Page
	if e.Time.Before(p.Window.From.Add(-time.Second)) || e.Time.After(p.Window.To.Add(time.Second)) || p.Asked == nil {
		t.Fatalf("%s of %s is told to be of the window %+v", what, e.Time, p)
	}
	open := p.Asked.To.IsZero()
	fits := func(r asked) bool {
		cursor, _ := json.Marshal(r.cursor)
		return strings.HasSuffix(strings.ToLower(r.endpoint), strings.ToLower(e.Source.Stream)) && r.from == p.Asked.From.Unix() &&
			(open && r.to == 0 || r.to == p.Asked.To.Unix()) && (r.cursor == "" && p.Cursor == "" || strings.Contains(p.Cursor, string(cursor)) || p.Cursor == string(cursor)) &&
			!r.at.Before(p.Sent) && r.at.Before(p.Sent.Add(10*time.Second))
	}
	if !slices.ContainsFunc(requests, fits) {
		t.Errorf("%s is told to come of %+v asked for %+v; no such request was made", what, p, p.Asked)
	}
	if x.Transforms == nil || x.Untold != "" {
		t.Errorf("%s: the transforms are not shown: %s", what, x.Untold)
	}
}

// sameJSON says whether two texts mean the same: what is printed is indented.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	x, err := events.Canonical(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := events.Canonical(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// wantVersions wants all versions of a record that were published, in their order,
// and what changed.
func wantVersions(t *testing.T, told []app.Explained, all []event, id string) {
	t.Helper()
	if len(told) != 1 || len(told[0].Versions) < 2 || told[0].Event.Attributes["id"] != told[0].Versions[len(told[0].Versions)-1].ID {
		t.Fatalf("of a record that changes it tells %+v", told)
	}
	var published []event
	for _, e := range all {
		if e.RecordID == id && e.Source.Stream == "conversations" {
			published = append(published, e)
		}
	}
	if len(told[0].Versions) < len(published) {
		t.Fatalf("it tells of %d versions of %d", len(told[0].Versions), len(published))
	}
	for n, v := range told[0].Versions {
		if n > 0 && (len(v.Changed) == 0 || v.Again || v.ID == told[0].Versions[n-1].ID || v.Stored.Before(told[0].Versions[n-1].Stored)) {
			t.Errorf("version %d is told as %+v", n, v)
		}
		if n > 0 && !slices.ContainsFunc(v.Changed, func(name string) bool { return strings.HasPrefix(name, "raw.") }) {
			t.Errorf("of version %d only %s changed", n, v.Changed)
		}
	}
	for n := range published {
		if v := told[0].Versions[n]; v.ID != published[n].ID.String() {
			t.Errorf("version %d is told as %s, it is %s", n, v.ID, published[n].ID)
		}
	}
}

// wantLetter has the one dead letter explained, and returns its id.
func wantLetter(t *testing.T, config string) string {
	t.Helper()
	var letters []app.Letter
	if err := json.Unmarshal([]byte(must(t, "dead-letters", "list", "--ids", "-o", "json", "-c", config)), &letters); err != nil || len(letters) != 1 {
		t.Fatalf("%d dead letters (%v)", len(letters), err)
	}
	id := letters[0].ID
	x := explained(t, config, id)
	if len(x) != 1 || x[0].Event != nil || len(x[0].Letters) != 1 || x[0].Letters[0].Reason != "not_an_object" || len(x[0].Origins) != 1 || x[0].Origins[0].Page == nil {
		t.Errorf("of a dead letter it tells %+v", x)
	}
	text := must(t, "explain", id, "-c", config)
	for _, line := range []string{"support", "not_an_object", "asked for", "state     open"} {
		if !strings.Contains(text, line) {
			t.Errorf("of a dead letter it does not say %q:\n%s", line, text)
		}
	}
	return id
}
