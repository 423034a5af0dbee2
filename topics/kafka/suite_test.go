package kafka

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
	"github.com/millrace-io/millrace/topics/topictest"
)

// How the end of a transaction looks on the wire: kafka-go numbers the requests
// of a connection, and ours are all the first of theirs.
const (
	endRequest = "\x00\x1a\x00\x03\x00\x00\x00\x01\x00\x08millrace"
	endAnswer  = "\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"
)

func TestSuiteFake(t *testing.T) {
	t.Parallel()
	topictest.Run(t, topictest.Harness{Shared: true, New: func(t *testing.T) topictest.Backend {
		cluster := fake(t)
		return topictest.Backend{Open: func(t *testing.T) topics.Broker {
			return open(t, Options{Brokers: cluster.ListenAddrs(), Partitions: 3, Topics: topictest.Routed(), session: fakeSession})
		}}
	}})
}

// One broker, so that a proxy in front of it carries everything.
func TestSuiteFakeWithCuts(t *testing.T) {
	t.Parallel()
	topictest.Run(t, topictest.Harness{Shared: true, Cut: true, New: func(t *testing.T) topictest.Backend {
		cluster := fake(t, kfake.NumBrokers(1))
		return cuttable(Options{Brokers: cluster.ListenAddrs(), Partitions: 3, Topics: topictest.Routed(), session: fakeSession})
	}})
}

func TestSuiteReal(t *testing.T) {
	t.Parallel()
	addr := kafkatest.Addr(t)
	topictest.Run(t, topictest.Harness{Shared: true, Cut: true, New: func(t *testing.T) topictest.Backend {
		return cuttable(Options{Brokers: []string{addr}, Partitions: 2, Prefix: prefixOn(t, addr, topictest.Routed()...), Topics: topictest.Routed()})
	}})
}

// cuttable is a backend on one broker.
func cuttable(opts Options) topictest.Backend {
	return topictest.Backend{
		Open: func(t *testing.T) topics.Broker { return open(t, opts) },
		OpenCut: func(t *testing.T) (topics.Broker, topictest.Cutter) {
			proxy := topictest.NewProxy(t, opts.Brokers[0], endRequest, endAnswer)
			opts := opts
			opts.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, proxy.Addr())
			}
			return open(t, opts), proxy
		},
	}
}
