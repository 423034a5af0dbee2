package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeats waits until the cluster has got n more signs of life.
func heartbeats(t *testing.T, cluster *kfake.Cluster, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Observe: true, Count: -1})
	defer seen.Remove()
	if err := seen.Wait(ctx, n); err != nil {
		t.Fatalf("%d signs of life, want %d", seen.Hits(), n)
	}
}

func wantHeld(t *testing.T, s *stream) {
	t.Helper()
	select {
	case <-s.Lost():
		t.Fatal("the stream is lost")
	default:
	}
}

// The broker that keeps the group is gone, with all connections to it: another
// one keeps it from then on.
func TestLeaseFollowsItsCoordinator(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	w := new(wire)
	b := open(t, Options{Brokers: cluster.ListenAddrs(), dial: w.dial, session: fakeSession})
	s := begin(t, b, testKey, "a")
	heartbeats(t, cluster, 1)
	node := cluster.CoordinatorFor(b.names.hold(testKey))
	addr := b.client.addressOf(t, node)
	if err := cluster.RemoveNode(node); err != nil {
		t.Fatal(err)
	}
	w.remove(addr)
	heartbeats(t, cluster, 8) // two sessions long
	wantHeld(t, s)
	commit(t, s, numbered(testKey, 0, 10))
	s.Release()
	s = begin(t, b, testKey, "b")
	commit(t, s, numbered(testKey, 1, 10))
}

// Whoever gets the stream after a long wait has it for sure.
func TestLeaseAfterALongWait(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	opts := Options{Brokers: cluster.ListenAddrs(), session: fakeSession}
	first, b := begin(t, open(t, opts), testKey, "a"), open(t, opts)
	waiting := make(chan struct{})
	got := make(chan *stream, 1)
	go func() {
		s, err := b.Acquire(t.Context(), testKey, "b", func(string) { close(waiting) })
		if err != nil {
			t.Error(err)
		}
		got <- s.(*stream)
	}()
	waitFor(t, "the second waits", waiting)
	heartbeats(t, cluster, 10) // of both: more than a session
	first.Release()
	if s := <-got; !s.lease.sure() {
		t.Error("it is not sure that it has the stream")
	}
}

// A member that dies while the group forms anew holds it up for a session. Whoever
// has the stream keeps it.
func TestMemberDiesWhileJoining(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	opts := Options{Brokers: cluster.ListenAddrs(), session: fakeSession}
	held := begin(t, open(t, opts), testKey, "a")
	b := open(t, opts)
	dying := rawMember(b, "dying")
	if _, err := dying.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := b.Acquire(ctx, testKey, "c", func(holder string) {
			if holder != "a" {
				t.Errorf("%s has the stream", holder)
			}
			close(waiting)
		})
		ended <- err
	}()
	for dying.beat(t.Context()) == nil { // until the group forms anew
		if !pause(t.Context(), 10*time.Millisecond) {
			return
		}
	}
	waitFor(t, "the third waits", waiting)
	heartbeats(t, cluster, 6)
	wantHeld(t, held)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("acquire ended with %v", err)
	}
}

// rawMember is a member of the group of [testKey] that does only what it is told.
func rawMember(b *Broker, term string) *lease {
	group := b.names.hold(testKey)
	return &lease{
		coordinator: newCoordinator(b.client, kafkago.CoordinatorKeyTypeConsumer, group), group: group,
		s: &stream{b: b, owner: term, term: term},
	}
}

// The group's leader decides. When it gives the stream to another, whoever has
// had it is told.
func TestLeaderGivesTheStreamAway(t *testing.T) {
	cluster := fake(t)
	opts := Options{Brokers: cluster.ListenAddrs(), session: fakeSession}
	leader := rawMember(open(t, opts), "leader")
	give := func(term string) error {
		joined, err := leader.enter(t.Context())
		if err != nil {
			return err
		}
		request := &syncgroup.Request{GroupID: leader.group, GenerationID: leader.turn, MemberID: leader.member}
		for _, m := range joined.Members {
			var c claim
			if err := json.Unmarshal(m.Metadata, &c); err != nil {
				return err
			}
			if term == "" && c.Owner != "leader" {
				term = c.Term
			}
			request.Assignments = append(request.Assignments, syncgroup.RequestAssignment{MemberID: m.MemberID})
		}
		told, _ := json.Marshal(grant{Term: term})
		for i := range request.Assignments {
			request.Assignments[i].Assignment = told
		}
		answer, err := leader.ask(t.Context(), syncVersion, request)
		if err != nil {
			return err
		}
		return failed(answer.(*syncgroup.Response).ErrorCode)
	}
	if err := give("leader"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan *stream, 1)
	b := open(t, opts)
	go func() {
		s, err := b.Acquire(ctx, testKey, "a", nil)
		if err != nil {
			t.Error(err)
		}
		got <- s.(*stream)
	}()
	defer cancel()
	for leader.beat(t.Context()) == nil {
		if !pause(t.Context(), 10*time.Millisecond) {
			return
		}
	}
	if err := give(""); err != nil { // the other has joined
		t.Fatal(err)
	}
	s := <-got
	wantHeld(t, s)
	if err := give("leader"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it is told", s.Lost())
}

// An Acquire that ends early leaves no member behind, which others would have to
// wait for.
func TestAcquireCancelled(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	w := new(wire)
	opts := Options{Brokers: cluster.ListenAddrs(), session: 10 * time.Second}
	held := begin(t, open(t, opts), testKey, "a")
	opts.dial = w.dial
	b := open(t, opts)
	for name, key := range map[string]protocol.ApiKey{"finding": protocol.FindCoordinator, "joining": protocol.JoinGroup, "learning": protocol.SyncGroup, "waiting": protocol.Heartbeat} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		met := w.once(key, pass)
		ended := make(chan error)
		go func() {
			_, err := b.Acquire(ctx, testKey, "b", nil)
			ended <- err
		}()
		waitFor(t, name, met)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: it ended with %v", name, err)
		}
		wantMembers(t, cluster, b.names.hold(testKey), 1)
	}
	wantHeld(t, held)
}

// wantMembers waits for a group to have so many members, for less than a member
// that is not heard of any more would live.
func wantMembers(t *testing.T, cluster *kfake.Cluster, group string, want int) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		request := kmsg.NewPtrDescribeGroupsRequest()
		request.Groups = []string{group}
		answer, err := request.RequestWith(ctx, c)
		if err == nil && len(answer.Groups[0].Members) == want {
			return
		}
		if !pause(ctx, 20*time.Millisecond) {
			t.Fatalf("the group has %d members, want %d (%v)", len(answer.Groups[0].Members), want, err)
		}
	}
}

// addressOf returns where a broker listens.
func (c *client) addressOf(t *testing.T, node int32) string {
	t.Helper()
	answer, err := c.do(t.Context(), &metadata.Request{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range answer.(*metadata.Response).Brokers {
		if b.NodeID == node {
			return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		}
	}
	t.Fatalf("there is no broker %d", node)
	return ""
}
