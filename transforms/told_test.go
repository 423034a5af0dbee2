package transforms_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/transforms"
)

// What people are told of a trace.
func TestWriteTrace(t *testing.T) {
	chain := chainOf(t, `  - {name: one, set: {text: upper(text), made.x: '1'}, types: [message]}
  - {name: two, drop_fields: [bot], types: [click]}
  - {name: three, split: {field: raw.items, into: item}, types: [message]}
  - {name: four, filter: item == "a", types: [message]}
  - {name: five, route: other, types: [message]}
  - {name: six, redact: {fields: [text], raw: keep}, types: [message]}
  - {name: seven, set: {n: int(text)}, types: [message]}
`)
	e := event(t, "message", `{"text":"a\u001b[31m\tb","raw":{"items":["a","b"]}}`)
	var b bytes.Buffer
	if err := transforms.WriteTrace(&b, chain.Trace(t.Context(), e)); err != nil {
		t.Fatal(err)
	}
	steps := chain.Trace(t.Context(), e)
	first, second := steps[2].Out[0].ID.String(), steps[2].Out[1].ID.String()
	want := `one:
  - text: "a\u001b[31m\tb"
  + text: "A\u001b[31M\tB"
  + made.x: 1
two: not for this event
two: not for this event
`
	want = strings.Replace(want, "two: not for this event\ntwo", "two", 1) + `three: split into 2 events
  event 1, ` + first + `
    + item: "a"
  event 2, ` + second + `
    + item: "b"
four: nothing changed
four: dropped
five:
  + event.topic: other
six:
  - text: "A\u001b[31M\tB"
  + text: "***"
seven: FAILED, the record becomes a dead letter: the transform seven failed: n: the expression cannot be evaluated: it fails at 1:1
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// Values that differ only behind what is shown of them differ; values that are only
// written otherwise do not.
func TestChanges(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, c := range []struct {
		before, after string
		lines         int
	}{
		{`{"text":"` + long + `b"}`, `{"text":"` + long + `c"}`, 2},
		{`{"text":"a\u0062\/"}`, `{"text":"ab/"}`, 0},
		{`{"text":"a  b"}`, `{"text":"a\t\u0000b"}`, 2},
		{`{"raw":{"l":[1, "\u0061" ]}}`, `{"raw":{ "l":[1,"a"]}}`, 0},
		{`{"raw":{"n":1.0}}`, `{"raw":{"n":1}}`, 2},
		{`{"raw":{"a":1,"b":{}}}`, `{"raw":{"b":{},"a":1}}`, 0},
		{`{"raw":{"a":{}}}`, `{"raw":{"a":{"b":1}}}`, 2},
		{`{"raw":{"a.b":1}}`, `{"raw":{"a":{"b":1}}}`, 2},
		{`{"raw":{}}`, `{}`, 1},
	} {
		before, after := event(t, "message", c.before), event(t, "message", c.after)
		if lines := transforms.Changes(&before, &after); len(lines) != c.lines {
			t.Errorf("%s and %s: %q", c.before, c.after, lines)
		}
	}
}

// Examples say what is wrong with them, and where.
func TestReadExamples(t *testing.T) {
	const in = "examples:\n  - name: one\n    in: {type: message, data: {text: a}}\n"
	for _, c := range []struct{ text, want string }{
		{"examples: []", "x.yaml: has no examples: list events under examples, each with in, and out or dead"},
		{in, "x.yaml:2: example one: wants either out, the events that come out ([] for none), or dead, the name of the step that fails on it"},
		{in + "    out: []\n    dead: a", "x.yaml:2: example one: wants either out"},
		{in + "    ou: []", `x.yaml:4: ou: unknown key; did you mean "out"?`},
		{"examples:\n  - in: {typ: message, data: {}}\n    out: []", `x.yaml:2: typ: unknown key; did you mean "type"?`},
		{"examples:\n  - in: {type: message, data: {}}\n    out: [{dat: {}}]", `x.yaml:3: dat: unknown key; did you mean "data"?`},
		{"examples:\n  - in: {type: massage, data: {}}\n    out: []", "x.yaml:2: example 1: in: type wants an event type, such as message; did you mean \"message\"?"},
		{"examples:\n  - in: {type: message}\n    out: []", "x.yaml:2: example 1: in.data: is missing"},
		{"examples:\n  - in: {type: message, data: []}\n    out: []", "x.yaml:2: example 1: in: data: it is not one JSON object"},
		{"examples:\n  - in: {type: message, id: abc, data: {}}\n    out: []", "x.yaml:2: example 1: in: id wants 32 hex digits"},
		{in + "    out: [{data: {a: 1, a: 2}}]", "x.yaml:2: example one: out[0].data: "},
		{in + "    out: [{data: &a {a: 1}}, {data: *a}]", "x.yaml:2: example one: out[1].data: has an alias"},
		{"other: 1", "x.yaml:1: other: unknown key; valid keys: transforms, examples"},
		{"", "x.yaml: is empty: list events under examples, each with in, and out or dead"},
		{"- a", "x.yaml:1: is of another form than examples are: list events"},
		{"examples: [", "x.yaml:1: is not valid YAML: "},
		{"examples:\n  - in: {type: message, time: yesterday, data: {}}", "x.yaml: the time of an event wants a form such as 2026-01-01T00:00:00Z"},
	} {
		if _, err := transforms.ReadExamples("x.yaml", []byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
	all, err := transforms.ReadExamples("x.yaml", []byte("transforms: [{filter: x}]\n"+in+"    out: []\n  - in: {type: user, data: {attributes: {a: ~, b: , c: null, d: 1.0, e: 9007199254740993, f: True, g: \"1\", h: 2026-01-01}}}\n    dead: a\n"))
	if err != nil || len(all) != 2 || all[0].Line != 3 || all[1].Line != 6 || all[1].Dead != "a" {
		t.Fatal(all, err)
	}
	if got, want := string(all[1].In.AppendData(nil)), `{"attributes":{"a":null,"b":null,"c":null,"d":1.0,"e":9007199254740993,"f":true,"g":"1","h":"2026-01-01"}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// An example that does not come out as it says is told.
func TestExampleDiff(t *testing.T) {
	chain := chainOf(t, "  - {name: number, set: {n: int(text)}, types: [message]}\n")
	const in = "examples:\n  - in: {type: message, data: {text: %}}\n    "
	for _, c := range []struct{ text, example, want string }{
		{"\"1\"", "out: [{data: {n: 1, text: '1'}}]", ""},
		{"\"1\"", "out: [{}]", ""},
		{"\"1\"", "out: [{data: {text: '1'}}]", "+ event 1: n: 1"},
		{"\"1\"", "out: [{topic: other}]", "- event 1: event.topic: other"},
		{"\"1\"", "out: []", "- 0 events\n+ 1 event\n+ event 1: message {\"text\":\"1\",\"n\":1}"},
		{"\"1\"", "dead: number", "- a dead letter, of the step number\n+ 1 event\n+ event 1: message {\"text\":\"1\",\"n\":1}"},
		{"\"1\"", "dead: numbr", "- a dead letter, of the step numbr, which there is not: did you mean \"number\"?"},
		{"x", "dead: number", ""},
		{"x", "dead: other", "- a dead letter, of the step other\n+ a dead letter: the transform number failed: n: the expression cannot be evaluated: it fails at 1:1"},
		{"x", "out: []", "- 0 events\n+ a dead letter: the transform number failed: n: the expression cannot be evaluated: it fails at 1:1"},
	} {
		all, err := transforms.ReadExamples("x.yaml", []byte(strings.Replace(in, "%", c.text, 1)+c.example))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(all[0].Run(t.Context(), chain).Diff, "\n"); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.example, got, c.want)
		}
	}
}

// An event is read as it was written, whatever its form.
func TestReadEvent(t *testing.T) {
	e := event(t, "message", `{"text":"\ud83d\ude00\/","raw":{"n":1e400,"m":1.0}}`)
	for name, text := range map[string]string{
		"structured": string(transforms.Structured(&e)), "structured, with space": "\n " + string(transforms.Structured(&e)) + "\n",
		"short": `{"type":"message","data":{"text":"\ud83d\ude00\/","raw":{"n":1e400,"m":1.0}}}`,
	} {
		got, err := transforms.ReadEvent([]byte(text))
		if err != nil || string(got.AppendData(nil)) != string(e.AppendData(nil)) {
			t.Errorf("%s: %s %v", name, got.AppendData(nil), err)
		}
	}
	for text, want := range map[string]string{
		`{"specversion":"1.0","data":{}}`:                "id",
		`{"specversion":"1.0"}`:                          "the event has no data",
		`{"type":"message","data":1}`:                    "data",
		"type: message":                                  "data is missing",
		"":                                               "it is empty",
		"type: *" + planted:                              "it has an alias",
		"- " + planted:                                   "it is neither an event as tail -o json prints it, nor one as examples have it",
		"type: message\ndata: {}\nx: " + planted:         "it is neither an event",
		"type: [" + planted + "]\ndata: {a: 1}\n":        "it is neither an event",
		`{"type":"message","data":{"a":1,"a":2}}`:        "data",
		"type: message\ntime: " + planted + "\ndata: {}": "it is neither an event",
	} {
		if _, err := transforms.ReadEvent([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), planted) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
