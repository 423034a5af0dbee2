package kafka

import (
	"context"
	"net"
	"syscall"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// deaf does not reach the broker that is asked for rights first.
type deaf struct {
	kafkago.RoundTripper
	broker int32 // -1: none was asked
}

func (d *deaf) RoundTrip(ctx context.Context, addr net.Addr, r kafkago.Request) (kafkago.Response, error) {
	if asked, ok := r.(*rightsRequest); ok {
		if d.broker < 0 {
			d.broker = asked.broker
		}
		if asked.broker == d.broker {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
	}
	return d.RoundTripper.RoundTrip(ctx, addr, r)
}

// A broker that has just died, and is still named, does not keep a service from
// starting.
func TestRightsAreAskedOfWhoAnswers(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	b := open(t, Options{Brokers: cluster.ListenAddrs()})
	d := &deaf{RoundTripper: b.client.trip, broker: -1}
	b.client.trip = d
	if err := b.checkRights(t.Context()); err != nil || d.broker < 0 {
		t.Errorf("broker %d was asked in vain: %v", d.broker, err)
	}
}
