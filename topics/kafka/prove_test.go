package kafka

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kfake"
)

// inside notes from where a topic is read while a transaction is open.
type inside struct {
	kafkago.RoundTripper
	topic string

	mu    sync.Mutex
	open  bool
	first int64 // -1: it was not read
}

// reset returns from where it was read first since the last reset.
func (i *inside) reset() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	first := i.first
	i.first = -1
	return first
}

func (i *inside) RoundTrip(ctx context.Context, addr net.Addr, r kafkago.Request) (kafkago.Response, error) {
	i.mu.Lock()
	if d, ok := r.(*directed); ok {
		switch d.ApiKey() {
		case protocol.AddPartitionsToTxn:
			i.open = true
		case protocol.EndTxn:
			i.open = false
		}
	}
	if f, ok := r.(*fetch.Request); ok && i.open && i.first < 0 && f.Topics[0].Topic == i.topic {
		i.first = f.Topics[0].Partitions[0].FetchOffset
	}
	i.mu.Unlock()
	return i.RoundTripper.RoundTrip(ctx, addr, r)
}

// A stream whose first commit comes late does not read all that others wrote
// meanwhile while its transaction is open: it would outlast its time.
func TestFirstCommitComesLate(t *testing.T) {
	t.Parallel()
	cluster := fake(t, kfake.NumBrokers(1))
	b := open(t, Options{Brokers: cluster.ListenAddrs(), session: fakeSession})
	in := &inside{RoundTripper: b.client.trip, topic: b.names.state()}
	b.client.trip = in
	s := begin(t, b, testKey, "a")
	n := 0
	for statePartition(streamKey(fmt.Sprint(n))) != s.home.id {
		n++
	}
	other := begin(t, b, streamKey(fmt.Sprint(n)), "a")
	for i := range 5 {
		commit(t, other, numbered(other.key, i, 1))
	}
	end, err := b.client.offset(t.Context(), s.home.topic, s.home.id, atEnd, uncommitted)
	if err != nil {
		t.Fatal(err)
	}
	in.reset()
	commit(t, s, numbered(testKey, 0, 1))
	if first := in.reset(); first < end {
		t.Errorf("while the transaction is open the state is read from %d, and it ended at %d before", first, end)
	}
}
