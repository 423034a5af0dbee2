package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/simulator"
)

// What transforms have changed, split off, sent elsewhere, dropped or failed on is
// told of each event.
func TestExplainTransforms(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 92, Backlog: 200, Span: time.Hour})
	dir := filepath.Join(t.TempDir(), "data")
	config := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	const steps = `transforms:
- {name: short, types: [message], filter: 'len(text ?? "") < 60'}
- {name: measured, types: [message], set: {length: 'len(text ?? "")'}}
- {name: elsewhere, types: [message], when: 'sender == "user"', route: said}
- {name: people, types: [conversation], set: {both: '["a", "b"]'}}
- {name: each, types: [conversation], split: {field: both, into: one}}
`
	rewrite(t, config, "http: {", steps+"http: {")
	must(t, "run", "--once", "-c", config)
	all := readTopics(t, dir)
	routed := slices.IndexFunc(all, func(e event) bool { return strings.HasPrefix(e.topic, "millrace.said") })
	if routed < 0 {
		t.Fatal("no event was routed")
	}
	e := &all[routed]
	told := explained(t, config, e.ID.String())
	if len(told) != 1 || told[0].Event.Topic != "millrace.said" || *told[0].Event.Sequence != e.sequence {
		t.Fatalf("of an event that was routed it tells %+v", told)
	}
	wantSteps(t, told[0].Transforms, "short", "measured", "elsewhere")
	if text := must(t, "explain", e.ID.String(), "-c", config); !strings.Contains(text, "  measured:\n    + length: ") || !strings.Contains(text, `+ event.topic: said`) {
		t.Errorf("it says\n%s", text)
	}

	child := slices.IndexFunc(all, func(e event) bool { return strings.Contains(string(e.data), `"one":"b"`) })
	if child < 0 {
		t.Fatal("no event was split off")
	}
	told = explained(t, config, all[child].ID.String())
	if len(told) != 1 || len(told[0].Origins) != 1 || told[0].Origins[0].How != app.OriginOfRecord || told[0].Origins[0].Page == nil {
		t.Fatalf("of an event that was split off it tells %+v", told)
	}
	last := told[0].Transforms.Steps[len(told[0].Transforms.Steps)-1]
	if len(last.Out) != 2 || last.Out[1].ID != all[child].ID.String() {
		t.Errorf("the last step makes %+v, not %s", last.Out, all[child].ID)
	}

	endpoint := w.Account().Endpoints["deepconverse/messages"]
	dropped := slices.IndexFunc(endpoint.Records, func(r simulator.Record) bool {
		return !slices.ContainsFunc(all, func(e event) bool { return e.RecordID == r.ID })
	})
	id := endpoint.Records[dropped].ID
	key := events.StreamKey{Vendor: deepConverse, Account: simulator.DefaultBotName, Stream: "messages"}
	fails(t, 2, []string{"published unless a transform dropped it", "support/messages: event " + events.RecordIdentity(key, id).Event().String(), "of which transforms dropped"}, "explain", id, "-c", config)
}

// wantSteps wants these steps for an event, each having changed something or not
// being one that drops it.
func wantSteps(t *testing.T, told *app.Traced, names ...string) {
	t.Helper()
	var got []string
	for _, s := range told.Steps {
		if !s.Skipped {
			got = append(got, s.Step)
		}
		if s.Error != "" || len(s.Out) != 1 {
			t.Errorf("the step %s is told as %+v", s.Step, s)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("the steps are %q, want %q", got, names)
	}
}

// What was published once more, from a dead letter or on demand, is told to come from
// each of its commits.
func TestExplainWhatIsPublishedAgain(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 93, Backlog: 100, Span: time.Hour})
	dir := filepath.Join(t.TempDir(), "data")
	config := w.configure(t, settings{broker: embeddedIn(dir), extra: fast + "streams: [messages]\n"})
	const wrong = "transforms:\n- {name: numbers, types: [message], set: {number: raw.conversationId / 2}}\n"
	rewrite(t, config, "http: {", wrong+"http: {")
	must(t, "run", "--once", "-c", config)
	id := w.Account().Endpoints["deepconverse/messages"].Records[0].ID
	if x := explained(t, config, id); len(x) != 1 || x[0].Event != nil || len(x[0].Letters) != 1 || !strings.Contains(x[0].Letters[0].Detail, "numbers") {
		t.Fatalf("of a record that a transform failed on it tells %+v", x)
	}
	rewrite(t, config, wrong, "")
	must(t, "dead-letters", "replay", "--all", "-c", config)
	wantOrigins(t, explained(t, config, id), ledger.Replayed, app.OriginRead, app.OriginLetter)
	must(t, "cursor", "rewind", "support/messages", "--by", "90m", "--replay", "-c", config)
	must(t, "run", "--once", "-c", config)
	told := explained(t, config, id)
	wantOrigins(t, told, ledger.Replayed, app.OriginRead, app.OriginLetter, app.OriginReplayed)
	if v := told[0].Versions; len(v) != 2 || !v[1].Again || !v[1].Replay || told[0].Event.Attributes["replay"] != "true" {
		t.Errorf("its events are %+v", v)
	}
	if p := told[0].Origins[2].Page; p == nil || !p.Sent.After(told[0].Origins[0].Page.Sent) {
		t.Errorf("it is told to have been read again as %+v", p)
	}
}

// wantOrigins wants one record, whose dead letter was resolved, of commits in this order.
func wantOrigins(t *testing.T, told []app.Explained, resolved string, how ...string) {
	t.Helper()
	if len(told) != 1 || told[0].Event == nil || len(told[0].Letters) != 1 || told[0].Letters[0].Resolved != resolved {
		t.Fatalf("it tells %+v", told)
	}
	var got []string
	for _, o := range told[0].Origins {
		got = append(got, o.How)
	}
	if !slices.Equal(got, how) {
		t.Errorf("the commits are told as %q, want %q", got, how)
	}
}
