package app

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/config"
)

// What a person should know of a connector's settings stands below the table.
func TestCheckTellsNotes(t *testing.T) {
	file, err := config.Parse("f", []byte(`
broker: {nats: {listen: "", dir: /nowhere}}
connectors:
  mall: {type: netcore, app_id: a, app_secret: s, transcripts: by_channel}
  bot: {type: feedyou, bot_id: b, function_key: k}
`), Plugins(), nil)
	if err != nil {
		t.Fatal(err)
	}
	results, err := Check(t.Context(), file, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := WriteCheck(&out, results); err != nil {
		t.Fatal(err)
	}
	table, notes, _ := strings.Cut(out.String(), "\n\n")
	if !strings.Contains(table, "connector mall") || !strings.Contains(table, "connector bot") ||
		!strings.HasPrefix(notes, "connector mall: transcripts is by_channel.") || strings.Count(notes, "\n") != 1 {
		t.Errorf("%s", out.String())
	}
}
