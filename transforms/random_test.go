package transforms_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// random makes lists of steps of all operations; some of them New refuses.
func random(seed uint64, lists int) (all []string) {
	r := rand.New(rand.NewPCG(seed, 2))
	for range lists {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString(randomStep(r))
		}
		all = append(all, b.String())
	}
	return all
}

func randomStep(r *rand.Rand) string {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	member := func() string {
		return one("text", "user_id", "conversation_id", "bot", "channel", "made", "status", "attributes", "tags", "payload", "occurred_at", "metadata", "to", "extra", "attributes_a")
	}
	path := func() string {
		return one(member(), "raw."+one("a", "bc", "items", "items.a", "'*'", "a.price", "*.*", `\"x y\"`, `\"a.b\".a`), member()+"."+one("a", "*", "items", "bc"))
	}
	expression := func() string {
		for {
			if e := one(expressions...); e != "now()" && !strings.Contains(e, "1000") && !strings.Contains(e, "1..30") {
				return quoted(e)
			}
		}
	}
	does := ""
	switch r.IntN(15) {
	case 0:
		does = "filter: " + expression()
	case 1, 2:
		does = fmt.Sprintf("set: {%s: %s}", one("made", "extra", "text", "attributes.a", "metadata.a.b", "status", "made.x"), expression())
	case 3:
		does = fmt.Sprintf("rename: {%s: %s}", member(), one("made", "extra", "text", "renamed", "user_id"))
	case 4:
		does = "rename: {user_id: bot, bot: user_id}"
	case 5:
		does = fmt.Sprintf("keep: [%s, %s, %s]", member(), member(), one("raw", "text", "user_id"))
	case 6:
		does = fmt.Sprintf(`drop_fields: ["%s", "%s"]`, path(), one(path(), "raw"))
	case 7:
		does = fmt.Sprintf(`map_values: {field: "%s", values: {a: b, "1": one, "true": "yes"}%s}`, path(), one("", ", default: x"))
	case 8:
		does = fmt.Sprintf(`split: {field: "%s", into: %s}`, path(), one("made", "extra", "text", "attributes"))
	case 9:
		does = "route: " + one("urgent", "others")
	case 10, 11:
		does = "redact: {" + one(
			"kinds: [email, phone, card, ip, credentials]", "kinds: [email], with: drop", "kinds: [email, phone], with: hash, key: 0123456789abcdef, key_id: k", "kinds: [email], raw: keep",
			fmt.Sprintf(`fields: ["%s"]`, path()), fmt.Sprintf(`fields: ["%s"], with: drop, raw: keep`, path()), fmt.Sprintf(`fields: ["%s", event.key], with: hash, key: 0123456789abcdef`, path()),
			fmt.Sprintf(`fields: ["%s"], kinds: [email]`, path())) + "}"
	case 12:
		does = fmt.Sprintf(`truncate: {fields: ["%s"], to: %d}`, path(), 1+r.IntN(5))
	case 13:
		does = fmt.Sprintf("flatten: {field: %s%s}", one("attributes", "metadata", "payload", "made"), one("", ", separator: .", `, separator: ""`))
	case 14:
		does = one("sample: {share: 0.9}", "sample: {share: 0.5, by: user_id}", "validate: {}")
	}
	selection := one("", "", "", ", types: [user]", ", types: [message, answer]", ", when: "+expression(), ", streams: [messages]", ", connectors: [acme]")
	return "  - {" + does + selection + "}\n"
}

// mistaken are lists of steps that New refuses.
func mistaken() (all []string) {
	for _, m := range mistakes {
		all = append(all, m.steps)
	}
	return all
}
