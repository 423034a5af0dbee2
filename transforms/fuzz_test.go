package transforms_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
	"github.com/millrace-io/millrace/transforms"
	"github.com/millrace-io/millrace/transforms/detect"
)

var schemas = eventtest.Schemas

// expressions are what FuzzExpression begins with.
var expressions = []string{
	`status >= 500`, `text contains "a" and sender != "bot"`, `status >= 500 ? "high" : "low"`, `attributes?.plan ?? "none"`, `attributes.plan.x[0]`,
	`raw.items[-1].price * 2`, `text[5:1]`, `text[1:2]`, `text matches user_id`, `int(text)`, `fromJSON(text)`, `date(text)`, `duration(text).Seconds()`, `date(occurred_at).Year()`, `event.time.Hour()`,
	`all(raw.items, .price > 1)`, `any(tags, # == "a")`, `filter(raw.items, # > 1)`, `map(raw.items, {let x = #; x * 2})`, `count(raw.items, .a == 1)`, `sum(raw.items, .price)`,
	`reduce(raw.items, #acc + #.price, 0)`, `reduce(1..30, #acc + #acc, "xx")`, `sortBy(raw.items, .price, "desc")`, `groupBy(raw.items, .a)`, `let x = len(text); x > 1 ? x : nil`,
	`text | trim() | upper() | split(" ") | first()`, `split(text, " ")[0]`, `repeat(text, 1000000)`, `1..1000000`, `map(1..1000, count(1..1000, true))`, `keys(raw)`, `toPairs(raw)`, `toJSON(raw)`, `raw`,
	`event.id + event.key + event.type`, `1 / 0`, `1 % 0`, `2 ** 2000`, `-status`, `not ok`, `!ok`, `user_id in ["a", "b"]`, `"a" in raw`, `duration("1h")`, `now()`, `{"a": nil, "b": [1, text]}`, `uniq(concat(tags, tags))`,
	`max(raw.a, raw.b)`, `replace(text, "", text)`, `joined`, `text ?? user_id ?? "x"`, `event.recorded - event.time`, `date(occurred_at).Format("2006")`, `toBase64(text)`, `fromBase64(text)`, `type(raw.a)`, `raw["a.b"]`, `0 in 1..3`,
}

// Any text as a condition and as a value: no panic, no text of an event in an error,
// and what comes out is as the catalogue has it.
func FuzzExpression(f *testing.F) {
	for _, text := range expressions {
		f.Add(text)
	}
	valid := schemas(f)
	all := samples(7, 1)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, planted[:4]) {
			return
		}
		if where, _, err := transforms.Condition(text, nil, nil); err == nil {
			for n := range all {
				if _, err := where(&all[n]); err != nil && strings.Contains(err.Error(), planted) {
					t.Fatalf("the error holds a text of the event: %v", err)
				}
			}
		} else if strings.Contains(err.Error(), "\n") {
			t.Fatalf("an error of several lines: %q", err)
		}
		chain, err := open("transforms: [{set: {made: " + quoted(text) + "}}]")
		if err != nil {
			return
		}
		for n := range all {
			applied(t, chain, &all[n], valid)
		}
	})
}

// applied applies a chain to an event and checks what comes out.
func applied(t testing.TB, chain *transforms.Chain, e *events.Event, valid func(testing.TB, *events.Event)) []events.Event {
	t.Helper()
	out, err := chain.Apply(t.Context(), *e)
	if err != nil {
		var failed *transforms.StepError
		if !errors.As(err, &failed) || failed.Step == "" {
			t.Fatalf("the error names no step: %v", err)
		}
		if strings.Contains(err.Error(), planted) || strings.Contains(err.Error(), "mistake in millrace") {
			t.Fatalf("the error holds a text of the event, or is of a panic: %v", err)
		}
	}
	for n := range out {
		valid(t, &out[n])
	}
	return out
}

// Any configuration: New never panics, its errors name the file, and what it takes
// works on events of every type.
func FuzzConfiguration(f *testing.F) {
	files, err := filepath.Glob("testdata/gallery/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no gallery (%v)", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		text, _, _ = bytes.Cut(text, []byte("\nexamples:"))
		f.Add(text)
	}
	for _, steps := range append(mistaken(), random(3, 30)...) {
		f.Add([]byte("transforms:\n" + steps))
	}
	valid := schemas(f)
	all := samples(8, 1)
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("schema:")) { // would read files
			return
		}
		chain, err := open(string(text))
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "t.yaml") {
					t.Fatalf("the error does not name the file: %q", err)
				}
			}
			return
		}
		for n := range all {
			ids := map[events.ID]bool{}
			for _, e := range applied(t, chain, &all[n], valid) {
				if ids[e.ID] {
					t.Fatal("two events with one id")
				}
				ids[e.ID] = true
			}
		}
	})
}

// Any record: what comes out is an event, nothing that is looked for is left in its
// texts, what is not looked for is as it was, and doing it again changes nothing.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		`{"a":"jane@example.com","jane@example.com":["+41 79 123 45 67",4111111111111111]}`, `{ "text" : "x\u0040example.com", "u":"https:\/\/a:b@example.com" }`,
		`{"a@b.example":1,"c@b.example":2,"***":3}`, `{"s":"{\"mail\":\"x\\u0040example.com\\n0791234567\"}"}`, `{"a":"x@y.example@z.example"}`, `{"ip":"10.0.0.1","v6":"[2001:db8::1]:80"}`,
		`{"n":[1.0,-0,9007199254740993,1e400]}`, `{"a":"","b":[],"c":{}}`, `{"time":"2026-01-01T00:00:00Z","id":"c0000001"}`, `{"a":{"a":{"a":["x@example.com"]}}}`,
	} {
		f.Add([]byte(seed))
	}
	chain, err := open("transforms: [{redact: {kinds: [email, phone, card, ip, credentials]}}]")
	if err != nil {
		f.Fatal(err)
	}
	valid := schemas(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		value := jsontext.Value(bytes.TrimSpace(data))
		if !value.IsValid() || value.Kind() != '{' || len(data) > 1<<16 || bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > 100 {
			return
		}
		e := events.Event{ID: events.ID{1}, Type: "user", Source: events.StreamKey{Vendor: "a", Account: "b", Stream: "c"}, Members: []byte(`"attributes":` + string(value)), Raw: value}
		out := applied(t, chain, &e, valid)
		if len(out) != 1 {
			t.Fatalf("%d events", len(out))
		}
		nothingLeft(t, value, out[0].Raw)
		if again := applied(t, chain, &out[0], valid); len(again) != 1 || !bytes.Equal(again[0].AppendData(nil), out[0].AppendData(nil)) {
			t.Fatalf("changed again:\n%s\n%s", out[0].AppendData(nil), again[0].AppendData(nil))
		}
	})
}

// nothingLeft fails where a string or a number of a JSON text holds what redaction
// looks for, and where another is not as it was.
func nothingLeft(t testing.TB, before, after []byte) {
	t.Helper()
	const every = detect.Email | detect.Phone | detect.Card | detect.IP | detect.Credentials
	old, now := jsontext.NewDecoder(bytes.NewReader(before)), jsontext.NewDecoder(bytes.NewReader(after))
	for {
		was, err1 := old.ReadToken()
		is, err2 := now.ReadToken()
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("not as long as it was: %s\n%s", before, after)
		}
		if err1 != nil {
			return
		}
		wasText, isText := was.String(), is.String()
		if kind := is.Kind(); kind == '"' || kind == '0' {
			if found := detect.Append(nil, []byte(isText), every); found != nil {
				t.Fatalf("%v is left in %q", found, isText)
			}
		}
		document := strings.ContainsAny(wasText, "{[\"") && jsontext.Value(wasText).IsValid(jsontext.AllowDuplicateNames(true))
		if wasText != isText && !document && !strings.HasPrefix(wasText, "***") && detect.Append(nil, []byte(wasText), every) == nil {
			t.Fatalf("%q became %q", wasText, isText)
		}
	}
}

// Any text as an event: no panic, and what is read is written and read again as it
// was.
func FuzzReadEvent(f *testing.F) {
	for _, e := range samples(9, 1) {
		f.Add(transforms.Structured(&e))
	}
	f.Add([]byte("type: message\ndata: {text: hello, raw: {a: 1.0, b: ~}}"))
	f.Add([]byte(`{"type":"message","data":{"text":"\ud83d\ude00\/","raw":{"n":1e400}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := transforms.ReadEvent(text)
		if err != nil {
			return
		}
		data := e.AppendData(nil)
		if !jsontext.Value(data).IsValid() || !utf8.Valid(data) {
			t.Fatalf("no JSON: %s", data)
		}
		again, err := transforms.ReadEvent(transforms.Structured(&e))
		if err != nil {
			t.Fatalf("it cannot be read again: %v\n%s", err, transforms.Structured(&e))
		}
		if again.ID != e.ID || again.Type != e.Type || !bytes.Equal(again.AppendData(nil), data) {
			t.Fatalf("%s\n%s", data, again.AppendData(nil))
		}
	})
}
