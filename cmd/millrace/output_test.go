package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/simulator"
)

// A list of nothing is an empty list for a program, too.
func TestListsOfNothing(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	path := w.configure(t, settings{broker: embeddedIn(filepath.Join(t.TempDir(), "data"))})
	for _, command := range []string{
		"status", "backfill list", "backfill list support/messages", "dead-letters list", "dead-letters list --ids",
		"dead-letters list --resolved", "dead-letters replay --all", "dead-letters discard --all",
	} {
		if said := must(t, append(strings.Fields(command), "-o", "json", "-c", path)...); said != "[]\n" {
			t.Errorf("%s says %q", command, said)
		}
	}
}

// wantToldOnce checks two connectors that fail, and wants each to be told in full
// once: beside a table that says which, or in the JSON.
func wantToldOnce(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, section, _ := strings.Cut(string(data), "connectors:\n")
	other := strings.Replace(section, "support:", "again:", 1) + "    account: another\n"
	two := filepath.Join(t.TempDir(), "two.yaml")
	if err := os.WriteFile(two, []byte(head+"connectors:\n"+section+other), 0o600); err != nil {
		t.Fatal(err)
	}
	for format, in := range map[string]string{"table": "notes", "json": "out"} {
		var out, notes bytes.Buffer
		if code := run(t.Context(), []string{"check", "--connect", "-o", format, "-c", two}, &out, &notes); code != 3 {
			t.Errorf("%s: exit code %d", format, code)
		}
		said := map[string]*bytes.Buffer{"out": &out, "notes": &notes}
		all := out.String() + notes.String()
		if n := strings.Count(said[in].String(), "credential is not accepted"); n != 2 || n != strings.Count(all, "credential is not accepted") {
			t.Errorf("%s tells not once of each:\n%s", format, all)
		}
		if !strings.Contains(notes.String(), "2 of 3 trials failed") || format == "table" && strings.Count(out.String(), "failed\n") != 2 {
			t.Errorf("%s says:\n%s", format, all)
		}
	}
}
