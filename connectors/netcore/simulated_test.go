package netcore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
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
	return s, connected(t, server.URL, transport, keys)
}

// connected is a connector to a simulated API that is served at a URL.
func connected(t *testing.T, url string, transport http.RoundTripper, keys map[string]any) *connectors.Connector {
	t.Helper()
	raw := map[string]any{
		"app_id": simulator.DefaultAppID, "app_secret": simulator.DefaultAPIKey, "base_url": url,
		"channels": []int{1010, 1014, 1016, 1021}, "rate": "100000/s", "since": time.Now().Add(-2 * time.Hour),
	}
	maps.Copy(raw, keys)
	c, err := Type.New(connectors.Section{Name: "c", Raw: raw}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
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
		if s.Key.Stream != "usage" && len(batch.Records) > 0 && keyOf(batch.Key).channel < 1010 { // dead letters need it
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

// within answers requests in the process, without a network: in virtual time.
type within struct{ http.Handler }

func (h within) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, request := httptest.NewRecorder(), r.Clone(r.Context())
	if r.Body == nil {
		request.Body = http.NoBody // as a server has it
	}
	h.ServeHTTP(answer, request)
	response := answer.Result()
	response.Request = r
	return response, r.Context().Err()
}

// Tokens that live for 5 seconds serve all streams, read side by side for minutes,
// and each is renewed in time: no request is refused for the age of its token.
func TestTokensOfSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := simulator.New(simulator.Options{
			Seed: 2, Backlog: 1_000, Span: time.Hour, TokenLife: 5 * time.Second, Latency: 900 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c := connected(t, "http://simulated", within{s}, map[string]any{"requests": 4})
		read := make([]int, len(c.Streams))
		var all sync.WaitGroup
		for i, stream := range c.Streams {
			all.Go(func() { read[i] = len(readAll(t, stream)) })
		}
		all.Wait()
		account, took := s.Account().Endpoints, time.Since(began)
		for i, stream := range c.Streams {
			e := account["netcore/"+stream.Key.Stream]
			if e.Rejected > 0 || read[i] < len(e.Records) {
				t.Errorf("%s: %d requests refused, %d of %d rows read", stream.Key.Stream, e.Rejected, read[i], len(e.Records))
			}
		}
		// A token is renewed a fifth of its life before its end.
		logins, most := account["netcore/login"].Answered, int(took/(3*time.Second))+1
		if took < 20*time.Second || logins < int(took/(5*time.Second)) || logins > most {
			t.Errorf("%d logins in %s, want %d at most", logins, took, most)
		}
	})
}
