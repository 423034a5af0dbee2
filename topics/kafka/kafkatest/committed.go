package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// reading bounds how long a topic may take to be read.
const reading = time.Minute

// Record is one record as a consumer got it.
type Record struct {
	Partition  int32
	Offset     int64
	Time       time.Time
	Key, Value []byte // nil for null
	Headers    []Header
}

// Header is one header of a record. A key may come several times.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the first value of a header, "" when it is missing.
func (r Record) Header(key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Committed returns all that a topic holds for a consumer with isolation level
// read_committed, by partition and offset. It is read by franz-go, which shares
// no code with what wrote it. A transaction whose end was acknowledged before
// the call counts as ended. One that is open hides, as for every such consumer,
// what comes after its first record in that partition.
func Committed(t testing.TB, addr, topic string) []Record {
	t.Helper()
	records, err := read(addr, topic, true)
	if err != nil {
		t.Fatalf("reading what is committed to %s at %s: %v", topic, addr, err)
	}
	return records
}

// Written returns all records that a topic holds, those of open and aborted
// transactions too, by partition and offset.
func Written(t testing.TB, addr, topic string) []Record {
	t.Helper()
	records, err := read(addr, topic, false)
	if err != nil {
		t.Fatalf("reading what was written to %s at %s: %v", topic, addr, err)
	}
	return records
}

// reader reads one topic from its beginning to where it ended in the beginning.
type reader struct {
	cl        *kgo.Client
	topic     string
	id        [16]byte
	leaders   map[int32]int32 // by partition
	committed bool
}

// read waits out a broker that is just coming up.
func read(addr, topic string, committed bool) ([]Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), reading)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for {
		r := reader{cl: cl, topic: topic, committed: committed}
		records, err := r.all(ctx)
		if err == nil || !kerr.IsRetriable(err) || errors.Is(err, kerr.UnknownTopicOrPartition) {
			return records, err
		}
		if !pause(ctx) {
			return nil, err
		}
	}
}

// pause waits a moment before something is asked again, and says whether there
// is time left.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(20 * time.Millisecond):
		return true
	}
}

func (r *reader) all(ctx context.Context) ([]Record, error) {
	if err := r.locate(ctx); err != nil {
		return nil, err
	}
	if r.committed {
		if err := r.settle(ctx); err != nil {
			return nil, err
		}
	}
	starts, err := r.offsets(ctx, -2)
	if err != nil {
		return nil, err
	}
	ends, err := r.offsets(ctx, -1)
	if err != nil {
		return nil, err
	}
	var all []Record
	for partition := range int32(len(r.leaders)) {
		at := starts[partition]
		for at < ends[partition] {
			records, next, err := r.fetch(ctx, partition, at)
			if err != nil {
				return nil, err
			}
			for _, rec := range records {
				if rec.Offset < ends[partition] {
					all = append(all, recordOf(rec))
				}
			}
			at = next
		}
	}
	return all, nil
}

// locate finds the topic's partitions and who leads them.
func (r *reader) locate(ctx context.Context) error {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &r.topic
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, r.cl)
	if err != nil {
		return err
	}
	r.leaders = map[int32]int32{}
	for _, topic := range resp.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return err
		}
		r.id = topic.TopicID
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
			r.leaders[p.Partition] = p.Leader
		}
	}
	return nil
}

// settle waits until transactions that are decided show in the topic: a broker
// acknowledges the end of a transaction before it writes the markers.
func (r *reader) settle(ctx context.Context) error {
	for {
		open, err := r.open(ctx)
		if err != nil || len(open) == 0 {
			return err
		}
		req := kmsg.NewPtrListTransactionsRequest()
		req.ProducerIDFilters = open
		req.StateFilters = []string{"PrepareCommit", "PrepareAbort"}
		resp, err := req.RequestWith(ctx, r.cl)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		if len(resp.TransactionStates) == 0 {
			return nil
		}
		if !pause(ctx) {
			return fmt.Errorf("the markers of %q are not written: %w", resp.TransactionStates[0].TransactionalID, ctx.Err())
		}
	}
}

// open returns the producers that have a transaction open in the topic.
func (r *reader) open(ctx context.Context) ([]int64, error) {
	req := kmsg.NewPtrDescribeProducersRequest()
	topic := kmsg.NewDescribeProducersRequestTopic()
	topic.Topic = r.topic
	for partition := range r.leaders {
		topic.Partitions = append(topic.Partitions, partition)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, r.cl)
	if err != nil {
		return nil, err
	}
	var open []int64
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, err
			}
			for _, producer := range p.ActiveProducers {
				if producer.CurrentTxnStartOffset >= 0 && !slices.Contains(open, producer.ProducerID) {
					open = append(open, producer.ProducerID)
				}
			}
		}
	}
	return open, nil
}

// isolation is what requests say of it.
func (r *reader) isolation() int8 {
	if r.committed {
		return 1
	}
	return 0
}

// offsets returns where each partition begins (-2), or ends for such a reader (-1).
func (r *reader) offsets(ctx context.Context, at int64) (map[int32]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.IsolationLevel = r.isolation()
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = r.topic
	for partition := range r.leaders {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = partition, at
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, r.cl)
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, err
			}
			offsets[p.Partition] = p.Offset
		}
	}
	return offsets, nil
}

// fetch reads on in a partition and returns the offset that comes next, which is
// further on even where there is nothing for this reader.
func (r *reader) fetch(ctx context.Context, partition int32, at int64) ([]*kgo.Record, int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 1000, 1, 8<<20
	req.IsolationLevel = r.isolation()
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = r.topic, r.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, 8<<20
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	answer, err := r.cl.Broker(int(r.leaders[partition])).Request(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, 0, fmt.Errorf("the broker answers for other partitions than %d", partition)
	}
	isolation := kgo.ReadUncommitted()
	if r.committed {
		isolation = kgo.ReadCommitted()
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: isolation, Topic: r.topic, Partition: partition,
	}, &resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return got.Records, next, got.Err
}

func recordOf(r *kgo.Record) Record {
	rec := Record{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, Header(h))
	}
	return rec
}
