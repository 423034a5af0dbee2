package kafka

import (
	"context"
	"fmt"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

func (p partition) String() string { return p.topic + "/" + strconv.Itoa(int(p.id)) }

// layout returns the leader of every partition of the topics that the client
// knows, -1 where there is none just now. A topic that does not exist is left
// out.
func (c *client) layout(ctx context.Context) (map[partition]int32, error) {
	answer, err := c.do(ctx, &metadata.Request{})
	if err != nil {
		return nil, fmt.Errorf("asking Kafka at %s for its topics: %w", c.where, err)
	}
	leaders := map[partition]int32{}
	for _, t := range answer.(*metadata.Response).Topics {
		switch err := kafkago.Error(t.ErrorCode); err {
		case 0:
		case kafkago.UnknownTopicOrPartition:
			continue
		default:
			return nil, fmt.Errorf("topic %s: %w", t.Name, err)
		}
		for _, p := range t.Partitions {
			leaders[partition{t.Name, p.PartitionIndex}] = p.LeaderID
		}
	}
	return leaders, nil
}

// offsetsRequest asks one leader for offsets in many partitions. kafka-go's own
// type would be cut into one request and one connection for each.
type offsetsRequest listoffsets.Request

func (r *offsetsRequest) ApiKey() protocol.ApiKey { return protocol.ListOffsets } //revive:disable-line:var-naming // kafka-go's name

func (r *offsetsRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	topic, partition := r.Topics[0].Topic, r.Topics[0].Partitions[0].Partition
	p, ok := cluster.Topics[topic].Partitions[partition]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoPartition(topic, partition)
	}
	broker, ok := cluster.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoLeader(topic, partition)
	}
	return broker, nil
}

// offsets finds a place in each of many partitions, as [client.offset] does in
// one. It fails where one of them cannot be asked.
func (c *client) offsets(ctx context.Context, isolation int8, at map[partition]int64) (map[partition]int64, error) {
	leaders, err := c.layout(ctx)
	if err != nil {
		return nil, err
	}
	requests := map[int32]*offsetsRequest{}
	for p, where := range at {
		leader, ok := leaders[p]
		if !ok || leader < 0 {
			return nil, fmt.Errorf("asking for an offset of %s: %w", p, kafkago.LeaderNotAvailable)
		}
		r := requests[leader]
		if r == nil {
			r = &offsetsRequest{ReplicaID: -1, IsolationLevel: isolation}
			requests[leader] = r
		}
		i := 0
		for i < len(r.Topics) && r.Topics[i].Topic != p.topic {
			i++
		}
		if i == len(r.Topics) {
			r.Topics = append(r.Topics, listoffsets.RequestTopic{Topic: p.topic})
		}
		r.Topics[i].Partitions = append(r.Topics[i].Partitions,
			listoffsets.RequestPartition{Partition: p.id, CurrentLeaderEpoch: -1, Timestamp: where})
	}
	found := make(map[partition]int64, len(at))
	for _, r := range requests {
		answer, err := c.do(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("asking for offsets of %s and others: %w", r.Topics[0].Topic, err)
		}
		for _, t := range answer.(*listoffsets.Response).Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return nil, fmt.Errorf("asking for an offset of %s/%d: %w", t.Topic, p.Partition, kafkago.Error(p.ErrorCode))
				}
				found[partition{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	if len(found) != len(at) {
		return nil, fmt.Errorf("asking for offsets: %d of %d partitions are missing in the answers", len(at)-len(found), len(at))
	}
	return found, nil
}

// everywhere asks for the same place in all partitions.
func everywhere(places map[partition]int32, where int64) map[partition]int64 {
	at := make(map[partition]int64, len(places))
	for p := range places {
		at[p] = where
	}
	return at
}
