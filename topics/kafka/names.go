package kafka

import (
	"net/url"
	"strings"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/events"
)

// names builds the names of topics, groups and transactional ids of one prefix,
// and the keys of state.
type names struct {
	prefix string
	routed []string // topics that events are routed to, behind the prefix
}

// topic is the whole name of a topic: of an event type's, or of one that events
// are routed to.
func (n names) topic(name string) string { return n.prefix + "." + name }

// name is the inverse of topic.
func (n names) name(topic string) string { return strings.TrimPrefix(topic, n.prefix+".") }

// state is the compacted topic that holds checkpoints and ledgers.
func (n names) state() string { return n.prefix + "._state" }

// ops is where operating requests and their answers go.
func (n names) ops() string { return n.prefix + "._ops" }

// events are the topics of all event types, and those that events are routed to.
func (n names) events() []string {
	var all []string
	for _, t := range events.Catalogue() {
		all = append(all, n.topic(t.Name))
	}
	for _, name := range n.routed {
		all = append(all, n.topic(name))
	}
	return all
}

// known are all topics that a broker uses.
func (n names) known() []string { return append(n.events(), n.state(), n.ops()) }

// transaction is the transactional id of a polled stream: who takes it fences
// all that had it before.
func (n names) transaction(k events.StreamKey) string { return n.prefix + "." + keyText(k) }

// check is a transactional id, and a group, to try the rights with.
func (n names) check() string { return n.prefix + "._check" }

// hold is the consumer group whose one task it is to say who holds a stream.
func (n names) hold(k events.StreamKey) string { return n.prefix + "._hold." + keyText(k) }

// keyText writes a key in one text, reversibly.
func keyText(k events.StreamKey) string {
	return url.PathEscape(k.Vendor) + "/" + url.PathEscape(k.Account) + "/" + url.PathEscape(k.Stream)
}

// What state is, as the first part of its key.
const (
	checkpointPrefix = "checkpoint/"
	ledgerPrefix     = "ledger/"
)

func checkpointKey(k events.StreamKey) string { return checkpointPrefix + keyText(k) }

// ledgerKeys is what the keys of a stream's ledger begin with.
func ledgerKeys(k events.StreamKey) string { return ledgerPrefix + keyText(k) + "/" }

// streamOf is the inverse of checkpointKey.
func streamOf(key string) (k events.StreamKey, ok bool) {
	rest, ok := strings.CutPrefix(key, checkpointPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return k, false
	}
	for i, to := range []*string{&k.Vendor, &k.Account, &k.Stream} {
		plain, err := url.PathUnescape(parts[i])
		if err != nil {
			return k, false
		}
		*to = plain
	}
	return k, true
}

// statePartitions is how many partitions of the topic of state are used. It never
// changes: where a stream's state lies hangs on it.
const statePartitions = 8

// statePartition is where the state of a stream lies.
func statePartition(k events.StreamKey) int32 {
	return partitionOf([]byte(keyText(k)), upTo(statePartitions))
}

// partitionOf says where the Java client puts a key.
func partitionOf(key []byte, partitions []int) int32 {
	return int32(partitioner.Balance(kafkago.Message{Key: key}, partitions...))
}

var partitioner = kafkago.Murmur2Balancer{Consistent: true}

// upTo lists the partitions of a topic that has n of them.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
