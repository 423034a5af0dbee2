package nats

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// startCluster runs three servers that replicate to each other.
func startCluster(t *testing.T) []*process {
	t.Helper()
	var peers, routes []string
	for range 3 {
		peer := ports.Addr(t)
		peers = append(peers, peer)
		routes = append(routes, "nats://"+peer)
	}
	var servers []*process
	for i, peer := range peers {
		more := fmt.Sprintf("server_name: n%d\ncluster { name: c, no_advertise: true, listen: %q, routes: [%s] }\n", i, peer, strings.Join(routes, ", "))
		servers = append(servers, startServer(t, "nats-server", more))
	}
	js := connectAdmin(t, servers[0])
	eventually(t, "the cluster has a leader", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "PROBE", Replicas: 3})
		return err == nil
	})
	return servers
}

// TestSuiteCluster runs the suite with three replicas, each test under a prefix
// of its own.
func TestSuiteCluster(t *testing.T) {
	servers := startCluster(t)
	var prefixes atomic.Int32
	topictest.Run(t, topictest.Harness{Shared: true, Cut: true, New: func(t *testing.T) topictest.Backend {
		options := Options{leaseTTL: 2 * time.Second, ackWait: 2 * time.Second, Replicas: 3, Prefix: fmt.Sprintf("it.p%d", prefixes.Add(1))}
		return topictest.Backend{
			Open: func(t *testing.T) topics.Broker {
				opts := options
				opts.URL = servers[0].url() + "," + servers[1].url()
				return open(t, opts)
			},
			OpenCut: func(t *testing.T) (topics.Broker, topictest.Cutter) {
				proxy := topictest.NewProxy(t, servers[2].addr, headerBatchCommit, `"batch":"`)
				opts := options
				opts.URL = "nats://" + proxy.Addr()
				return open(t, opts), proxy
			},
		}
	}})
}
