package transforms_test

import (
	"testing"

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
