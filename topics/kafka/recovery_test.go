package kafka

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
	"github.com/millrace-io/millrace/topics/topictest"
)

func BenchmarkRecovery(b *testing.B) {
	opts := Options{Brokers: []string{kafkatest.Addr(b)}, Partitions: 3, Prefix: "recovery" + strings.ToLower(rand.Text())}
	topictest.BenchmarkRecovery(b, func() topics.Broker {
		broker, err := Open(b.Context(), opts)
		if err != nil {
			b.Fatal(err)
		}
		return broker
	})
}
