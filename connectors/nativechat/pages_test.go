package nativechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

func TestSpellings(t *testing.T) {
	at := time.Date(2026, 3, 4, 12, 0, 5, 60_000_000, time.UTC)
	for _, c := range []struct {
		shown    string // as it stands in a document
		extended bool
		want     string // at, in all spellings
	}{
		{`"2026-01-02T03:04:05.678Z"`, false, `"2026-03-04T12:00:05.060Z" {"$date":"2026-03-04T12:00:05.060Z"} 1772625605060`},
		{`"2026-01-02T03:04:05.678Z"`, true, `{"$date":"2026-03-04T12:00:05.060Z"} "2026-03-04T12:00:05.060Z" 1772625605060`},
		{`"2026-01-02T03:04:05"`, false, `"2026-03-04T12:00:05" {"$date":"2026-03-04T12:00:05.060Z"} 1772625605060`},
		{`"2026-01-02 03:04:05.1234567+05:30"`, false, `"2026-03-04 17:30:05.0600000+05:30" {"$date":"2026-03-04T12:00:05.060Z"} 1772625605060`},
		{`"2026-01-02T03:04:05-0100"`, false, `"2026-03-04T11:00:05-0100" {"$date":"2026-03-04T12:00:05.060Z"} 1772625605060`},
		{`"2026-01-02T03:04"`, false, `"2026-03-04T12:00" {"$date":"2026-03-04T12:00:05.060Z"} 1772625605060`},
		{`"2026-01-02"`, false, `"2026-03-04" {"$date":"2026-03-04T12:00:05.060Z"} 1772625605060`},
		{`1772625600`, false, `1772625605 {"$date":"2026-03-04T12:00:05.060Z"} "2026-03-04T12:00:05.060Z"`},
		{`1772625600000`, true, `{"$date":"2026-03-04T12:00:05.060Z"} 1772625605060 "2026-03-04T12:00:05.060Z"`},
		{`"1772625600000"`, false, `"1772625605060" {"$date":"2026-03-04T12:00:05.060Z"} "2026-03-04T12:00:05.060Z"`},
		{`1772625600000000`, false, `1772625605060000 {"$date":"2026-03-04T12:00:05.060Z"} "2026-03-04T12:00:05.060Z"`},
	} {
		var got []string
		for _, s := range spellings([]byte(c.shown), c.extended) {
			got = append(got, string(s.write(at)))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.shown, text, c.want)
		}
		// What is shown is asked with as it stands, and is the same time otherwise.
		own := spellings([]byte(c.shown), false)
		if copied := own[0].copyOf([]byte(c.shown)); string(copied) != c.shown {
			t.Errorf("%s is asked with as %s", c.shown, copied)
		}
		for _, s := range own {
			var inner struct {
				Date json.RawMessage `json:"$date"`
			}
			value := s.copyOf([]byte(c.shown))
			if json.Unmarshal(value, &inner) == nil && inner.Date != nil {
				value = inner.Date
			}
			if off := timeOf(value).Sub(timeOf([]byte(c.shown))); off > 0 || off < -time.Millisecond {
				t.Errorf("%s is asked with as %s", c.shown, value)
			}
		}
	}
}

// What is asked for, page after page.
func TestQueries(t *testing.T) {
	d := &dates{name: "StartedAt", spelling: spellings([]byte(`"2026-01-02T03:04:05Z"`), false)[0]}
	from := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	minute := span{from, from.Add(time.Minute)}
	for want, c := range map[string]struct {
		asking asking
		cursor string
	}{
		`{"StartedAt":{"$gte":"2026-03-04T12:00:00Z","$lte":"2026-03-04T12:01:00Z"}}`:                      {asking{started: minute}, ""},
		`{"StartedAt":{"$gte":"2026-03-04T12:00:30.5Z","$lte":"2026-03-04T12:01:00Z"}}`:                    {asking{started: minute}, `{"name":"StartedAt","value":"2026-03-04T12:00:30.5Z","skip":3}`},
		`{"Conversation":"a<b","StartedAt":{"$gte":"2026-03-04T12:00:00Z","$lte":"2026-03-04T12:01:00Z"}}`: {asking{among: inConversation([]byte(`"a<b"`)), started: minute}, ""},
		`{"$or":[{"StartedAt":{"$gte":"2026-03-04T12:00:00Z"}},{"LastActivityAt":{"$gte":"2026-03-04T12:00:00Z"}},{"LastMessageAt":{"$gte":"2026-03-04T12:00:00Z"}},` +
			`{"ModifiedAt":{"$gte":"2026-03-04T12:00:00Z"}},{"UpdatedAt":{"$gte":"2026-03-04T12:00:00Z"}}],"StartedAt":{"$gte":"2025-01-01"}}`: {
			asking{started: span{from: from}, activity: &span{from: from}}, `{"name":"StartedAt","value":"2025-01-01","skip":3}`},
	} {
		var stored json.RawMessage
		if c.cursor != "" {
			stored = json.RawMessage(c.cursor)
		}
		at, err := d.readCursor(stored)
		if err != nil {
			t.Fatal(err)
		}
		got, err1 := events.Canonical([]byte(parameters(d.query(c.asking, at), "", 0, 0).Get("query")))
		text, err2 := events.Canonical([]byte(want))
		if err1 != nil || err2 != nil || !bytes.Equal(got, text) {
			t.Errorf("%v:\n got %s\nwant %s", c, got, text)
		}
	}
}

// known is a stream of messages whose collection is known already.
func known(t testing.TB, body func(*url.URL) []byte) allMessages {
	t.Helper()
	api := &served{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body(r.URL)) })}
	p := streamOf(t, api, messages, map[string]any{"messages": all}).Pager.(allMessages)
	p.said.found = &dates{field: timeField, name: "CreatedAt", spelling: spelling{form: asDate}}
	return p
}

// A page that is full of what shows no time, or cannot be read, is followed by the
// next one all the same.
func TestPagesWithoutTimes(t *testing.T) {
	for _, element := range []string{`{"_id":"%d"}`, `"%d"`, `{"_id":%d,"a":1,"a":2}`} {
		const there = 250
		p := known(t, func(u *url.URL) []byte {
			skip := 0
			_, _ = fmt.Sscan(u.Query().Get("skip"), &skip)
			var list []string
			for n := skip; n < min(skip+perPage, there); n++ {
				list = append(list, fmt.Sprintf(element, n))
			}
			return []byte("[" + strings.Join(list, ",") + "]")
		})
		got, r := map[string]bool{}, connectors.Request{From: time.Unix(1, 0), To: time.Unix(2, 0)}
		for pages := 0; pages == 0 || r.Cursor != nil; pages++ {
			page, err := p.Page(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for record, err := range page.Records {
				if err != nil {
					t.Fatal(err)
				}
				got[string(record.Raw)] = true
			}
			if r.Cursor, err = page.Next(); err != nil || pages > 10 {
				t.Fatalf("%d pages, %v", pages, err)
			}
		}
		if len(got) != there {
			t.Errorf("%s: %d of %d", element, len(got), there)
		}
	}
}

// Whatever an answer holds: it is an error, or each element comes out once, in
// order and with its bytes, as a record whose data are what the catalogue
// promises, or as a dead letter; and what follows can be asked for.
func FuzzPage(f *testing.F) {
	every := ""
	for _, c := range recordCases {
		f.Add([]byte("[" + c.raw + "]"))
		every += c.raw + ","
	}
	f.Add([]byte("[" + every + "5]"))
	f.Add([]byte(`{"Result":[` + every + `{}],"Total":3}`))
	f.Add([]byte("[" + strings.Repeat("1,", perPage) + "{}]"))
	for _, seed := range []string{"null", "[]", "{}", "<html>", "[{}", "[1,]", `{"data":null}`, `{"data":[],"items":[]}`, `[{"a":1,"a":2},"\ud800",nul]`} {
		f.Add([]byte(seed))
	}
	validate := eventtest.Schemas(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		p := known(t, func(*url.URL) []byte { return body })
		for _, c := range []*collection{p.said, p.talks} {
			d := *p.said.found
			d.name = c.shape.times[0]
			r := connectors.Request{From: time.Unix(0, 0), To: time.Time{}}
			page, err := c.page(t.Context(), &d, asking{started: span{r.From, r.To}}, nil, connectors.Key{ID: "k"}, func(*document) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			var list []json.RawMessage
			whole := json.Unmarshal(body, &list) == nil
			n := 0
			var failed error
			for record, err := range page.Records {
				if failed = err; err != nil {
					break
				}
				if !bytes.Contains(body, record.Raw) || whole && string(list[n]) != string(record.Raw) {
					t.Fatalf("element %d of %q is %q", n, body, record.Raw)
				}
				n++
				value := jsontext.Value(record.Raw)
				if alive := value.IsValid() && value.Kind() == '{' && events.Depth(value) <= events.MaxDepth; alive != (record.Dead == nil) {
					t.Fatalf("%q: %+v", record.Raw, record.Dead)
				}
				if record.Dead == nil {
					validate(t, &events.Event{Type: record.Type, Members: record.Members, Raw: record.Raw})
				}
			}
			if whole && connectors.KindOf(failed) != connectors.Fail && (failed != nil || n != len(list)) {
				t.Fatalf("%q has %d elements, %d were given, %v", body, len(list), n, failed)
			}
			if failed == nil {
				next, err := page.Next()
				if err != nil || (next != nil) != (n > 0) { // the first page may be cut
					t.Fatalf("behind %d elements follows %q, %v", n, next, err)
				}
				if at, err := d.readCursor(next); err != nil || next != nil && at.Skip == 0 || len(next) > connectors.MaxCursor {
					t.Fatalf("the cursor %q cannot be followed: %v", next, err)
				}
			}
			page.Close()
		}
	})
}

// Whatever was stored as a cursor, there is a request that can be read again, or a
// new beginning.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{
		`{"name":"CreatedAt","value":"2026-01-02T03:04:05Z","skip":7,"page":"x"}`, `{"name":"CreatedAt","value":1772625600000,"skip":0}`, `{"name":"CreatedAt","skip":200}`,
		`{"name":"StartedAt","skip":1}`, `{"name":"CreatedAt","value":"soon","skip":1}`, `{"name":"CreatedAt","value":null,"skip":-1}`, `5`, `null`, `"a"`, `{`, ``,
		`{"name":"CreatedAt","value":{"$date":1},"skip":1}`, `{"name":"CreatedAt","value":"1e400"}`, `{"name":"CreatedAt","value":" 2026-01-02"}`,
	} {
		f.Add([]byte(seed))
	}
	shown := []string{`"2026-01-02T03:04:05.678Z"`, `"2026-01-02"`, `1772625600`, `"1772625600000"`}
	f.Fuzz(func(t *testing.T, stored []byte) {
		for _, text := range shown {
			for _, s := range spellings([]byte(text), false) {
				d := &dates{field: timeField, name: "CreatedAt", spelling: s}
				at, err := d.readCursor(stored)
				if err != nil {
					var e *connectors.Error
					if !errors.As(err, &e) || e.Kind != connectors.Restart {
						t.Fatalf("%q: %v", stored, err)
					}
					continue
				}
				window := span{time.Unix(1e9, 0), time.Unix(2e9, 0)}
				for _, a := range []asking{{started: window}, {started: window, activity: &window}} {
					query := parameters(d.query(a, at), d.name, perPage, at.Skip)
					var p map[string]json.RawMessage
					if err := json.Unmarshal([]byte(query.Get("query")), &p); err != nil {
						t.Fatalf("%q asks with %s: %v", stored, query, err)
					}
					if at.Value != nil && !bytes.Contains(p["CreatedAt"], []byte("$gte")) || at.Skip > 0 != query.Has("skip") {
						t.Fatalf("%q asks with %s", stored, query)
					}
				}
			}
		}
	})
}

// BenchmarkMap maps one document: validates it and takes its fields.
func BenchmarkMap(b *testing.B) {
	for _, name := range streams {
		i := slices.IndexFunc(recordCases, func(c struct{ stream, raw, id, key, want string }) bool { return c.stream == name })
		raw, c := []byte(recordCases[i].raw), streamFor(b, name)
		b.Run(name, func(b *testing.B) {
			var f connectors.Fields
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				f.Members = f.Members[:0]
				if r := c.mapRecord(raw, &f); r.Dead != nil {
					b.Fatal(r.Dead)
				}
			}
		})
	}
}
