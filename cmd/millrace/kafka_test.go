package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/kafka"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// The tests of this file are those of NATS, on Kafka: what is committed is read by
// a client that has nothing to do with ours.

// newFake is Kafka's protocol in this process, three brokers of it.
func newFake(t *testing.T) target {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kafkaCluster{c.ListenAddrs(), "fake"}
}

// newReal is a real Kafka that other tests use too.
func newReal(t *testing.T) target {
	t.Helper()
	return kafkaCluster{[]string{kafkatest.Addr(t)}, "t" + strings.ToLower(rand.Text()[:10])}
}

// realBroker is a real Kafka of one broker that may be killed.
type realBroker struct {
	kafkaCluster
	*kafkatest.Broker
}

func (b realBroker) kill()  { b.Kill() }
func (b realBroker) start() { b.Restart() } // and waits until it serves
func (b realBroker) await() {}

// newKafka is the real one, or where there is said to be none the one in this
// process.
func newKafka(t *testing.T) target {
	t.Helper()
	if os.Getenv("MILLRACE_TEST_KAFKA") == "off" {
		return newFake(t)
	}
	return newReal(t)
}

// They run side by side, as they mostly wait.
func TestOnceIsExactlyOnceOnKafka(t *testing.T) {
	t.Parallel()
	onceIsExactlyOnce(t, newKafka)
}

func TestKilledAtRandomMomentsOnKafka(t *testing.T) {
	t.Parallel()
	killedAtRandomMoments(t, newKafka)
}

func TestOnceWithEveryFaultOnKafka(t *testing.T) {
	t.Parallel()
	onceWithEveryFault(t, newKafka)
}

func TestIdenticalRowsAcrossKillsOnKafka(t *testing.T) {
	t.Parallel()
	identicalRowsAcrossKills(t, newKafka)
}

func TestBrokerAndInstancesKilledOnKafka(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	brokerAndInstancesKilled(t, realBroker{kafkaCluster{[]string{b.Addr()}, "millrace"}, b})
}

// From either broker to the other, and back.
func TestStateMovesToKafka(t *testing.T) {
	t.Parallel()
	stateMoves(t, newEmbedded(t), newKafka(t))
}

func TestStateMovesFromKafka(t *testing.T) {
	t.Parallel()
	stateMoves(t, newKafka(t), newEmbedded(t))
}

func TestCommandsOnKafka(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"cursor":       func(t *testing.T) { cursorOnAServerOfYours(t, newKafka(t)) },
		"backfill":     func(t *testing.T) { backfillOnAServerOfYours(t, newKafka(t)) },
		"dead-letters": func(t *testing.T) { deadLettersOnAServerOfYours(t, newKafka) },
		"others":       testOtherCommands,
		"state": func(t *testing.T) {
			on := newKafka(t).(kafkaCluster)
			b, err := kafka.Open(t.Context(), kafka.Options{Brokers: on.brokers, Prefix: on.prefix, Partitions: 3})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			stateIsHeld(t, on, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// A cluster where nothing was made yet can be checked and asked about; events are
// printed as they are committed, or all of them.
func testOtherCommands(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 84, Backlog: 100, Span: time.Hour})
	path := w.configure(t, settings{on: newKafka(t), extra: live})
	if said := must(t, "check", "--connect", "-c", path); strings.Count(said, "  ok") != 2 || !strings.Contains(said, "kafka ") {
		t.Errorf("check says\n%s", said)
	}
	if said := must(t, "cursor", "get", "support/messages", "-c", path); !strings.Contains(said, "not read yet") {
		t.Errorf("before anything is read cursor get says\n%s", said)
	}
	fails(t, 2, []string{"no state of what is to be exported"}, "state", "export", "-c", path)
	c := startChild(t, "run", "-c", path)
	if out := must(t, "tail", "message", "--from", "beginning", "-n", "100", "-o", "json", "-c", path); strings.Count(out, "\n") != 100 {
		t.Errorf("tail prints %d lines", strings.Count(out, "\n"))
	}
	await(t, c, func() bool { return strings.Contains(must(t, "status", "-c", path), "reading") })
	if code := c.stop(); code != 0 || !strings.Contains(c.notes.String(), `broker="Kafka at `) {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	if said := must(t, "status", "-c", path); !strings.Contains(said, "stopped") {
		t.Errorf("when nobody reads status says\n%s", said)
	}
}

func TestImportKilledOnKafka(t *testing.T) {
	t.Parallel()
	importKilled(t, newReal(t), 2)
}

// A cluster that is away ends what wants it, and a file of certificates that is not
// there is a mistake in the configuration.
func TestKafkaIsAway(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5})
	path := w.configure(t, settings{on: kafkaCluster{[]string{ports.Addr(t)}, "millrace"}})
	for _, args := range [][]string{{"run", "--once"}, {"check", "--connect"}, {"status"}, {"state", "export"}} {
		fails(t, 3, []string{"Kafka", "127.0.0.1"}, append(args, "-c", path)...)
	}
	rewrite(t, path, "partitions: 3", "tls: {ca: nowhere.pem}")
	for _, args := range [][]string{{"run", "--once"}, {"check", "--connect"}, {"status"}} {
		fails(t, 2, []string{path, "broker.kafka.tls", "nowhere.pem"}, append(args, "-c", path)...)
	}
	rewrite(t, path, "tls: {ca: nowhere.pem}", fmt.Sprintf("sasl: {mechanism: plain, user: u, password: %s}", wrongKey))
	fails(t, 3, nil, "run", "--once", "-c", path)
}
