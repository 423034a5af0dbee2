package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// keysOfKafka is a configuration of Kafka by its keys.
type keysOfKafka struct {
	kafkaCluster
	keys string
}

func (k keysOfKafka) config() string {
	return fmt.Sprintf("broker:\n  kind: kafka\n  kafka: {brokers: [%q], %s}\ntopics: {prefix: %s}\n", k.brokers[0], k.keys, k.prefix)
}

// What a cluster refuses ends the program before anything is read, with what is
// wrong and what to do; a password is in none of it.
func TestKafkaRefuses(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 5, Backlog: 20})
	refused := func(t *testing.T, addr, keys string, says ...string) {
		t.Helper()
		path := w.configure(t, settings{on: keysOfKafka{kafkaCluster{[]string{addr}, "millrace"}, keys}})
		for _, args := range [][]string{{"run", "--once"}, {"run"}, {"check", "--connect"}} {
			fails(t, 3, says, append(args, "-c", path)...)
		}
	}
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		b := kafkatest.Start(t, kafkatest.SASL(kafkatest.User{Name: "millrace", Password: "right-password"}))
		for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
			refused(t, b.Addr(), fmt.Sprintf("sasl: {mechanism: %s, user: millrace, password: %s}", mechanism, wrongKey), b.Addr(), "broker.kafka.sasl")
		}
		refused(t, b.Addr(), "partitions: 1", b.Addr(), "broker.kafka.sasl")
	})
	t.Run("TLS to a plain port", func(t *testing.T) {
		t.Parallel()
		refused(t, kafkatest.Addr(t), "tls: {}", kafkatest.Addr(t), "broker.kafka.tls")
	})
	t.Run("too old", func(t *testing.T) {
		t.Parallel()
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V2_4_0()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		refused(t, c.ListenAddrs()[0], "partitions: 1", c.ListenAddrs()[0], "2.5 or newer")
	})
	t.Run("another clean-up policy", func(t *testing.T) {
		t.Parallel()
		b := kafkatest.Start(t)
		c, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		compact := "compact"
		if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &compact}, "millrace.message"); err != nil {
			t.Fatal(err)
		}
		refused(t, b.Addr(), "partitions: 1", "millrace.message", "cleanup.policy=compact", "topics.prefix")
	})
	t.Run("a setting that Kafka does not have", func(t *testing.T) {
		t.Parallel()
		refused(t, kafkatest.Addr(t), "topic_config: {retentoin.ms: 1}", "remove retentoin.ms under broker.kafka.topic_config")
	})
	t.Run("missing rights", func(t *testing.T) {
		t.Parallel()
		b := kafkatest.Start(t, kafkatest.ACLs(kafkatest.User{Name: "millrace", Password: "right-password"}))
		all := []kmsg.ACLOperation{kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationRead}
		b.Allow(t, "millrace", kmsg.ACLResourceTypeTopic, "millrace.*", all...)
		keys := "sasl: {mechanism: plain, user: millrace, password: right-password}"
		refused(t, b.Addr(), keys, "may not Write topic millrace.", "topics that begin with")
		b.Allow(t, "millrace", kmsg.ACLResourceTypeTopic, "millrace.*", kmsg.ACLOperationWrite)
		refused(t, b.Addr(), keys, "transactional ids", `"millrace."`)
		b.Allow(t, "millrace", kmsg.ACLResourceTypeTransactionalId, "millrace.*", kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
		refused(t, b.Addr(), keys, "may not Read group millrace.", "groups that begin with")
		b.Allow(t, "millrace", kmsg.ACLResourceTypeGroup, "millrace.*", kmsg.ACLOperationRead)
		on := keysOfKafka{kafkaCluster{[]string{b.Addr()}, "millrace"}, keys}
		if said := must(t, "run", "--once", "-c", w.configure(t, settings{on: on})); strings.Contains(said, "right-password") {
			t.Error("the password is shown")
		}
	})
}
