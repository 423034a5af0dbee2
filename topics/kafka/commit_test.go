package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace-io/millrace/events"
)

// Partitions that move to other brokers in the middle of a transaction cost no
// second one.
func TestLeadersMoveInMidTransaction(t *testing.T) {
	cluster := fake(t)
	const partitions = 6
	topic := names{prefix: defaultPrefix}.topic(events.TypeMessage)
	move := func(to func(id int32) int32) {
		for id := range int32(partitions) {
			if err := cluster.MoveTopicPartition(topic, id, to(id)); err != nil {
				t.Error(err)
			}
		}
	}
	w := new(wire)
	b := open(t, Options{Brokers: cluster.ListenAddrs(), Partitions: partitions, dial: w.dial})
	move(func(int32) int32 { return 0 })
	s := begin(t, b, testKey, "a")
	commit(t, s, numbered(testKey, 0, 50)) // learns who leads
	var ends int
	moved := false
	w.use(func(r request) fate {
		switch {
		case r.key == protocol.EndTxn && moved:
			ends++
		case r.key == protocol.Produce && !moved:
			moved = true
			move(func(id int32) int32 { return id % 3 })
		}
		return pass
	})
	commit(t, s, numbered(testKey, 1, 50))
	w.use(nil)
	if !moved || ends != 1 {
		t.Errorf("partitions moved: %v; ends of transactions from then on: %d, want 1", moved, ends)
	}
	judge(t, b.names.prefix, cluster.ListenAddrs()[0], result{key: testKey, commits: 2, size: 50})
}

// What is large may be longer on its way than other requests: it is not sent again
// and again.
func TestLargeRequestsHaveTheirTime(t *testing.T) {
	t.Parallel()
	const wait = 500 * time.Millisecond
	w := new(wire)
	b := open(t, Options{Brokers: fake(t, kfake.NumBrokers(1)).ListenAddrs(), Partitions: 4, Compression: "none", dial: w.dial, requestWait: wait})
	s := begin(t, b, testKey, "a")
	commit(t, s, numbered(testKey, 0, 10))
	large := numbered(testKey, 1, 10)
	for i := range large.Messages {
		large.Messages[i].Data = fmt.Appendf(nil, `{"n":%d,"pad":%q}`, 10+i, strings.Repeat("x", 300_000))
	}
	var sent int
	w.use(func(r request) fate {
		if r.key == protocol.Produce {
			sent++
			<-time.After(2 * wait) // it goes over a slow link
		}
		return pass
	})
	commit(t, s, large)
	w.use(nil)
	if sent != 1 {
		t.Errorf("it was sent %d times", sent)
	}
}

// What Kafka did not try because of another partition is not what is told, and
// stops nothing.
func TestWorse(t *testing.T) {
	at := func(k kafkago.Error) error { return fmt.Errorf("p: %w", k) }
	fenced, gone, refused := at(kafkago.ProducerFenced), at(kafkago.UnknownTopicOrPartition), at(kafkago.TopicAuthorizationFailed)
	for _, c := range []struct{ a, b, want error }{
		{nil, gone, gone},
		{at(notAttempted), gone, gone},
		{gone, at(notAttempted), gone},
		{fenced, at(notAttempted), fenced},
		{at(notAttempted), fenced, fenced},
		{gone, refused, refused},
		{refused, gone, refused},
	} {
		if got := worse(c.a, c.b); got != c.want {
			t.Errorf("of %v and %v %v is told", c.a, c.b, got)
		}
	}
	if final(at(notAttempted)) {
		t.Error("it stops the stream")
	}
}
