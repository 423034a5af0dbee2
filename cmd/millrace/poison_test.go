package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// poisons are elements that cannot become events, by the reason.
func poisons() map[string][]string {
	return map[string][]string{
		events.ReasonNotObject: {"null", "42", "-0.50e+3", "1e400", `"text with \u0000"`, "true", `[1,{"userId":"u"}]`, "[]"},
		events.ReasonNotJSON: {
			"{\"text\":\"caf\xe9\"}", "{\"text\":\"\xc0\xaf\"}", "{\"\xed\xa0\x80\":1}", "\"\xff\"", "{\"text\":\"\xf0\x9f\"}",
			`{"userId":"a","userId":"b"}`, `{"in":{"b":1,"\u0062":2}}`, `{"text":"\ud800"}`, `{"text":"\udc00\ud800"}`, `{"\ud83d":1}`,
		},
		events.ReasonTooDeep: {
			`{"deep":` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + "}",
			`{"deep":` + strings.Repeat(`{"a":`, 9_999) + "0" + strings.Repeat("}", 9_999) + "}",
		},
	}
}

// largest is a row as large as any stream takes it. One stream has it: with the
// race detector each command that opens the directory takes long for it, and the
// others show the same with a smaller one.
const largest, large = 5 << 20, 64 << 10

// oddObjects are objects that are events whatever is in them, one of them with a
// string of so many bytes. At is when.
func oddObjects(at time.Time, length int) []string {
	when := at.UTC().Format(time.RFC3339)
	own := func(members string) string { return fmt.Sprintf(`{"timestamp":%q,"time":%q,%s}`, when, when, members) }
	odd := []string{
		own(`"userId":"nul\u0000in it","_id":"id\u0000","conversationId":"\u0000"`),
		own(`"userId":"n","n":1e400,"score":1e400,"duration":-1e400,"responseStatus":1e400,"m":123456789012345678901234567890.10`),
		own(`"deep":` + strings.Repeat("[", 899) + strings.Repeat("]", 899)),
		own(`"userId":"big","attachment":"` + strings.Repeat("x", length) + `"`),
	}
	fields := []string{
		"_id", "userId", "conversationId", "type", "outMsg", "userInput", "userActionType", "startTime", "lastActionAt", "locale", "tags", "metadata",
		"text", "result", "processed", "from", "recipients", "replyTo", "subject", "body", "stepId", "channel", "link", "message", "provider",
		"intent", "score", "matched", "dialogId", "otherClassifications", "domain", "url", "method", "requestBody", "requestHeaders",
		"responseStatus", "responseBody", "duration", "name", "firstName", "lastName", "tags2", "createdAt", "firstSeenAt",
	}
	for _, value := range []string{"null", "true", "-1.50", `""`, `"\u0000"`, "[]", "[[null,1]]", "{}", `{"a":{"b":[1e400]}}`} {
		var members []string
		for _, field := range fields {
			members = append(members, fmt.Sprintf("%q:%s", field, value))
		}
		odd = append(odd, own(strings.Join(members, ",")))
		// The time is of the wrong type too.
		odd = append(odd, fmt.Sprintf(`{"timestamp":%s,"time":%q,"kind":"%x"}`, value, when, value))
	}
	return odd
}

// configureFeedyou writes a configuration that reads a Feedyou API.
func configureFeedyou(t *testing.T, url, broker, extra string, since time.Time) string {
	t.Helper()
	text := fmt.Sprintf(`broker:
  nats: {%s}
http: {listen: ""}
connectors:
  bot:
    type: feedyou
    base_url: %s
    bot_id: acme
    function_key: %s
    since: %s
%s`, broker, url, simulator.DefaultAPIKey, since.UTC().Format(time.RFC3339), indent(extra))
	path := filepath.Join(t.TempDir(), "millrace.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shown is a dead letter as show tells of it.
type shown struct {
	ID, Stream, Reason, Detail, Stage, State string
	SHA256                                   string
	Record                                   *string
	Base64                                   string `json:"record_base64"`
}

func (s *shown) bytes(t *testing.T) string {
	t.Helper()
	if s.Record != nil {
		return *s.Record
	}
	raw, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func show(t *testing.T, path string, args ...string) (all []shown) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, append([]string{"dead-letters", "show", "-o", "json", "-c", path}, args...)...)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// wantLetters wants exactly these records in the dead letters of a stream, byte
// for byte.
func wantLetters(t *testing.T, path, stream string, want map[string][]string) {
	t.Helper()
	counted := map[string]int{}
	for _, c := range causes(t, path, "--stream", stream) {
		counted[c.Reason] += c.Count
		if c.Detail == "" || c.Stage == "" || c.Example == "" {
			t.Errorf("a cause lacks something: %+v", c)
		}
	}
	left := map[string][]string{}
	for reason, records := range want {
		left[reason] = slices.Clone(records)
		if counted[reason] != len(records) {
			t.Errorf("%s: the list counts %d letters for %s, not %d", stream, counted[reason], reason, len(records))
		}
	}
	for _, l := range show(t, path, "--stream", stream) {
		record := l.bytes(t)
		n := slices.Index(left[l.Reason], record)
		if n < 0 {
			t.Errorf("%s: nobody put this in, or not twice (%s): %.60q", stream, l.Reason, record)
			continue
		}
		left[l.Reason] = slices.Delete(left[l.Reason], n, n+1)
	}
	for reason, records := range left {
		for _, record := range records {
			t.Errorf("%s: no dead letter for %s holds %.60q", stream, reason, record)
		}
	}
}

// wantShown wants every way to show the letters of a stream to give their bytes.
func wantShown(t *testing.T, path, stream string) {
	t.Helper()
	for _, l := range show(t, path, "--stream", stream) {
		record := l.bytes(t)
		if raw := must(t, "dead-letters", "show", l.ID, "--raw", "-c", path); raw != record || hash([]byte(raw)) != l.SHA256 {
			t.Errorf("%s: --raw shows %.60q of %.60q", stream, raw, record)
		}
		text := must(t, "dead-letters", "show", l.ID, "-c", path)
		if want := multilineOf(record); !strings.HasSuffix(text, "\n\n"+want) || !strings.Contains(text, l.SHA256) || !strings.Contains(text, l.Detail) {
			t.Errorf("%s: it is shown as %.400q, and should end in %.60q", stream, text, want)
		}
	}
}

// multilineOf is how show prints a record: text as it is, else a dump.
func multilineOf(record string) string {
	if strings.ToValidUTF8(record, "") == record {
		return record + "\n"
	}
	return hex.Dump([]byte(record))
}

// wantAll wants what an API holds to be there once each: as events with the same
// raw, or as dead letters.
func wantAll(t *testing.T, all []event, path string, a simulator.Account) {
	t.Helper()
	validate(t, all)
	there := map[string]map[string]int{}
	ids := map[events.ID]bool{}
	add := func(stream, sum string) {
		if there[stream] == nil {
			there[stream] = map[string]int{}
		}
		there[stream][sum]++
	}
	for n := range all {
		e := &all[n]
		if ids[e.ID] {
			t.Errorf("the event %s is there twice", e.ID)
		}
		ids[e.ID] = true
		if e.Type != events.TypeDeadLetter {
			add(e.Source.Stream, hash(e.raw(t)))
		}
	}
	var letters []shown
	if len(causes(t, path)) > 0 {
		letters = show(t, path, "--connector", "bot")
	}
	for _, l := range letters {
		add(l.Stream[strings.LastIndexByte(l.Stream, '/')+1:], l.SHA256)
	}
	for name, endpoint := range a.Endpoints {
		stream, ok := strings.CutPrefix(name, "feedyou/")
		if !ok {
			continue
		}
		want := map[string]int{}
		for _, r := range endpoint.Records {
			want[r.SHA256]++
		}
		if !maps.Equal(there[stream], want) {
			t.Errorf("%s: %d different records of %d are there, or not as often", stream, len(there[stream]), len(want))
		}
	}
}

func feedyouEndpoints(a simulator.Account) []string {
	var names []string
	for name := range a.Endpoints {
		if strings.HasPrefix(name, "feedyou/") && name != "feedyou/userData" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// What is no object is dead, whole and with the reason, and nothing around it is.
func TestPoisonOfFeedyou(t *testing.T) {
	t.Parallel()
	w := startWorld(t, simulator.Options{Seed: 21, Backlog: 300, Span: time.Hour})
	at := time.Now().Add(-40 * time.Minute)
	want := poisons()
	for n, endpoint := range feedyouEndpoints(w.Simulator.Account()) {
		whole, length := endpoint == "feedyou/outgoingEmail" || endpoint == "feedyou/urlTracker", large
		if endpoint == "feedyou/urlTracker" {
			length = largest
		}
		for _, records := range want {
			for i, record := range records {
				if !whole && i > 0 {
					break // the way of poison is the same: one of each reason is enough
				}
				if err := w.Put(endpoint, at.Add(time.Duration(n+i)*time.Second), []byte(record), 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, record := range oddObjects(at, length) {
			if err := w.Put(endpoint, at, []byte(record), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	path := configureFeedyou(t, w.url, embeddedIn(dir), fast, w.since)
	must(t, "run", "--once", "-c", path)
	wantAll(t, readTopics(t, dir), path, w.Simulator.Account())
	wantLetters(t, path, "outgoingEmail", want)
	wantLetters(t, path, "urlTracker", want)
	wantShown(t, path, "urlTracker")

	before := len(readTopics(t, dir))
	must(t, "run", "--once", "-c", path)
	if after := len(readTopics(t, dir)); after != before {
		t.Errorf("another run published %d more", after-before)
	}
	letter := causes(t, path, "--stream", "bot/nlpLog", "--reason", events.ReasonTooDeep)[0].Example
	must(t, "dead-letters", "discard", letter, "-c", path)
	fails(t, 2, []string{"no such dead letter", "--resolved"}, "dead-letters", "show", letter, "-c", path)
	if left := must(t, "dead-letters", "list", "--ids", "--stream", "nlpLog", "-c", path); strings.Contains(left, letter) {
		t.Errorf("a discarded letter is listed:\n%s", left)
	}
	if l := show(t, path, letter, "--resolved")[0]; !slices.Contains(want[events.ReasonTooDeep], l.bytes(t)) {
		t.Errorf("a discarded letter is shown as %.80q", l.bytes(t))
	}
}

// The same between the records of an API that answers in pages.
func TestPoisonOfDeepConverse(t *testing.T) {
	t.Parallel()
	w := startWorld(t, simulator.Options{Seed: 22, Backlog: 100, Span: time.Hour})
	want := poisons()
	at := time.Now().Add(-30 * time.Minute)
	odd := map[string][]string{"messages": oddObjects(at, largest), "conversations": oddObjects(at, large)}
	poison := slices.Concat(slices.Collect(maps.Values(want))...)
	var spoilt sync.Map // by endpoint
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, r)
		body := answer.Body.String()
		more := slices.Concat(poison, odd[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]])
		if worse := strings.Replace(body, `"data":[{`, `"data":[`+strings.Join(more, ", ")+",{", 1); worse != body {
			if _, done := spoilt.LoadOrStore(r.URL.Path, true); !done {
				body = worse
			}
		}
		out.WriteHeader(answer.Code)
		_, _ = io.WriteString(out, body)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	must(t, "run", "--once", "-c", path)
	wantLetters(t, path, "messages", want)
	wantLetters(t, path, "conversations", want)
	wantShown(t, path, "conversations")
	all := readTopics(t, dir)
	validate(t, all)
	published := map[string]map[string]int{}
	for n := range all {
		if e := &all[n]; e.Type != events.TypeDeadLetter {
			if published[e.Source.Stream] == nil {
				published[e.Source.Stream] = map[string]int{}
			}
			published[e.Source.Stream][hash(e.raw(t))]++
		}
	}
	for stream, sums := range published {
		expected := map[string]int{}
		for _, record := range odd[stream] {
			expected[hash([]byte(record))]++
		}
		for _, r := range w.Simulator.Account().Endpoints["deepconverse/"+stream].Records {
			expected[r.SHA256]++
		}
		if !maps.Equal(sums, expected) {
			t.Errorf("%s: %d different events of %d are there, or not as often", stream, len(sums), len(expected))
		}
	}
}
