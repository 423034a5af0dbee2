package events_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/events"
)

func nested(open, end string, depth int) string {
	return strings.Repeat(open, depth) + strings.Repeat(end, depth)
}

func TestScanner(t *testing.T) {
	pad := `"pad":"` + strings.Repeat("x", 3*events.MaxDepth) + `",`
	for raw, want := range map[string]string{
		`{}`:                        "",
		` {"a":1, "b":[{"c":2}]}`:   "",
		`{"":{"":1}}`:               "",
		`{"\ud83d\ude00":"\u0000"}`: "",
		`{` + pad + `"a":` + nested("[", "]", events.MaxDepth-1) + `}`:  "",
		`{"a":` + nested("[", "]", events.MaxDepth-1) + `}`:             "",
		`{"a":"` + strings.Repeat("[", 3*events.MaxDepth) + `"}`:        "",
		`{"a":` + nested("[", "]", events.MaxDepth) + `}`:               events.ReasonTooDeep,
		strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001): events.ReasonTooDeep,
		strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000): "",
		nested("[", "]", 20000):                                         events.ReasonTooDeep,
		``:                                                              events.ReasonNotJSON,
		`{`:                                                             events.ReasonNotJSON,
		`{"a"`:                                                          events.ReasonNotJSON,
		`{"a":1`:                                                        events.ReasonNotJSON,
		`{"a":1,}`:                                                      events.ReasonNotJSON,
		`{a:1}`:                                                         events.ReasonNotJSON,
		`{"a":01}`:                                                      events.ReasonNotJSON,
		`{"a":1}x`:                                                      events.ReasonNotJSON,
		`{"a":1}{}`:                                                     events.ReasonNotJSON,
		`{"a":1,"a":2}`:                                                 events.ReasonNotJSON,
		`{"a":1,"\u0061":2}`:                                            events.ReasonNotJSON,
		`{"a":{"b":[{"c":1,"c":1}]}}`:                                   events.ReasonNotJSON,
		`{"a":"\ud800"}`:                                                events.ReasonNotJSON,
		`{"a":["\udc00\ud800"]}`:                                        events.ReasonNotJSON,
		"{\"a\":\"\xff\"}":                                              events.ReasonNotJSON,
		"{\"\xc3\":1}":                                                  events.ReasonNotJSON,
		"{\"a\":\"\n\"}":                                                events.ReasonNotJSON,
		`tru`:                                                           events.ReasonNotJSON,
		`[1]`:                                                           events.ReasonNotObject,
		`"text"`:                                                        events.ReasonNotObject,
		`null`:                                                          events.ReasonNotObject,
		` 5 `:                                                           events.ReasonNotObject,
	} {
		var s events.Scanner
		for range 2 { // it can be used again, whatever came before
			dead := s.Object([]byte(raw), func(name, value []byte) {})
			reason := ""
			if dead != nil {
				reason = dead.Reason
				if dead.Stage != events.StageConnector || dead.Detail == "" {
					t.Errorf("%.60s: %+v", raw, dead)
				}
			}
			if reason != want {
				t.Errorf("%.60s: %q, want %q", raw, reason, want)
			}
		}
	}
}

func TestScannerTellsMembers(t *testing.T) {
	raw := []byte(` { "a" : 1.50 , "\u0062\"":[ 1,{"x":null} ],"c":"\u0041" } `)
	var s events.Scanner
	got := ""
	if dead := s.Object(raw, func(name, value []byte) { got += string(name) + "=" + string(value) + ";" }); dead != nil {
		t.Fatal(dead)
	}
	if want := `a=1.50;b"=[ 1,{"x":null} ];c="\u0041";`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDetailsHoldNoBytesOfTheRecord(t *testing.T) {
	for _, raw := range []string{`{"hunter2":1,"hunter2":2}`, `{"a":hunter2}`, "{\"hunter2\xff\":1}", `{"hunter2":"\ud800"}`, `{"a":1}hunter2`} {
		if dead := new(events.Scanner).Object([]byte(raw), func(_, _ []byte) {}); dead == nil || strings.Contains(dead.Detail, "hunter2") {
			t.Errorf("%s: %+v", raw, dead)
		}
	}
}

// A record is dead exactly when it is no I-JSON object or too deep, and a live
// one's members put together are the record.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"\ud83d\ude00"}],"":null}`, `{"a":1,"a":2}`, "{\"\xff\":1}", `[{}]`, `{} {}`, `{"a":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	var s events.Scanner
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		again := []byte{'{'}
		dead := s.Object(raw, func(name, value []byte) {
			if len(again) > 1 {
				again = append(again, ',')
			}
			again, _ = jsontext.AppendQuote(again, name)
			again = append(append(again, ':'), value...)
		})
		if !bytes.Equal(raw, before) {
			t.Fatalf("%q became %q", before, raw)
		}
		text := jsontext.Value(raw)
		object := text.IsValid() && text.Kind() == '{'
		if alive := object && events.Depth(raw) <= events.MaxDepth; alive != (dead == nil) {
			t.Fatalf("%q: %+v, but an I-JSON object: %v", raw, dead, object)
		}
		if dead != nil {
			return
		}
		want, err := events.Canonical(raw)
		if err != nil {
			t.Fatalf("%q has no canonical form: %v", raw, err)
		}
		if got, err := events.Canonical(append(again, '}')); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the members of %q are %q (%v)", raw, again, err)
		}
	})
}
