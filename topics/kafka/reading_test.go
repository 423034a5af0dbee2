package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/topics"
)

// What tests of reading share: a cluster in this process, written by a client
// that has nothing in common with the code under test.

const readPatience = 30 * time.Second

// readCluster starts a cluster with the topics of some event types. Nothing may
// be left running when the test ends, so that nothing may run beside it.
func readCluster(t *testing.T, partitions int32, types []string, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	for _, eventType := range types {
		opts = append(opts, kfake.SeedTopics(partitions, names{prefix: "millrace"}.topic(eventType)))
	}
	return newFake(t, opts...)
}

// readBroker is a broker that has looked at nothing.
func readBroker(t *testing.T, addresses []string, change ...func(*Options)) *Broker {
	t.Helper()
	opts := Options{Brokers: addresses, requestWait: 5 * time.Second, TransactionTimeout: 10 * time.Second}
	for _, c := range change {
		c(&opts)
	}
	opts.complete()
	b := &Broker{opts: opts, names: names{opts.Prefix, opts.Topics}, log: opts.Logger}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	var err error
	if b.client, err = newClient(&b.opts, b.names.known()...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// writer writes transactions; with an empty id plain records.
func writer(t *testing.T, addresses []string, id string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(addresses...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.DisableClientMetrics(),
	}, opts...)
	if id != "" {
		opts = append(opts, kgo.TransactionalID(id), kgo.TransactionTimeout(20*time.Second))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseAllowingRebalance)
	return c
}

func beginTx(t *testing.T, c *kgo.Client) {
	t.Helper()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

func endTx(t *testing.T, c *kgo.Client, commit kgo.TransactionEndTry) {
	t.Helper()
	if err := c.EndTransaction(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, c *kgo.Client, topic string, partition int32, values ...string) {
	t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Key: []byte("k"), Value: []byte(v)})
	}
	if err := c.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// tailed reads to the end and returns "topic/partition@offset=value".
func tailed(t *testing.T, b *Broker, opts topics.TailOptions) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readPatience)
	defer cancel()
	opts.Stop = true
	var got []string
	err := b.Tail(ctx, opts, func(r topics.Received) error {
		got = append(got, fmt.Sprintf("%s/%d@%d=%s", r.FullTopic, r.Partition, r.Sequence, r.Data))
		return nil
	})
	if err != nil {
		t.Fatalf("tail: %v", err)
	}
	return got
}

// live tails until the test ends; each value that comes goes to the channel.
func live(t *testing.T, b *Broker, opts topics.TailOptions) <-chan string {
	t.Helper()
	ready, values := make(chan struct{}), make(chan string)
	opts.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(t.Context())
	var end sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		end.Wait()
	})
	end.Go(func() {
		err := b.Tail(ctx, opts, func(r topics.Received) error {
			select {
			case values <- fmt.Sprintf("%s@%d=%s", r.FullTopic, r.Sequence, r.Data):
			case <-ctx.Done():
			}
			return nil
		})
		if ctx.Err() == nil {
			t.Errorf("the tail ended: %v", err)
		}
	})
	select {
	case <-ready:
	case <-time.After(readPatience):
		t.Fatal("the tail does not become ready")
	}
	return values
}

func next(t *testing.T, values <-chan string) string {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(readPatience):
		t.Fatal("nothing comes")
		return ""
	}
}

// logged keeps what is logged from Warn on.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

func (l *logged) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(strings.Join(l.lines, ""), part)
}

func createTopic(ctx context.Context, c *kgo.Client, name string, partitions int32, configs ...string) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, config)
	}
	request.Topics, request.TimeoutMillis = append(request.Topics, topic), 5000
	answer, err := request.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Topics[0].ErrorCode)
}

// interleave writes transactions of several writers through and into each other,
// on three partitions of two topics, and commits some of them.
func interleave(t *testing.T, addresses []string, names ...string) {
	t.Helper()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the seed is %d", seed)
		}
	})
	var writers []*kgo.Client
	for i, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.ZstdCompression(), kgo.Lz4Compression(), kgo.SnappyCompression(), kgo.GzipCompression()} {
		writers = append(writers, writer(t, addresses, fmt.Sprintf("%s %d", names[0], i), kgo.ProducerBatchCompression(codec)))
	}
	plain := writer(t, addresses, "")
	open := map[*kgo.Client]bool{}
	n := 0
	send := func(w *kgo.Client, count, size int) {
		at := kgo.Record{Topic: names[rnd.IntN(len(names))], Partition: rnd.Int32N(3)}
		var list []*kgo.Record
		for range count {
			r := at
			r.Key, r.Value = fmt.Append(nil, rnd.IntN(20)), fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", rnd.IntN(size+1)))
			list = append(list, &r)
			n++
		}
		if err := w.ProduceSync(t.Context(), list...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for range 400 {
		w := writers[rnd.IntN(len(writers))]
		switch {
		case rnd.IntN(10) == 0:
			send(plain, 1+rnd.IntN(3), 50)
		case !open[w]:
			beginTx(t, w)
			open[w] = true
		case rnd.IntN(4) == 0:
			endTx(t, w, rnd.IntN(2) == 0)
			open[w] = false
		case rnd.IntN(20) == 0:
			send(w, 3, 300_000)
		default:
			send(w, 1+rnd.IntN(20), 500)
		}
	}
	for w := range open {
		if open[w] {
			endTx(t, w, rnd.IntN(2) == 0)
		}
	}
}
