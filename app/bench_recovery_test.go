package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// BenchmarkRecovery is what whoever takes a stream over needs before it can check
// the first record: the stream itself, its checkpoint, and every id of a ledger
// of a million, loaded.
func BenchmarkRecovery(b *testing.B) {
	b.Run("nats", func(b *testing.B) {
		benchRecovery(b, fmt.Sprintf("broker: {nats: {dir: %q, listen: \"\"}}", b.TempDir()))
	})
	b.Run("kafka", func(b *testing.B) {
		prefix := "recovery" + strings.ToLower(rand.Text())
		benchRecovery(b, fmt.Sprintf("broker: {kind: kafka, kafka: {brokers: [%q], partitions: 3}}\ntopics: {prefix: %s}", kafkatest.Addr(b), prefix))
	})
}

const (
	recoveryEntries = 1000
	recoveryIDs     = 1000 // of each entry
)

func benchRecovery(b *testing.B, section string) {
	file, err := config.Parse("benchmark", []byte(section+"\nhttp: {listen: \"\"}\nconnectors: {bench: {type: deepconverse, base_url: \"http://127.0.0.1:1\", api_key: x, bot_name: bench, since: 2026-01-01T00:00:00Z, streams: [messages]}}\n"), Plugins(), nil)
	if err != nil {
		b.Fatal(err)
	}
	open := func() topics.Broker {
		broker, err := openBroker(b.Context(), file, slog.New(slog.DiscardHandler), toServe)
		if err != nil {
			b.Fatal(err)
		}
		return broker
	}
	key := events.StreamKey{Vendor: "deepconverse", Account: "bench", Stream: "messages"}
	broker := open()
	if err := fillLedger(b.Context(), broker, key); err != nil {
		b.Fatal(err)
	}
	if err := broker.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		broker := open()
		b.StartTimer()
		ids, err := loadLedger(b.Context(), broker, key)
		b.StopTimer()
		if err != nil || ids != recoveryEntries*recoveryIDs {
			b.Fatalf("%d ids (%v)", ids, err)
		}
		if err := broker.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// fillLedger commits entries of random ids, as hashes are.
func fillLedger(ctx context.Context, broker topics.Broker, key events.StreamKey) error {
	s, err := broker.Acquire(ctx, key, "bench", nil)
	if err != nil {
		return err
	}
	defer s.Release()
	if _, err := s.Checkpoint(ctx); err != nil {
		return err
	}
	for n := range recoveryEntries {
		from := benchStart.Add(time.Duration(n) * time.Minute)
		entry := ledger.Entry{Window: ledger.Range{From: from, To: from.Add(time.Minute)}, Commit: uint64(n + 1), IDs: make([]events.ID, recoveryIDs)}
		for i := range entry.IDs {
			_, _ = rand.Read(entry.IDs[i][:])
		}
		data, err := entry.Encode()
		if err != nil {
			return err
		}
		checkpoint, err := (&ledger.Checkpoint{Stream: key, Commit: fmt.Sprint(n)}).Encode()
		if err != nil {
			return err
		}
		if err := s.Commit(ctx, &topics.Commit{ID: fmt.Sprint(n), Checkpoint: checkpoint, Entries: []topics.Entry{{Name: entry.Name(), Data: data}}}); err != nil {
			return err
		}
	}
	return nil
}

// loadLedger takes the stream, and returns how many ids its ledger has.
func loadLedger(ctx context.Context, broker topics.Broker, key events.StreamKey) (ids int, err error) {
	s, err := broker.Acquire(ctx, key, "bench", nil)
	if err != nil {
		return 0, err
	}
	defer s.Release()
	data, err := s.Checkpoint(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := ledger.DecodeCheckpoint(data); err != nil {
		return 0, err
	}
	names, err := s.Entries(ctx)
	if err != nil {
		return 0, err
	}
	book, err := ledger.NewBook(false, names)
	if err != nil {
		return 0, err
	}
	for _, name := range book.Needed(ledger.Range{From: benchStart, To: benchStart.AddDate(1, 0, 0)}) {
		data, err := s.Entry(ctx, name)
		if err != nil {
			return 0, err
		}
		entry, err := ledger.DecodeEntry(data)
		if err != nil {
			return 0, fmt.Errorf("entry %s: %w", name, err)
		}
		book.Load(name, entry)
	}
	_, ids = book.Len()
	return ids, nil
}
