package transforms_test

import (
	"strings"
	"testing"

	"github.com/millrace-io/millrace/transforms"
)

// Mistakes are found when the configuration is read, each with its place.
func TestMistakes(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			_, err := parse(t, "t.yaml", "transforms:\n"+m.steps+"\n")
			if err == nil || err.Error() != m.want {
				t.Errorf("%s\ngot  %v\nwant %s", m.steps, err, m.want)
			}
		})
	}
	long := "  - {filter: " + strings.Repeat("a", 17000) + "}"
	if _, err := parse(t, "t.yaml", "transforms:\n"+long); err == nil || err.Error() != "t.yaml:2:14: transforms[0].filter: is longer than 16 KiB, which no expression is" {
		t.Errorf("%v", err)
	}
}

// A step that is for some events alone leaves the others as they were, for the steps
// behind it.
func TestSomeEvents(t *testing.T) {
	for _, steps := range []string{
		"  - {rename: {user_id: customer}, when: bot == \"a\"}\n  - {filter: user_id == \"a\" or customer == \"a\"}",
		"  - {redact: {kinds: [email], raw: drop}, connectors: [support]}\n  - {filter: raw.a == 1, connectors: [acme]}",
		"  - {keep: [text, raw], types: [message], streams: [messages]}\n  - {filter: bot == \"a\"}",
		"  - {set: {user_id: raw.number}, types: [message], when: raw.number != nil}\n  - {filter: user_id == \"a\"}",
		"  - {flatten: {field: attributes}, types: [user]}\n  - {keep: [attributes_plan], types: [user]}\n  - {filter: attributes_plan == 1, types: [user]}",
		"  - {set: {made: 'let key = bot; let time = date(occurred_at); key == \"a\" and time.Year() > 2000'}}",
	} {
		chainOf(t, steps)
	}
}

// What is probably not meant is told, and what an expression makes of the time.
func TestNotes(t *testing.T) {
	for steps, want := range map[string]string{
		"  - {filter: date(occurred_at) > now(), name: a}": "a asks for the time with now()",
		"  - {redact: {kinds: [email]}, name: b}":          "b leaves the attributes subject",
		"  - {filter: date(occurred_at) > event.recorded}": "",

		"  - {filter: not (sender == \"usr\")}":                                                                                                                                                                    `t.yaml:2:29: transforms[0].filter: sender is never this text; did you mean "user"?`,
		"  - {filter: 'direction in [\"inbound\", \"to the user\"]', types: [message]}":                                                                                                                            `t.yaml:2:40: transforms[0].filter: direction is never this text; valid words: inbound, outbound`,
		"  - {set: {a: '\"mesage\" != event.type'}}":                                                                                                                                                               `t.yaml:2:16: transforms[0].set.a: event.type is never this text; did you mean "message"?`,
		"  - {rename: {sender: who}, types: [message]}\n  - {filter: who == \"usr\", types: [message]}":                                                                                                            `t.yaml:3:21: transforms[1].filter: who is never this text; did you mean "user"?`,
		"  - {filter: 'sender != \"\" and sender in [\"user\", raw.who]'}":                                                                                                                                         "",
		"  - {filter: 'event.type in [\"message\", \"dead_letter\"]'}":                                                                                                                                             "",
		"  - {set: {sender: raw.who}, types: [message], when: raw.who != nil}\n  - {filter: '\"Ann\" == sender'}":                                                                                                  "",
		"  - {set: {sender: upper(bot)}, types: [message], when: bot != nil}\n  - {filter: sender == \"SHOP\"}":                                                                                                    "",
		"  - {rename: {channel: sender}, types: [message], when: raw.who != nil}\n  - {filter: sender == \"web\"}":                                                                                                 "",
		"  - {rename: {sender: channel}, types: [message]}\n  - {filter: channel == \"web\", types: [message]}":                                                                                                    "",
		"  - {rename: {sender: who}, types: [message]}\n  - {truncate: {fields: [who], to: 3}, types: [message]}\n  - {filter: who == \"us…\", types: [message]}":                                                  "",
		"  - {set: {meta: raw.meta}, types: [message]}\n  - {flatten: {field: meta}, types: [message]}\n  - {rename: {meta_role: sender}, types: [message]}\n  - {filter: sender != \"system\", types: [message]}": "",
		"  - {flatten: {field: attributes}, types: [user]}\n  - {filter: sender == \"vip\" or event.type == \"message\"}":                                                                                          "",
	} {
		notes := strings.Join(chainOf(t, steps).Notes(), "\n")
		if want == "" && notes != "" || !strings.HasPrefix(notes, want) {
			t.Errorf("%s: %q", steps, notes)
		}
	}
}

// A nil chain passes everything on.
func TestNone(t *testing.T) {
	c, err := transforms.New(nil, transforms.Known{})
	e := samples(1, 1)[0]
	out, failed := c.Apply(t.Context(), e)
	if c != nil || err != nil || len(out) != 1 || failed != nil || c.Func() != nil || c.Topics() != nil || c.Notes() != nil || c.Steps() != nil || c.Trace(t.Context(), e) != nil {
		t.Error(c, err, out, failed)
	}
}

// mistakes are steps that New refuses, with what it says.
var mistakes = []struct{ name, steps, want string }{
	{"nothing to do", `  - {name: x}`,
		`t.yaml:2:5: transforms[0]: does nothing: give it one of filter, set, rename, keep, drop_fields, map_values, split, route, redact, truncate, flatten, sample, validate`},
	{"two things", `  - {filter: ok, route: a}`,
		`t.yaml:2:18: transforms[0].route: is a second thing to do beside filter: make it a step of its own, so that their order is plain`},
	{"unknown key", `  - {filtre: ok}`,
		`t.yaml:2:6: transforms[0].filtre: unknown key; did you mean "filter"?`},
	{"unknown type", `  - {filter: "true", types: [mesage]}`,
		`t.yaml:2:30: transforms[0].types[0]: unknown event type; did you mean "message"?`},
	{"no types", `  - {filter: "true", types: []}`,
		`t.yaml:2:22: transforms[0].types: is empty, so the step would be for nothing: name some, or remove the key for all`},
	{"unknown connector", `  - {filter: "true", connectors: [acmee]}`,
		`t.yaml:2:35: transforms[0].connectors[0]: is no connector of this file; did you mean "acme"?`},
	{"unknown stream", `  - {filter: "true", streams: [acme/messages]}`,
		`t.yaml:2:32: transforms[0].streams[0]: is no stream that this file reads; valid streams: support/messages, messages, acme/integrationLog, integrationLog`},
	{"a name twice", `  - {name: a, filter: "true"}
  - {name: a, filter: "true"}`,
		`t.yaml:3:6: transforms[1].name: is the name of step 1 already: names are unique`},
	{"a name of lines", `  - {name: "a\nb", filter: "true"}`,
		`t.yaml:2:6: transforms[0].name: wants at most 100 bytes of text on one line`},
	{"empty condition", `  - {route: a, when: ""}`,
		`t.yaml:2:23: transforms[0].when: is empty: write an expression such as status >= 500`},
	{"empty filter", `  - {filter: " "}`,
		`t.yaml:2:15: transforms[0].filter: is empty: write an expression such as status >= 500`},
	{"syntax, plain", `  - filter: status >= )`,
		`t.yaml:2:23: transforms[0].filter: unexpected token Bracket(")")`},
	{"syntax, single quotes", `  - filter: 'status >= )'`,
		`t.yaml:2:24: transforms[0].filter: unexpected token Bracket(")")`},
	{"syntax, double quotes", `  - filter: "status >= )"`,
		`t.yaml:2:24: transforms[0].filter: unexpected token Bracket(")")`},
	{"syntax, escapes", `  - filter: "user_id == \"a\" )"`,
		`t.yaml:2:13: transforms[0].filter: unexpected token Bracket(")")`},
	{"syntax, literal", `  - filter: |
      ok and
      status >= )`,
		`t.yaml:4:17: transforms[0].filter: unexpected token Bracket(")")`},
	{"syntax, folded", `  - filter: >
      ok and
      status >= )`,
		`t.yaml:2:13: transforms[0].filter: unexpected token Bracket(")")`},
	{"syntax, behind an accent", `  - filter: user_id == "é" )`,
		`t.yaml:2:28: transforms[0].filter: unexpected token Bracket(")")`},
	{"a text is not repeated", `  - filter: user_id == "a" "s3cret"`,
		`t.yaml:2:28: transforms[0].filter: unexpected token String`},
	{"a pattern is not repeated", `  - filter: user_id matches "s3cret["`,
		`t.yaml:2:21: transforms[0].filter: error parsing regexp: missing closing ]`},
	{"a number is not repeated", `  - filter: status == 12345678901234567890123`,
		`t.yaml:2:45: transforms[0].filter: invalid integer literal`},
	{"a variable's name", `  - filter: user_id == ${WORD}`,
		`t.yaml:2:13: transforms[0].filter: cannot be read after its ${...} was filled in: put quotes around a variable that holds text, as in user_id == "${NAME}"`},
	{"a variable beside a mistake", `  - filter: statsu == ${NUMBER}`,
		`t.yaml:2:13: transforms[0].filter: unknown name "statsu"; did you mean "status"?`},
	{"unknown name", `  - filter: statsu >= 500`,
		`t.yaml:2:13: transforms[0].filter: unknown name "statsu"; did you mean "status"?`},
	{"of another type", `  - {filter: statsu >= 500, types: [message]}`,
		`t.yaml:2:14: transforms[0].filter: unknown name "statsu"; valid names: bot, channel, conversation_id, direction, kind, message_id, occurred_at, payload, raw, sender, text, user_id, event`},
	{"of other types", `  - {filter: status >= 500, types: [message]}`,
		`t.yaml:2:14: transforms[0].filter: unknown name "status": events of type message have none here, but those of conversation, integration_call have`},
	{"an attribute", `  - filter: topic == "a"`,
		`t.yaml:2:13: transforms[0].filter: unknown name "topic": did you mean event.topic?`},
	{"no attribute", `  - filter: event.typ == "a"`,
		`t.yaml:2:19: transforms[0].filter: event has no such attribute; did you mean "type"?`},
	{"event as a whole", `  - filter: event == nil`,
		`t.yaml:2:13: transforms[0].filter: names event as a whole: name one of its attributes, such as event.type`},
	{"environment", `  - filter: $env.text == "a"`,
		`t.yaml:2:13: transforms[0].filter: names $env, which is not supported: name the members themselves`},
	{"no condition", `  - {filter: text, types: [message]}`,
		`t.yaml:2:14: transforms[0].filter: expected bool, but got string`},
	{"types that do not fit", `  - {filter: text > 1, types: [message]}`,
		`t.yaml:2:19: transforms[0].filter: invalid operation: > (mismatched types string and int)`},
	{"in some types", `  - {filter: "status > 1"}`,
		`t.yaml:2:22: transforms[0].filter: invalid operation: > (mismatched types string and int), in events of type conversation: say with types which events the step is for`},
	{"sets nothing", `  - set: {}`,
		`t.yaml:2:5: transforms[0].set: sets nothing: write members with expressions, such as {severity: 'status >= 500 ? "high" : "low"'}`},
	{"sets raw", `  - {set: {raw: "1"}}`,
		`t.yaml:2:12: transforms[0].set.raw: is raw, the record as the API returned it: steps may remove or redact it, and make members of it, but not write it`},
	{"sets event", `  - {set: {event: "1"}}`,
		`t.yaml:2:12: transforms[0].set.event: is the name that the event's attributes have in expressions: choose another`},
	{"sets a bad name", `  - {set: {"a b": "1"}}`,
		`t.yaml:2:12: transforms[0].set."a b": has a name with a space, quote, bracket or star: put that name in double quotes, as in raw."a b"`},
	{"sets a bad path", `  - {set: {"a..b": "1"}}`,
		`t.yaml:2:12: transforms[0].set."a..b": has an empty name: write names with single dots between them, such as attributes.plan`},
	{"sets a star", `  - {set: {"a.*": "1"}}`,
		`t.yaml:2:12: transforms[0].set."a.*": has a *: name the one place that is set`},
	{"sets what does not fit", `  - {set: {ok: '"yes"'}, types: [integration_call]}`,
		`t.yaml:2:12: transforms[0].set.ok: the member ok of integration_call is of type boolean, and would get a text: choose another name, or another value`},
	{"sets a member of a text", `  - {set: {text.a: "1"}, types: [message]}`,
		`t.yaml:2:12: transforms[0].set."text.a": the member text of message is of type string, and would get an object: choose another name, or another value`},
	{"renames nothing", `  - rename: {}`,
		`t.yaml:2:5: transforms[0].rename: renames nothing: write old names with new ones, such as {user_id: customer}`},
	{"renames what is not there", `  - rename: {user: customer}`,
		`t.yaml:2:14: transforms[0].rename.user: unknown name "user"; no event type has it; docs/events.md lists the members of each`},
	{"renames raw", `  - rename: {raw: record}`,
		`t.yaml:2:14: transforms[0].rename.raw: is raw, which keeps its name: set a member to it instead`},
	{"renames to raw", `  - rename: {text: raw}`,
		`t.yaml:2:14: transforms[0].rename.text: is raw, the record as the API returned it: steps may remove or redact it, and make members of it, but not write it`},
	{"renames to one name", `  - {rename: {user_id: a, bot: a}}`,
		`t.yaml:2:15: transforms[0].rename.user_id: gets the name that bot gets too: choose another`},
	{"renames to another type", `  - {rename: {url: status}, types: [integration_call]}`,
		`t.yaml:2:15: transforms[0].rename.url: the member status of integration_call is of type integer, which url is not: choose another name`},
	{"keeps nothing", `  - keep: []`,
		`t.yaml:2:5: transforms[0].keep: keeps nothing: name the members that stay, or use filter to drop events`},
	{"keeps what is not there", `  - keep: [text, usr_id]`,
		`t.yaml:2:18: transforms[0].keep[1]: unknown name "usr_id"; did you mean "user_id"?`},
	{"drops nothing", `  - drop_fields: []`,
		`t.yaml:2:5: transforms[0].drop_fields: removes nothing: name paths, such as [request_headers, raw.body]`},
	{"drops what is not there", `  - drop_fields: [txt]`,
		`t.yaml:2:19: transforms[0].drop_fields[0]: unknown name "txt"; did you mean "text"?`},
	{"path with a star", `  - drop_fields: ["*.a"]`,
		`t.yaml:2:19: transforms[0].drop_fields[0]: begins with *: name the member that it begins with, such as raw.*`},
	{"path with brackets", `  - drop_fields: ["raw.a[0]"]`,
		`t.yaml:2:19: transforms[0].drop_fields[0]: has a name with a space, quote, bracket or star: put that name in double quotes, as in raw."a b"`},
	{"path with an open quote", `  - drop_fields: ['raw."a']`,
		`t.yaml:2:19: transforms[0].drop_fields[0]: has a name in quotes that is empty, or does not end before a dot: write it as raw."a.b".c`},
	{"maps nothing", `  - map_values: {field: text}`,
		`t.yaml:2:5: transforms[0].map_values.values: is required`},
	{"maps raw", `  - {map_values: {field: raw.a, values: {a: b}}}`,
		`t.yaml:2:19: transforms[0].map_values.field: is in raw, the record as the API returned it: map the member that was made of it, or set one to it first`},
	{"maps to what does not fit", `  - {map_values: {field: ok, values: {"true": "yes"}}, types: [integration_call]}`,
		`t.yaml:2:19: transforms[0].map_values.field: the member ok of integration_call is of type boolean, and would get a text: choose another name, or another value`},
	{"maps to no word of the list", `  - {map_values: {field: sender, values: {user: customer}}, types: [message]}`,
		`t.yaml:2:43: transforms[0].map_values.values.user: becomes what sender cannot be in events of type message: set another member to it`},
	{"maps the rest to no word", `  - {map_values: {field: sender, values: {user: bot}, default: other}, types: [message]}`,
		`t.yaml:2:55: transforms[0].map_values.default: is what sender cannot be in events of type message: set another member to it`},
	{"splits into raw", `  - {split: {field: tags, into: raw}, types: [user]}`,
		`t.yaml:2:27: transforms[0].split.into: is raw, the record as the API returned it: steps may remove or redact it, and make members of it, but not write it`},
	{"splits what is not there", `  - {split: {field: tagz, into: tag}, types: [user]}`,
		`t.yaml:2:14: transforms[0].split.field: unknown name "tagz"; did you mean "tags"?`},
	{"routes nowhere", `  - route: ""`,
		`t.yaml:2:5: transforms[0].route: a topic's name wants 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit, such as vip_messages`},
	{"routes to a bad topic", `  - route: "a b"`,
		`t.yaml:2:5: transforms[0].route: a topic's name wants 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit, such as vip_messages`},
	{"redacts nothing", `  - redact: {}`,
		`t.yaml:2:5: transforms[0].redact: hides nothing: give it kinds to look for, such as [email, phone], or fields, or both`},
	{"redacts an unknown kind", `  - redact: {kinds: [mail]}`,
		`t.yaml:2:22: transforms[0].redact.kinds[0]: is not a known value; did you mean "email"?`},
	{"hashes without a key", `  - redact: {kinds: [email], with: hash, key: short}`,
		`t.yaml:2:42: transforms[0].redact.key: wants at least 16 bytes with hash: without a key everybody can try all phone numbers. openssl rand -hex 32 makes one; take it from the environment: ${REDACT_KEY}`},
	{"hashes with a default", `  - redact: {fields: [text], with: hash, key: "${NO_SUCH_KEY:-0123456789abcdef}"}`,
		`t.yaml:2:42: transforms[0].redact.key: has a default, with which a process would hash where the variable is missing: write ${NAME} alone`},
	{"masks with a key", `  - redact: {kinds: [email], key: 0123456789abcdef}`,
		`t.yaml:2:5: transforms[0].redact.with: wants hash where there is a key: a mask needs none`},
	{"hashes with a mask", `  - redact: {kinds: [email], with: hash, key: 0123456789abcdef, mask: x}`,
		`t.yaml:2:65: transforms[0].redact.mask: is for with: mask`},
	{"masks the key", `  - redact: {fields: [event.key]}`,
		`t.yaml:2:23: transforms[0].redact.fields[0]: is what events are ordered and told apart by: it takes with: hash alone, which keeps equal ones equal`},
	{"masks a time", `  - redact: {fields: [occurred_at]}`,
		`t.yaml:2:23: transforms[0].redact.fields[0]: is no free text in events of type answer, so that a mask or a hash would not be valid there: use with: drop`},
	{"masks the record", `  - redact: {fields: [raw]}`,
		`t.yaml:2:23: transforms[0].redact.fields[0]: is the whole record: leave it out with raw: drop, or name paths in it, such as raw.*`},
	{"looks for nothing in raw", `  - redact: {fields: [user_id], raw: redact}`,
		`t.yaml:2:33: transforms[0].redact.raw: would find nothing in raw: add kinds to look for, or a path in raw to fields, or use drop`},
	{"truncates what is not there", `  - truncate: {fields: [txt], to: 3}`,
		`t.yaml:2:25: transforms[0].truncate.fields[0]: unknown name "txt"; did you mean "text"?`},
	{"truncates a time", `  - truncate: {fields: [occurred_at], to: 3}`,
		`t.yaml:2:25: transforms[0].truncate.fields[0]: is no free text in events of type answer, so that it would not be valid when it is cut`},
	{"truncates to nothing", `  - truncate: {fields: [user_id], to: 0}`,
		`t.yaml:2:39: transforms[0].truncate.to: wants at least 1`},
	{"flattens raw", `  - flatten: {field: raw}`,
		`t.yaml:2:15: transforms[0].flatten.field: is raw, the record as the API returned it: set a member to the object in it first`},
	{"flattens with quotes", `  - {flatten: {field: attributes, separator: '"'}, types: [user]}`,
		`t.yaml:2:35: transforms[0].flatten.separator: wants at most 8 characters, none of them a quote or a backslash`},
	{"samples too much", `  - sample: {share: 2}`,
		`t.yaml:2:21: transforms[0].sample.share: wants at most 1`},
	{"samples no number", `  - sample: {share: .nan}`,
		`t.yaml:2:21: transforms[0].sample.share: wants a number such as 0.5`},
	{"samples by what is not there", `  - sample: {share: 0.5, by: usr}`,
		`t.yaml:2:30: transforms[0].sample.by: unknown name "usr"; no event type has it; docs/events.md lists the members of each`},
	{"validates without a file", `  - validate: {schema: testdata/no.json}`,
		`t.yaml:2:16: transforms[0].validate.schema: cannot be read: no such file or directory`},
	{"removed before", `  - {drop_fields: [text]}
  - {filter: text == "a", types: [message]}`,
		`t.yaml:3:14: transforms[1].filter: unknown name "text"; valid names: bot, channel, conversation_id, direction, kind, message_id, occurred_at, payload, raw, sender, user_id, event`},
	{"renamed before", `  - {rename: {user_id: customer}}
  - {filter: user_id == "a"}`,
		`t.yaml:3:14: transforms[1].filter: unknown name "user_id"; no event type has it; docs/events.md lists the members of each`},
	{"not kept before", `  - {keep: [text], types: [message]}
  - {filter: user_id == "a", types: [message]}`,
		`t.yaml:3:14: transforms[1].filter: unknown name "user_id": events of type message have none here, but those of answer, click, conversation, email, integration_call, sms, unhandled_input, usage, user, user_snapshot have`},
	{"raw dropped before", `  - {redact: {fields: [user_id]}}
  - {filter: raw.a == 1}`,
		`t.yaml:3:14: transforms[1].filter: unknown name "raw"; no event type has it; docs/events.md lists the members of each`},
	{"set before, another type", `  - {set: {made: "1"}, types: [message]}
  - {filter: made contains "a", types: [message]}`,
		`t.yaml:3:19: transforms[1].filter: invalid operation: contains (mismatched types int and string)`},
	{"another text for some events, which is text still", `  - {set: {sender: upper(bot)}, types: [message], when: bot != nil}
  - {filter: sender > 1, types: [message]}`,
		`t.yaml:3:21: transforms[1].filter: invalid operation: > (mismatched types string and int)`},
	{"all at once", `  - {filter: a1}
  - {filter: a2}`,
		`t.yaml:2:14: transforms[0].filter: unknown name "a1"; no event type has it; docs/events.md lists the members of each
t.yaml:3:14: transforms[1].filter: unknown name "a2"; no event type has it; docs/events.md lists the members of each`},
}
