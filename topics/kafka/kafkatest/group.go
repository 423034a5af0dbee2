package kafkatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Read returns how many of the records that are committed to a topic a consumer
// group has behind it: those before the place that Kafka keeps for it.
func Read(t testing.TB, addr, group, topic string) (n int) {
	t.Helper()
	records := Committed(t, addr, topic)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	of := kmsg.NewOffsetFetchRequestTopic()
	of.Topic = topic
	for _, r := range records {
		if l := len(of.Partitions); l == 0 || of.Partitions[l-1] != r.Partition {
			of.Partitions = append(of.Partitions, r.Partition)
		}
	}
	req.Topics = append(req.Topics, of)
	places := map[int32]int64{} // -1: none yet
	// Where a group's place is kept is made with the first group.
	eventually(t, addr, "the place of the group "+group+" is known", func(ctx context.Context, cl *kgo.Client) (bool, error) {
		resp, err := req.RequestWith(ctx, cl)
		if err == nil {
			err = placesOf(resp, places)
		}
		if kerr.IsRetriable(err) {
			return false, nil
		}
		return true, err
	})
	for _, r := range records {
		if r.Offset < places[r.Partition] {
			n++
		}
	}
	return n
}

func placesOf(resp *kmsg.OffsetFetchResponse, places map[int32]int64) error {
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
			places[p.Partition] = p.Offset
		}
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// Abort writes n records to every partition of a topic, in a transaction that it
// aborts. Each has a header ce_id of its own.
func Abort(t testing.TB, addr, topic string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	id := Name(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	r := reader{cl: cl, topic: topic}
	if err := r.locate(ctx); err != nil {
		t.Fatalf("finding the partitions of %s at %s: %v", topic, addr, err)
	}
	var records []*kgo.Record
	for partition := range int32(len(r.leaders)) {
		for i := range n {
			ce := kgo.RecordHeader{Key: "ce_id", Value: fmt.Appendf(nil, "aborted-%s-%d-%d", id, partition, i)}
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte("{}"), Headers: []kgo.RecordHeader{ce}})
		}
	}
	err = cl.BeginTransaction()
	if err == nil {
		err = cl.ProduceSync(ctx, records...).FirstErr()
	}
	if err == nil {
		err = cl.EndTransaction(ctx, kgo.TryAbort)
	}
	if err != nil {
		t.Fatalf("aborting a transaction on %s at %s: %v", topic, addr, err)
	}
}
