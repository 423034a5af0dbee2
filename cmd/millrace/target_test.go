package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
	"github.com/millrace-io/millrace/topics/nats"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// target is a broker that the program runs on in a test.
type target interface {
	// config is what the configuration says of it: whole lines at the top level.
	config() string
	// events are all that is committed. The embedded server has them only while no
	// program holds its directory.
	events(t *testing.T) []event
	follower
}

// follower shows what is committed to who knows nothing of millrace.
type follower interface {
	// follow reads from the beginning; next returns what came in about half a second,
	// nothing while the broker is away or has no topics yet.
	follow(t *testing.T) (next func(context.Context) []event)
}

// natsConfig is the configuration of NATS with the keys of broker.nats.
func natsConfig(keys string) string { return fmt.Sprintf("broker:\n  nats: {%s}\n", keys) }

// embedded is the embedded server in a directory, with a listener or without.
type embedded struct{ dir, listen string }

// newEmbedded is an embedded server without a listener, newListening one with.
func newEmbedded(t *testing.T) target {
	return embedded{dir: filepath.Join(t.TempDir(), "data")}
}

func newListening(t *testing.T) target {
	return embedded{filepath.Join(t.TempDir(), "data"), ports.Addr(t)}
}

func (e embedded) config() string {
	return natsConfig(fmt.Sprintf("dir: %q, listen: %q", e.dir, e.listen))
}

func (e embedded) events(t *testing.T) []event { t.Helper(); return readTopics(t, e.dir) }

func (e embedded) follow(t *testing.T) func(context.Context) []event {
	t.Helper()
	return natsURL("nats://" + e.listen).follow(t)
}

func (s *natsServer) config() string { return natsConfig(fmt.Sprintf("url: %q", s.url())) }

func (s *natsServer) events(t *testing.T) []event {
	t.Helper()
	return readBroker(t, nats.Options{URL: s.url()})
}

func (s *natsServer) follow(t *testing.T) func(context.Context) []event {
	t.Helper()
	return natsURL(s.url()).follow(t)
}

// natsURL is where a NATS server takes clients.
type natsURL string

func (url natsURL) follow(t *testing.T) func(context.Context) []event {
	t.Helper()
	nc, err := natsgo.Connect(string(url), natsgo.RetryOnFailedConnect(true), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var consumer jetstream.Consumer
	return func(ctx context.Context) (all []event) {
		if consumer == nil { // until the stream is there
			if consumer, err = js.OrderedConsumer(ctx, "MILLRACE", jetstream.OrderedConsumerConfig{FilterSubjects: recordTopics()}); err != nil {
				consumer = nil
				return nil
			}
		}
		batch, err := consumer.Fetch(5000, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			return nil
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			var attributes []events.Attribute
			for name := range m.Headers() {
				if attribute, ok := strings.CutPrefix(name, "ce-"); ok {
					attributes = append(attributes, events.Attribute{Name: attribute, Value: m.Headers().Get(name)})
				}
			}
			all = append(all, eventOf(t, attributes, m.Data(), meta.Sequence.Stream, m.Subject()))
		}
		return all
	}
}

func eventOf(t *testing.T, attributes []events.Attribute, data []byte, sequence uint64, topic string) event {
	t.Helper()
	e, err := events.FromAttributes(attributes)
	if err != nil {
		t.Fatal(err)
	}
	return event{e, data, sequence, topic}
}

// recordTopics are the subjects of all events that records became.
func recordTopics() []string {
	var subjects []string
	for _, name := range typeOf {
		subjects = append(subjects, "millrace."+name+".>")
	}
	slices.Sort(subjects)
	return slices.Compact(subjects) // filters must not overlap
}

// kafkaCluster is Kafka at some addresses, with a prefix that no other test has.
// It is read by a client that shares no code with the program, as a consumer that
// is shown what is committed.
type kafkaCluster struct {
	brokers []string
	prefix  string
}

func (k kafkaCluster) config() string {
	return fmt.Sprintf("broker:\n  kind: kafka\n  kafka: {brokers: [\"%s\"], partitions: 3}\ntopics: {prefix: %q}\n", strings.Join(k.brokers, `", "`), k.prefix)
}

// client reads all topics of events from their beginnings.
func (k kafkaCluster) client(t *testing.T) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(k.brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+regexp.QuoteMeta(k.prefix)+`\.[a-z][a-z_]*$`),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(500*time.Millisecond),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func (k kafkaCluster) follow(t *testing.T) func(context.Context) []event {
	t.Helper()
	cl := k.client(t)
	return func(ctx context.Context) (all []event) {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if e := k.event(t, r); e.Type != events.TypeDeadLetter { // as recordTopics
				all = append(all, e)
			}
		})
		return all
	}
}

func (k kafkaCluster) events(t *testing.T) (all []event) {
	t.Helper()
	for _, eventType := range events.Catalogue() {
		for _, r := range kafkatest.Committed(t, k.brokers[0], k.prefix+"."+eventType.Name) {
			rec := &kgo.Record{Topic: eventType.Name, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
			}
			all = append(all, k.event(t, rec))
		}
	}
	return all
}

func (k kafkaCluster) event(t *testing.T, r *kgo.Record) event {
	t.Helper()
	var attributes []events.Attribute
	for _, h := range r.Headers {
		if name, ok := strings.CutPrefix(h.Key, "ce_"); ok {
			attributes = append(attributes, events.Attribute{Name: name, Value: string(h.Value)})
		}
	}
	e := eventOf(t, attributes, r.Value, uint64(r.Offset), fmt.Sprintf("%s/%d", r.Topic, r.Partition))
	if e.Key != string(r.Key) {
		t.Errorf("the event %s has the key %q, its record %q", e.ID, e.Key, r.Key)
	}
	return e
}

// awaitAll waits until all that the account has is in the topics.
func awaitAll(t *testing.T, from follower, account simulator.Account, children ...*child) {
	t.Helper()
	awaitTopics(t, from, func(l *ledgerOf) string { return l.missing(account) }, children...)
}

// awaitTopics reads the topics as a stranger does, until nothing is missing.
func awaitTopics(t *testing.T, from follower, missing func(*ledgerOf) string, children ...*child) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	next := from.follow(t)
	l := newLedgerOf(t)
	for {
		what := missing(l)
		if what == "" {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("missing: %s\n%s", what, said(children))
		}
		for _, e := range next(ctx) {
			l.add(&e)
		}
	}
}

func said(children []*child) string {
	text := ""
	for _, c := range children {
		text += c.notes.String()
	}
	return text
}
