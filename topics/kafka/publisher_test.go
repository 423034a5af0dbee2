package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics"
)

func keyed(key string, payload []byte) *message.Message {
	m := message.NewMessage("", payload)
	m.Metadata[attributeKey] = key
	return m
}

// stored reads n records of a topic.
func stored(t *testing.T, brokers []string, topic string, n int) (all []*kgo.Record) {
	t.Helper()
	c := writer(t, brokers, "", kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), readPatience)
	defer cancel()
	for len(all) < n {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(all), n, err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

// TestPublishPartitions puts keys where other clients do, and all without a key
// in one place.
func TestPublishPartitions(t *testing.T) {
	cluster := readCluster(t, 7, []string{"sms", "click"})
	brokers := cluster.ListenAddrs()
	p := newPublisher(t, Options{Brokers: brokers})
	other := writer(t, brokers, "", kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	for i := range 50 {
		key := fmt.Sprint("ключ ", i)
		if err := p.Publish(smsTopic, keyed(key, nil)); err != nil {
			t.Fatal(err)
		}
		if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: smsTopic, Key: []byte(key)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	at := map[string][]int32{}
	for _, r := range stored(t, brokers, smsTopic, 100) {
		at[string(r.Key)] = append(at[string(r.Key)], r.Partition)
	}
	for key, partitions := range at {
		if len(partitions) != 2 || partitions[0] != partitions[1] {
			t.Errorf("%s is in partitions %v", key, partitions)
		}
	}
	for range 5 {
		if err := p.Publish("millrace.click", message.NewMessage("", []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	var partitions []int32
	for _, r := range stored(t, brokers, "millrace.click", 5) {
		partitions = append(partitions, r.Partition)
		if r.Key != nil {
			t.Errorf("a message without a key has %q", r.Key)
		}
	}
	if len(slices.Compact(partitions)) != 1 {
		t.Errorf("messages without a key are in partitions %v", partitions)
	}
}

// TestPublishTogether sends the messages of one call in one request, and waits
// for all replicas.
func TestPublishTogether(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	p := newPublisher(t, Options{Brokers: cluster.ListenAddrs()})
	requests := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: -1, Observe: true, When: func(r kmsg.Request) bool {
		if acks := r.(*kmsg.ProduceRequest).Acks; acks != -1 {
			t.Errorf("it waits for %d replicas", acks)
		}
		return true
	}})
	var list []*message.Message
	for i := range publishBatch {
		list = append(list, keyed("k", fmt.Append(nil, i)))
	}
	if err := p.Publish(smsTopic, list...); err != nil {
		t.Fatal(err)
	}
	if requests.Hits() != 1 {
		t.Errorf("%d requests", requests.Hits())
	}
	for i, r := range stored(t, cluster.ListenAddrs(), smsTopic, len(list)) {
		if string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("record %d is %q", i, r.Value)
		}
	}
}

// TestPublishLimit knows the limit of each topic.
func TestPublishLimit(t *testing.T) {
	cluster := readCluster(t, 1, nil)
	p := newPublisher(t, Options{Brokers: cluster.ListenAddrs(), Compression: "none"})
	for topic, limit := range map[string]int{"small": 5000, "large": 4_000_000} {
		if err := cluster.CreateTopic(topic, 1, map[string]string{"max.message.bytes": fmt.Sprint(limit)}); err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(topic, message.NewMessage("", bytes.Repeat([]byte("x"), limit-recordRoom))); err != nil {
			t.Errorf("%s: a message of the limit's size: %v", topic, err)
		}
		err := p.Publish(topic, message.NewMessage("u1", []byte("x")), message.NewMessage("u2", bytes.Repeat([]byte("x"), limit-recordRoom+1)))
		var failed *topics.PublishError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].UUID != "u2" || !strings.Contains(err.Error(), fmt.Sprint(limit)) {
			t.Errorf("%s: got %v", topic, err)
		}
	}
}

// TestPublishTrouble goes on while a partition moves, and tells which messages
// were refused.
func TestPublishTrouble(t *testing.T) {
	cluster := readCluster(t, 2, []string{"sms"}, kfake.NumBrokers(2))
	p := newPublisher(t, Options{Brokers: cluster.ListenAddrs()})
	key := "b" // in the other partition
	for partitionOf([]byte(key), upTo(2)) == partitionOf([]byte("a"), upTo(2)) {
		key += "b"
	}
	a, b := keyed("a", []byte("a")), keyed(key, []byte("b"))
	if err := p.Publish(smsTopic, a, b); err != nil {
		t.Fatal(err)
	}
	for _, trouble := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas, kerr.RequestTimedOut} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: 2, Err: trouble})
		if err := p.Publish(smsTopic, a, b); err != nil {
			t.Errorf("%v: %v", trouble, err)
		}
	}
	refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: -1, Partitions: []int32{partitionOf([]byte(key), upTo(2))}, Err: kerr.TopicAuthorizationFailed})
	err := p.Publish(smsTopic, a, b, a)
	var failed *topics.PublishError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Index != 1 || !strings.Contains(err.Error(), "give it Write") {
		t.Errorf("got %v", err)
	}
	refused.Remove()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late := keyed("a", nil)
	late.SetContext(ended)
	if err := p.Publish(smsTopic, late, a); !errors.Is(err, context.Canceled) {
		t.Errorf("a message whose context has ended: %v", err)
	}
	if err := p.Publish("not-there", a); err == nil || !strings.Contains(err.Error(), "--create --topic not-there") {
		t.Errorf("a topic that does not exist: %v", err)
	}
	if err := p.Publish("millrace._ops", a); err == nil || !strings.Contains(err.Error(), "keeps for itself") {
		t.Errorf("a topic of our own: %v", err)
	}
	for _, opts := range []Options{{}, {Brokers: []string{"x:1"}, Compression: "rar"}, {Brokers: []string{"x:1"}, Mechanism: "telepathy"}} {
		var wrong *topics.OpenError
		if _, err := NewPublisher(opts); !errors.As(err, &wrong) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}
