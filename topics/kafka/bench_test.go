package kafka

import (
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// What a transaction costs, beside kafka-go's plain Writer with acks of all, on a
// real broker: the same records to the same number of partitions.

const (
	benchPage       = 1000
	benchPartitions = 3
)

// benchMessages are events of a kilobyte, as the pipeline makes them.
func benchMessages(n int) []topics.Message {
	text := strings.Repeat("Was the delivery there on time? Yes, thank you! ", 20)
	all := make([]topics.Message, n)
	for i := range all {
		key := fmt.Sprintf("c%07d", i/20)
		all[i] = topics.Message{
			Topic: events.TypeMessage, Connector: "bench", Key: key,
			Attributes: []events.Attribute{
				{Name: "specversion", Value: "1.0"}, {Name: "id", Value: fmt.Sprintf("%032x", i)}, {Name: "source", Value: "/deepconverse/bench/messages"},
				{Name: "type", Value: "io.millrace.message.v1"}, {Name: "subject", Value: key}, {Name: "time", Value: "2026-01-01T00:00:00Z"},
				{Name: "dataschema", Value: "urn:millrace:message:v1"}, {Name: "partitionkey", Value: key}, {Name: "recordid", Value: fmt.Sprintf("%024x", i)},
				{Name: "recordedtime", Value: "2026-01-01T00:00:00.123456Z"}, {Name: "connector", Value: "bench"},
			},
			Data: fmt.Appendf(nil, `{"message_id":"%024x","sender":"user","text":"%s","raw":{"a":"%s"}}`, i, text[:350], text[:500]),
		}
	}
	return all
}

func benchBroker(b *testing.B, compression string) (*Broker, string) {
	b.Helper()
	addr := os.Getenv("MILLRACE_TEST_KAFKA")
	if addr == "" {
		b.Skip("needs a real broker: MILLRACE_TEST_KAFKA names one")
	}
	broker, err := Open(b.Context(), Options{Brokers: []string{addr}, Partitions: benchPartitions, Prefix: "bench" + strings.ToLower(rand.Text()), Compression: compression})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { broker.Close() })
	return broker, addr
}

// BenchmarkCommit compares; pages is how many go into one transaction. Each round
// writes by both ways in turn, so that a busy machine hurts both alike.
func BenchmarkCommit(b *testing.B) {
	for _, compression := range []string{"none", "zstd"} {
		for _, pages := range []int{1, 5} {
			b.Run(fmt.Sprintf("%s/pages=%d", compression, pages), func(b *testing.B) { benchCommit(b, compression, pages) })
		}
	}
}

func benchCommit(b *testing.B, compression string, pages int) {
	broker, addr := benchBroker(b, compression)
	held, err := broker.Acquire(b.Context(), events.StreamKey{Vendor: "v", Account: "a", Stream: "s"}, "bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := held.Checkpoint(b.Context()); err != nil {
		b.Fatal(err)
	}
	messages := benchMessages(benchPage * pages)
	plain := plainMessages(messages[:benchPage])
	w := &kafkago.Writer{
		Addr: kafkago.TCP(addr), Topic: broker.names.topic(events.TypeMessage), Balancer: kafkago.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafkago.RequireAll, BatchSize: benchPage, BatchTimeout: time.Millisecond, BatchBytes: 1 << 20,
	}
	if compression == "zstd" {
		w.Compression = kafkago.Zstd
	}
	w.Transport = broker.client.transport
	defer w.Close()
	commit := func(i int) {
		c := &topics.Commit{ID: strconv.Itoa(i), Messages: messages, Checkpoint: make([]byte, 600), Entries: []topics.Entry{{Name: strconv.Itoa(i), Data: make([]byte, 16*len(messages))}}}
		if err := held.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	write := func() {
		for range pages {
			if err := w.WriteMessages(b.Context(), plain...); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := range 20 {
		commit(-1 - i)
		write()
	}
	var ours, theirs, ourCPU, theirCPU time.Duration
	n := 0
	for b.Loop() {
		const burst = 10
		took, used := timed(func() {
			for range burst {
				commit(n)
				n++
			}
		})
		ours, ourCPU = ours+took, ourCPU+used
		took, used = timed(func() {
			for range burst {
				write()
			}
		})
		theirs, theirCPU = theirs+took, theirCPU+used
	}
	records := float64(n * len(messages))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(records/ours.Seconds(), "commit-records/s")
	b.ReportMetric(records/theirs.Seconds(), "writer-records/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(float64(ourCPU.Microseconds())/records, "commit-cpu-us/record")
	b.ReportMetric(float64(theirCPU.Microseconds())/records, "writer-cpu-us/record")
}

func timed(do func()) (took, cpu time.Duration) {
	began, used := time.Now(), cpuTime()
	do()
	return time.Since(began), cpuTime() - used
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// plainMessages are the same records for kafka-go's Writer.
func plainMessages(messages []topics.Message) []kafkago.Message {
	all := make([]kafkago.Message, len(messages))
	for i, m := range messages {
		all[i] = kafkago.Message{Key: []byte(m.Key), Value: m.Data, Headers: []kafkago.Header{{Key: headerContentType, Value: []byte(events.ContentType)}}}
		for _, a := range m.Attributes {
			all[i].Headers = append(all[i].Headers, kafkago.Header{Key: attributePrefix + a.Name, Value: []byte(a.Value)})
		}
	}
	return all
}
