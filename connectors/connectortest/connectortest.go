// Package connectortest is the conformance suite of connectors: what each of them
// has to do, whatever its API looks like, tried against the simulator. It is
// imported by tests only.
//
// A connector gets a case in [Cases]; the test of the application's table of
// connectors fails for one without.
package connectortest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/connectors/deepconverse"
	"github.com/millrace-io/millrace/connectors/feedyou"
	"github.com/millrace-io/millrace/connectors/nativechat"
	"github.com/millrace-io/millrace/connectors/netcore"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// Secret is the credential that the simulator of the suite knows. No error, log
// or record of the suite may show it, however it is escaped.
const Secret = "s3cr3t/" + core + "+=="

// core is the part of Secret that is never escaped.
const core = "c0nf0rm4nc3"

// Harness is what the suite has to know of a connector.
type Harness struct {
	Type connectors.Type
	// Section returns the keys that the connector needs to read the simulator at
	// an address with [Secret], and nothing more.
	Section func(baseURL string) map[string]any
	// Ways are the keys that send the credential in another way; nil: there is one.
	Ways []map[string]any
	// Required are the keys without which it must not start.
	Required []string
	// Endpoint names a stream's endpoint in the simulator's account.
	Endpoint func(stream string) string
	// Newer are the streams that an account may not have.
	Newer []string
	// Single are the streams whose answers are one object each, and no list.
	Single []string
	// Blank is the text of a record that says that there is nothing; "": there is
	// none. It may be read and not be in the account.
	Blank string
	// Walks says that it asks user by user or conversation by conversation: that
	// takes a request for each, so its tests have less to read.
	Walks bool
	// Looks says that it looks at documents before it reads them: what is only in
	// those answers is not kept.
	Looks bool
	// Timeless are the event types whose records bear no time.
	Timeless []string
	// Variants are ways in which the simulation of this API alone can differ; nil:
	// none.
	Variants []func(*simulator.Options)
	// Empty is the body of an answer without records, to any request.
	Empty string
}

// Cases are the harnesses of all connectors, by type.
func Cases() map[string]Harness {
	return map[string]Harness{
		deepconverse.Type.Name: {
			Type: deepconverse.Type,
			Section: func(baseURL string) map[string]any {
				return map[string]any{"base_url": baseURL, "api_key": Secret, "bot_name": simulator.DefaultBotName}
			},
			Required: []string{"api_key", "bot_name"},
			Endpoint: func(stream string) string { return "deepconverse/" + stream },
			Empty:    `{"data":[],"cursor":null}`,
		},
		feedyou.Type.Name: {
			Type: feedyou.Type,
			Section: func(baseURL string) map[string]any {
				return map[string]any{"base_url": baseURL, "function_key": Secret}
			},
			Ways:     []map[string]any{{"auth": "query"}},
			Required: []string{"function_key"},
			Endpoint: func(stream string) string { return "feedyou/" + stream },
			Variants: []func(*simulator.Options){
				func(o *simulator.Options) { o.Unsorted, o.Identical = true, .3 },
				func(o *simulator.Options) { o.Unsorted, o.Identical, o.Timestamped = true, .3, true },
			},
			Newer: slices.DeleteFunc(slices.Clone(feedyou.Type.Streams), func(s string) bool { return s == "userData" }),
			Empty: "[]",
		},
		netcore.Type.Name: {
			Type: netcore.Type,
			Section: func(baseURL string) map[string]any {
				return map[string]any{
					"base_url": baseURL, "app_id": simulator.DefaultAppID, "app_secret": Secret, "channels": []int{1010, 1014, 1016, 1021},
				}
			},
			Required: []string{"app_id", "app_secret"},
			Endpoint: func(stream string) string { return "netcore/" + stream },
			Walks:    true,
			Single:   []string{"usage"},
			Blank:    `{"totalMessages":0,"totalUsers":0}`,
			Timeless: []string{events.TypeUsage},
			Variants: []func(*simulator.Options){
				func(o *simulator.Options) { o.Identical, o.NetcoreSmallPages = .3, true },
				func(o *simulator.Options) { o.NetcoreSmallPages, o.UsersBy = true, simulator.UsersDescending },
			},
			Empty: `{"authToken":"t","totalMessages":0,"totalUsers":0,"users":[],"transcripts":[]}`,
		},
		nativechat.Type.Name: {
			Type: nativechat.Type,
			Section: func(baseURL string) map[string]any {
				return map[string]any{"base_url": baseURL, "access_token": Secret, "bot_id": simulator.DefaultBotName}
			},
			Required: []string{"bot_id", "access_token"},
			Endpoint: func(stream string) string { return "nativechat/" + stream },
			Looks:    true,
			Walks:    true,
			Empty:    "[]",
		},
	}
}

// Run tries a connector.
func Run(t *testing.T, h Harness) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	for name, test := range map[string]func(*testing.T, Harness){
		"settings": settings, "reads all": readsAll, "resumes": resumes, "faults": faults, "poison": poison, "ways": ways, "ties": ties,
		"refusals": refusals, "redirect": redirect, "newer streams": newerStreams, "wrong shapes": wrongShapes, "empty windows": emptyWindows, "probe": probe,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, h)
		})
	}
}

// less is how many messages a test's simulator has.
func (h Harness) less(messages int) int {
	if h.Walks {
		return messages / 5
	}
	return messages
}

// backlog is how far the simulator's records reach back.
const backlog = 6 * time.Hour

// simulate serves a simulator for one test.
func simulate(t *testing.T, o simulator.Options) (*simulator.Simulator, string) {
	t.Helper()
	o.APIKey, o.Span = Secret, backlog
	s, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s)
}

// serve serves a handler for one test.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// connect makes the connector, without a limit to its rate unless keys has one.
func (h Harness) connect(t *testing.T, baseURL string, keys map[string]any) *connectors.Connector {
	t.Helper()
	raw := h.Section(baseURL)
	raw["rate"] = "1000000/s"
	raw["since"] = time.Now().Add(-backlog - time.Hour)
	for key, value := range keys {
		raw[key] = value
	}
	transport := connectors.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	c, err := h.Type.New(connectors.Section{Name: "c", Raw: raw}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Streams) != len(h.Type.Streams) {
		t.Fatalf("%d streams, want %v", len(c.Streams), h.Type.Streams)
	}
	return c
}

// apart calls each with every stream of a connector, made for an address of serve.
// Where a stream reads what belongs to another one, too (its keys), each stream has
// an address of its own: what is counted or goes wrong there is the stream's alone.
func (h Harness) apart(t *testing.T, keys map[string]any, serve func() string, each func(stream *connectors.Stream)) {
	t.Helper()
	c := h.connect(t, serve(), keys)
	walks := slices.ContainsFunc(c.Streams, func(s *connectors.Stream) bool { return s.Walk != nil })
	for i, stream := range c.Streams {
		if walks && i > 0 {
			stream = h.connect(t, serve(), keys).Streams[i]
		}
		each(stream)
	}
}

// store keeps where a stream stands from one read to the next.
type store struct{ connectors.Progress }

func (s *store) Load(context.Context) (connectors.Progress, error) { return s.Progress, nil }

func (s *store) Save(_ context.Context, p connectors.Progress) error {
	s.Progress = p
	return nil
}

// answer is a server that says the same to every request.
func answer(status int, body string, header ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

// hostOf returns the host of an address.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}
