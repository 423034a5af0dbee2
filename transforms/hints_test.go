package transforms_test

import (
	"strings"
	"testing"

	"github.com/millrace-io/millrace/transforms"
)

// What people write who know another language is told with what it is called here.
func TestHints(t *testing.T) {
	for steps, want := range map[string]string{
		`{filter: sender = "bot", types: [message]}`:            `2:21: transforms[0].filter: unexpected token Operator("="): equal is written ==`,
		`{filter: sender <> "bot", types: [message]}`:           `2:22: transforms[0].filter: unexpected token Operator(">"): not equal is written !=`,
		`{filter: ok AND status > 1, types: [click]}`:           `2:17: transforms[0].filter: unexpected token Identifier: and is written in small letters`,
		`{filter: ok OR status > 1, types: [click]}`:            `2:17: transforms[0].filter: unexpected token Identifier: or is written in small letters`,
		`{filter: user_id is null}`:                             `2:22: transforms[0].filter: unexpected token Identifier: what is absent is == nil`,
		`{filter: text like "%a%", types: [message]}`:           `2:19: transforms[0].filter: unexpected token Identifier: write contains, startsWith, endsWith or matches`,
		`{filter: text.contains("a"), types: [message]}`:        `2:19: transforms[0].filter: type string has no method contains: write it between two texts, as in text contains "a"`,
		`{set: {a: if ok then 1 else 2}}`:                       `2:21: transforms[0].set.a: unexpected token Identifier: write CONDITION ? THIS : THAT`,
		`{filter: text contains refund, types: [message]}`:      `2:28: transforms[0].filter: unknown name "refund"; a text stands in quotes: "refund"`,
		`{set: {a: high}}`:                                      `2:15: transforms[0].set.a: unknown name "high"; no event type has it; docs/events.md lists the members of each; a text stands in quotes of its own: '"high"'`,
		`{set: {a: uper(bot)}}`:                                 `2:15: transforms[0].set.a: unknown name "uper"; did you mean "upper"?`,
		`{set: {a: wibble(bot)}}`:                               `2:15: transforms[0].set.a: unknown name "wibble"; functions are those of expr-lang.org/docs/language-definition`,
		`{filter: refund.a == "a", types: [usage]}`:             `2:14: transforms[0].filter: unknown name "refund"; valid names: bot, channel, conversation_id, month, occurred_at, raw, total_messages, total_users, user_id, event`,
		`{redact: {fields: [event.ky]}}`:                        `2:24: transforms[0].redact.fields[0]: is an attribute, not a member: of those, redact hashes event.key and event.record_id, and no step changes others`,
		`{keep: [attributes.plan], types: [user]}`:              `2:13: transforms[0].keep[0]: leads into attributes, and this takes whole members: make one of what is inside with a step before, such as set: {plan: attributes.plan}`,
		`{flatten: {field: raw.a}}`:                             `2:16: transforms[0].flatten.field: leads into raw, and this takes whole members: make one of what is inside with a step before, such as set: {plan: attributes.plan}`,
		`{rename: {attributes.plan: plan}, types: [user]}`:      `2:15: transforms[0].rename."attributes.plan": leads into attributes, and this takes whole members: make one of what is inside with a step before, such as set: {plan: attributes.plan}`,
		`{redact: {fields: [event.key], with: hash, key: "a"}}`: `2:48: transforms[0].redact.key: wants at least 16 bytes`,
	} {
		_, err := parse(t, "t.yaml", "transforms:\n  - "+steps+"\n")
		if err == nil || !strings.HasPrefix(err.Error(), "t.yaml:"+want) {
			t.Errorf("%s\ngot  %v\nwant %s", steps, err, want)
		}
	}
}

// What is asked of all topics says which topics to ask.
func TestConditionOfSomeTypes(t *testing.T) {
	_, _, err := transforms.Condition("status >= 500", nil, nil)
	if err == nil || err.Error() != "invalid operation: >= (mismatched types string and int), in events of type conversation: name the topics that it is for" {
		t.Errorf("%v", err)
	}
}

// Attributes that another step hashes need no note.
func TestNoteOnAttributes(t *testing.T) {
	const hash = "  - {redact: {fields: [event.key, event.record_id], with: hash, key: 0123456789abcdef}"
	for steps, want := range map[string]int{
		"  - {redact: {kinds: [email]}}":                                    1,
		"  - {redact: {kinds: [email]}}\n" + hash + "}":                     0,
		hash + "}\n  - {redact: {kinds: [email]}}":                          0,
		"  - {redact: {kinds: [email]}}\n" + hash + ", types: [message]}":   1,
		"  - {redact: {kinds: [email]}}\n" + hash + ", when: bot == \"a\"}": 1,
	} {
		if notes := chainOf(t, steps).Notes(); len(notes) != want {
			t.Errorf("%s: %q", steps, notes)
		}
	}
}

// What is on a topic is known of those that steps route to as well, so that a
// condition on it is checked against what its events have.
func TestTypesOfTopics(t *testing.T) {
	chain := chainOf(t, "  - {route: a, types: [integration_call]}\n  - {route: a, types: [sms, integration_call]}\n  - {route: b}")
	for topics, want := range map[string]string{"": "", "a": "integration_call sms", "a click": "click integration_call sms", "unknown": ""} {
		if got := strings.Join(chain.Types(strings.Fields(topics)), " "); got != want {
			t.Errorf("%q: got %q, want %q", topics, got, want)
		}
	}
	if _, notes, err := transforms.Condition("status >= 500", chain.Types([]string{"a"}), chain); err != nil || notes != nil {
		t.Error(notes, err)
	}
	if all := chain.Types([]string{"b"}); len(all) < 10 {
		t.Errorf("on the topic for all are %v", all)
	}
	// What a step may have written is no slip.
	chain = chainOf(t, "  - {set: {sender: upper(bot)}, types: [message]}")
	for text, want := range map[string]bool{`sender == "SHOP"`: true, `direction == "SHOP"`: false} {
		if _, notes, err := transforms.Condition(text, nil, chain); err != nil || (notes == nil) != want {
			t.Errorf("%s: %q %v", text, notes, err)
		}
	}
}
