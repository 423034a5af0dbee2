package kafka

import (
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// Each kind of request of the commit path loses its connection, before it
// arrives, in the middle, and after it took effect.
func TestConnectionsAreCut(t *testing.T) {
	t.Parallel()
	t.Run("fake", func(t *testing.T) {
		connectionsAreCut(t, fake(t, kfake.NumBrokers(1)).ListenAddrs()[0])
	})
	t.Run("real", func(t *testing.T) {
		connectionsAreCut(t, kafkatest.Addr(t))
	})
}

func connectionsAreCut(t *testing.T, addr string) {
	fates := map[string]fate{"before": cutBefore, "half": cutHalf, "after": cutAfter, "in flight": cutInFlight}
	committing := []protocol.ApiKey{protocol.InitProducerId, protocol.AddPartitionsToTxn, protocol.Produce, protocol.EndTxn}
	reading := []protocol.ApiKey{protocol.FindCoordinator, protocol.ListOffsets, protocol.Fetch}
	w := new(wire)
	b := open(t, Options{Brokers: []string{addr}, Partitions: 3, Prefix: prefixOn(t, addr), dial: w.dial})
	s := begin(t, b, testKey, "a")
	done := 0
	for name, f := range fates {
		for _, key := range committing {
			// What is cut while the next epoch is taken may show in the commit after.
			met := w.once(key, f)
			for range 3 {
				commit(t, s, numbered(testKey, done, 20))
				done++
			}
			waitFor(t, fmt.Sprintf("%s is cut %s", key, name), met)
		}
		w.use(nil)
		for _, key := range reading {
			s.Release()
			met := w.once(key, f)
			s = acquire(t, b, testKey, "a")
			if c := checkpoint(t, s); c != fmt.Sprint(done-1) {
				t.Fatalf("%s cut %s: the checkpoint is %q, want %d", key, name, c, done-1)
			}
			if _, err := s.Entry(t.Context(), "entry.0"); err != nil {
				t.Fatalf("%s cut %s: %v", key, name, err)
			}
			waitFor(t, fmt.Sprintf("%s is cut %s", key, name), met)
		}
		w.use(nil)
	}
	judge(t, b.names.prefix, addr, result{key: testKey, commits: done, size: 20})
}
