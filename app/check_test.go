package app

import (
	"strings"
	"testing"
)

// What a connector notes stands below the table.
func TestWriteCheck(t *testing.T) {
	var out strings.Builder
	results := []CheckResult{
		{What: "connector a", Kind: "x", Account: "b", Streams: "s, t, u, v", Result: "ok", Notes: []string{"it has no id.", "it is slow."}},
		{What: "broker", Kind: "nats", Result: "valid"},
	}
	if err := WriteCheck(&out, results); err != nil {
		t.Fatal(err)
	}
	want := "WHAT         KIND  ACCOUNT  STREAMS  RESULT\n" +
		"connector a  x     b        4        ok\n" +
		"broker       nats                    valid\n" +
		"connector a: it has no id.\nconnector a: it is slow.\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
