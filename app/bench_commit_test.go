package app

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// BenchmarkUpToCommit is the way from HTTP page to commit without what the broker
// costs: all records of the source are read, split, mapped, identified,
// deduplicated and encoded, for a broker that only counts them. What a commit takes
// however little it holds, the pages that wait for it share.
func BenchmarkUpToCommit(b *testing.B) {
	addr := startSource(b)
	for _, commit := range []time.Duration{0, 10 * time.Millisecond} {
		b.Run("commit="+commit.String(), func(b *testing.B) { benchUpToCommit(b, addr, commit) })
	}
}

func benchUpToCommit(b *testing.B, addr string, commit time.Duration) {
	var took, cpu time.Duration
	var allocs, bytes, messages, commits uint64
	for b.Loop() {
		broker := &countingBroker{wait: commit}
		run := benchIngestTo(b, addr, broker)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began, used := time.Now(), cpuTime()
		if err := run.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		took, cpu = took+time.Since(began), cpu+cpuTime()-used
		runtime.ReadMemStats(&after)
		allocs, bytes = allocs+after.Mallocs-before.Mallocs, bytes+after.TotalAlloc-before.TotalAlloc
		if dead := run.Status().Checkpoint.Counts.DeadLetters; broker.messages != benchRecords || dead > 0 {
			b.Fatalf("%d messages of %d records, %d dead letters", broker.messages, benchRecords, dead)
		}
		messages, commits = messages+uint64(broker.messages), commits+uint64(broker.commits)
	}
	records := float64(b.N * benchRecords)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(records/took.Seconds(), "records/s")
	b.ReportMetric(float64(cpu.Microseconds())/records, "cpu-us/record")
	b.ReportMetric(float64(allocs)/records, "allocs/record")
	b.ReportMetric(float64(bytes)/records, "B/record")
	b.ReportMetric(float64(messages)/float64(commits), "messages/commit")
}

// benchIngestTo returns an ingest of the source that writes to a broker.
func benchIngestTo(b *testing.B, addr string, broker topics.Broker) *pipeline.Ingest {
	b.Helper()
	file, err := config.Parse("benchmark", fmt.Appendf(nil, `
broker: {nats: {dir: nowhere, listen: ""}}
http: {listen: ""}
connectors:
  bench: {type: deepconverse, base_url: "http://%s", api_key: x, bot_name: bench, since: %s, rate: 100000/s, streams: [messages]}
`, addr, benchStart.Format(time.RFC3339)), Plugins(), nil)
	if err != nil {
		b.Fatal(err)
	}
	now := func() time.Time { return benchStart.Add(benchRecords/benchDensity*time.Second + time.Hour) }
	transport := connectors.NewTransport()
	b.Cleanup(transport.CloseIdleConnections)
	made, err := build(file, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport, Now: now})
	if err != nil {
		b.Fatal(err)
	}
	return pipeline.New(made[0].Streams[0], pipeline.Options{
		Broker: broker, Owner: "bench", Horizon: file.DedupHorizon, Raw: file.Topics.Raw, Once: true,
		Metrics: pipeline.NewMetrics(nil), Log: slog.New(slog.DiscardHandler), Now: now,
	})
}

// countingBroker takes everything and keeps nothing: it counts.
type countingBroker struct {
	topics.Broker               // nil: nothing else is asked of it
	wait          time.Duration // of each commit
	messages      int
	commits       int
}

func (c *countingBroker) Limits() topics.Limits {
	return topics.Limits{Messages: 10_000, Bytes: 8 << 20}
}

func (c *countingBroker) Acquire(context.Context, events.StreamKey, string, func(string)) (topics.Stream, error) {
	return countingStream{broker: c}, nil
}

type countingStream struct {
	topics.Stream
	broker *countingBroker
}

func (s countingStream) Checkpoint(context.Context) ([]byte, error) { return nil, nil }

func (s countingStream) Entries(context.Context) ([]string, error) { return nil, nil }

func (s countingStream) Commit(_ context.Context, c *topics.Commit) error {
	time.Sleep(s.broker.wait)
	s.broker.messages += len(c.Messages)
	s.broker.commits++
	return nil
}

func (s countingStream) Advance(context.Context, string, []byte) error { return nil }

func (s countingStream) Forget(context.Context, []string) error { return nil }

func (s countingStream) Lost() <-chan struct{} { return nil }

func (s countingStream) Release() {}
