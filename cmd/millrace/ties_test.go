package main

import (
	"path/filepath"
	"testing"

	"github.com/millrace-io/millrace/simulator"
)

// Thousands of conversations and messages of one instant, which NativeChat gives
// in pages of a hundred, and identical messages of Netcore's users at one: each is
// there once.
func TestTiesLargerThanAPage(t *testing.T) {
	t.Parallel()
	const tie = 5_000
	w := startSome(t, simulator.Options{Seed: 33, Backlog: 2 * tie, Span: *span, Ties: tie, Identical: 0.5}, nativeChat, netcore)
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	must(t, "run", "--once", "-c", path)
	first := readTopics(t, dir)
	compareAll(t, first, w.Account())
	must(t, "run", "--once", "-c", path)
	if again := readTopics(t, dir); len(again) != len(first) {
		t.Errorf("the second run published %d events more", len(again)-len(first))
	}
}
