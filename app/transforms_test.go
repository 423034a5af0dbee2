package app

import (
	"strings"
	"testing"

	"github.com/millrace-io/millrace/config"
)

// Invariant 10: what a variable holds is in no error, wherever in a step it stands.
func TestMistakesOfTransformsShowNoVariable(t *testing.T) {
	const secret = "hunter2secretvalue"
	for _, step := range []string{
		`filter: '${S} == 1'`, `filter: 'text == 1 ${S}'`, `set: {x: 'text matches "(${S}"'}`, `when: 'text > ${S}(', keep: [text]`,
		`types: ['${S}'], filter: 'true'`, `connectors: ['${S}'], filter: 'true'`, `streams: ['${S}'], filter: 'true'`, `route: '${S} x'`,
		`redact: {fields: ['${S}']}`, `redact: {fields: ['${S}.*']}`, `redact: {fields: ['${S}..x']}`, `redact: {kinds: ['${S}']}`,
		`keep: ['${S}']`, `drop_fields: ['${S}.a']`, `rename: {text: '${S} -'}`, `truncate: {fields: ['${S}'], to: 3}`, `flatten: {field: '${S}'}`,
		`split: {field: '${S}', into: '${S}'}`, `map_values: {field: '${S}', values: {a: b}}`, `sample: {share: 0.5, by: '${S} ='}`,
		`validate: {schema: '/nowhere/${S}'}`,
	} {
		text := "connectors:\n  support: {type: deepconverse, account: acme, api_key: k, bot_name: b}\ntransforms: [{" + step + "}]\n"
		file, err := config.Parse("test.yaml", []byte(text), Plugins(), func(string) (string, bool) { return secret, true })
		if err == nil {
			_, err = ChainOf(file)
		}
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "test.yaml:3:") {
			t.Errorf("%s: %v", step, err)
		}
	}
	for _, step := range []string{`filter: 'sender == "${S}"'`, `when: 'event.type in ["${S}"]', keep: [text]`} {
		text := "connectors:\n  support: {type: deepconverse, account: acme, api_key: k, bot_name: b}\ntransforms: [{" + step + "}]\n"
		file, err := config.Parse("test.yaml", []byte(text), Plugins(), func(string) (string, bool) { return secret, true })
		if err != nil {
			t.Fatal(err)
		}
		chain, err := ChainOf(file)
		if err != nil {
			t.Fatal(err)
		}
		if notes := chain.Notes(); len(notes) != 1 || strings.Contains(notes[0], secret) || !strings.Contains(notes[0], "test.yaml:3:") {
			t.Errorf("%s: %q", step, notes)
		}
	}
}
