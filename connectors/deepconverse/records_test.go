package deepconverse

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write testdata/records.golden.json anew")

// golden is one record and what becomes of it.
type golden struct {
	Stream string
	About  string
	Raw    string
	ID     string          `json:",omitempty"`
	Key    string          `json:",omitempty"`
	Time   string          `json:",omitempty"`
	Data   json.RawMessage `json:",omitempty"` // without raw
	Dead   string          `json:",omitempty"`
}

func TestRecords(t *testing.T) {
	const path = "testdata/records.golden.json"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	validate := eventtest.Schemas(t)
	for i, c := range cases {
		raw := strings.ReplaceAll(c.Raw, "{deep}", strings.Repeat("[", 900)+strings.Repeat("]", 900))
		raw = strings.ReplaceAll(raw, "{deeper}", strings.Repeat("[", events.MaxDepth)+strings.Repeat("]", events.MaxDepth))
		var f connectors.Fields
		record := endpoints[c.Stream].record([]byte(raw), &f, "bot-1")
		got := golden{Stream: c.Stream, About: c.About, Raw: c.Raw}
		if record.Dead != nil {
			got.Dead = record.Dead.Reason
		} else {
			got.ID, got.Key = record.ID, record.Key
			if !record.Time.IsZero() {
				got.Time = record.Time.Format(time.RFC3339Nano)
			}
			e := events.Event{Type: record.Type, Members: f.Members, Raw: []byte(raw)}
			validate(t, &e)
			e.Raw = nil
			got.Data = bytes.ReplaceAll(e.AppendData(nil), []byte(strings.Repeat("[", 900)+strings.Repeat("]", 900)), []byte(`"{deep}"`))
		}
		if *update {
			cases[i] = got
			continue
		}
		if got.ID != c.ID || got.Key != c.Key || got.Time != c.Time || got.Dead != c.Dead || !sameJSON(got.Data, c.Data) {
			t.Errorf("%s, %s:\n got %s\nwant %s", c.Stream, c.About, line(got), line(c))
		}
	}
	if *update {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(cases); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func line(g golden) string { b, _ := json.Marshal(g); return string(b) }

func sameJSON(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	x, errX := events.Canonical(a)
	y, errY := events.Canonical(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// Whatever an answer holds: it is an error, or each element is a record whose
// data are what the catalogue promises, with the raw text in it, or a dead letter.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"data":[{"_id":"1","time":1772625600,"conversationId":"c","type":"UserInput","userActionType":"Text","userInput":"hi"}],"cursor":"x"}`,
		`{"cursor":null,"data":[{"_id":1,"time":"2026-03-04T12:00:00Z","outMsg":{"type":"carousel","text":"a","title":5}},{"_id":"1","_id":"2"},null]}`,
		`{"data":[{"_id":"c","startTime":1772625600,"lastActionAt":"inf","locale":"en_us","tags":["a",1],"metadata":{"a":{}}}]}`,
		`{"data":null}`, `[]`, `<html>`, `{"data":[{"outMsg":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	validate := eventtest.Schemas(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, name := range streams {
			page, err := stream(t, name, func(*http.Request) []byte { return body }).Pager.Page(t.Context(), connectors.Request{})
			if err != nil {
				t.Fatal(err)
			}
			list, wrong := elements(body)
			n := 0
			var failed error
			for record, err := range page.Records {
				if err != nil {
					failed = err
					break
				}
				if !bytes.Contains(body, record.Raw) || wrong == nil && string(list[n]) != string(record.Raw) {
					t.Fatalf("element %d of %q is %q", n, body, record.Raw)
				}
				n++
				valid := jsontext.Value(record.Raw)
				if alive := valid.IsValid() && valid.Kind() == '{' && events.Depth(valid) <= events.MaxDepth; alive != (record.Dead == nil) {
					t.Fatalf("%q: %+v", record.Raw, record.Dead)
				}
				if record.Dead == nil {
					validate(t, &events.Event{Type: record.Type, Members: record.Members, Raw: record.Raw})
				}
			}
			if wrong == nil && (failed != nil || n != len(list)) {
				t.Fatalf("%q has %d elements, %d were given, %v", body, len(list), n, failed)
			}
			if failed == nil {
				if next, err := page.Next(); err == nil && next != nil && !json.Valid(next) {
					t.Fatalf("the cursor is %q", next)
				}
			}
			page.Close()
		}
	})
}

// stream makes one stream over a function that answers, without a rate to speak of.
func stream(t testing.TB, name string, answer func(*http.Request) []byte) *connectors.Stream {
	t.Helper()
	c, err := Type.New(connectors.Section{
		Name: "c", Raw: map[string]any{"api_key": "k", "bot_name": "b", "rate": "1000000000/s", "max_record": "1MiB"},
		Streams: map[string]map[string]any{name: nil},
	}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: answers(answer)})
	if err != nil {
		t.Fatal(err)
	}
	return c.Streams[0]
}

type answers func(*http.Request) []byte

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return response(r, 200, a(r)), nil
}

// elements is the list as encoding/json reads it; an error where it does not.
func elements(body []byte) (list []json.RawMessage, err error) {
	var answer struct {
		Data *[]json.RawMessage `json:"data"`
	}
	if bytes.Count(body, []byte("a")) != 2 || bytes.ContainsAny(body, "DAT") { // it takes the last of many, in any case
		return nil, io.EOF
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Data == nil {
		return nil, io.EOF
	}
	return *answer.Data, nil
}

// BenchmarkPage reads pages of 1000 messages of a kilobyte: split, validate, map,
// identify, batch.
func BenchmarkPage(b *testing.B) {
	for _, c := range []struct{ stream, record string }{
		{"messages", `{"_id":"65f0c0ffee0123456789abcd","time":1772625600123,"conversationId":"65f0c0ffee0123456789abce","type":"BotResponse","outMsg":{"type":"text","text":"` +
			strings.Repeat("some \\\"words\\\" to read, ", 20) + `","quickReplies":[{"title":"Yes","payload":"REPLY_Y"},{"title":"No","payload":"REPLY_N"}],"attachments":null},"botId":"r3-218210","channel":"web","context":{"locale":"en_us","userId":"u-123","device":"mobile","turn":5,"more":"` + strings.Repeat("x", 120) + `"}}`},
		{"conversations", `{"_id":"65f0c0ffee0123456789abcd","startTime":1772625600,"lastActionAt":"2026-03-04T12:00:00Z","locale":"en_us","tags":["informed","resolved"],"metadata":{"user":{"id":"u","email":null},"text":"` + strings.Repeat("some words to read, ", 40) + `"}}`},
	} {
		b.Run(c.stream, func(b *testing.B) {
			const pages = 20
			list := `{"data":[` + strings.Repeat(c.record+",", 999) + c.record + `],"cursor":`
			answers := make([][]byte, pages)
			for n := range answers {
				cursor := strconv.Itoa(n + 1)
				if n == pages-1 {
					cursor = "null"
				}
				answers[n] = []byte(list + cursor + "}")
			}
			stream := stream(b, c.stream, func(r *http.Request) []byte {
				n, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
				return answers[n]
			})
			b.SetBytes(pages * int64(len(answers[0])))
			b.ReportAllocs()
			for b.Loop() {
				stream.Options.Since = time.Now().Add(-10 * time.Second)
				sub := connectors.NewSubscriber(stream, connectors.SubscriberOptions{Once: true})
				out, err := sub.Subscribe(b.Context(), "")
				if err != nil {
					b.Fatal(err)
				}
				for msg := range out {
					msg.Ack()
				}
				if err := sub.Err(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pages/perPage, "ns/record")
		})
	}
}
