package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// client sends requests to the cluster. It may be used concurrently.
type client struct {
	transport *kafkago.Transport
	trip      kafkago.RoundTripper // the transport, but in tests
	addr      net.Addr
	where     string // the brokers, for messages
	wait      time.Duration
	stop      context.CancelFunc
	open      *connections
	outage    outage
}

// newClient returns a client that knows these topics only; it connects with its
// first request.
func newClient(opts *Options, known ...string) (*client, error) {
	mechanism, err := login(opts)
	if err != nil {
		return nil, err
	}
	id := "millrace"
	if opts.Name != "" {
		id += " " + opts.Name
	}
	where := strings.Join(opts.Brokers, ",")
	ctx, stop := context.WithCancel(context.Background())
	open := newConnections(opts.requestWait/2, opts.dial)
	transport := &kafkago.Transport{
		Dial: open.dial, ClientID: id, TLS: opts.TLS, SASL: mechanism, DialTimeout: opts.requestWait / 2,
		MetadataTTL: opts.metadataAge, MetadataTopics: known, Context: ctx,
	}
	return &client{
		transport: transport, trip: transport,
		addr: kafkago.TCP(opts.Brokers...), where: where, wait: opts.requestWait, stop: stop, open: open,
		outage: outage{log: cmp.Or(opts.Logger, slog.New(slog.DiscardHandler)), where: where},
	}, nil
}

func login(opts *Options) (sasl.Mechanism, error) {
	switch opts.Mechanism {
	case "":
		return nil, nil
	case "plain":
		return plain.Mechanism{Username: opts.User, Password: opts.Password}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, opts.User, opts.Password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, opts.User, opts.Password)
	}
	return nil, fmt.Errorf("there is no SASL mechanism %q: use plain, scram-sha-256 or scram-sha-512", opts.Mechanism)
}

// close ends the connections, and with them what is under way.
func (c *client) close() {
	c.transport.CloseIdleConnections()
	c.stop()
	c.open.end()
}

// do sends one request and waits for its answer, for a bounded time. An error
// leaves open whether the request took effect.
func (c *client) do(ctx context.Context, request protocol.Message) (protocol.Message, error) {
	return c.doWithin(ctx, c.wait, request)
}

func (c *client) doWithin(ctx context.Context, wait time.Duration, request protocol.Message) (protocol.Message, error) {
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer, err := c.trip.RoundTrip(bounded, c.addr, request)
	switch {
	case err == nil:
		c.outage.over()
		return answer, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %v", wait)
	}
	if !answered(err) {
		c.outage.seen(err)
	}
	return nil, err
}

// answered says whether an error is what a broker has answered.
func answered(err error) bool {
	var k kafkago.Error
	return errors.As(err, &k)
}

// outage tells once that the cluster cannot be reached, and once that it can.
type outage struct {
	log   *slog.Logger
	where string

	mu    sync.Mutex
	since time.Time // zero: there is none
	told  bool
}

// tellAfter is how long nothing reaches the cluster before it is told: brokers
// close connections that are not used.
const tellAfter = 2 * time.Second

func (o *outage) seen(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = time.Now()
	}
	if !o.told && time.Since(o.since) > tellAfter {
		o.told = true
		o.log.Warn("Kafka cannot be reached; it is tried until it can", "brokers", o.where, "error", err.Error())
	}
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told {
		o.log.Info("Kafka is reached again", "brokers", o.where, "after", time.Since(o.since).Round(time.Second))
	}
	o.since, o.told = time.Time{}, false
}

// partitions returns how many partitions a topic has, and the leader of each. It
// fails where one has none.
func (c *client) partitions(ctx context.Context, topic string) (leaders []int32, err error) {
	answer, err := c.do(ctx, &metadata.Request{TopicNames: []string{topic}})
	if err != nil {
		return nil, err
	}
	for _, t := range answer.(*metadata.Response).Topics {
		if t.Name != topic {
			continue
		}
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("topic %s: %w", topic, kafkago.Error(t.ErrorCode))
		}
		leaders = make([]int32, len(t.Partitions))
		for _, p := range t.Partitions {
			if int(p.PartitionIndex) >= len(leaders) || p.LeaderID < 0 {
				return nil, fmt.Errorf("topic %s: partition %d: %w", topic, p.PartitionIndex, kafkago.LeaderNotAvailable)
			}
			leaders[p.PartitionIndex] = p.LeaderID
		}
		return leaders, nil
	}
	return nil, fmt.Errorf("topic %s: %w", topic, kafkago.UnknownTopicOrPartition)
}

// Places in a partition that offset finds, beside times in milliseconds.
const (
	atEnd   = -1
	atStart = -2
)

// Isolation levels of reads.
const (
	uncommitted = 0
	committed   = 1
)

// offset finds a place in a partition: its start, its end (with committed: of
// what is decided), or the first record of a time in Unix milliseconds; -1 where
// no record is so young.
func (c *client) offset(ctx context.Context, topic string, partition int32, at int64, isolation int8) (int64, error) {
	answer, err := c.do(ctx, &listoffsets.Request{ReplicaID: -1, IsolationLevel: isolation, Topics: []listoffsets.RequestTopic{{
		Topic: topic, Partitions: []listoffsets.RequestPartition{{Partition: partition, CurrentLeaderEpoch: -1, Timestamp: at}},
	}}})
	if err != nil {
		return 0, fmt.Errorf("asking for an offset of %s/%d: %w", topic, partition, err)
	}
	found := answer.(*listoffsets.Response).Topics
	if len(found) != 1 || len(found[0].Partitions) != 1 {
		return 0, fmt.Errorf("asking for an offset of %s/%d: the answer is not about it", topic, partition)
	}
	if p := found[0].Partitions[0]; p.ErrorCode == 0 {
		return p.Offset, nil
	}
	return 0, fmt.Errorf("asking for an offset of %s/%d: %w", topic, partition, kafkago.Error(found[0].Partitions[0].ErrorCode))
}

// patiently reads again while the cluster is busy with itself, for a bounded time.
func (c *client) patiently(ctx context.Context, read func() error) error {
	deadline := time.Now().Add(c.wait)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := read()
		if err == nil || !again(err) || ctx.Err() != nil || time.Now().After(deadline) || !pause(ctx, wait) {
			return err
		}
	}
}

// again says whether a request may succeed when it is sent once more: always
// without harm, as what could take effect twice carries an epoch and a sequence.
func again(err error) bool {
	var k kafkago.Error
	if !errors.As(err, &k) {
		return true // the network, or kafka-go's picture of the cluster
	}
	switch k {
	case kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition, kafkago.RequestTimedOut,
		kafkago.BrokerNotAvailable, kafkago.ReplicaNotAvailable, kafkago.NetworkException, kafkago.GroupLoadInProgress,
		kafkago.GroupCoordinatorNotAvailable, kafkago.NotCoordinatorForGroup, kafkago.NotEnoughReplicas,
		kafkago.NotEnoughReplicasAfterAppend, kafkago.ConcurrentTransactions, kafkago.KafkaStorageError, kafkago.OffsetNotAvailable,
		notAttempted:
		return true
	}
	return false
}
