package kafkatest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic makes a topic with a name that no other test has, and deletes it after
// the test where the broker still answers then. Configs are pairs such as
// "cleanup.policy", "compact".
func Topic(t testing.TB, addr string, partitions int, configs ...string) string {
	t.Helper()
	name := Name(t)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(partitions), 1
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, c)
	}
	req.Topics = append(req.Topics, topic)
	request(t, addr, req, func(resp *kmsg.CreateTopicsResponse) error {
		return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	})
	t.Cleanup(func() { deleteTopic(addr, name) })
	// The controller has it; the broker hears of it a moment later.
	eventually(t, addr, "the broker knows the topic "+name, func(ctx context.Context, cl *kgo.Client) (bool, error) {
		r := reader{cl: cl, topic: name}
		err := r.locate(ctx)
		if kerr.IsRetriable(err) {
			err = nil
		}
		return len(r.leaders) == partitions, err
	})
	return name
}

// Name returns a name that no other test of any run has, for a topic, a prefix,
// a group or a transactional id.
func Name(t testing.TB) string {
	keep := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}
	name := strings.Map(keep, t.Name())
	return name[:min(len(name), 100)] + "-" + strings.ToLower(rand.Text()[:10])
}

// answerTo is a request whose answer is of one type.
type answerTo[A any] interface {
	RequestWith(context.Context, kmsg.Requestor) (A, error)
}

// request asks a broker, and fails the test when it does not answer or when the
// answer is an error.
func request[A any](t testing.TB, addr string, req answerTo[A], check func(A) error) {
	t.Helper()
	eventually(t, addr, fmt.Sprintf("%T is answered", req), func(ctx context.Context, cl *kgo.Client) (bool, error) {
		resp, err := req.RequestWith(ctx, cl)
		if err == nil {
			err = check(resp)
		}
		return true, err
	})
}

// eventually asks a broker until something is so; an error fails the test.
func eventually(t testing.TB, addr, what string, so func(context.Context, *kgo.Client) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for {
		yes, err := so(ctx, cl)
		if err != nil {
			t.Fatalf("waiting until %s, at %s: %v", what, addr, err)
		}
		if yes {
			return
		}
		if !pause(ctx) {
			t.Fatalf("waited in vain until %s, at %s", what, addr)
		}
	}
}

// deleteTopic tidies up; a broker that is gone takes its topics along.
func deleteTopic(addr, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(1))
	if err != nil {
		return
	}
	defer cl.Close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 5000
	req.TopicNames = []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	_, _ = req.RequestWith(ctx, cl)
}
