package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	kafkago "github.com/segmentio/kafka-go"
)

// subscription is one call of Subscribe.
type subscription struct {
	s      *Subscriber
	client *client
	topic  string
	out    chan *message.Message

	ctx    context.Context // Subscribe's, which every message's is made of
	ending context.Context // ends with ctx or Close: nothing more is delivered
	end    context.CancelFunc
	stop   func() bool

	ends  map[partition]int64 // where the partitions ended when Subscribe was called; nil where what has no place is read from its start
	group *group              // nil: none
}

// errNoTopic says that a topic does not exist.
var errNoTopic = errors.New("there is no such topic")

// find looks at the topic, and whether the group may be used.
func (b *subscription) find(ctx context.Context) error {
	places, err := b.client.layout(ctx)
	if err != nil {
		return err
	}
	if len(places) == 0 {
		return finalError{errNoTopic}
	}
	if b.s.how.OnlyNew {
		if b.ends, err = b.client.offsets(ctx, uncommitted, everywhere(places, atEnd)); err != nil {
			return err
		}
	}
	if b.s.how.Group == "" {
		return nil
	}
	b.group = newGroup(b)
	stored, err := b.group.places(ctx, places)
	if len(stored) > 0 {
		b.ends = nil // the group is not new: where it has no place a partition was added
	}
	return err
}

// finalError is no answer of the cluster, and is still not tried again.
type finalError struct{ error }

func (e finalError) Unwrap() []error { return []error{e.error, kafkago.InvalidTopic} }

// explain says what a failure means and what to do.
func (s *Subscriber) explain(c *client, topic string, err error) error {
	switch {
	case errors.Is(err, errNoTopic):
		return fmt.Errorf("there is no such topic on Kafka at %s: make it (kafka-topics.sh --bootstrap-server %s --create --topic %s)", c.where, c.where, topic)
	case errors.Is(err, kafkago.TopicAuthorizationFailed):
		return fmt.Errorf("this user may not read the topic on Kafka at %s: give it Read and Describe: %w", c.where, err)
	case errors.Is(err, kafkago.GroupAuthorizationFailed):
		return fmt.Errorf("this user may not be in group %s on Kafka at %s: give it Read on the group: %w", s.how.Group, c.where, err)
	}
	return fmt.Errorf("Kafka at %s: %w", c.where, err) //nolint:staticcheck // it is a name
}

// run delivers until the subscription ends.
func (b *subscription) run() {
	defer b.forget()
	defer close(b.out)
	if b.group != nil {
		b.group.run()
		return
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		start, err := b.everyStart()
		if err == nil {
			newHandout(b.ending, b, nil).run(start)
			return
		}
		if !pause(b.ending, wait) {
			return
		}
	}
}

// everyStart is where all partitions are begun.
func (b *subscription) everyStart() (map[partition]int64, error) {
	places, err := b.client.layout(b.ending)
	if err != nil {
		return nil, err
	}
	return b.starts(b.ending, places)
}

// starts is where partitions are begun in which there is no place yet.
func (b *subscription) starts(ctx context.Context, places map[partition]int32) (map[partition]int64, error) {
	if b.ends == nil {
		return b.client.offsets(ctx, uncommitted, everywhere(places, atStart))
	}
	start := make(map[partition]int64, len(places))
	for p := range places {
		start[p] = b.ends[p] // one that is new begins at 0
	}
	return start, nil
}

// forget ends what the subscription holds.
func (b *subscription) forget() {
	b.stop()
	b.end()
	b.client.close()
}

// trouble tells that something goes wrong and is tried again: once as a warning.
func (b *subscription) trouble(told *bool, what string, err error) {
	level := slog.LevelDebug
	if !*told {
		level, *told = slog.LevelWarn, true
	}
	b.s.log.Log(context.Background(), level, what, "topic", b.topic, "group", b.s.how.Group, "error", err.Error())
}

// backoff is how long a message rests after so many deliveries.
func (b *subscription) backoff(deliveries int) time.Duration {
	rests := b.s.how.Backoff
	return rests[min(deliveries, len(rests))-1]
}
