// Package kafka is the broker on Apache Kafka: it turns a batch of events, their
// ledger entry and the checkpoint into one transaction, fenced by a
// transactional id that belongs to the polled stream.
//
// Events go to <prefix>.<type>, or to <prefix>.<name> where they are routed,
// partitioned by key as the Java client does it.
// Checkpoints and ledgers are on the compacted topic <prefix>._state. Before
// each transaction the stream's producer takes a new epoch, so nothing that an
// earlier request left on the way can end a later transaction.
//
// kafka-go's Writer and Reader are not used for any of this: the Writer cannot
// take part in a transaction, and the Reader delivers aborted records.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol/apiversions"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// Options say where the cluster is and how it is used. Only Brokers must be set.
type Options struct {
	// Brokers are host:port, any of the cluster's.
	Brokers []string
	// TLS encrypts the connections; nil: plain text.
	TLS *tls.Config
	// Mechanism is how to log in: "" (not at all), "plain", "scram-sha-256" or
	// "scram-sha-512", with User and Password.
	Mechanism, User, Password string

	// Compression of what is written: "zstd" (also for ""), "lz4", "snappy",
	// "gzip" or "none".
	Compression string
	// Partitions of topics that are created; 0 is 6. The topic of state has
	// always eight.
	Partitions int
	// Replication of topics that are created; 0 is 3, or the number of brokers
	// where there are fewer.
	Replication int
	// TopicConfig and StateConfig are settings of topics that are created, by
	// Kafka's names for them, beside those that millrace gives.
	TopicConfig, StateConfig map[string]string
	// TransactionTimeout is how long a transaction may stay open before the
	// broker ends it; 0 is 30 s. One that a crash left open holds readers of its
	// partitions back for so long.
	TransactionTimeout time.Duration

	// Prefix begins the name of every topic, group and transactional id; "" is
	// "millrace".
	Prefix string
	// Topics are those that events are routed to, by their names behind the prefix.
	// They are made and checked like those of the event types; a commit to a topic
	// that is neither fails.
	Topics []string
	// MaxAge is how long events are kept on topics that are created; 0 for ever.
	MaxAge time.Duration
	// Operator opens the broker for an operating command: it creates nothing.
	Operator bool
	// Name tells this process from others in the brokers' logs; may be empty.
	Name string
	// Logger is where warnings go; nil for none.
	Logger *slog.Logger

	// What tests shorten or replace.
	session     time.Duration // how long a holder of a stream lives without a sign
	requestWait time.Duration // how long one request may take
	metadataAge time.Duration // how old our picture of the cluster may be
	// dial connects to a broker; nil: as the system does.
	dial reach
}

const (
	defaultPrefix      = "millrace"
	defaultPartitions  = 6
	defaultReplication = 3
	defaultTransaction = 30 * time.Second
	defaultSession     = 6 * time.Second // the least that brokers take as they come
	defaultRequestWait = 10 * time.Second
	// defaultMetadataAge is short because nothing makes kafka-go look again when a
	// partition has moved.
	defaultMetadataAge = time.Second

	// commitMessages is how many messages one commit may hold.
	commitMessages = 10_000
)

func (o *Options) complete() {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.TransactionTimeout, defaultTransaction)
	set(&o.session, defaultSession)
	set(&o.requestWait, defaultRequestWait)
	set(&o.metadataAge, defaultMetadataAge)
	if o.Partitions == 0 {
		o.Partitions = defaultPartitions
	}
	o.Topics = slices.Compact(slices.Sorted(slices.Values(o.Topics)))
	if o.Compression == "" {
		o.Compression = "zstd"
	}
}

// Broker is a [topics.Broker] on Apache Kafka.
type Broker struct {
	opts   Options
	names  names
	log    *slog.Logger
	client *client

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	once   sync.Once

	limitsMu   sync.Mutex
	limits     topics.Limits
	batchBytes int // of a record batch

	heldMu  sync.Mutex
	held    map[events.StreamKey]*stream
	closing bool

	acquiring sync.WaitGroup // calls of Acquire
}

var _ topics.Broker = (*Broker)(nil)

// Open connects to the cluster, makes the topics that are missing and checks
// those that are there. Every error is a [*topics.OpenError], but for a ctx that
// ended.
func Open(ctx context.Context, opts Options) (*Broker, error) {
	opts.complete()
	for _, name := range opts.Topics {
		if err := events.CheckTopic(name); err != nil {
			return nil, &topics.OpenError{Err: fmt.Errorf("events cannot be routed to a topic: %w", err)}
		}
	}
	b := &Broker{opts: opts, names: names{opts.Prefix, opts.Topics}, log: opts.Logger, held: map[events.StreamKey]*stream{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	var err error
	if b.client, err = newClient(&opts, b.names.known()...); err != nil {
		b.cancel()
		return nil, &topics.OpenError{Err: err}
	}
	if err := b.start(ctx); err != nil {
		b.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var known *topics.OpenError
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, &topics.OpenError{Remote: true, Err: err}
	}
	return b, nil
}

func (b *Broker) start(ctx context.Context) error {
	if err := b.client.connect(ctx); err != nil {
		return b.explain(err)
	}
	if err := b.prepareTopics(ctx); err != nil || b.opts.Operator {
		return err
	}
	return b.checkRights(ctx)
}

// Limits returns what the topics take.
func (b *Broker) Limits() topics.Limits {
	b.limitsMu.Lock()
	defer b.limitsMu.Unlock()
	return b.limits
}

// batchLimit is how many bytes a record batch may have.
func (b *Broker) batchLimit() int {
	b.limitsMu.Lock()
	defer b.limitsMu.Unlock()
	return b.batchBytes
}

func (b *Broker) setLimits(batchBytes int) {
	b.limitsMu.Lock()
	defer b.limitsMu.Unlock()
	b.batchBytes = batchBytes
	b.limits = topics.Limits{Messages: commitMessages, Bytes: batchBytes - recordRoom - headersRoom}
}

// Ready returns nil when the cluster answers and every partition that commits
// may need has a leader. For an operator it says whether a service could begin:
// topics may be missing, as long as they can be made.
func (b *Broker) Ready(ctx context.Context) error {
	if b.ctx.Err() != nil {
		return errClosed
	}
	if err := b.ready(ctx); err != nil {
		return fmt.Errorf("the Kafka at %s cannot take commits: %w", b.client.where, b.explain(err))
	}
	return nil
}

func (b *Broker) ready(ctx context.Context) error {
	// The leaders are only remembered.
	if _, err := b.client.do(ctx, &apiversions.Request{}); err != nil {
		return err
	}
	missing, err := b.absent(ctx)
	if err != nil {
		return err
	}
	if b.opts.Operator {
		if len(missing) > 0 {
			if err := b.create(ctx, missing, true); err != nil {
				return err
			}
		}
		return b.checkRights(ctx)
	}
	for _, topic := range b.names.known() {
		if _, err := b.client.partitions(ctx, topic); err != nil {
			return err
		}
	}
	return nil
}

// Close releases every stream, ends what the broker started and waits for it.
func (b *Broker) Close() error {
	b.once.Do(func() {
		b.heldMu.Lock()
		b.closing = true
		var held []*stream
		for _, s := range b.held {
			if s.settled {
				held = append(held, s)
			}
		}
		b.heldMu.Unlock()
		var releasing sync.WaitGroup
		for _, s := range held {
			releasing.Go(s.Release)
		}
		releasing.Wait()
		b.cancel()
		b.acquiring.Wait()
		b.client.close()
	})
	return nil
}

// errClosed answers what comes after Close.
var errClosed = errors.New("the broker is closed")

// bound ends a call's context with the broker's.
func (b *Broker) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// pause waits before another attempt; false when ctx ended.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
