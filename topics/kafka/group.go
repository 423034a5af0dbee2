package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

const (
	// commitEvery is how often the group's places are stored.
	commitEvery = time.Second
	// commitLast is how long it is tried to store them when a subscription ends,
	// commitTurn when it goes on: then it remembers them.
	commitLast = 5 * time.Second
	commitTurn = time.Second
	// offsetsVersion is the newest version of the requests for places that needs
	// nothing which we do not know.
	offsetsVersion = 5
	// leaveLook is how often a member that wants to leave looks whether kafka-go
	// lets it.
	leaveLook = time.Second
)

// group is a subscription's membership in its consumer group. kafka-go joins and
// gives signs of life; places are stored by us, since kafka-go would give up at
// the first lost connection.
type group struct {
	*subscription
	coordinator *coordinator
	open        *connections
	known       map[partition]progress // of partitions that were ours
}

// progress is how far a partition was handled, and what the group knew of it.
type progress struct{ acked, stored int64 }

func newGroup(b *subscription) *group {
	return &group{
		subscription: b,
		coordinator:  newCoordinator(b.client, kafkago.CoordinatorKeyTypeConsumer, b.s.how.Group),
		open:         newConnections(b.client.wait/2, nil),
		known:        map[partition]progress{},
	}
}

// run takes part in the group until the subscription ends.
func (g *group) run() {
	defer g.open.end()
	members, err := g.join()
	if err != nil { // the configuration: it has been checked
		g.s.log.Error("a subscription cannot begin", "topic", g.topic, "group", g.s.how.Group, "error", err.Error())
		return
	}
	var turns sync.WaitGroup
	told := false
	for {
		generation, err := members.Next(g.ending)
		if g.ending.Err() != nil {
			break
		}
		if err != nil {
			g.trouble(&told, "joining a consumer group failed; it is tried again", err)
			continue
		}
		told = false
		turns.Add(1)
		generation.Start(func(ctx context.Context) {
			defer turns.Done()
			g.turn(ctx, generation)
		})
	}
	g.leave(members)
	turns.Wait()
}

func (g *group) join() (*kafkago.ConsumerGroup, error) {
	mechanism, err := login(&g.s.opts)
	if err != nil {
		return nil, err
	}
	how := &g.s.how
	return kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID: how.Group, Brokers: g.s.opts.Brokers, Topics: []string{g.topic},
		Dialer: &kafkago.Dialer{
			ClientID: g.client.transport.ClientID, DialFunc: g.open.dial, Timeout: g.client.wait / 2,
			TLS: g.s.opts.TLS, SASLMechanism: mechanism,
		},
		SessionTimeout: how.Session, HeartbeatInterval: how.Session / 10, Timeout: g.client.wait / 2,
		// Members that must give partitions away have time to handle what they have.
		RebalanceTimeout:      max(how.Session, how.CloseTimeout+5*time.Second),
		WatchPartitionChanges: true, JoinGroupBackoff: retryMost,
		ErrorLogger: kafkago.LoggerFunc(func(format string, args ...any) {
			g.s.log.Debug("consumer group", "group", how.Group, "topic", g.topic, "what", fmt.Sprintf(format, args...))
		}),
	})
}

// leave leaves the group and waits for kafka-go. One that is joining waits for
// the other members, and none of them may be slower than this; where one is, its
// connection is cut, and the group will miss a member that it does not know yet.
func (g *group) leave(members *kafkago.ConsumerGroup) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = members.Close()
	}()
	late := time.Now().Add(g.s.how.CloseTimeout + g.s.how.Session)
	tick := time.NewTicker(leaveLook)
	defer tick.Stop()
	for {
		select {
		case <-left:
			return
		case <-tick.C:
			if time.Now().After(late) {
				g.open.endOlder(leaveLook)
			}
		}
	}
}

// turn delivers the partitions of one generation.
func (g *group) turn(over context.Context, generation *kafkago.Generation) {
	ctx, cancel := context.WithCancel(g.ending)
	defer cancel()
	stop := context.AfterFunc(over, cancel)
	defer stop()
	mine := map[partition]int32{}
	for _, p := range generation.Assignments[g.topic] {
		mine[partition{g.topic, int32(p.ID)}] = 0
	}
	t := &turn{group: g, id: generation.ID, member: generation.MemberID}
	start, ok := t.begin(ctx, mine)
	if !ok {
		return
	}
	h := newHandout(ctx, g.subscription, t.keep)
	var committer sync.WaitGroup
	committer.Go(func() { t.commitNowAndThen(ctx, h) })
	h.run(start)
	committer.Wait()
	t.end(h.places())
}

// turn is one generation of the group, as far as it is ours.
type turn struct {
	*group
	id     int32
	member string
	stored map[partition]int64 // what the group has as our places
}

// begin finds where to go on.
func (t *turn) begin(ctx context.Context, mine map[partition]int32) (start map[partition]int64, ok bool) {
	told := false
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		stored, err := t.places(ctx, mine)
		if err == nil {
			fresh := map[partition]int32{}
			for p := range mine {
				if _, there := stored[p]; !there {
					fresh[p] = 0
				}
			}
			if start, err = t.starts(ctx, fresh); err == nil {
				t.stored = stored
				for p, at := range stored {
					start[p] = at
					// What we could not tell when the cluster was away is still true,
					// unless another has handled it since.
					if known, ours := t.known[p]; ours && known.stored == at {
						start[p] = max(at, known.acked)
					}
				}
				// A group that begins with what is new has a place from now on.
				if err = t.commitPatiently(ctx, start); err == nil {
					return start, true
				}
			}
		}
		if ctx.Err() != nil {
			return nil, false
		}
		t.coordinator.lookAgain()
		t.trouble(&told, "the place of a consumer group cannot be read; it is tried again", err)
		if lost(err) || !pause(ctx, wait) {
			return nil, false
		}
	}
}

// end stores the last places.
func (t *turn) end(at map[partition]int64) {
	wait := commitTurn
	if t.ending.Err() != nil {
		wait = commitLast
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := t.commitPatiently(ctx, at); err != nil {
		t.s.log.Warn("what was acknowledged last could not be told to the consumer group: it may come again",
			"group", t.s.how.Group, "topic", t.topic, "error", err.Error())
	}
	clear(t.known)
	for p, offset := range at {
		if stored, there := t.stored[p]; there {
			t.known[p] = progress{acked: offset, stored: stored}
		}
	}
}

// lost says whether an error is that the group goes on without us.
func lost(err error) bool {
	return errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.IllegalGeneration)
}

// commitNowAndThen stores places until the turn ends.
func (t *turn) commitNowAndThen(ctx context.Context, h *handout) {
	told := false
	for pause(ctx, commitEvery) {
		if err := t.commit(ctx, h.places()); err != nil && ctx.Err() == nil {
			t.coordinator.lookAgain()
			t.trouble(&told, "the place of a consumer group cannot be stored; it is tried again", err)
		} else if err == nil {
			told = false
		}
	}
}

// keep gives signs of life while handlers have time to end, as kafka-go does not
// when the group gathers anew.
func (t *turn) keep(ctx context.Context, h *handout) {
	for {
		answer, err := t.coordinator.ask(ctx, beatVersion, &heartbeat.Request{GroupID: t.s.how.Group, GenerationID: t.id, MemberID: t.member})
		if err == nil {
			err = failed(answer.(*heartbeat.Response).ErrorCode)
		}
		if lost(err) {
			h.giveUp()
			return
		}
		if !pause(ctx, t.s.how.Session/10) {
			return
		}
	}
}

func (t *turn) commitPatiently(ctx context.Context, at map[partition]int64) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := t.commit(ctx, at)
		if err == nil || !again(err) {
			return err
		}
		t.coordinator.lookAgain()
		if !pause(ctx, wait) {
			return err
		}
	}
}

// commit stores the places that have changed.
func (t *turn) commit(ctx context.Context, at map[partition]int64) error {
	request := &offsetcommit.Request{GroupID: t.s.how.Group, GenerationID: t.id, MemberID: t.member, RetentionTimeMs: -1}
	request.Topics = []offsetcommit.RequestTopic{{Name: t.topic}}
	for p, offset := range at {
		if before, there := t.stored[p]; !there || before != offset {
			request.Topics[0].Partitions = append(request.Topics[0].Partitions, offsetcommit.RequestPartition{PartitionIndex: p.id, CommittedOffset: offset, CommittedLeaderEpoch: -1})
		}
	}
	if len(request.Topics[0].Partitions) == 0 {
		return nil
	}
	answer, err := t.coordinator.ask(ctx, offsetsVersion, request)
	if err != nil {
		return err
	}
	for _, topic := range answer.(*offsetcommit.Response).Topics {
		for _, p := range topic.Partitions {
			if err := failed(p.ErrorCode); err != nil {
				return fmt.Errorf("storing the place in %s/%d: %w", topic.Name, p.PartitionIndex, err)
			}
		}
	}
	for p, offset := range at {
		t.stored[p] = offset
	}
	return nil
}

// places are those that the group has stored.
func (g *group) places(ctx context.Context, of map[partition]int32) (map[partition]int64, error) {
	request := &offsetfetch.Request{GroupID: g.s.how.Group, Topics: []offsetfetch.RequestTopic{{Name: g.topic}}}
	for p := range of {
		request.Topics[0].PartitionIndexes = append(request.Topics[0].PartitionIndexes, p.id)
	}
	answer, err := g.coordinator.ask(ctx, offsetsVersion, request)
	if err != nil {
		return nil, err
	}
	r := answer.(*offsetfetch.Response)
	at := map[partition]int64{}
	switch err := failed(r.ErrorCode); {
	case errors.Is(err, kafkago.GroupIdNotFound):
		return at, nil // it is new
	case err != nil:
		return nil, fmt.Errorf("reading the places of the group: %w", err)
	}
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			if err := failed(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("reading the group's place in %s/%d: %w", topic.Name, p.PartitionIndex, err)
			}
			if p.CommittedOffset >= 0 {
				at[partition{topic.Name, p.PartitionIndex}] = p.CommittedOffset
			}
		}
	}
	return at, nil
}
