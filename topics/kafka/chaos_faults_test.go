package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fault gives the cluster trouble, again and again.
func (c *chaos) fault(ctx context.Context) {
	var last *kfake.FaultHandle // what is left of it goes when the next comes
	for {
		select {
		case <-ctx.Done():
			if last != nil {
				last.Remove()
			}
			return
		case <-c.faulty:
		}
		switch c.pick(16) {
		case 0:
			c.cluster.ShufflePartitionLeaders()
		case 1:
			c.cluster.RehashCoordinators()
		default:
			key := chaosKeys[c.pick(len(chaosKeys))]
			answers := chaosAnswers[key]
			if last != nil {
				last.Remove()
			}
			last = c.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: answers[c.pick(len(answers))], Count: 1 + c.pick(3)})
			c.count("faults")
		}
	}
}

var chaosKeys = []kmsg.Key{
	kmsg.InitProducerID, kmsg.FindCoordinator, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.Produce, kmsg.EndTxn, kmsg.EndTxn, kmsg.Fetch, kmsg.ListOffsets,
	kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup,
}

var chaosAnswers = func() map[kmsg.Key][]*kerr.Error {
	coordinator := []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.UnknownServerError}
	transaction := append([]*kerr.Error{kerr.ConcurrentTransactions, kerr.ConcurrentTransactions, kerr.RequestTimedOut}, coordinator...)
	leader := []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownServerError, kerr.KafkaStorageError}
	return map[kmsg.Key][]*kerr.Error{
		kmsg.FindCoordinator: {kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.UnknownServerError},
		kmsg.InitProducerID:  transaction, kmsg.AddPartitionsToTxn: transaction, kmsg.EndTxn: transaction,
		kmsg.Produce: append([]*kerr.Error{
			kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID,
		}, leader...),
		kmsg.Fetch: leader, kmsg.ListOffsets: append([]*kerr.Error{kerr.OffsetNotAvailable}, leader...),
		kmsg.Heartbeat: coordinator, kmsg.JoinGroup: coordinator, kmsg.SyncGroup: coordinator,
	}
}()
