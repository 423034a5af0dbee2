package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// What a user may do to a topic, as bits of Kafka's operations of ACLs.
const (
	mayRead  = 1 << 3
	mayWrite = 1 << 4
	unknown  = -1 << 31 // the broker does not tell
)

// checkRights asks for what a stream needs, so that what it would fail with is
// found before anything is read: rights on topics that are there, on transactional
// ids, of which it takes one that no stream has, and on groups.
func (b *Broker) checkRights(ctx context.Context) error {
	if err := b.checkTopicRights(ctx); err != nil {
		return b.explain(err)
	}
	if err := newProducer(b.client, b.names.check(), b.opts.TransactionTimeout).init(ctx, -1, -1, true); err != nil {
		return b.explain(err)
	}
	return b.explain(b.checkGroupRights(ctx))
}

// checkGroupRights gives a sign of life for a member that is in no group: nothing
// changes by it, and whoever may not read groups is told so. No other answer is
// about rights.
func (b *Broker) checkGroupRights(ctx context.Context) error {
	group := newCoordinator(b.client, kafkago.CoordinatorKeyTypeConsumer, b.names.check())
	err := b.client.patiently(ctx, func() error {
		answer, err := group.ask(ctx, beatVersion, &heartbeat.Request{GroupID: b.names.check(), MemberID: "nobody"})
		if err == nil {
			err = failed(answer.(*heartbeat.Response).ErrorCode)
			group.lookAgain()
		}
		return err
	})
	if errors.Is(err, kafkago.GroupAuthorizationFailed) {
		return fmt.Errorf("this user may not Read group %s: %w", b.names.check(), err)
	}
	return ctx.Err()
}

func (b *Broker) checkTopicRights(ctx context.Context) error {
	var told *metadata.Response
	asked := 0
	err := b.client.patiently(ctx, func() (err error) {
		told, err = b.askRights(ctx, asked)
		asked++
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range told.Topics {
		may := t.TopicAuthorizedOperations
		if t.ErrorCode != 0 || may == 0 || may == unknown {
			continue
		}
		needs := map[string]int32{"Write": mayWrite}
		if slices.Contains([]string{b.names.state(), b.names.ops()}, t.Name) {
			needs["Read"] = mayRead
		}
		for right, bit := range needs {
			if may&bit == 0 {
				return fmt.Errorf("this user may not %s topic %s: %w", right, t.Name, kafkago.TopicAuthorizationFailed)
			}
		}
	}
	return nil
}

// askRights asks a broker what this user may do: each time another one, as one that
// has just died is still named.
func (b *Broker) askRights(ctx context.Context, nth int) (*metadata.Response, error) {
	known, err := b.client.do(ctx, &metadata.Request{})
	if err != nil {
		return nil, err
	}
	brokers := known.(*metadata.Response).Brokers
	if len(brokers) == 0 {
		return nil, kafkago.BrokerNotAvailable
	}
	request := &metadata.Request{TopicNames: b.names.known(), IncludeTopicAuthorizedOperations: true}
	answer, err := b.client.do(ctx, &rightsRequest{directed{Message: request, broker: brokers[nth%len(brokers)].NodeID, newest: 8}})
	if err != nil {
		return nil, err
	}
	return answer.(rightsAnswer).Message.(*metadata.Response), nil
}

// rightsRequest is a request for metadata that a broker answers: kafka-go would answer
// what it remembers, and takes no answer that looks like what it asks itself.
type rightsRequest struct{ directed }

// RawExchange sends the request within.
func (a *rightsRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	answer, err := a.directed.RawExchange(rw)
	if err != nil {
		return nil, err
	}
	return rightsAnswer{answer}, nil
}

type rightsAnswer struct{ protocol.Message }
