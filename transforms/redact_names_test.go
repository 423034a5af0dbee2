package transforms_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

// Flatten makes names of what a record has as names: these are searched too, and
// stay apart.
func TestRedactHidesNamesThatFlattenMakes(t *testing.T) {
	chain, err := parse(t, "names.yaml", `
transforms:
  - flatten: {field: attributes, separator: " "}
    types: [user]
  - redact: {kinds: [email], mask: "*"}
`)
	if err != nil {
		t.Fatal(err)
	}
	e, err := transforms.ReadEvent([]byte(`{type: user, data: {attributes: {jane@example.com: 1, joe@example.com: 2, plan: gold}}}`))
	if err != nil {
		t.Fatal(err)
	}
	out, err := chain.Apply(t.Context(), e)
	if err != nil || len(out) != 1 {
		t.Fatal(len(out), err)
	}
	if got, want := string(out[0].Members), `"attributes *":1,"attributes *_2":2,"attributes plan":"gold"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What else would write ids down asks whether a step hides them.
func TestHidesIDs(t *testing.T) {
	const hash = "with: hash, key: 0123456789abcdef"
	for steps, want := range map[string]bool{
		"[]":                                  false,
		"[{filter: 'user_id != nil'}]":        false,
		"[{redact: {kinds: [email, phone]}}]": false,
		"[{redact: {fields: [text]}}]":        false,
		"[{redact: {fields: [user_id]}}]":     true,
		"[{redact: {kinds: [phone], fields: [conversation_id]}}]": true,
		"[{redact: {kinds: [phone], " + hash + "}}]":              true,
		"[{redact: {fields: [event.key], " + hash + "}}]":         true,
	} {
		chain, err := parse(t, "hides.yaml", "transforms: "+steps)
		if err != nil {
			t.Fatal(err)
		}
		if got := chain.HidesIDs(); got != want {
			t.Errorf("%s: %v", steps, got)
		}
	}
}

// Who knows a record's id finds the events of it whose id was hashed.
func TestRecordIDs(t *testing.T) {
	steps := `
  - redact: {fields: [event.record_id], with: hash, key: 0123456789abcdef, key_id: k1}
    types: [message]
  - redact: {fields: [text], with: hash, key: 0123456789abcdef}
  - redact: {kinds: [phone], with: hash, key: fedcba9876543210}
  - redact: {fields: [event.record_id], with: hash, key: fedcba9876543210}
    connectors: [acme]
`
	chain := chainOf(t, steps)
	for id, most := range map[string]map[string]int{"m-1": {"": 1, "acme": 3}, "+420 777 123 456": {"": 2, "acme": 5}} {
		for _, e := range []events.Event{{Type: events.TypeMessage}, {Type: events.TypeClick}, {Type: events.TypeMessage, Connector: "acme"}, {Type: events.TypeClick, Connector: "acme"}} {
			e.RecordID = id
			out, err := chain.Apply(t.Context(), e)
			if err != nil || len(out) != 1 {
				t.Fatal(len(out), err)
			}
			ids := chain.RecordIDs(&events.Event{Connector: e.Connector}, id)
			if made := out[0].RecordID; made != id && !slices.Contains(ids, made) || len(ids) != most[e.Connector] {
				t.Errorf("%s becomes %s, of %q", id, made, ids)
			}
		}
	}
	var none *transforms.Chain
	of := &events.Event{}
	if ids := none.RecordIDs(of, "a"); ids != nil {
		t.Errorf("%q", ids)
	}
	var many strings.Builder
	for n := range 20 {
		fmt.Fprintf(&many, "  - {redact: {fields: [event.record_id], with: hash, key: 0123456789abcde%c}, types: [click]}\n", 'a'+n)
	}
	if ids := chainOf(t, many.String()).RecordIDs(of, "a"); len(ids) != 1023 {
		t.Errorf("%d ids", len(ids))
	}
}
