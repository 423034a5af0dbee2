package netcore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// simulated connects to a simulated API, whose tokens do not live long.
func simulated(t *testing.T, keys map[string]any) (*simulator.Simulator, *connectors.Connector) {
	t.Helper()
	s, err := simulator.New(simulator.Options{Seed: 1, Backlog: 400, Span: time.Hour, Identical: .2, TokenLife: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	transport := connectors.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	raw := map[string]any{
		"app_id": simulator.DefaultAppID, "app_secret": simulator.DefaultAPIKey, "base_url": server.URL,
		"channels": []int{1010, 1014, 1016, 1021}, "rate": "100000/s", "since": time.Now().Add(-2 * time.Hour),
	}
	maps.Copy(raw, keys)
	c, err := Type.New(connectors.Section{Name: "c", Raw: raw}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// readAll reads a stream up to the present.
func readAll(t *testing.T, s *connectors.Stream) (records []connectors.Prepared) {
	t.Helper()
	sub := connectors.NewSubscriber(s, connectors.SubscriberOptions{Once: true})
	out, err := sub.Subscribe(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	for msg := range out {
		batch, _ := connectors.BatchOf(msg.Context())
		if len(batch.Records) > 0 && keyOf(batch.Key).channel < 1010 { // dead letters need it
			t.Errorf("a batch of %d records bears the key %q", len(batch.Records), batch.Key)
		}
		records = append(records, batch.Records...)
		msg.Ack()
	}
	if err := sub.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

func hashed(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// What is read channel by channel is all that is there, each row as often.
func TestTheSimulatedAPIByChannel(t *testing.T) {
	s, c := simulated(t, map[string]any{"transcripts": byChannel})
	rows := map[string]int{}
	for _, r := range s.Account().Endpoints["netcore/transcripts"].Records {
		rows[r.SHA256]++
	}
	seen := map[events.Identity]bool{}
	for _, r := range readAll(t, c.Streams[2]) {
		if !seen[r.Identity] { // a window's edges are read twice
			rows[hashed(r.Raw)]--
		}
		seen[r.Identity] = true
	}
	for hash, n := range rows {
		if n != 0 {
			t.Errorf("%s: %d more are there than were read", hash, n)
		}
	}
	if len(seen) < 400 {
		t.Errorf("%d rows", len(seen))
	}
}

// Users come with what the bot keeps of them.
func TestTheSimulatedAPIWithUserData(t *testing.T) {
	s, c := simulated(t, map[string]any{"enrich_users": true})
	want := map[string]string{}
	for _, r := range s.Account().Endpoints["netcore/users"].Records {
		want[r.ID] = r.SHA256
	}
	enriched := 0
	for _, r := range readAll(t, c.Streams[1]) {
		if want[r.ID] != hashed(r.Raw) {
			t.Errorf("%s: %s", r.ID, r.Raw)
		}
		delete(want, r.ID)
		var f connectors.Fields
		f.Inner.Object(append(append([]byte{'{'}, r.Members...), '}'), func(name, _ []byte) {
			if string(name) == "tags" {
				enriched++
			}
		})
	}
	if len(want) > 0 || enriched == 0 {
		t.Errorf("%d users are missing, %d were enriched", len(want), enriched)
	}
}
