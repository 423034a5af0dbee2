package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/santhosh-tekuri/jsonschema/v6"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/consumers"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// Others read what is published: events of every type, from both brokers, with
// clients, an implementation of CloudEvents and a validator of JSON Schema that know
// nothing of millrace. What consumers.Decode makes of the same messages agrees.
func TestOthersReadEveryType(t *testing.T) {
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		s.await()
		othersRead(t, s, func() []foreign { return readByNATS(t, s.url()) })
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		on := newReal(t).(kafkaCluster)
		othersRead(t, on, func() []foreign { return readByKafka(t, on) })
	})
}

func othersRead(t *testing.T, on target, read func() []foreign) {
	w := startAll(t, simulator.Options{Seed: 91, Backlog: 300, Span: time.Hour, Faults: simulator.Faults{simulator.Poison: 0.3}})
	w.serveUnusual(t)
	must(t, "run", "--once", "-c", w.configure(t, settings{on: on, extra: fast}))
	dir := t.TempDir()
	must(t, "topics", "--schemas", dir)
	schemas := schemasIn(t, dir)
	seen, unusual := map[string]int{}, 0
	for _, m := range read() {
		e, err := binding.ToEvent(t.Context(), m)
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			t.Fatalf("a CloudEvents SDK does not take an event: %v\n%v", err, m.attributes)
		}
		data, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Data()))
		if err != nil {
			t.Fatalf("the data of %s: %v", e.ID(), err)
		}
		schema := schemas[e.DataSchema()]
		if schema == nil {
			t.Fatalf("the event %s has the schema %q, which topics --schemas does not write", e.ID(), e.DataSchema())
		}
		if err := schema.Validate(data); err != nil {
			t.Fatalf("the event %s is not what its schema says: %v", e.ID(), err)
		}
		agree(t, m.message, e)
		seen[e.Type()]++
		if strings.HasPrefix(e.Subject(), unusualText) {
			unusual++
		}
	}
	for _, kind := range events.Catalogue() {
		if seen["io.millrace."+kind.Name+".v1"] == 0 {
			t.Errorf("no %s was read", kind.Name)
		}
	}
	if len(seen) != len(events.Catalogue()) || unusual == 0 {
		t.Errorf("read %v, of which %d have a subject with unusual characters", seen, unusual)
	}
}

// unusualID is put before the ids of Feedyou's users, as JSON; unusualText is what
// attributes make of it.
const (
	unusualID   = `č 5%20 \"\u0001`
	unusualText = `č 5%20 "%01`
)

// serveUnusual has the simulated APIs served with user ids that take every kind of
// escape on their way.
func (w *world) serveUnusual(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/management/export/") {
			w.ServeHTTP(out, r)
			return
		}
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, r)
		maps.Copy(out.Header(), answer.Header())
		out.Header().Del("Content-Length")
		out.WriteHeader(answer.Code)
		_, _ = out.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte(`"userId":"`), []byte(`"userId":"`+unusualID)))
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
}

// foreign is a message for the CloudEvents SDK. Its own bindings are modules that
// bring clients other than those here; besides, that of NATS leaves values
// percent-encoded, and one of those of Kafka wants another prefix. So this is its
// binding package with a reader of headers, as the specifications of the bindings
// have them.
type foreign struct {
	attributes map[string]string // under the names of headers without prefix; content-type
	data       []byte
	message    any // as the client gave it
}

var versions = spec.WithPrefix("")

func (m foreign) ReadEncoding() binding.Encoding {
	if versions.Version(m.attributes["specversion"]) == nil {
		return binding.EncodingUnknown
	}
	return binding.EncodingBinary
}

func (m foreign) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m foreign) ReadBinary(_ context.Context, to binding.BinaryWriter) error {
	version := versions.Version(m.attributes["specversion"])
	for name, value := range m.attributes {
		var err error
		if name == "content-type" {
			err = to.SetAttribute(version.AttributeFromKind(spec.DataContentType), value)
		} else if attribute := version.Attribute(name); attribute != nil {
			err = to.SetAttribute(attribute, value)
		} else {
			err = to.SetExtension(name, value)
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w", name, value, err)
		}
	}
	return to.SetData(bytes.NewReader(m.data))
}

func (m foreign) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	attribute := versions.Version(m.attributes["specversion"]).AttributeFromKind(kind)
	return attribute, m.attributes[attribute.Name()]
}

func (m foreign) GetExtension(name string) any { return m.attributes[name] }

// readByNATS reads every topic with the client of NATS.
func readByNATS(t *testing.T, server string) (all []foreign) {
	nc, err := natsgo.Connect(server)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for _, kind := range events.Catalogue() {
		subjects = append(subjects, "millrace."+kind.Name+".>")
	}
	consumer, err := js.OrderedConsumer(t.Context(), "MILLRACE", jetstream.OrderedConsumerConfig{FilterSubjects: subjects})
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		m, err := consumer.Next(jetstream.FetchMaxWait(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		more = meta.NumPending > 0
		read := foreign{attributes: map[string]string{}, data: m.Data(), message: m}
		for header := range m.Headers() {
			name, attribute := strings.CutPrefix(header, "ce-")
			if value, err := url.PathUnescape(m.Headers().Get(header)); err != nil {
				t.Fatalf("the header %s: %v", header, err)
			} else if attribute || name == "content-type" {
				read.attributes[name] = value
			}
		}
		all = append(all, read)
	}
	return all
}

// readByKafka reads every topic with franz-go.
func readByKafka(t *testing.T, on kafkaCluster) (all []foreign) {
	for _, kind := range events.Catalogue() {
		for _, r := range kafkatest.Committed(t, on.brokers[0], on.prefix+"."+kind.Name) {
			m := kafkago.Message{Key: r.Key, Value: r.Value}
			read := foreign{attributes: map[string]string{}, data: r.Value}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, kafkago.Header(h))
				if name, attribute := strings.CutPrefix(h.Key, "ce_"); attribute || name == "content-type" {
					read.attributes[name] = string(h.Value)
				}
			}
			read.message = m
			all = append(all, read)
		}
	}
	return all
}

// agree wants Decode to say of a message what the SDK says, and its data in their
// type to be all the data.
func agree(t *testing.T, message any, other *cloudevents.Event) {
	t.Helper()
	e, err := consumers.Decode(message)
	if err != nil {
		t.Fatal(err)
	}
	at := func(moment time.Time) string { return moment.UTC().Format(time.RFC3339Nano) }
	have := map[string]any{
		"id": e.ID, "source": e.Source, "type": "io.millrace." + e.Type + ".v1", "subject": e.Subject, "time": at(e.Time),
		"dataschema": e.DataSchema, "datacontenttype": e.DataContentType, "data": string(e.JSON),
		"partitionkey": e.PartitionKey, "recordid": e.RecordID, "recordedtime": at(e.RecordedTime), "connector": e.Connector,
	}
	want := map[string]any{
		"id": other.ID(), "source": other.Source(), "type": other.Type(), "subject": other.Subject(), "time": at(other.Time()),
		"dataschema": other.DataSchema(), "datacontenttype": other.DataContentType(), "data": string(other.Data()),
	}
	maps.Copy(want, other.Extensions())
	if !maps.Equal(have, want) || e.Replay || e.Extensions != nil {
		t.Fatalf("the event is decoded as\n%v, %v, to the SDK it is\n%v", have, e.Extensions, want)
	}
	if e.Data == nil {
		t.Fatalf("the event %s, a %s, has no typed data", e.ID, e.Type)
	}
	typed, err := json.Marshal(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	if typed, data := members(t, typed), members(t, e.JSON); !maps.Equal(typed, data) {
		t.Fatalf("the event %s holds\n%v, of which Go's type keeps\n%v", e.ID, data, typed)
	}
}

// members are those of an object, in their canonical form. Go's types do not tell
// an empty text from none.
func members(t *testing.T, object []byte) map[string]string {
	t.Helper()
	var all map[string]jsontext.Value
	if err := json.Unmarshal(object, &all); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, value := range all {
		text, err := events.Canonical(value)
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != `""` {
			texts[name] = string(text)
		}
	}
	return texts
}

// schemasIn reads the schemas in a folder, by their names.
func schemasIn(t *testing.T, dir string) map[string]*jsonschema.Schema {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schemas := map[string]*jsonschema.Schema{}
	for _, file := range slices.Sorted(slices.Values(files)) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := compiler.Compile(file)
		if err != nil {
			t.Fatal(err)
		}
		var named struct {
			ID string `json:"$id"`
		}
		if err := json.Unmarshal(text, &named); err != nil {
			t.Fatal(err)
		}
		schemas[named.ID] = schema
	}
	return schemas
}
