package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const opsTopic = "millrace._ops"

// serve answers until the test ends, and tells each request that it was given.
func serve(t *testing.T, b *Broker, cluster *kfake.Cluster) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan string, 100)
	var end sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		end.Wait()
	})
	reads := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Observe: true})
	defer reads.Remove()
	end.Go(func() {
		err := b.Serve(ctx, func(_ context.Context, request []byte) []byte {
			given <- string(request)
			return append([]byte("heard "), request...)
		})
		if ctx.Err() == nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	if err := reads.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return given
}

func opsRequest(key, kind, work, data string, at time.Time) *kgo.Record {
	return &kgo.Record{Topic: opsTopic, Key: []byte(key), Value: []byte(data), Timestamp: at, Headers: []kgo.RecordHeader{
		{Key: headerOps, Value: []byte(kind)}, {Key: headerWork, Value: []byte(work)},
	}}
}

// TestServeOnce carries out what was asked since it serves, once, and nothing
// that is old.
func TestServeOnce(t *testing.T) {
	cluster := readCluster(t, 1, []string{"_ops"})
	b := readBroker(t, cluster.ListenAddrs())
	c := writer(t, cluster.ListenAddrs(), "")
	send := func(r *kgo.Record) {
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	send(opsRequest("1", opsAsk, "", "before", now))
	given := serve(t, b, cluster)
	send(opsRequest("2", opsAsk, "", "old", now.Add(-2*askOld)))
	send(opsRequest("3", opsAsk, "", "twice", now))
	send(opsRequest("3", opsAsk, "", "twice", now))
	send(opsRequest("4", opsWork, "x", "a sign", now))
	send(opsRequest("5", "", "", "something else", now))
	answers, err := b.Ask(t.Context(), []byte("last"))
	if err != nil || len(answers) != 1 || string(answers[0]) != "heard last" {
		t.Errorf("%q, %v", answers, err)
	}
	got := []string{<-given, <-given}
	slices.Sort(got)
	if !slices.Equal(got, []string{"last", "twice"}) || len(given) != 0 {
		t.Errorf("carried out %q and %d more", got, len(given))
	}
}

// TestAskAfterLostAnswers asks while answers of the cluster get lost, which has
// messages written twice.
func TestAskAfterLostAnswers(t *testing.T) {
	cluster := readCluster(t, 1, []string{"_ops"})
	b := readBroker(t, cluster.ListenAddrs())
	given := serve(t, b, cluster)
	lost := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: 3, Err: kerr.NotEnoughReplicasAfterAppend})
	answers, err := b.Ask(t.Context(), []byte("hello"))
	if err != nil || len(answers) != 1 || string(answers[0]) != "heard hello" {
		t.Errorf("%q, %v", answers, err)
	}
	if <-given; len(given) != 0 || lost.Hits() != 3 {
		t.Errorf("carried out more than once; %d answers got lost", lost.Hits())
	}
}

// TestAskNobody hears nobody, and not the answers to others.
func TestAskNobody(t *testing.T) {
	cluster := readCluster(t, 1, []string{"_ops"})
	b := readBroker(t, cluster.ListenAddrs())
	c := writer(t, cluster.ListenAddrs(), "")
	written := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: -1, Observe: true})
	var end sync.WaitGroup
	end.Go(func() {
		_ = written.Wait(context.Background(), 1)
		_ = c.ProduceSync(context.Background(), opsRequest("another", opsDone, "w", "not for us", time.Now()))
	})
	at := time.Now()
	answers, err := b.Ask(t.Context(), []byte("anybody?"))
	if err != nil || len(answers) != 0 {
		t.Errorf("%q, %v", answers, err)
	}
	if took := time.Since(at); took < askWait || took > askWait+2*time.Second {
		t.Errorf("it took %v", took)
	}
	end.Wait()
	if answers, err := readBroker(t, cluster.ListenAddrs(), func(o *Options) { o.Prefix = "other" }).Ask(t.Context(), nil); err != nil || answers != nil {
		t.Errorf("without a topic: %q, %v", answers, err)
	}
}

// TestAskSilent gives a process up that has given a sign and then none.
func TestAskSilent(t *testing.T) {
	cluster := readCluster(t, 1, []string{"_ops"})
	b := readBroker(t, cluster.ListenAddrs())
	c := writer(t, cluster.ListenAddrs(), "", kgo.ConsumeTopics(opsTopic))
	var end sync.WaitGroup
	end.Go(func() {
		asked := c.PollFetches(t.Context()).Records()[0]
		for i, kind := range []string{opsWork, opsWork, opsDone} { // one of two answers
			_ = c.ProduceSync(context.Background(), opsRequest(string(asked.Key), kind, fmt.Sprint(i%2), "half", time.Now()))
		}
	})
	answers, err := b.Ask(t.Context(), []byte("hello"))
	if !errors.Is(err, errSilent) || len(answers) != 1 {
		t.Errorf("%q, %v", answers, err)
	}
	end.Wait()
}
