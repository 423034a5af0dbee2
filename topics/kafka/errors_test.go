package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

const testSecret = "hunter2-secret"

// soon is how long a clear error may take.
const soon = 20 * time.Second

// wantTold holds an error against the words that it must have: what failed, where,
// and what helps.
func wantTold(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("it has not failed")
		return
	}
	if os.Getenv("MILLRACE_TEST_SHOW") != "" {
		t.Log(err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not hold %q", err, word)
		}
	}
	if strings.Contains(err.Error(), testSecret) {
		t.Errorf("%q holds the password", err)
	}
}

// wantRefused opens a broker that cannot be used.
func wantRefused(t *testing.T, opts Options, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	b, err := Open(ctx, opts)
	if err == nil {
		b.Close()
	}
	wantTold(t, err, words...)
	var known *topics.OpenError
	if err != nil && (!errors.As(err, &known) || !known.Remote) {
		t.Errorf("%q is not said to be the server's fault: %T", err, err)
	}
}

// wantUnready is wantRefused for who may as well be told when it asks whether all
// is ready, as an operator is.
func wantUnready(t *testing.T, opts Options, words ...string) {
	t.Helper()
	if !opts.Operator {
		wantRefused(t, opts, words...)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	wantTold(t, open(t, opts).Ready(ctx), words...)
}

// guarded is a broker that wants TLS and a login.
type guarded struct {
	*kafkatest.Broker
	roots *x509.CertPool
}

func startGuarded(t *testing.T) guarded {
	t.Helper()
	certificates := kafkatest.NewCertificates(t)
	b := kafkatest.Start(t, kafkatest.TLS(certificates), kafkatest.ACLs(kafkatest.User{Name: "millrace", Password: testSecret}, kafkatest.User{Name: "nobody", Password: testSecret}))
	authority, err := os.ReadFile(certificates.CA)
	if err != nil {
		t.Fatal(err)
	}
	g := guarded{b, x509.NewCertPool()}
	g.roots.AppendCertsFromPEM(authority)
	return g
}

func (g guarded) options(user string) Options {
	return Options{
		Brokers: []string{g.Addr()}, TLS: &tls.Config{RootCAs: g.roots, MinVersion: tls.VersionTLS12},
		Mechanism: "scram-sha-512", User: user, Password: testSecret, Partitions: 2,
	}
}

func TestGuardedBroker(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run("password of "+mechanism, func(t *testing.T) {
			opts := g.options("millrace")
			opts.Mechanism, opts.Password = mechanism, testSecret+"x"
			wantRefused(t, opts, g.Addr(), "password", "broker.kafka.sasl")
		})
	}
	t.Run("no login", func(t *testing.T) {
		opts := g.options("")
		opts.Mechanism = ""
		wantRefused(t, opts, g.Addr(), "broker.kafka.sasl")
	})
	t.Run("plain text to TLS", func(t *testing.T) {
		opts := g.options("millrace")
		opts.TLS = nil
		wantRefused(t, opts, g.Addr(), "broker.kafka.tls")
	})
	t.Run("TLS to plain text", func(t *testing.T) {
		opts := g.options("millrace")
		opts.Brokers = []string{g.Admin()}
		wantRefused(t, opts, g.Admin(), "not to speak TLS", "broker.kafka.tls")
		opts.Mechanism = "" // it may be the login that is missing, as far as one can see
		wantRefused(t, opts, g.Admin(), "not to speak TLS", "remove broker.kafka.tls", "broker.kafka.sasl")
	})
	t.Run("unknown authority", func(t *testing.T) {
		opts := g.options("millrace")
		opts.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		wantRefused(t, opts, g.Addr(), "broker.kafka.tls")
	})
	t.Run("rights", func(t *testing.T) { rights(t, g) })
	t.Run("rights on a routed topic", func(t *testing.T) { rightsOnRouted(t, g) })
}

// rights gives a user one right after the other, and wants to be told each time
// which is missing.
func rights(t *testing.T, g guarded) {
	opts := g.options("nobody")
	opts.Prefix, opts.Replication = "rights", 1
	allow := func(kind kmsg.ACLResourceType, operations ...kmsg.ACLOperation) {
		g.Allow(t, "nobody", kind, "rights.*", operations...)
	}
	wantRefused(t, opts, g.Addr(), "rights.", "topics that begin with")
	allow(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs)
	wantRefused(t, opts, g.Addr(), "may not Write topic rights.", "topics that begin with")
	allow(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationWrite)
	wantRefused(t, opts, g.Addr(), "may not Read topic rights._", "topics that begin with")
	allow(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationRead)
	wantRefused(t, opts, g.Addr(), "transactional ids that begin with", "rights.")
	allow(kmsg.ACLResourceTypeTransactionalId, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
	allow(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationDescribe) // finds the group's broker
	wantRefused(t, opts, g.Addr(), "may not Read group rights.", "groups that begin with")
	asked := opts
	asked.Operator = true // who begins without being asked for rights
	b := open(t, asked)
	short, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	wantTold(t, b.Ready(short), g.Addr(), "may not Read group rights.", "groups that begin with")
	_, err := b.Acquire(short, testKey, "a", nil)
	wantTold(t, err, g.Addr(), "groups that begin with", "rights.")
	allow(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationRead)
	s := acquire(t, open(t, opts), testKey, "a")
	checkpoint(t, s)
	commit(t, s, numbered(testKey, 0, 5))
	judge(t, "rights", g.Admin(), result{key: testKey, commits: 1, size: 5})
}

func TestUnusableBrokers(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		wantRefused(t, Options{Brokers: []string{"127.0.0.1:1"}}, "127.0.0.1:1", "broker.kafka.brokers")
	})
	t.Run("no such host", func(t *testing.T) {
		wantRefused(t, Options{Brokers: []string{"kafka.invalid:9092"}}, "kafka.invalid:9092", "broker.kafka.brokers")
	})
	t.Run("too old", func(t *testing.T) {
		cluster := fake(t, kfake.MaxVersions(kversion.V2_4_0()))
		wantRefused(t, Options{Brokers: cluster.ListenAddrs()}, cluster.ListenAddrs()[0], "2.5 or newer")
	})
	for policy, topic := range map[string]string{"compact": "message", "delete": "_state"} {
		t.Run("clean-up policy of "+topic, func(t *testing.T) {
			addr := fake(t, kfake.NumBrokers(1)).ListenAddrs()[0]
			makeConfigured(t, addr, "millrace."+topic, 8, map[string]string{"cleanup.policy": policy})
			wantRefused(t, Options{Brokers: []string{addr}}, addr, "millrace."+topic, "cleanup.policy="+policy, "kafka-configs.sh --bootstrap-server "+addr)
		})
	}
	t.Run("a small topic of state", func(t *testing.T) {
		addr := fake(t, kfake.NumBrokers(1)).ListenAddrs()[0]
		makeConfigured(t, addr, "millrace._state", 3, map[string]string{"cleanup.policy": "compact"})
		wantRefused(t, Options{Brokers: []string{addr}}, addr, "millrace._state", "3 partitions", "8")
	})
	t.Run("replication", func(t *testing.T) {
		addr := kafkatest.Addr(t)
		wantRefused(t, Options{Brokers: []string{addr}, Prefix: prefixOn(t, addr), Replication: 2}, addr, "broker.kafka.replication")
	})
	t.Run("settings of topics", func(t *testing.T) {
		addr := kafkatest.Addr(t)
		for _, operator := range []bool{false, true} { // run, and check --connect
			for name, value := range map[string]string{"retentoin.ms": "1", "retention.ms": "a week"} {
				wrong := map[string]string{name: value, "segment.ms": "600000"}
				opts := Options{Brokers: []string{addr}, Prefix: prefixOn(t, addr), Operator: operator, TopicConfig: wrong}
				wantUnready(t, opts, addr, "correct or remove "+name+" under broker.kafka.topic_config")
				opts = Options{Brokers: []string{addr}, Prefix: prefixOn(t, addr), Operator: operator, StateConfig: wrong}
				wantUnready(t, opts, addr, "correct or remove "+name+" under broker.kafka.state_config")
			}
		}
	})
	t.Run("transaction time-out", func(t *testing.T) {
		addr := kafkatest.Addr(t)
		wantRefused(t, Options{Brokers: []string{addr}, Prefix: prefixOn(t, addr), TransactionTimeout: time.Hour}, "broker.kafka.transaction_timeout")
	})
	t.Run("small messages", func(t *testing.T) {
		addr := fake(t, kfake.NumBrokers(1)).ListenAddrs()[0]
		makeConfigured(t, addr, "millrace.message", 2, map[string]string{"max.message.bytes": "20000"})
		wantRefused(t, Options{Brokers: []string{addr}}, addr, "millrace.message", "20000", "max.message.bytes")
	})
}

// makeConfigured makes a topic on a broker of the test's own.
func makeConfigured(t *testing.T, addr, name string, partitions int32, configs map[string]string) {
	t.Helper()
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis = 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for key, value := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = key, &value
		topic.Configs = append(topic.Configs, c)
	}
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(t.Context(), writer(t, []string{addr}, ""))
	if err != nil || answer.Topics[0].ErrorCode != 0 {
		t.Fatalf("making %s: %v, %+v", name, err, answer)
	}
}

// Topics that change under a broker that is open.
func TestTopicsChange(t *testing.T) {
	t.Parallel()
	addr := kafkatest.Addr(t)
	prepared := func(t *testing.T) (*Broker, *stream, *logged) {
		log := new(logged)
		b := open(t, Options{Brokers: []string{addr}, Partitions: 2, Prefix: prefixOn(t, addr), Logger: log.logger(), requestWait: 3 * time.Second, TransactionTimeout: 6 * time.Second})
		s := begin(t, b, testKey, "a")
		commit(t, s, numbered(testKey, 0, 20))
		return b, s, log
	}
	for _, name := range []string{"message", "_state"} {
		t.Run(name+" is deleted", func(t *testing.T) {
			b, s, _ := prepared(t)
			topic := b.opts.Prefix + "." + name
			deleteTopics(t, addr, topic)
			var err error
			for until := time.Now().Add(patience); err == nil && time.Now().Before(until); {
				err = s.Commit(t.Context(), numbered(testKey, 1, 20))
			}
			wantTold(t, err, addr, topic, "was it deleted?")
			if err := b.Ready(t.Context()); err == nil {
				t.Error("it is ready")
			}
		})
	}
	t.Run("more partitions", func(t *testing.T) {
		b, s, log := prepared(t)
		growTopic(t, addr, b.names.topic("message"), 5)
		page := 1
		for until := time.Now().Add(patience); !log.has("another number of partitions") && time.Now().Before(until); page++ {
			commit(t, s, numbered(testKey, page, 20))
		}
		if !log.has("another number of partitions") {
			t.Error("nothing is said of the partitions")
		}
		if c := checkpoint(t, s); c != fmt.Sprint(page-1) {
			t.Errorf("the checkpoint is %q, want %d", c, page-1)
		}
	})
	t.Run("smaller messages", func(t *testing.T) {
		b, s, _ := prepared(t)
		before := b.Limits()
		alterTopic(t, addr, b.names.topic("message"), "max.message.bytes", "300000")
		large := numbered(testKey, 1, 20)
		noise := make([]byte, 500_000)
		for i := range noise {
			noise[i] = "0123456789abcdef"[rand.IntN(16)]
		}
		large.Messages[0].Data = fmt.Appendf(nil, `{"n":20,"noise":%q}`, noise)
		var e *topics.TooLargeError
		for until := time.Now().Add(patience); !errors.As(s.Commit(t.Context(), large), &e); {
			if time.Now().After(until) {
				t.Fatal("it is not told what is too large")
			}
		}
		if e.Limits.Bytes >= 300_000 || b.Limits() == before {
			t.Errorf("the limits are %+v, and were %+v", e.Limits, before)
		}
		// What is within the limits goes through without another question.
		commit(t, s, numbered(testKey, 1, 20))
		judge(t, b.opts.Prefix, addr, result{key: testKey, commits: 2, size: 20})
	})
}

// A user who may not read the settings of topics learns what they take by trying.
func TestMessagesTooLargeForUnknownSettings(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1))
	opts := Options{Brokers: cluster.ListenAddrs(), Compression: "none"}
	open(t, opts).Close()
	alterTopic(t, cluster.ListenAddrs()[0], "millrace.message", "max.message.bytes", "400000")
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	b := open(t, opts)
	s := begin(t, b, testKey, "a")
	for tries := 1; ; tries++ {
		large := numbered(testKey, 0, 2)
		size := b.Limits().Bytes - large.Messages[0].Size() - len(`,"pad":""`)
		large.Messages[0].Data = fmt.Appendf(nil, `{"n":0,"pad":%q}`, strings.Repeat("x", size))
		err := s.Commit(t.Context(), large)
		if err == nil && tries == 3 {
			break
		}
		var e *topics.TooLargeError
		if !errors.As(err, &e) || tries == 3 {
			t.Fatalf("%d bytes in the %d. try: %v", size, tries, err)
		}
	}
	judge(t, "millrace", cluster.ListenAddrs()[0], result{key: testKey, commits: 1, size: 2})
	alterTopic(t, cluster.ListenAddrs()[0], "millrace.message", "max.message.bytes", "20000")
	large := numbered(testKey, 1, 2)
	large.Messages[0].Data = fmt.Appendf(nil, `{"n":2,"pad":%q}`, strings.Repeat("x", 50_000))
	wantTold(t, s.Commit(t.Context(), large), "message", "raise max.message.bytes")
}

func deleteTopics(t *testing.T, addr string, topics ...string) {
	t.Helper()
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TimeoutMillis, request.TopicNames = 10_000, topics
	for _, name := range topics {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	answer, err := request.RequestWith(t.Context(), writer(t, []string{addr}, ""))
	if err != nil || answer.Topics[0].ErrorCode != 0 {
		t.Fatalf("deleting %s: %v, %+v", topics, err, answer)
	}
}

func growTopic(t *testing.T, addr, name string, partitions int32) {
	t.Helper()
	request := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = name, partitions
	request.Topics, request.TimeoutMillis = append(request.Topics, topic), 10_000
	answer, err := request.RequestWith(t.Context(), writer(t, []string{addr}, ""))
	if err != nil || answer.Topics[0].ErrorCode != 0 {
		t.Fatalf("growing %s: %v, %+v", name, err, answer)
	}
}

func alterTopic(t *testing.T, addr, name, setting, value string) {
	t.Helper()
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = setting, &value
	resource.Configs = append(resource.Configs, c)
	request.Resources = append(request.Resources, resource)
	answer, err := request.RequestWith(t.Context(), writer(t, []string{addr}, ""))
	if err != nil || answer.Resources[0].ErrorCode != 0 {
		t.Fatalf("setting %s of %s: %v, %+v", setting, name, err, answer)
	}
}

// While the settings of topics are asked for again the limits stay: what is larger
// than topics usually take would become a dead letter.
func TestLimitsStayWhileTheyAreAskedFor(t *testing.T) {
	const size = "4000000"
	w := new(wire)
	b := open(t, Options{
		Brokers: fake(t, kfake.NumBrokers(1)).ListenAddrs(), dial: w.dial,
		TopicConfig: map[string]string{"max.message.bytes": size}, StateConfig: map[string]string{"max.message.bytes": size},
	})
	before := b.Limits()
	if before.Bytes < 3_900_000 {
		t.Errorf("topics take %s bytes, and the limits are %+v", size, before)
	}
	met := w.once(protocol.DescribeConfigs, cutBefore)
	if err := b.examine(t.Context(), nil); err == nil {
		t.Error("the question was answered")
	}
	waitFor(t, "the question is cut off", met)
	if now := b.Limits(); now != before {
		t.Errorf("the limits are %+v, and were %+v", now, before)
	}
}
