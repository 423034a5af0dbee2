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
  old: {type: netcore, app_id: b, app_secret: s, since: 2001-01-01T00:00:00Z}
  soon: {type: deepconverse, api_key: k, bot_name: n, since: 2999-01-01T00:00:00Z}
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
		!strings.HasPrefix(notes, "connector mall: transcripts is by_channel.") || strings.Count(notes, "\n\n") != 2 ||
		!strings.Contains(notes, "\nconnector old: transcripts: the API cannot be asked for what lies before ") ||
		!strings.HasSuffix(notes, "\nconnector soon: since lies in the future: nothing is read before 2999-01-01T00:00:00Z.\n") {
		t.Errorf("%s", out.String())
	}
}
