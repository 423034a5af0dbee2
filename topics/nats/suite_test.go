package nats

import (
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest"
)

func TestSuiteEmbedded(t *testing.T) {
	topictest.Run(t, topictest.Harness{New: func(t *testing.T) topictest.Backend {
		dir := t.TempDir()
		return topictest.Backend{Open: func(t *testing.T) topics.Broker {
			return open(t, Options{Dir: dir, Listen: "127.0.0.1:0"})
		}}
	}})
}

func TestSuiteServer(t *testing.T) {
	topictest.Run(t, topictest.Harness{Shared: true, Cut: true, New: func(t *testing.T) topictest.Backend {
		server := startServer(t, "nats-server", "")
		options := Options{leaseTTL: 2 * time.Second, ackWait: 2 * time.Second}
		return topictest.Backend{
			Open: func(t *testing.T) topics.Broker {
				opts := options
				opts.URL = server.url()
				return open(t, opts)
			},
			OpenCut: func(t *testing.T) (topics.Broker, topictest.Cutter) {
				proxy := topictest.NewProxy(t, server.addr, headerBatchCommit, `"batch":"`)
				opts := options
				opts.URL = "nats://" + proxy.Addr()
				return open(t, opts), proxy
			},
		}
	}})
}
