package millrace_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/consumers"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics"
)

var update = flag.Bool("update", false, "write the generated pages of docs/")

// TestDocs holds the generated pages against the code that they tell about.
func TestDocs(t *testing.T) {
	for name, page := range map[string]string{
		"docs/configuration.md": config.Reference(app.Plugins()),
		"docs/metrics.md":       metricsPage(t),
		"docs/events.md":        eventsPage(t),
		"docs/transforms.md":    transformsPage(t),
	} {
		if !strings.HasPrefix(page, "# Transforms\n") { // which people write, but for its gallery
			page = "<!-- Written by make docs: change the code, not this page. -->\n\n" + page
		}
		if *update {
			if err := os.WriteFile(name, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(name); err != nil || string(have) != page {
			t.Errorf("%s is stale: run make docs and read the difference (%v)", name, err)
		}
	}
}

// The invariants are twelve, and each test that the page names is there.
func TestInvariantsNameTests(t *testing.T) {
	page, err := os.ReadFile("docs/invariants.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(page, []byte("\n### ")); n != 12 {
		t.Errorf("docs/invariants.md has %d invariants, want 12", n)
	}
	var source bytes.Buffer
	for _, files := range goFiles(t) {
		for _, name := range files {
			code, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(code)
		}
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(string(page), -1)
	for _, name := range named {
		if !bytes.Contains(source.Bytes(), []byte("\nfunc "+name+"(")) {
			t.Errorf("docs/invariants.md names %s, which no file has", name)
		}
	}
	if len(named) < 12 {
		t.Errorf("docs/invariants.md names %d tests only", len(named))
	}
}

const metricsHead = `# Metrics

Served at ` + "`/metrics`" + ` of ` + "`http.listen`" + `, as Prometheus reads them, together with those of the Go runtime
(` + "`go_*`" + `) and of the process (` + "`process_*`" + `). ` + "`connector`" + ` is a connector's name in the configuration, ` + "`stream`" + ` the
endpoint that is polled.

| metric | type | labels | what it tells |
|---|---|---|---|
`

func metricsPage(t *testing.T) string {
	registry := prometheus.NewRegistry()
	seen := &recorder{Registerer: registry}
	connectors.NewMetrics(seen)
	app.RegisterReady(seen, func(context.Context) error { return nil })
	pipeline.New(&connectors.Stream{Connector: "connector"}, pipeline.Options{Log: slog.New(slog.DiscardHandler), Metrics: pipeline.NewMetrics(seen)})
	for _, c := range seen.collectors {
		populate(t, c)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString(metricsHead)
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(dto.MetricType_name[int32(f.GetType())]), strings.Join(labels, ", "), f.GetHelp())
	}
	return page.String()
}

// recorder remembers what is registered.
type recorder struct {
	prometheus.Registerer
	collectors []prometheus.Collector
}

func (r *recorder) Register(c prometheus.Collector) error {
	r.collectors = append(r.collectors, c)
	return r.Registerer.Register(c)
}

func (r *recorder) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// populate gives a metric with labels its first values: without any the
// registry does not tell of it.
func populate(t *testing.T, c prometheus.Collector) {
	t.Helper()
	var with func(...string) error
	switch c := c.(type) {
	case *prometheus.CounterVec:
		with = func(values ...string) error { _, err := c.GetMetricWithLabelValues(values...); return err }
	case *prometheus.GaugeVec:
		with = func(values ...string) error { _, err := c.GetMetricWithLabelValues(values...); return err }
	case *prometheus.HistogramVec:
		with = func(values ...string) error { _, err := c.GetMetricWithLabelValues(values...); return err }
	default:
		return // has no labels to fill in
	}
	for n := range 9 {
		if with(slices.Repeat([]string{"x"}, n)...) == nil {
			return
		}
	}
	t.Errorf("%T has more labels than this test tries", c)
}

const eventsHead = `# Events

Every event is a CloudEvents 1.0 event in binary mode: its attributes are headers of the message, its data is the
message, one JSON object. The schemas (JSON Schema 2020-12) are written by ` + "`millrace topics --schemas DIR`" + `.

| | NATS | Kafka |
|---|---|---|
| where an event is | in the JetStream stream that is named as the prefix, in upper case with underscores for dots: ` + "`MILLRACE`" + ` | on the topic ` + "`<prefix>.<event type>`" + `: ` + "`millrace.message`" + ` |
| under what | the subject ` + "`<prefix>.<event type>.<connector>`" + `: ` + "`millrace.message.support`" + ` | the key of the record, which is its ` + "`partitionkey`" + ` |
| an attribute's header | ` + "`ce-`" + ` and its name: ` + "`ce-id`" + ` | ` + "`ce_`" + ` and its name: ` + "`ce_id`" + ` |
| its value | percent-encoded, but for printable ASCII other than spaces, double quotes and percent signs | as it is, in UTF-8 |
| besides | ` + "`content-type: application/json`" + ` | the same |

A transform may route an event to a topic of another name. What it is, its type and its schema say.

In Go, ` + "`consumers.Decode`" + ` makes an event of a message of either broker: its attributes, and its data in the Go type that is named
below. Members that are absent are zero there, or nil where zero means something.

An event that is routed is on the topic that the configuration names in place of the event type, such as ` + "`millrace.vip`" + ` (on
NATS with the subject ` + "`millrace.vip.support`" + `), and on no other. Its attributes and data are those that it would have on its type's
topic. Dead letters are always on ` + "`millrace.dead_letter`" + `.

| attribute | what it is |
|---|---|
| ` + "`id`" + ` | 32 hex digits, the same for the same record for ever: what a consumer tells duplicates by |
| ` + "`source`" + ` | ` + "`/<vendor>/<account>/<stream>`" + `, where it was read, as a URI reference: what no path may hold is percent-encoded; does not change with the connector's name |
| ` + "`type`" + ` | ` + "`io.millrace.<event type>.v1`" + ` |
| ` + "`subject`, `partitionkey`" + ` | what orders it: the conversation, else the user, else the record itself |
| ` + "`time`" + ` | when it happened; absent when unknown |
| ` + "`dataschema`" + ` | ` + "`urn:millrace:<event type>:v1`" + ` |
| ` + "`recordid`" + ` | the vendor's id of the record, else its hash; the same for all versions of a record that changes |
| ` + "`recordedtime`" + ` | when it was first read |
| ` + "`connector`" + ` | the connector's name |
| ` + "`replay`" + ` | ` + "`true`" + ` where it was published again on demand; else absent |

The samples are what ` + "`millrace tail -o json`" + ` prints of the simulated APIs, with line breaks.
`

func eventsPage(t *testing.T) string {
	samples := sampleEvents(t)
	var page strings.Builder
	page.WriteString(eventsHead)
	for _, e := range events.Catalogue() {
		var schema struct {
			Properties map[string]property
			Required   []string
		}
		if err := json.Unmarshal(e.Schema, &schema); err != nil {
			t.Fatalf("the schema of %s: %v", e.Name, err)
		}
		sample, ok := samples["io.millrace."+e.Name+".v1"]
		if !ok {
			t.Errorf("the simulated APIs gave no %s", e.Name)
			continue
		}
		fmt.Fprintf(&page, "\n## %s\n\n%s From %s.\n\n", e.Name, e.About, e.From)
		fmt.Fprintf(&page, "Go: `%s`. NATS: stream `MILLRACE`, subject `millrace.%s.<connector>`. Kafka: topic `millrace.%s`.\n\n", goType(t, sample), e.Name, e.Name)
		page.WriteString("| member | type | what it is |\n|---|---|---|\n")
		for _, name := range namesInOrder(t, e.Schema) {
			p := schema.Properties[name]
			if slices.Contains(schema.Required, name) {
				p.Description += " Always there."
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s |\n", name, p.kind(), p.Description)
		}
		fmt.Fprintf(&page, "\n```json\n%s```\n", sample)
	}
	return page.String()
}

// goType is what consumers.Decode makes of an event's data.
func goType(t *testing.T, sample string) string {
	var attributes map[string]json.RawMessage
	if err := json.Unmarshal([]byte(sample), &attributes); err != nil {
		t.Fatal(err)
	}
	m := message.NewMessage("", message.Payload(attributes["data"]))
	delete(attributes, "data")
	for name, value := range attributes {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			t.Fatal(err)
		}
		m.Metadata["ce_"+name] = text
	}
	e, err := consumers.Decode(m)
	if err != nil || e.Data == nil {
		t.Fatalf("%s cannot be decoded: %v", sample, err)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", e.Data), "*")
}

// property is what a schema says of one member.
type property struct {
	Type, Format, Description string
	ContentEncoding           string
	Enum                      []string
	Items                     *property
}

func (p *property) kind() string {
	switch {
	case p.Enum != nil:
		return "`" + strings.Join(p.Enum, "`, `") + "`"
	case p.Items != nil:
		return p.Type + " of " + p.Items.kind()
	}
	return strings.TrimSpace(cmp.Or(p.Type, "any") + " " + cmp.Or(p.Format, p.ContentEncoding))
}

// namesInOrder returns the names of a schema's properties as they were written.
func namesInOrder(t *testing.T, schema []byte) (names []string) {
	var outer struct{ Properties json.RawMessage }
	if err := json.Unmarshal(schema, &outer); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(outer.Properties))
	for _, err := d.Token(); d.More(); {
		name, _ := d.Token()
		var skipped json.RawMessage
		if err = cmp.Or(err, d.Decode(&skipped)); err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
	}
	return names
}

// sampleEvents reads a small simulated world, the same each time, and returns
// one event of each type: that with the smallest id.
func sampleEvents(t *testing.T) map[string]string {
	noon := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return noon }
	sim, err := simulator.New(simulator.Options{Seed: 1, Backlog: 30, Span: time.Hour, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(damaging(sim))
	defer server.Close()
	since := noon.Add(-time.Hour).Format(time.RFC3339)
	file, err := config.Parse("the configuration of the samples", fmt.Appendf(nil, `
broker: {nats: {listen: "", dir: %q}}
http: {listen: ""}
connectors:
  support: {type: deepconverse, base_url: %q, api_key: %s, bot_name: %s, since: %s, rate: 1000/s}
  acme: {type: feedyou, bot_id: acme, base_url: %q, function_key: %s, since: %s, rate: 1000/s}
  mall: {type: netcore, base_url: %q, app_id: %s, app_secret: %s, channels: [1014], streams: [usage], since: %s, rate: 1000/s}
`, filepath.Join(t.TempDir(), "data"), server.URL, simulator.DefaultAPIKey, simulator.DefaultBotName, since, server.URL, simulator.DefaultAPIKey, since,
		server.URL, simulator.DefaultAppID, simulator.DefaultAPIKey, since), app.Plugins(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	a, err := app.New(t.Context(), app.Options{Config: file, Log: log, Once: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmp.Or(a.Run(t.Context()), a.Close()); err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	if err := app.Tail(t.Context(), file, app.TailOptions{TailOptions: topics.TailOptions{Beginning: true, Stop: true}, JSON: true}, &lines, log); err != nil {
		t.Fatal(err)
	}
	samples, smallest := map[string]string{}, map[string]string{}
	for line := range bytes.Lines(lines.Bytes()) {
		var event map[string]json.RawMessage
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		var kind string
		if err := json.Unmarshal(event["type"], &kind); err != nil {
			t.Fatal(err)
		}
		if id := string(event["id"]); smallest[kind] == "" || id < smallest[kind] {
			smallest[kind], samples[kind] = id, indented(t, event)
		}
	}
	return samples
}

// indented writes an event over several lines, its data last.
func indented(t *testing.T, event map[string]json.RawMessage) string {
	var line, out bytes.Buffer
	line.WriteByte('{')
	for _, name := range slices.Sorted(maps.Keys(event)) {
		if name != "data" {
			fmt.Fprintf(&line, "%q:%s,", name, event[name])
		}
	}
	fmt.Fprintf(&line, `"data":%s}`, event["data"])
	if err := json.Indent(&out, line.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	// How windows are cut is nobody's promise: the page does not follow it.
	return aWindow.ReplaceAllString(out.String(), `"window": "2026-01-15T11:00:00Z/2026-01-15T12:00:00Z"`) + "\n"
}

var aWindow = regexp.MustCompile(`"window": "[^"]*"`)

// damaging puts an element that is no object in front of the first list of each
// endpoint: it becomes a dead letter.
func damaging(api http.Handler) http.Handler {
	var damaged sync.Map
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		api.ServeHTTP(answer, r)
		body := answer.Body.String()
		if worse := strings.Replace(body, `"data":[{`, `"data":["not an object",{`, 1); worse != body {
			if _, done := damaged.LoadOrStore(r.URL.Path, true); !done {
				body = worse
			}
		}
		w.WriteHeader(answer.Code)
		_, _ = io.WriteString(w, body)
	})
}
