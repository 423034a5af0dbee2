package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-io/millrace/simulator"
)

func TestBackfillUsage(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 54, Backlog: 20, Span: time.Hour})
	path := w.configure(t, settings{broker: embeddedIn(filepath.Join(t.TempDir(), "data")), extra: fast})
	must(t, "run", "--once", "-c", path)
	for says, args := range map[string][]string{
		"say with --from":  {"support"},
		"--from wants":     {"support", "--from", "yesterday"},
		"not behind":       {"support", "--from", "1h", "--to", "2h"},
		"lies in the":      {"support", "--from", "2999-01-01"},
		"has no connector": {"nobody", "--from", "1h"},
		"reads no stream":  {"support/nothing", "--from", "1h"},
		"no number":        {"pause", "support/messages", "first"},
		"usage: millrace backfill CONNECTOR[/STREAM] --from TIME": {"--from", "1h"},
		"millrace backfill --help lists the flags":                {"support", "--frm", "1h"},
	} {
		fails(t, 2, []string{says}, append([]string{"backfill", "-c", path}, args...)...)
	}
	if said := must(t, "backfill", "list", "-c", path); said != "There are no backfills.\n" {
		t.Errorf("the list says %q", said)
	}
	rewrite(t, path, simulator.DefaultAPIKey, "${NOT_SET_ANYWHERE}")
	fails(t, 2, []string{"no service runs", "api_key", "not set here"}, "backfill", "support", "--from", "1h", "-c", path)
}
