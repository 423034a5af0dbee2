package kafka

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
)

// coordinator asks the broker that keeps the transactions of an id, or the
// members of a group. Which one that is is asked once, where kafka-go would ask
// before each request. It may be used concurrently.
type coordinator struct {
	client *client
	kind   kafkago.CoordinatorKeyType
	key    string
	broker atomic.Int32 // -1: to be asked for
}

func newCoordinator(c *client, kind kafkago.CoordinatorKeyType, key string) *coordinator {
	co := &coordinator{client: c, kind: kind, key: key}
	co.lookAgain()
	return co
}

// lookAgain has the next request ask which broker it is.
func (co *coordinator) lookAgain() { co.broker.Store(-1) }

// ask sends a request in at most the given version of it.
func (co *coordinator) ask(ctx context.Context, newest int16, request protocol.Message) (protocol.Message, error) {
	return co.askWithin(ctx, co.client.wait, newest, request)
}

func (co *coordinator) askWithin(ctx context.Context, wait time.Duration, newest int16, request protocol.Message) (protocol.Message, error) {
	broker := co.broker.Load()
	if broker < 0 {
		answer, err := co.client.do(ctx, &findcoordinator.Request{Key: co.key, KeyType: int8(co.kind)})
		if err != nil {
			return nil, fmt.Errorf("finding the coordinator: %w", err)
		}
		found := answer.(*findcoordinator.Response)
		if found.ErrorCode != 0 {
			return nil, fmt.Errorf("finding the coordinator: %w", failed(found.ErrorCode))
		}
		broker = found.NodeID
		co.broker.Store(broker)
	}
	answer, err := co.client.doWithin(ctx, wait, &directed{Message: request, broker: broker, newest: newest})
	if err != nil {
		co.lookAgain() // it may be gone for good
	}
	return answer, err
}

// directed is a request for one broker, in a version of our choice.
type directed struct {
	protocol.Message
	broker  int32
	newest  int16
	version int16
}

// Broker implements [protocol.BrokerMessage].
func (d *directed) Broker(c protocol.Cluster) (protocol.Broker, error) {
	if b, ok := c.Brokers[d.broker]; ok {
		return b, nil
	}
	return protocol.Broker{}, kafkago.NotCoordinatorForGroup
}

// Required and RawExchange implement [protocol.RawExchanger]: kafka-go would
// write this type, where the broker is to read the request within.
func (d *directed) Required(versions map[protocol.ApiKey]int16) bool {
	d.version = min(versions[d.ApiKey()], d.newest)
	return true
}

// RawExchange sends the request within.
func (d *directed) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if m, ok := d.Message.(protocol.PreparedMessage); ok {
		m.Prepare(d.version)
	}
	return protocol.RoundTrip(rw, d.version, 1, "millrace", d.Message)
}
