package app

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// BenchmarkIngestKafka is the whole way to a real Kafka, from HTTP page to commit
// in a backlog, against kafka-go's plain Writer with acks of all, which is given
// the same messages, uncompressed both.
func BenchmarkIngestKafka(b *testing.B) {
	addr, brokers := startSource(b), kafkatest.Addr(b)
	var ingest, writer, cpu time.Duration
	var allocs uint64
	for b.Loop() {
		prefix := "bench" + strings.ToLower(rand.Text())
		section := fmt.Sprintf("broker: {kind: kafka, kafka: {brokers: [%q], partitions: 3, compression: none}}\ntopics: {prefix: %s}", brokers, prefix)
		took, used, made, sample := benchIngest(b, addr, section)
		ingest, cpu, allocs = ingest+took, cpu+used, allocs+made
		writer += benchWriter(b, brokers, prefix+"."+events.TypeMessage, sample)
	}
	records := float64(b.N * benchRecords)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(records/ingest.Seconds(), "ingest-records/s")
	b.ReportMetric(records/writer.Seconds(), "writer-messages/s")
	b.ReportMetric(writer.Seconds()/ingest.Seconds(), "ratio")
	b.ReportMetric(float64(cpu.Microseconds())/records, "cpu-us/record")
	b.ReportMetric(float64(allocs)/records, "allocs/record")
}

// benchWriter writes as many messages of the same bytes to the same topic, a page
// at a time, and returns how long it took.
func benchWriter(b *testing.B, addr, topic string, sample []topics.Message) time.Duration {
	b.Helper()
	w := &kafkago.Writer{
		Addr: kafkago.TCP(addr), Topic: topic, Balancer: kafkago.Murmur2Balancer{Consistent: true}, RequiredAcks: kafkago.RequireAll,
		BatchSize: len(sample), BatchBytes: 1_000_000, BatchTimeout: time.Millisecond, Transport: &kafkago.Transport{MetadataTopics: []string{topic}},
	}
	defer w.Close()
	messages := make([]kafkago.Message, len(sample))
	for i, m := range sample {
		messages[i] = kafkago.Message{Key: []byte(m.Key), Value: m.Data}
		for _, a := range m.Attributes {
			messages[i].Headers = append(messages[i].Headers, kafkago.Header{Key: "ce_" + a.Name, Value: []byte(a.Value)})
		}
	}
	began := time.Now()
	for sent := 0; sent < benchRecords; sent += len(messages) {
		if err := w.WriteMessages(b.Context(), messages...); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}
