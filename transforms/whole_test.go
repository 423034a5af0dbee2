package transforms_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

// A sample is the share that it says, and the same events each time; events of one
// key are kept or dropped together.
func TestSample(t *testing.T) {
	const all = 20_000
	for _, share := range []float64{0, 0.01, 0.5, 0.999, 1} {
		chain, kept := chainOf(t, fmt.Sprintf("  - {sample: {share: %v}}\n", share)), 0
		for n := range all {
			e := events.Event{ID: events.ID{1}, Type: "message", Key: fmt.Sprint("user", n)}
			out, err := chain.Apply(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			kept += len(out)
			e.ID, e.Connector, e.Members = events.ID{2}, "other", []byte(`"text":"a"`)
			if again, _ := chain.Apply(t.Context(), e); len(again) != len(out) {
				t.Fatalf("events of the key %s: one is kept, another is not", e.Key)
			}
		}
		if off := math.Abs(float64(kept) - share*all); off > 5*math.Sqrt(share*(1-share)*all) {
			t.Errorf("of %d events %d are kept, with a share of %v", all, kept, share)
		}
	}
	by := chainOf(t, "  - {sample: {share: 0.5, by: raw.n}}\n")
	count := map[int]int{}
	for n := range 100 {
		out, err := by.Apply(t.Context(), event(t, "message", fmt.Sprintf(`{"raw":{"n":[%d,{"b":1,"a":2}]}}`, n%10)))
		if err != nil {
			t.Fatal(err)
		}
		count[n%10] += len(out)
	}
	for n, kept := range count {
		if kept != 0 && kept != 10 {
			t.Errorf("of 10 events with the value %d %d are kept", n, kept)
		}
	}
}

// The parts of a split event share nothing that a step behind it writes, and each has
// an id of its own.
func TestSplit(t *testing.T) {
	chain := chainOf(t, `  - {split: {field: raw.items, into: item}, types: [message]}
  - {set: {item.seen: event.id, text: string(item.n)}, types: [message]}
  - {split: {field: raw.more, into: more}, when: item.n == 2, types: [message]}
  - {rename: {item: thing}, when: item.n == 1, types: [message]}
  - {drop_fields: [raw.items], when: event.id != nil, types: [message]}
`)
	e := event(t, "message", `{"text":"a","raw":{"items":[{"n":1},{"n":2},{"n":3}],"more":["x","y"]}}`)
	out, err := chain.Apply(t.Context(), e)
	if err != nil || len(out) != 4 {
		t.Fatal(len(out), err)
	}
	ids := []events.ID{events.SplitID(e.ID, 0), events.SplitID(events.SplitID(e.ID, 1), 0), events.SplitID(events.SplitID(e.ID, 1), 1), events.SplitID(e.ID, 2)}
	seen := []events.ID{ids[0], events.SplitID(e.ID, 1), events.SplitID(e.ID, 1), ids[3]}
	for n, want := range []string{
		`{"text":"1","thing":{"n":1,"seen":"%s"},"raw":{"more":["x","y"]}}`,
		`{"text":"2","item":{"n":2,"seen":"%s"},"more":"x","raw":{"more":["x","y"]}}`,
		`{"text":"2","item":{"n":2,"seen":"%s"},"more":"y","raw":{"more":["x","y"]}}`,
		`{"text":"3","item":{"n":3,"seen":"%s"},"raw":{"more":["x","y"]}}`,
	} {
		if got, want := string(out[n].AppendData(nil)), fmt.Sprintf(want, seen[n]); got != want || out[n].ID != ids[n] {
			t.Errorf("event %d, %s: %s\nwant %s: %s", n, out[n].ID, got, ids[n], want)
		}
	}
}

// A list of a record cannot make events without end.
func TestSplitIntoTooMany(t *testing.T) {
	list := strings.TrimSuffix(strings.Repeat("1,", 101), ",")
	e := event(t, "message", `{"raw":{"a":[`+list+`],"b":[`+list+`]}}`)
	_, err := chainOf(t, "  - {split: {field: raw.a, into: a}}\n  - {name: second, split: {field: raw.b, into: b}}\n").Apply(t.Context(), e)
	if err == nil || err.Error() != "the transform second failed: it is split into more than 10000 events" {
		t.Error(err)
	}
	list = strings.TrimSuffix(strings.Repeat("1,", 40), ",")
	e = event(t, "message", `{"text":"`+strings.Repeat("x", 1<<20)+`","raw":{"a":[`+list+`]}}`)
	_, err = chainOf(t, "  - {split: {field: raw.a, into: a}}\n  - {set: {b: a}}\n").Apply(t.Context(), e)
	if err == nil || err.Error() != "the transform split-1 failed: it is split into events that have more than 32 MiB together" {
		t.Error(err)
	}
}

// Nor can what steps make of each of its parts: it is the error of the step that makes
// it too much, before it is made of all of them.
func TestPartsTooLarge(t *testing.T) {
	const half = "  - {split: {field: raw.l, into: item}, types: [message]}\n  - {name: grows, set: {large: 'repeat(text, 1000000)'}, types: [message]}\n"
	list := strings.TrimSuffix(strings.Repeat("1,", 9), ",")
	for _, c := range []struct{ list, text, want string }{
		{list, "aaa", "<nil>"}, {list, "aaaa", "the transform grows failed: it is split into events that have more than 32 MiB together"}, {"1", "aaaa", "<nil>"},
	} {
		out, err := chainOf(t, half).Apply(t.Context(), event(t, "message", `{"text":"`+c.text+`","raw":{"l":[`+c.list+`]}}`))
		if fmt.Sprint(err) != c.want || (err == nil) != (len(out) > 0) {
			t.Errorf("%s: %d events, %v", c.text, len(out), err)
		}
	}
	large := strings.Repeat("x", 1<<20)
	_, err := chainOf(t, half).Apply(t.Context(), event(t, "message", `{"text":"`+large+`","raw":{"l":[`+strings.Repeat(list+",", 4)+`1]}}`))
	if fmt.Sprint(err) != "the transform split-1 failed: it is split into events that have more than 32 MiB together" {
		t.Error(err)
	}
}

// A record of very many levels holds nothing up: it is an error of the first step.
func TestDepth(t *testing.T) {
	levels := func(n int) string {
		return strings.Repeat(`[{"a":`, n/2) + `"` + planted + `"` + strings.Repeat("}]", n/2)
	}
	chain := chainOf(t, "  - {redact: {kinds: [email]}}\n  - {filter: raw.a != 1}\n")
	e := event(t, "message", `{"raw":{"a":`+levels(126)+`,"b":"[[[{{{"}}`)
	if out, err := chain.Apply(t.Context(), e); len(out) != 1 || err != nil {
		t.Error(err)
	}
	e = event(t, "message", `{"raw":{"a":`+levels(128)+`}}`)
	if _, err := chain.Apply(t.Context(), e); err == nil || err.Error() != "the transform redact-1 failed: the event has objects and lists in each other more than 128 levels deep" {
		t.Error(err)
	}
	quoted, err := json.Marshal(levels(5000))
	if err != nil {
		t.Fatal(err)
	}
	e = event(t, "message", `{"raw":{"a":`+string(quoted)+`}}`)
	if out, err := chain.Apply(t.Context(), e); len(out) != 1 || err != nil {
		t.Error(err)
	}
}

// A schema of the user's holds all that it refers to, and its errors hold nothing of
// the event.
func TestValidate(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := file("other.json", `{"type":"string"}`)
	for _, ref := range []string{"other.json", "file://" + other, "http://127.0.0.1:1/schema.json"} {
		_, err := parse(t, "t.yaml", "transforms:\n  - validate: {schema: "+file("refers.json", `{"$ref":"`+ref+`"}`)+"}\n")
		if err == nil || !strings.HasPrefix(err.Error(), "t.yaml:2:16: transforms[0].validate.schema: is no JSON Schema: ") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := parse(t, "t.yaml", "transforms:\n  - validate: {schema: "+file("no.json", `{`)+"}\n"); err == nil || !strings.Contains(err.Error(), "is not JSON") {
		t.Error(err)
	}
	chain := chainOf(t, "  - {name: strict, validate: {schema: "+file("schema.json", `{"properties":{"raw":{"additionalProperties":{"$ref":"#/$defs/short"}}},"$defs":{"short":{"maxLength":3}}}`)+"}}\n")
	if out, err := chain.Apply(t.Context(), event(t, "message", `{"raw":{"a":"abc"}}`)); len(out) != 1 || err != nil {
		t.Error(out, err)
	}
	_, err := chain.Apply(t.Context(), event(t, "message", `{"raw":{"`+planted+`":"`+planted+`"}}`))
	if err == nil || err.Error() != "the transform strict failed: the event is not what its schema wants ($defs/short/maxLength)" {
		t.Error(err)
	}
}

// What a step writes that the catalogue does not take is that step's error, whoever
// finds it; what another step mends is none. Trace says the same.
func TestWhoseError(t *testing.T) {
	for _, c := range []struct{ steps, want string }{
		{"  - {name: bad, set: {text: raw.n}}\n  - {route: other}\n", "the transform bad failed: the member text is not what its schema wants (properties/text/type)"},
		{"  - {name: bad, set: {text: raw.n}}\n  - {validate: {}}\n", "the transform bad failed: the member text is not what its schema wants (properties/text/type)"},
		{"  - {name: bad, set: {text: raw.n}}\n  - {set: {text: 'string(text)'}}\n", "<nil>"},
		{"  - {name: bad, set: {text: raw.n}}\n  - {drop_fields: [text]}\n", "<nil>"},
		{"  - {set: {made: raw.n}}\n  - {name: bad, rename: {made: occurred_at}}\n", "the transform bad failed: the member occurred_at is not what its schema wants (properties/occurred_at/type)"},
		{"  - {set: {made: raw.n}}\n  - {name: bad, filter: made}\n", "the transform bad failed: the condition gives neither true nor false"},
	} {
		chain := chainOf(t, strings.ReplaceAll(c.steps, "}\n", ", types: [message]}\n"))
		e := event(t, "message", `{"text":"a","raw":{"n":1}}`)
		_, err := chain.Apply(t.Context(), e)
		if fmt.Sprint(err) != c.want {
			t.Errorf("%s\ngot  %v\nwant %s", c.steps, err, c.want)
		}
		shown := chain.Trace(t.Context(), e)
		if traced := shown[len(shown)-1].Err; fmt.Sprint(traced) != c.want {
			t.Errorf("Trace of %s\ngot  %v\nwant %s", c.steps, traced, c.want)
		}
	}
}

// Steps are for the events that they name.
func TestSelection(t *testing.T) {
	e := event(t, "message", `{"text":"a"}`)
	for selection, chosen := range map[string]bool{
		"types: [message]": true, "types: [click]": false, "connectors: [support]": true, "connectors: [acme]": false,
		"streams: [messages]": true, "streams: [support/messages]": true, "streams: [integrationLog]": false, "streams: [acme/integrationLog]": false,
		"types: [message], when: text == \"a\"": true, "types: [message], when: text == \"b\"": false, "types: [message], when: raw.x": false,
	} {
		chain := chainOf(t, "  - {route: other, "+selection+"}\n")
		out, err := chain.Apply(t.Context(), e)
		if err != nil || (transforms.TopicOf(&out[0]) == "other") != chosen {
			t.Errorf("%s: %s %v", selection, transforms.TopicOf(&out[0]), err)
		}
		if shown := chain.Trace(t.Context(), e); len(shown) != 1 || shown[0].Skipped == chosen {
			t.Errorf("%s: %+v", selection, shown)
		}
	}
}

// A dead letter passes as it is.
func TestDeadLettersPass(t *testing.T) {
	e := event(t, events.TypeDeadLetter, `{"reason":"a","raw":{}}`)
	chain := chainOf(t, "  - {filter: 'false'}\n")
	if out, err := chain.Apply(t.Context(), e); len(out) != 1 || err != nil || chain.Trace(t.Context(), e) != nil {
		t.Error(out, err)
	}
}

// A condition may be asked concurrently, of events of every type.
func TestCondition(t *testing.T) {
	where, _, err := transforms.Condition(`event.type == "dead_letter" ? reason == "a" : text contains "a"`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 200 {
				for data, want := range map[string]bool{`{"text":"a"}`: true, `{"text":"b"}`: false, `{}`: false} {
					e := event(t, "message", data)
					if yes, err := where(&e); yes != want || err != nil {
						t.Errorf("%s: %v %v", data, yes, err)
					}
				}
				e := event(t, events.TypeDeadLetter, `{"reason":"a"}`)
				if yes, err := where(&e); !yes || err != nil {
					t.Errorf("a dead letter: %v %v", yes, err)
				}
			}
		})
	}
	wait.Wait()
	for text, want := range map[string]string{
		`txt == "a"`: `unknown name "txt"; did you mean "text"?`, `text ==`: "unexpected token EOF", `text`: "expected bool, but got string", ``: "is empty: write an expression such as status >= 500",
	} {
		if _, _, err := transforms.Condition(text, []string{"message"}, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The chain is a Func as the pipeline takes it.
var _ transforms.Func = func(ctx context.Context, e events.Event) ([]events.Event, error) {
	return (*transforms.Chain)(nil).Apply(ctx, e)
}
