package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// Each kind of request of the commit path loses its connection, before it
// arrives, in the middle, and after it took effect.
func TestConnectionsAreCut(t *testing.T) {
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
				commit(t, s, numbered(done, 20))
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
	wantCommitted(t, b, addr, done, 20)
}

var testKey = events.StreamKey{Vendor: "v", Account: "a/b c", Stream: "s"}

// numbered is the nth commit: size events of several keys and types, an entry
// and a checkpoint.
func numbered(n, size int) *topics.Commit {
	c := &topics.Commit{ID: fmt.Sprint("c", n), Checkpoint: fmt.Append(nil, n), Entries: []topics.Entry{{Name: fmt.Sprint("entry.", n), Data: fmt.Append(nil, "of ", n)}}}
	for i := range size {
		c.Messages = append(c.Messages, topics.Message{
			Type: []string{events.TypeMessage, events.TypeClick}[i%2], Connector: "test", Key: fmt.Sprint("key", i%10),
			Attributes: []events.Attribute{{Name: "id", Value: fmt.Sprintf("%d-%d", n, i)}}, Data: fmt.Appendf(nil, `{"n":%d}`, n*size+i),
		})
	}
	return c
}

// wantCommitted holds what a foreign consumer reads against what was committed:
// the commits from 0 to n, each once, every key in order, the ledger and the
// last checkpoint.
func wantCommitted(t *testing.T, b *Broker, addr string, n, size int) {
	t.Helper()
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	seen, last := map[string]int{}, map[string]int{}
	for _, eventType := range []string{events.TypeMessage, events.TypeClick} {
		for _, r := range kafkatest.Committed(t, addr, b.names.topic(eventType)) {
			id := r.Header(attributePrefix + "id")
			if seen[id]++; seen[id] > 1 {
				complain("%s is there %d times", id, seen[id])
			}
			var at int
			if _, err := fmt.Sscanf(string(r.Value), `{"n":%d}`, &at); err != nil {
				t.Fatalf("%s holds %.100q", id, r.Value)
			}
			// A key of a topic lies in one partition.
			where := eventType + string(r.Key)
			if before, ok := last[where]; ok && at <= before {
				complain("%s: %d comes after %d", where, at, before)
			}
			last[where] = at
		}
	}
	for i := range n {
		for _, m := range numbered(i, size).Messages {
			if id := m.Attributes[0].Value; seen[id] == 0 {
				complain("%s is missing", id)
			}
		}
	}
	if len(seen) != n*size {
		complain("%d events, want %d", len(seen), n*size)
	}
	state := map[string]string{}
	for _, r := range kafkatest.Committed(t, addr, b.names.state()) {
		if state[string(r.Key)] = string(r.Value); r.Value == nil {
			delete(state, string(r.Key))
		}
	}
	if got := state[checkpointKey(testKey)]; got != fmt.Sprint(n-1) {
		complain("the checkpoint is %q, want %d", got, n-1)
	}
	for i := range n {
		if got := state[ledgerKeys(testKey)+fmt.Sprint("entry.", i)]; got != fmt.Sprint("of ", i) {
			complain("entry %d is %q", i, got)
		}
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		t.Errorf("%d problems, such as\n%s", len(problems), strings.Join(problems[:min(10, len(problems))], "\n"))
	}
}
