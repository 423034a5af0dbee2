package kafka

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// A cluster that has served for a while gets a topic that events are routed to.
func TestRoutedTopicIsAdded(t *testing.T) {
	t.Parallel()
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		routedLater(t, Options{Brokers: fake(t).ListenAddrs(), Partitions: 2, session: fakeSession})
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		addr := kafkatest.Addr(t)
		routedLater(t, Options{Brokers: []string{addr}, Partitions: 2, Prefix: prefixOn(t, addr, "vip", "later")})
	})
}

func routedLater(t *testing.T, opts Options) {
	opts.MaxAge, opts.TopicConfig = 50*time.Hour, map[string]string{"max.message.bytes": "400000"}
	b := open(t, opts)
	s := begin(t, b, testKey, "before")
	commit(t, s, numbered(testKey, 0, 20))
	s.Release()
	b.Close()

	opts.Topics = []string{"vip", "later"}
	operator := opts
	operator.Operator = true
	b = open(t, operator)
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("topics that are not there can be made, yet: %v", err)
	}
	if got := tailed(t, b, topics.TailOptions{Beginning: true}); len(got) != 20 {
		t.Errorf("beside topics that are not there it reads %d events, want 20", len(got))
	}
	if got := tailed(t, b, topics.TailOptions{Topics: []string{"vip"}, Beginning: true}); got != nil {
		t.Errorf("a topic that is not there holds %q", got)
	}
	if missing, err := b.absent(t.Context()); err != nil || !slices.Equal(missing, []string{b.names.topic("later"), b.names.topic("vip")}) {
		t.Errorf("missing are %q, %v", missing, err)
	}

	opts.Topics = []string{"vip", "vip"}
	b = open(t, opts)
	for _, name := range []string{"cleanup.policy", "retention.ms", "max.message.bytes"} {
		if got, want := settingOf(t, b, "vip", name), settingOf(t, b, events.TypeMessage, name); got != want {
			t.Errorf("%s of it is %q, and %q of the others", name, got, want)
		}
	}
	if leaders, err := b.client.partitions(t.Context(), b.names.topic("vip")); err != nil || len(leaders) != 2 {
		t.Errorf("it has %d partitions, %v", len(leaders), err)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	s = begin(t, b, testKey, "after")
	c := numbered(testKey, 1, 20)
	c.Messages[3].Topic, c.Messages[7].Topic = "vip", "vip"
	commit(t, s, c)
	if got := tailed(t, b, topics.TailOptions{Topics: []string{"vip"}, Beginning: true}); len(got) != 2 {
		t.Errorf("it holds %q", got)
	}
	if got := tailed(t, b, topics.TailOptions{Beginning: true}); len(got) != 40 {
		t.Errorf("all topics hold %d events, want 40", len(got))
	}
	operator.Topics = nil // nothing is routed there any more
	if got := tailed(t, open(t, operator), topics.TailOptions{Beginning: true}); len(got) != 40 {
		t.Errorf("when nothing is routed any more all topics hold %d events, want 40", len(got))
	}
}

// settingOf asks the cluster for a setting of a topic.
func settingOf(t *testing.T, b *Broker, topic, name string) string {
	t.Helper()
	request := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, b.names.topic(topic), []string{name}
	request.Resources = append(request.Resources, resource)
	answer, err := request.RequestWith(t.Context(), writer(t, b.opts.Brokers, ""))
	if err != nil || len(answer.Resources) != 1 || len(answer.Resources[0].Configs) != 1 || answer.Resources[0].Configs[0].Value == nil {
		t.Fatalf("%s of %s: %v, %+v", name, topic, err, answer)
	}
	return *answer.Resources[0].Configs[0].Value
}

func TestRoutedTopicIsRefused(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][2]string{"compacted": {"cleanup.policy", "compact"}, "small": {"max.message.bytes", "20000"}} {
		t.Run(name, func(t *testing.T) {
			addr := fake(t, kfake.NumBrokers(1)).ListenAddrs()[0]
			makeConfigured(t, addr, "millrace.vip", 2, map[string]string{settings[0]: settings[1]})
			wantRefused(t, Options{Brokers: []string{addr}, Topics: []string{"vip"}}, addr, "millrace.vip", settings[0], settings[1])
		})
	}
	for _, name := range []string{"message", "_state", "a.b"} {
		_, err := Open(t.Context(), Options{Brokers: []string{"127.0.0.1:1"}, Topics: []string{"vip", name}})
		var known *topics.OpenError
		if !errors.As(err, &known) || known.Remote {
			t.Errorf("topic %q: %v", name, err)
		}
	}
}

// rightsOnRouted gives a user rights on all topics but on the one that events are
// routed to, and then on that.
func rightsOnRouted(t *testing.T, g guarded) {
	opts := g.options("nobody")
	opts.Prefix, opts.Replication = "routes", 1
	allow := func(kind kmsg.ACLResourceType, name string, operations ...kmsg.ACLOperation) {
		g.Allow(t, "nobody", kind, name, operations...)
	}
	making := []kmsg.ACLOperation{kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs}
	for _, topic := range (names{prefix: opts.Prefix}).known() {
		allow(kmsg.ACLResourceTypeTopic, topic, append(making, kmsg.ACLOperationRead, kmsg.ACLOperationWrite)...)
	}
	allow(kmsg.ACLResourceTypeTransactionalId, "routes.*", kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
	allow(kmsg.ACLResourceTypeGroup, "routes.*", kmsg.ACLOperationRead)
	open(t, opts).Close()
	opts.Topics = []string{"vip"}
	wantRefused(t, opts, g.Addr(), "routes.vip", `topics that begin with "routes."`)
	allow(kmsg.ACLResourceTypeTopic, "routes.vip", making...)
	wantRefused(t, opts, g.Addr(), "may not Write topic routes.vip", `topics that begin with "routes."`)
	allow(kmsg.ACLResourceTypeTopic, "routes.vip", kmsg.ACLOperationWrite)
	s := begin(t, open(t, opts), testKey, "a")
	commit(t, s, &topics.Commit{ID: "1", Checkpoint: []byte("1"), Messages: []topics.Message{{Topic: "vip", Key: "k", Data: []byte("{}")}}})
	if got := kafkatest.Committed(t, g.Admin(), "routes.vip"); len(got) != 1 {
		t.Errorf("it holds %d events", len(got))
	}
}
