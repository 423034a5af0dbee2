package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// TestTailCommittedReal reads what a real broker takes for committed.
func TestTailCommittedReal(t *testing.T) {
	prefix := kafkatest.Name(t)
	addresses := []string{kafkatest.Addr(t)}
	c := writer(t, addresses, "")
	all := []string{names{prefix: prefix}.topic("sms"), names{prefix: prefix}.topic("click")}
	for _, topic := range all {
		if err := createTopic(t.Context(), c, topic, 3); err != nil {
			t.Fatal(err)
		}
	}
	interleave(t, addresses, all...)
	wantCommitted(t, readBroker(t, addresses, func(o *Options) { o.Prefix = prefix }))
}

// TestTailCompactedReal reads what a real broker's cleaner has left: batches
// without their last records, and markers without a transaction.
func TestTailCompactedReal(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, kafkatest.Options{Properties: map[string]string{"log.cleaner.backoff.ms": "100"}})
	addresses := []string{broker.Addr()}
	c := writer(t, addresses, "")
	all := []string{smsTopic, "millrace.click"}
	for _, topic := range all {
		if err := createTopic(t.Context(), c, topic, 3, "cleanup.policy", "compact", "segment.ms", "200",
			"min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "0"); err != nil {
			t.Fatal(err)
		}
	}
	interleave(t, addresses, all...)
	// 20 keys on each of 6 partitions, the last one, and what is not closed yet.
	const clean = 6*21 + 50
	left := clean + 1
	for until := time.Now().Add(2 * readPatience); left > clean && time.Now().Before(until); {
		// A segment is closed when something comes after it.
		for _, topic := range all {
			for p := range int32(3) {
				if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: p, Key: []byte("last"), Value: []byte("x")}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		<-time.After(500 * time.Millisecond) // the cleaner tells nobody
		left = len(kgoCommitted(t, addresses, all...))
	}
	if left > clean {
		t.Fatalf("the cleaner has left %d records", left)
	}
	// The cleaner may be at work between the two readers.
	for attempt := 0; ; attempt++ {
		before := kgoCommitted(t, addresses, all...)
		if attempt > 50 {
			t.Fatal("the cleaner does not end")
		}
		if after := kgoCommitted(t, addresses, all...); len(after) != len(before) {
			continue
		}
		break
	}
	wantCommitted(t, readBroker(t, addresses))
}
