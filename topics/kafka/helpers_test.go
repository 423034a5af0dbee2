package kafka

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// fakeSession is how long a holder of a stream lives without a sign, where a
// broker takes less than real ones do.
const fakeSession = 2 * time.Second

// fake starts brokers in this process.
func fake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	return newFake(t, append([]kfake.Opt{kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(time.Millisecond)}, opts...)...)
}

// newFake starts a cluster in this process, unless only real ones are asked for:
// it is the same for each version of those.
func newFake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	if os.Getenv("MILLRACE_TEST_FAKE") == "off" {
		t.Skip("MILLRACE_TEST_FAKE is off")
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t *testing.T, opts Options) *Broker {
	t.Helper()
	b, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

var _ topics.Broker = (*Broker)(nil)

// patience is how long tests wait for what must come.
const patience = 30 * time.Second

func acquire(t *testing.T, b *Broker, key events.StreamKey, owner string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := b.Acquire(ctx, key, owner, nil)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return s.(*stream)
}

func checkpoint(t *testing.T, s topics.Stream) string {
	t.Helper()
	c, err := s.Checkpoint(t.Context())
	if err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return string(c)
}

// begin acquires a stream and reads its checkpoint.
func begin(t *testing.T, b *Broker, key events.StreamKey, owner string) *stream {
	t.Helper()
	s := acquire(t, b, key, owner)
	checkpoint(t, s)
	return s
}

func commit(t *testing.T, s topics.Stream, c *topics.Commit) {
	t.Helper()
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatalf("commit %s: %v", c.ID, err)
	}
}

// waitFor fails the test when a channel is not closed in time.
func waitFor(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

// prefixOn returns a prefix for what a broker under test makes on a cluster that
// others share, also with topics that events are routed to. Its topics are deleted after the test.
func prefixOn(t *testing.T, addr string, routed ...string) string {
	t.Helper()
	prefix := kafkatest.Name(t)
	t.Cleanup(func() {
		c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(1))
		if err != nil {
			return
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n := names{prefix, routed}
		request := kmsg.NewPtrDeleteTopicsRequest()
		request.TimeoutMillis = 10_000
		request.TopicNames = n.known()
		for _, name := range n.known() {
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.Topic = &name
			request.Topics = append(request.Topics, topic)
		}
		_, _ = request.RequestWith(ctx, c)
	})
	return prefix
}
