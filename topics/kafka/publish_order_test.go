package kafka

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
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
