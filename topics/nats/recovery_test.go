package nats

import (
	"testing"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest"
)

func BenchmarkRecovery(b *testing.B) {
	dir := b.TempDir()
	topictest.BenchmarkRecovery(b, func() topics.Broker {
		broker, err := Open(b.Context(), Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		return broker
	})
}
