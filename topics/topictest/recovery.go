package topictest

import (
	"fmt"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// BenchmarkRecovery measures how long whoever takes a stream needs to learn where
// it was: the checkpoint and a ledger of a million ids, in a thousand entries.
// open opens a broker on one and the same backend.
func BenchmarkRecovery(b *testing.B, open func() topics.Broker) {
	const entries, bytes = 1000, 16 * 1000
	k := events.StreamKey{Vendor: "bench", Account: "a", Stream: "s"}
	take := func(broker topics.Broker) topics.Stream {
		s, err := broker.Acquire(b.Context(), k, "bench", nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Checkpoint(b.Context()); err != nil {
			b.Fatal(err)
		}
		return s
	}
	broker := open()
	s := take(broker)
	seed := uint64(1)
	for i := range entries {
		data := make([]byte, bytes) // ids are hashes: nothing to compress
		for j := range data {
			seed = seed*6364136223846793005 + 1442695040888963407
			data[j] = byte(seed >> 56)
		}
		c := &topics.Commit{ID: fmt.Sprint(i), Checkpoint: []byte("c"), Entries: []topics.Entry{{Name: fmt.Sprintf("e%04d", i), Data: data}}}
		if err := s.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	s.Release()
	broker.Close()
	for b.Loop() {
		b.StopTimer()
		broker = open()
		b.StartTimer()
		s = take(broker)
		names, err := s.Entries(b.Context())
		if err != nil || len(names) != entries {
			b.Fatalf("%d entries, %v", len(names), err)
		}
		for _, name := range names {
			if data, err := s.Entry(b.Context(), name); err != nil || len(data) != bytes {
				b.Fatalf("entry %s: %d bytes, %v", name, len(data), err)
			}
		}
		b.StopTimer()
		s.Release()
		broker.Close()
		b.StartTimer()
	}
}
