package app

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/config"
)

// A password that crosses the network as it is is told, and where the broker is.
func TestCheckTellsOfKafka(t *testing.T) {
	const text = `
broker: {kind: kafka, kafka: {brokers: ["kafka-1:9092", "kafka-2:9092"], sasl: {mechanism: plain, user: u, password: hunter2}%s}}
connectors:
  bot: {type: feedyou, bot_id: b, function_key: k}
`
	for tls, notes := range map[string]int{"": 1, ", tls: {}": 0} {
		results, err := Check(t.Context(), parse(t, fmt.Sprintf(text, tls)), false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if r := results[len(results)-1]; r.Kind != "kafka" || r.Account != "kafka-1:9092,kafka-2:9092" || len(r.Notes) != notes {
			t.Errorf("%q: %+v", tls, r)
		}
	}
}

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

// Certificates are read without connecting to anything.
func TestCheckReadsCertificates(t *testing.T) {
	file := parse(t, `
broker: {kind: kafka, kafka: {brokers: ["kafka:9092"], tls: {ca: /nonexistent.pem}}}
connectors:
  bot: {type: feedyou, bot_id: b, function_key: k}
`)
	_, err := Check(t.Context(), file, false, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "broker.kafka.tls") || !strings.Contains(err.Error(), "/nonexistent.pem") || ExitCode(err) != ExitUsage {
		t.Errorf("with a certificate that is not there: %v", err)
	}
}
