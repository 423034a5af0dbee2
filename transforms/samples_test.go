package transforms_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

// planted stands in every text of the samples: no error may hold it.
const planted = "pl4ntedWord"

// texts are what members of the samples hold, as JSON.
var texts = []string{
	`""`, `"` + planted + `"`, `"Grüezi ` + planted + `, 1.5"`, `"jane@example.com ` + planted + `"`, `"call +41 79 123 45 67"`, `"4111 1111 1111 1111"`,
	`"2026-01-01T00:00:00Z"`, `"1h"`, `"12"`, `"true"`, `"a\u0062\/\n\ud83d\ude00"`, `"https:\/\/user:` + planted + `@example.com\/x"`, `"{\"a\":\"x\\u0040example.com\"}"`, `"(["`,
}

// numbers are those that are easily changed on the way.
var numbers = []string{"0", "-0", "1", "-1", "1.0", "200", "9007199254740993", "18446744073709551617", "0.1", "1e2", "1E+2", "1e-400"}

// anyValue makes a JSON value, as deep as depth at most.
func anyValue(r *rand.Rand, depth int) string {
	kind := r.IntN(9)
	if depth == 0 {
		kind = r.IntN(5)
	}
	switch kind {
	case 0:
		return []string{"null", "true", "false"}[r.IntN(3)]
	case 1, 2:
		return numbers[r.IntN(len(numbers))]
	case 3, 4:
		return texts[r.IntN(len(texts))]
	case 5, 6:
		list := make([]string, r.IntN(4))
		for n := range list {
			list[n] = anyValue(r, depth-1)
		}
		return "[" + strings.Join(list, " , ") + "]"
	}
	return anyObject(r, depth)
}

func anyObject(r *rand.Rand, depth int) string {
	names := []string{`"a"`, `"b\u0063"`, `"items"`, `"x y"`, `"a.b"`, `"jane@example.com"`, `"` + planted + `"`, `"price"`, `"*"`}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	list := make([]string, r.IntN(4))
	for n := range list {
		list[n] = names[n] + []string{":", " : "}[r.IntN(2)] + anyValue(r, depth-1)
	}
	return "{ " + strings.Join(list, ",") + "}"
}

// sample makes an event of a type, with most of its members.
func sample(r *rand.Rand, eventType string) events.Event {
	e := events.Event{
		ID: events.ID{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 1}, Type: eventType, Connector: "support",
		Source: events.StreamKey{Vendor: "deepconverse", Account: "bot", Stream: "messages"}, Key: []string{"", "k" + planted, "+41 79 123 45 67"}[r.IntN(3)],
		RecordID: "r" + planted, Time: time.Unix(1767225600, 0), Recorded: time.Unix(1767225601, 0), Raw: []byte(anyObject(r, 3)),
	}
	if r.IntN(8) == 0 {
		e.Raw = nil
	}
	var schema struct {
		Properties map[string]struct {
			Type, Format string
			Enum         []string
			Items        struct{ Type string }
		}
	}
	for _, t := range events.Catalogue() {
		if t.Name == eventType {
			if err := json.Unmarshal(t.Schema, &schema); err != nil {
				panic(err)
			}
		}
	}
	var members []string
	for name, m := range schema.Properties {
		var value string
		switch {
		case name == "raw" || r.IntN(6) == 0:
			continue
		case m.Enum != nil:
			value = `"` + m.Enum[0] + `"`
		case m.Format != "":
			value = `"2026-01-01T00:00:00Z"`
		case m.Type == "string":
			value = texts[r.IntN(len(texts))]
		case m.Type == "integer":
			value = []string{"200", "-1", "9007199254740993"}[r.IntN(3)]
		case m.Type == "number":
			value = numbers[r.IntN(len(numbers))]
		case m.Type == "boolean":
			value = "true"
		case m.Type == "object":
			value = anyObject(r, 2)
		case m.Type == "array" && m.Items.Type == "string":
			value = `["a", "jane@example.com"]`
		case m.Type == "array":
			value = `[1,"a",{"a":1}]`
		default:
			value = anyValue(r, 2)
		}
		members = append(members, fmt.Sprintf("%q: %s", name, value))
	}
	slices.Sort(members)
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	e.Members = []byte(strings.Join(members, " ,"))
	return e
}

// types are those that transforms are for.
func types() (names []string) {
	for _, t := range events.Catalogue() {
		if t.Name != events.TypeDeadLetter {
			names = append(names, t.Name)
		}
	}
	return names
}

// samples are events of every type, the same ones each time.
func samples(seed uint64, each int) (all []events.Event) {
	r := rand.New(rand.NewPCG(seed, 1))
	for _, t := range types() {
		for range each {
			all = append(all, sample(r, t))
		}
	}
	return all
}

// The samples are events: what comes of them is no fault of theirs.
func TestSamplesAreValid(t *testing.T) {
	valid := schemas(t)
	for seed := range uint64(50) {
		for _, e := range samples(seed, 1) {
			valid(t, &e)
		}
	}
}

// quoted writes a text as YAML does, with no variables in it.
func quoted(text string) string {
	out, _ := json.Marshal(strings.ReplaceAll(text, "$", "$$"))
	return string(out)
}

// chainOf makes a chain of a list of steps.
func chainOf(t testing.TB, steps string) *transforms.Chain {
	t.Helper()
	c, err := parse(t, "t.yaml", "transforms:\n"+steps)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open makes a chain that may have any connectors and streams; an error where the
// text is no configuration.
func open(text string) (*transforms.Chain, error) {
	list, _, err := config.ParseTransforms("t.yaml", []byte(text), transforms.Settings{}, func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, err
	}
	return transforms.New(list, transforms.Known{})
}

// variables are those of the environment that configurations may name.
func variables(name string) (string, bool) {
	value, there := map[string]string{"WORD": "s3cret", "NUMBER": "500", "REDACT_KEY": "an example key of 32 characters."}[name]
	return value, there
}
