package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics"
)

// A batch that is refused while the one behind it is stored may not be written
// behind that without an error.
func TestPublishOrder(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"}, kfake.NumBrokers(1))
	p := newPublisher(t, Options{Brokers: cluster.ListenAddrs()})
	if err := p.Publish(smsTopic, keyed("a", []byte("first"))); err != nil {
		t.Fatal(err)
	}
	p.topics[smsTopic].writer.MaxAttempts = 1
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: 1, Err: kerr.NotLeaderForPartition})
	const behind = 10
	var list []*message.Message
	for n := range publishBatch + behind {
		list = append(list, keyed("a", fmt.Append(nil, n)))
	}
	err := p.Publish(smsTopic, list...)
	var failed *topics.PublishError
	if !errors.As(err, &failed) || len(failed.Failed) != publishBatch || failed.Failed[publishBatch-1].Index != publishBatch-1 {
		t.Errorf("got %v, want that the first %d messages have failed", err, publishBatch)
	}
	for n, r := range stored(t, cluster.ListenAddrs(), smsTopic, 1+behind)[1:] {
		if string(r.Value) != fmt.Sprint(publishBatch+n) {
			t.Errorf("message %s is the %d. one", r.Value, n)
		}
	}
}

// The limit of a topic is asked for again where the cluster has not told it.
func TestPublishLimitIsAskedForAgain(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1))
	if err := cluster.CreateTopic("large", 1, map[string]string{"max.message.bytes": "4000000"}); err != nil {
		t.Fatal(err)
	}
	w := new(wire)
	p := newPublisher(t, Options{Brokers: cluster.ListenAddrs(), Compression: "none", dial: w.dial})
	met := w.once(protocol.DescribeConfigs, cutBefore)
	if err := p.Publish("large", message.NewMessage("", bytes.Repeat([]byte("x"), 2_000_000))); err != nil {
		t.Error(err)
	}
	waitFor(t, "the question is cut off", met)
}

// A topic that is made after it was first written to is not taken for one of the
// usual limit.
func TestPublishToATopicThatIsMadeLater(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1))
	p := newPublisher(t, Options{Brokers: cluster.ListenAddrs(), Compression: "none"})
	large := message.NewMessage("", bytes.Repeat([]byte("x"), 2_000_000))
	if err := p.Publish("large", large); err == nil || !strings.Contains(err.Error(), "kafka-topics.sh") {
		t.Errorf("the topic is not there, and it says: %v", err)
	}
	if err := cluster.CreateTopic("large", 1, map[string]string{"max.message.bytes": "4000000"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish("large", large); err != nil {
		t.Error(err)
	}
}
