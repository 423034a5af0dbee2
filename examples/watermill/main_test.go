package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
	"github.com/millrace-io/millrace/topics/nats"
	"github.com/millrace-io/millrace/topics/topictest"
)

// childEnv makes the test binary the example itself, so that a test can kill it:
// its prefix, group and takeover.
const childEnv = "MILLRACE_TEST_CHILD"

func TestMain(m *testing.M) {
	if set := os.Getenv(childEnv); set != "" {
		var wait string
		_, err := fmt.Sscan(set, &prefix, &group, &wait)
		if err == nil {
			takeover, err = time.ParseDuration(wait)
		}
		if err != nil {
			panic(err)
		}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// server is a broker with events that the example reads.
type server struct {
	topics.Broker
	url string
	env string
	// abort leaves on the topic what nobody may see; nil where there is no such thing.
	abort func(t *testing.T)
	// acknowledged is how many events, of all that were published, the broker knows
	// to be handled.
	acknowledged func(t *testing.T, published int) int
	// deadly returns where the example connects that is to be killed, and whether
	// it is time, of how many events it has written since.
	deadly func(t *testing.T) (url string, now func(written int) bool)
}

func onNATS(t *testing.T) server {
	broker, err := nats.Open(t.Context(), nats.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	nc, err := natsgo.Connect("nats://" + broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return server{
		Broker: broker, url: "nats://" + broker.Addr(), env: "millrace readers 1s",
		acknowledged: func(t *testing.T, published int) int {
			consumer, err := js.Consumer(t.Context(), "MILLRACE", "readers+millrace+message")
			if err != nil {
				t.Fatal(err)
			}
			info := consumer.CachedInfo()
			return published - int(info.NumPending) - info.NumAckPending
		},
		// Nothing that the example sends from an acknowledgement on reaches the server.
		deadly: func(t *testing.T) (string, func(int) bool) {
			proxy := topictest.NewProxy(t, broker.Addr(), "$JS.ACK.", "no answer is waited for")
			arm := sync.OnceFunc(proxy.CutBefore)
			return "nats://" + proxy.Addr(), func(written int) bool {
				if written >= 20 {
					arm()
				}
				return proxy.Cuts() > 0
			}
		},
	}
}

func onKafka(t *testing.T) server {
	addr, prefix := kafkatest.Addr(t), kafkatest.Name(t)
	broker, err := kafka.Open(t.Context(), kafka.Options{Brokers: []string{addr}, Prefix: prefix, Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	topic := prefix + ".message"
	return server{
		Broker: broker, url: "kafka://" + addr,
		env:          prefix + " " + topic + " 6s", // the least that a broker takes
		abort:        func(t *testing.T) { kafkatest.Abort(t, addr, topic, 5) },
		acknowledged: func(t *testing.T, _ int) int { return kafkatest.Read(t, addr, topic, topic) },
		// Offsets are committed once in a second, and there is more to write.
		deadly: func(*testing.T) (string, func(int) bool) {
			return "kafka://" + addr, func(written int) bool { return written >= 20 }
		},
	}
}

// Killed between the handling and its acknowledgement, the handler writes each
// event once, on either broker.
func TestKilledBeforeTheAcknowledgement(t *testing.T) {
	for name, serve := range map[string]func(*testing.T) server{"nats": onNATS, "kafka": onKafka} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killedBeforeTheAcknowledgement(t, serve(t))
		})
	}
}

func killedBeforeTheAcknowledgement(t *testing.T, s server) {
	const kills, tries, each = 2, 5, 200
	path := filepath.Join(t.TempDir(), "handled")
	want := publish(t, s, 0, each)
	between := 0
	for try := 1; between < kills; try++ {
		if try > tries {
			t.Fatalf("%d kills of %d came at the wrong moment, so the test shows nothing", try-1-between, try-1)
		}
		if s.abort != nil {
			s.abort(t)
		}
		url, now := s.deadly(t)
		had := lines(t, path)
		c := start(t, s.env, url, path)
		c.await(t, "the time to kill it", func() bool { return now(lines(t, path) - had) })
		c.kill()
		if lines(t, path) > s.acknowledged(t, len(want)) {
			between++
		}
		want = append(want, publish(t, s, len(want), each)...)
	}
	tear(t, path)
	c := start(t, s.env, s.url, path)
	c.await(t, "the last event", func() bool { return lines(t, path) >= len(want) })
	c.terminated(t)
	if n := s.acknowledged(t, len(want)); n != len(want) {
		t.Errorf("%d of %d events are acknowledged after an end in order", n, len(want))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	once(t, string(data), want)

	// Only what is new is printed.
	want = publish(t, s, len(want), each)
	c = start(t, s.env, s.url)
	c.await(t, "the last line", func() bool { return strings.Count(c.printed.String(), "\n") >= each })
	c.terminated(t)
	once(t, c.printed.String(), want)
}

// What comes again is known. What cannot be written ends the program, and nothing
// is written or acknowledged after that.
func TestHandle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handled")
	written, file, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	w := &writer{out: file, sync: file.Sync, written: written, stop: func() { stopped = true }}
	event := func(id string) *message.Message {
		m := message.NewMessage(id, []byte("{}"))
		m.Metadata = message.Metadata{"ce_type": "type", "ce_id": id}
		return m
	}
	for _, id := range []string{"a", "b", "a"} {
		if err := w.handle(event(id)); err != nil || stopped {
			t.Errorf("handling %s: %v", id, err)
		}
	}
	file.Close()
	for _, id := range []string{"c", "a"} {
		if err := w.handle(event(id)); err == nil || !stopped {
			t.Errorf("handling %s when the file is lost: %v", id, err)
		}
	}
	if data, err := os.ReadFile(path); string(data) != "type a {}\ntype b {}\n" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

// once checks that there is one line for each event.
func once(t *testing.T, text string, want []string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(text) {
		words := strings.SplitN(line, " ", 3)
		if len(words) < 3 || words[0] != "io.millrace.message.v1" || !json.Valid([]byte(words[2])) {
			t.Errorf("a line is damaged: %q", line)
			continue
		}
		got = append(got, words[1])
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%d events handled, %d of them different; want %d", len(got), len(slices.Compact(got)), len(want))
	}
}

// publish commits messages as the service does, and returns their ids.
func publish(t *testing.T, broker topics.Broker, first, n int) (published []string) {
	t.Helper()
	key := events.StreamKey{Vendor: "vendor", Account: "account", Stream: "messages"}
	stream, err := broker.Acquire(t.Context(), key, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Release()
	if _, err := stream.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &topics.Commit{ID: fmt.Sprint("commit-", first), Checkpoint: []byte("{}")}
	var encoder events.Encoder
	for i := first; i < first+n; i++ {
		// The keys are on all partitions.
		e := events.Event{Source: key, Type: events.TypeMessage, Connector: "support", Key: fmt.Sprint("key", i%20), RecordID: fmt.Sprint(i), Recorded: time.Now()}
		e.ID = events.ID{byte(i >> 8), byte(i), 1}
		published = append(published, e.ID.String())
		c.Messages = append(c.Messages, topics.Message{
			Type: e.Type, Connector: e.Connector, Key: e.Key,
			Attributes: encoder.AppendAttributes(nil, &e), Data: fmt.Appendf(nil, "{\"text\":\"%d\",\n\"raw\":{}}", i),
		})
	}
	if err := stream.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return published
}

// tear leaves the file as a crash in the middle of a line does.
func tear(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, data[:len(data)-5], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lines counts those of the file, which need not be there yet.
func lines(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}
