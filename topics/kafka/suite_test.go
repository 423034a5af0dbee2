package kafka

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest"
)

func TestSuiteFake(t *testing.T) {
	topictest.Run(t, topictest.Harness{Shared: true, New: func(t *testing.T) topictest.Backend {
		cluster := fake(t)
		return topictest.Backend{Open: func(t *testing.T) topics.Broker {
			return open(t, Options{Brokers: cluster.ListenAddrs(), Partitions: 3})
		}}
	}})
}

// TestSuiteReal runs on the cluster at MILLRACE_TEST_KAFKA.
func TestSuiteReal(t *testing.T) {
	addr := os.Getenv("MILLRACE_TEST_KAFKA")
	if addr == "" {
		t.Skip("none")
	}
	topictest.Run(t, topictest.Harness{Shared: true, New: func(t *testing.T) topictest.Backend {
		prefix := "t" + strings.ToLower(rand.Text())
		return topictest.Backend{Open: func(t *testing.T) topics.Broker {
			return open(t, Options{Brokers: []string{addr}, Partitions: 2, Prefix: prefix})
		}}
	}})
}
