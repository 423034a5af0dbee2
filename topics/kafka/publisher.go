package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"

	"github.com/millrace-io/millrace/topics"
)

const (
	// publishLinger is how long a batch waits for messages of other calls.
	publishLinger = 2 * time.Millisecond
	// publishBatch is how many messages a batch has at most; kafka-go takes the
	// room for all of them at once.
	publishBatch = 256
	// publishWait is how long messages wait for a topic or a partition that cannot
	// be written to just now, unknownWait for a topic that does not seem to exist.
	publishWait = 30 * time.Second
	unknownWait = 3 * time.Second
)

// Publisher is Watermill's publisher on Kafka, for topics outside of the commits
// of a [Broker]: what a consumer produces, alerts. What it writes is in no
// transaction: a message may be there twice after trouble with the cluster.
//
// Topics must exist. Messages with the same metadata ce_partitionkey, which
// becomes the record's key, go to one partition, that which the Java client and
// the Broker choose; those without it all go to one. Messages with one key stay in
// order as long as Publish returns no error.
//
// A message's metadata become headers of the same name. Names that begin with
// millrace-, in any case, stay behind. The UUID of a message without the metadata
// ce_id is in the header _watermill_message_uuid.
type Publisher struct {
	opts  Options
	names names

	// life is held for reading while something is published.
	life   sync.RWMutex
	closed bool

	mu     sync.Mutex
	topics map[string]*topicWriter
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher that connects with its first message. Of the
// options it uses Brokers, how to log in, Compression, Prefix and Name; an error
// is a [*topics.OpenError]. The caller closes it.
func NewPublisher(opts Options) (*Publisher, error) {
	if err := opts.forReaders(); err != nil {
		return nil, err
	}
	return &Publisher{opts: opts, names: names{prefix: opts.Prefix}, topics: map[string]*topicWriter{}}, nil
}

// forReaders completes the options of a Publisher or a Subscriber.
func (o *Options) forReaders() error {
	o.complete()
	if len(o.Brokers) == 0 {
		return &topics.OpenError{Err: errors.New("no Kafka broker is named: set Brokers")}
	}
	if _, known := codecs[o.Compression]; !known {
		return &topics.OpenError{Err: fmt.Errorf("there is no compression %q: use zstd, lz4, snappy, gzip or none", o.Compression)}
	}
	if _, err := login(o); err != nil {
		return &topics.OpenError{Err: err}
	}
	return nil
}

// forUse refuses topics that are the broker's own.
func (n names) forUse(topic string) error {
	if strings.HasPrefix(topic, n.prefix+"._") {
		return fmt.Errorf("topic %s is one that millrace keeps for itself: use another", topic)
	}
	return nil
}

var errPublisherClosed = errors.New("the publisher is closed")

// Publish stores messages of one topic, in their order, and returns when all
// replicas in sync have them. An error is a [*topics.PublishError] that tells the
// messages which are not known to be stored from the others; publish those again,
// or all of them. After any other error none is stored. It gives up after about a minute. A message whose context has
// ended is not stored; one that ends later ends nothing. Safe for concurrent use.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.life.RLock()
	defer p.life.RUnlock()
	if p.closed {
		return errPublisherClosed
	}
	if len(messages) == 0 {
		return nil
	}
	w, err := p.writer(topic)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	errs := make([]error, len(messages))
	var records []kafkago.Message
	var index []int // of the records' messages
	for i, m := range messages {
		record := kafkago.Message{Key: recordKey(m), Value: m.Payload, Headers: recordHeaders(m), Time: time.Now()}
		if errs[i] = w.check(m, &record); errs[i] == nil {
			records, index = append(records, record), append(index, i)
		}
	}
	for i, err := range w.write(records) {
		errs[index[i]] = err
	}
	failed := &topics.PublishError{Topic: topic, Of: len(messages)}
	for i, err := range errs {
		if err != nil {
			failed.Failed = append(failed.Failed, topics.MessageError{Index: i, UUID: messages[i].UUID, Err: err})
		}
	}
	if failed.Failed == nil {
		return nil
	}
	return failed
}

// Close waits for what is being published and ends the connections. It returns
// nil; safe to call more than once.
func (p *Publisher) Close() error {
	p.life.Lock()
	defer p.life.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	for _, w := range p.topics {
		if w.writer != nil {
			_ = w.writer.Close() // it has nothing to write any more
		}
		w.client.close()
	}
	return nil
}

// topicWriter writes to one topic. It has connections of its own, because a
// client of kafka-go knows either topics that are fixed, or all that there are.
type topicWriter struct {
	topic  string
	client *client

	mu     sync.Mutex
	writer *kafkago.Writer // nil before begin; then it stays
	limit  int             // bytes of a record batch
}

func (p *Publisher) writer(topic string) (*topicWriter, error) {
	if err := p.names.forUse(topic); err != nil {
		return nil, err
	}
	p.mu.Lock()
	w := p.topics[topic]
	if w == nil {
		c, err := newClient(&p.opts, topic)
		if err != nil {
			p.mu.Unlock()
			return nil, err
		}
		w = &topicWriter{topic: topic, client: c}
		p.topics[topic] = w
	}
	p.mu.Unlock()
	return w, w.begin(codecs[p.opts.Compression])
}

// batchRoom is what a record batch has beside its records, and more.
const batchRoom = 100

// begin learns what the topic takes, unless it was learned before.
func (w *topicWriter) begin(codec kafkago.Compression) error {
	w.mu.Lock()
	begun := w.writer != nil
	w.mu.Unlock()
	if begun {
		return nil
	}
	limit, err := w.learn()
	if err != nil {
		return w.explain(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.client; w.writer == nil {
		w.limit = limit
		w.writer = &kafkago.Writer{
			Addr: c.addr, Topic: w.topic, Transport: c.transport, Balancer: partitioner, RequiredAcks: kafkago.RequireAll,
			Compression: codec, BatchTimeout: publishLinger, BatchSize: publishBatch, BatchBytes: int64(limit - batchRoom),
			WriteTimeout: c.wait / 2, ReadTimeout: c.wait / 2,
		}
	}
	return nil
}

// learn asks how many bytes a record batch of the topic may have, until it is told.
func (w *topicWriter) learn() (limit int, err error) {
	began := time.Now()
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		limit, err = w.client.messageLimit(w.topic)
		most := publishWait
		if errors.Is(err, kafkago.UnknownTopicOrPartition) {
			most = unknownWait
		}
		if err == nil || !again(err) || time.Since(began) > most {
			return limit, err
		}
		pause(context.Background(), wait)
	}
}

// messageLimit is how many bytes a record batch of a topic may have. Where the
// user may not know it is what topics have unless they say otherwise.
func (c *client) messageLimit(topic string) (int, error) {
	answer, err := c.do(context.Background(), &describeconfigs.Request{Resources: []describeconfigs.RequestResource{{
		ResourceType: int8(kafkago.ResourceTypeTopic), ResourceName: topic, ConfigNames: []string{"max.message.bytes"},
	}}})
	if err != nil {
		return 0, err
	}
	for _, t := range answer.(*describeconfigs.Response).Resources {
		if err := failed(t.ErrorCode); err != nil && again(err) {
			return 0, err
		}
		for _, e := range t.ConfigEntries {
			if n, err := strconv.Atoi(e.ConfigValue); err == nil && e.ConfigName == "max.message.bytes" {
				return n, nil
			}
		}
	}
	return defaultMessageBytes, nil
}

// check refuses a message that cannot be stored.
func (w *topicWriter) check(m *message.Message, r *kafkago.Message) error {
	if err := m.Context().Err(); err != nil {
		return err
	}
	size := recordRoom + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value) + 2*5 // both lengths
	}
	if size > w.limit {
		return fmt.Errorf("it has %d bytes with its headers, but the topic takes at most %d (max.message.bytes): make it smaller, or raise the limit", size, w.limit)
	}
	return nil
}

// write stores records, and returns an error for each or nil for all. It waits for
// a topic or a leader that kafka-go does not know yet.
func (w *topicWriter) write(records []kafkago.Message) []error {
	errs := make([]error, len(records))
	index := make([]int, len(records)) // of those that are left
	for i := range records {
		index[i] = i
	}
	began := time.Now()
	for wait := retryFirst; len(records) > 0; wait = min(2*wait, retryMost) {
		err := w.writer.WriteMessages(context.Background(), records...)
		var each kafkago.WriteErrors
		if !errors.As(err, &each) {
			each = make(kafkago.WriteErrors, len(records))
			for i := range each {
				each[i] = err
			}
		}
		var left []kafkago.Message
		var leftIndex []int
		behind := map[string]bool{} // keys of later messages that are stored: nothing may follow those
		for i, err := range slices.Backward(each) {
			errs[index[i]] = w.explain(err)
			key := string(records[i].Key)
			if err == nil {
				behind[key] = true
			} else if !behind[key] && w.notYet(err, time.Since(began)) {
				left, leftIndex = append(left, records[i]), append(leftIndex, index[i])
			}
		}
		slices.Reverse(left)
		slices.Reverse(leftIndex)
		if records, index = left, leftIndex; len(records) > 0 {
			pause(context.Background(), wait)
		}
	}
	return errs
}

// notYet says whether an error is that nobody took the messages where kafka-go
// would write them, so that nothing was written.
func (w *topicWriter) notYet(err error, waited time.Duration) bool {
	switch {
	case errors.Is(err, protocol.ErrNoLeader), errors.Is(err, protocol.ErrNoTopic), errors.Is(err, protocol.ErrNoPartition),
		errors.Is(err, kafkago.LeaderNotAvailable), errors.Is(err, kafkago.NotLeaderForPartition), errors.Is(err, syscall.ECONNREFUSED):
		return waited < publishWait
	case errors.Is(err, kafkago.UnknownTopicOrPartition):
		return waited < unknownWait
	}
	return false
}

func (w *topicWriter) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kafkago.UnknownTopicOrPartition):
		return fmt.Errorf("there is no such topic on Kafka at %s: make it (kafka-topics.sh --bootstrap-server %s --create --topic %s): %w", w.client.where, w.client.where, w.topic, err)
	case errors.Is(err, kafkago.TopicAuthorizationFailed):
		return fmt.Errorf("this user may not write to the topic on Kafka at %s: give it Write and Describe: %w", w.client.where, err)
	case errors.Is(err, kafkago.MessageSizeTooLarge):
		return fmt.Errorf("it, or it together with others, is more than the topic takes (max.message.bytes, which was %d when it was first written to): %w", w.limit, err)
	}
	return fmt.Errorf("writing to Kafka at %s: %w", w.client.where, err)
}
