package main

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

var (
	backlog = flag.Int("backlog", 20_000, "messages of history in tests of --once")
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
	w := startWorld(t, simulator.Options{Seed: 1, Backlog: *backlog, Corpus: *corpus})
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})

	must(t, "run", "--once", "-c", path)
	first := readTopics(t, dir)
	compareAll(t, first, w.Account())
	validate(t, first[:min(len(first), 5000)])

	must(t, "run", "--once", "-c", path)
	if again := readTopics(t, dir); len(again) != len(first) {
		t.Errorf("the second run published %d events more", len(again)-len(first))
	}

	renamed := w.configure(t, settings{name: "another_name", broker: embeddedIn(dir), extra: fast})
	must(t, "run", "--once", "-c", renamed)
	if again := readTopics(t, dir); len(again) != len(first) {
		t.Errorf("with the connector renamed %d events more were published", len(again)-len(first))
	}

	other := filepath.Join(t.TempDir(), "data")
	must(t, "run", "--once", "-c", w.configure(t, settings{broker: embeddedIn(other), extra: fast}))
	if !slices.Equal(ids(readTopics(t, other)), ids(first)) {
		t.Error("another broker got other event ids")
	}
}

func TestOnceWithEveryFault(t *testing.T) {
	faults, err := simulator.ParseFaults("429=0.05,500=0.05,reset=0.05,truncate=0.05,slow=0.05")
	if err != nil {
		t.Fatal(err)
	}
	w := startWorld(t, simulator.Options{Seed: 2, Backlog: *backlog, Corpus: *corpus, Faults: faults})
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	for range 2 {
		must(t, "run", "--once", "--give-up", "2m", "-c", path)
		compareAll(t, readTopics(t, dir), w.Account())
	}
	injured := 0
	for _, e := range w.Summary().Endpoints {
		for _, n := range e.Faults {
			injured += n
		}
	}
	if injured == 0 {
		t.Error("no request met a fault: the test shows nothing")
	}
}
