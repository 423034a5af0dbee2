package main

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

var (
	backlog = flag.Int("backlog", 1_500, "messages of history in tests of --once")
	span    = flag.Duration("span", 8*time.Hour, "over which that history is spread")
	corpus  = flag.String("corpus", "", "a `file` of dialogues for the simulator; without it, its own text")
)

const fast = "rate: 5000/s\n"

func ids(all []event) []events.ID {
	var out []events.ID
	for _, e := range all {
		out = append(out, e.ID)
	}
	slices.SortFunc(out, func(a, b events.ID) int { return slices.Compare(a[:], b[:]) })
	return out
}

func TestOnceIsExactlyOnce(t *testing.T) {
	t.Parallel()
	onceIsExactlyOnce(t, newEmbedded)
}

func onceIsExactlyOnce(t *testing.T, newTarget func(*testing.T) target) {
	w := startAll(t, simulator.Options{Seed: 1, Backlog: *backlog, Span: *span, Corpus: *corpus, Identical: 0.05})
	on := newTarget(t)
	path := w.configure(t, settings{on: on, extra: fast})

	began := time.Now()
	_, logged := mustSay(t, "run", "--once", "-c", path)
	took := time.Since(began)
	first := on.events(t)
	account := w.Account()
	compareAll(t, first, account)
	secretsOf(account).absent(t, "the log", []byte(logged))
	var some []event
	for i := 0; i < len(first); i += 1 + len(first)/1500 {
		some = append(some, first[i])
	}
	validate(t, some)
	t.Logf("%d records in %s", records(account), took)

	must(t, "run", "--once", "-c", path)
	if again := on.events(t); len(again) != len(first) {
		t.Errorf("the second run published %d events more", len(again)-len(first))
	}
	for _, connector := range []string{"support", "demo", "shop", "chat"} {
		must(t, "cursor", "rewind", connector, "--by", "24h", "-c", path)
	}
	must(t, "run", "--once", "-c", path)
	if again := on.events(t); len(again) != len(first) {
		t.Errorf("the run after a rewind published %d events more", len(again)-len(first))
	}

	renamed := w.configure(t, settings{name: "another_name", on: on, extra: fast})
	must(t, "run", "--once", "-c", renamed)
	if again := on.events(t); len(again) != len(first) {
		t.Errorf("with the connector renamed %d events more were published", len(again)-len(first))
	}

	other := newTarget(t)
	must(t, "run", "--once", "-c", w.configure(t, settings{on: other, extra: fast}))
	if !slices.Equal(ids(other.events(t)), ids(first)) {
		t.Error("another broker got other event ids")
	}
}
