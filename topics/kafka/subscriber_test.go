package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func subscribed(t *testing.T, ctx context.Context, s *Subscriber, topic string) <-chan *message.Message { //nolint:revive // t first, as in all helpers
	t.Helper()
	messages, err := s.Subscribe(ctx, topic)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return messages
}

func received(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-messages:
		if !ok {
			t.Fatal("the subscription has ended")
		}
		return m
	case <-time.After(readPatience):
		t.Fatal("no message comes")
	}
	return nil
}

// TestSubscribeOnlyNew reads what is stored after Subscribe has returned, in a
// group however long it takes to join, and not what was there before.
func TestSubscribeOnlyNew(t *testing.T) {
	cluster := readCluster(t, 3, []string{"sms"})
	opts := Options{Brokers: cluster.ListenAddrs()}
	c := writer(t, opts.Brokers, "")
	for p := range int32(3) {
		write(t, c, smsTopic, p, "old")
	}
	for _, group := range []string{"", "g"} {
		how := shortly(group)
		how.OnlyNew = true
		s := newSubscriber(t, opts, how)
		messages := subscribed(t, t.Context(), s, smsTopic)
		for p := range int32(3) {
			write(t, c, smsTopic, p, "new for "+group)
		}
		for range 3 {
			m := received(t, messages)
			if string(m.Payload) != "new for "+group {
				t.Errorf("group %q: read %q", group, m.Payload)
			}
			m.Ack()
		}
		s.Close()
	}
	// A group that has a place keeps it.
	how := shortly("g")
	how.OnlyNew = true
	for p := range int32(3) {
		write(t, c, smsTopic, p, "meanwhile")
	}
	s := newSubscriber(t, opts, how)
	messages := subscribed(t, t.Context(), s, smsTopic)
	for range 3 {
		m := received(t, messages)
		if string(m.Payload) != "meanwhile" {
			t.Errorf("read %q", m.Payload)
		}
		m.Ack()
	}
	s.Close()
	// And it reads all of a partition that was added while no member was there.
	growTopic(t, opts.Brokers[0], smsTopic, 4)
	write(t, writer(t, opts.Brokers, ""), smsTopic, 3, "added")
	m := received(t, subscribed(t, t.Context(), newSubscriber(t, opts, how), smsTopic))
	if string(m.Payload) != "added" {
		t.Errorf("read %q", m.Payload)
	}
	m.Ack()
}

// TestSubscribePosition tells where a message lies, and passes over what was
// aborted.
func TestSubscribePosition(t *testing.T) {
	cluster := readCluster(t, 2, []string{"sms"})
	tx := writer(t, cluster.ListenAddrs(), "tx")
	for _, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		beginTx(t, tx)
		write(t, tx, smsTopic, 1, "a", "b")
		endTx(t, tx, commit)
	}
	messages := subscribed(t, t.Context(), newSubscriber(t, Options{Brokers: cluster.ListenAddrs()}, shortly("")), smsTopic)
	for offset := range int64(2) {
		m := received(t, messages)
		at, ok := PositionOf(m.Context())
		if !ok || at.Topic != smsTopic || at.Partition != 1 || at.Offset != 3+offset || time.Since(at.Stored) > time.Minute {
			t.Errorf("%q is at %+v, %v", m.Payload, at, ok)
		}
		m.Ack()
	}
	if _, ok := PositionOf(t.Context()); ok {
		t.Error("any context has a position")
	}
}

// TestSubscribeStoresPlaces stores a group's place while it reads, behind what is
// no message too.
func TestSubscribeStoresPlaces(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	tx := writer(t, cluster.ListenAddrs(), "tx")
	beginTx(t, tx)
	write(t, tx, smsTopic, 0, "a", "b", "c")
	endTx(t, tx, kgo.TryCommit)
	messages := subscribed(t, t.Context(), newSubscriber(t, Options{Brokers: cluster.ListenAddrs()}, shortly("g")), smsTopic)
	place := func(want int64) {
		t.Helper()
		for until := time.Now().Add(readPatience); ; {
			got := int64(-1)
			request := kmsg.NewPtrOffsetFetchRequest()
			request.Group = "g"
			group := kmsg.NewOffsetFetchRequestGroup()
			group.Group = "g"
			request.Groups = append(request.Groups, group)
			answer, err := request.RequestWith(t.Context(), tx)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range answer.Groups {
				for _, topic := range g.Topics {
					got = topic.Partitions[0].Offset
				}
			}
			if got == want {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("the place is %d, want %d", got, want)
			}
		}
	}
	place(0)
	received(t, messages).Ack()
	received(t, messages).Ack()
	held := received(t, messages)
	place(2)
	held.Ack()
	place(4) // behind the marker of the commit
}

// TestSubscribeBackoff lets a message that is refused rest longer each time.
func TestSubscribeBackoff(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	write(t, writer(t, cluster.ListenAddrs(), ""), smsTopic, 0, "a", "b")
	how := shortly("g")
	how.Backoff = []time.Duration{20 * time.Millisecond, 80 * time.Millisecond}
	messages := subscribed(t, t.Context(), newSubscriber(t, Options{Brokers: cluster.ListenAddrs()}, how), smsTopic)
	m := received(t, messages)
	uuid := m.UUID
	for _, rest := range []time.Duration{20 * time.Millisecond, 80 * time.Millisecond, 80 * time.Millisecond} {
		m.Metadata["changed"] = "yes"
		at := time.Now()
		m.Nack()
		m = received(t, messages)
		if took := time.Since(at); took < rest || m.UUID != uuid || string(m.Payload) != "a" || m.Metadata["changed"] != "" {
			t.Errorf("%s %q %v came after %v, want it after %v", m.UUID, m.Payload, m.Metadata, took, rest)
		}
	}
	m.Ack()
	if m = received(t, messages); string(m.Payload) != "b" {
		t.Errorf("read %q", m.Payload)
	}
}

func TestSubscribeRefused(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	opts := Options{Brokers: cluster.ListenAddrs(), requestWait: time.Second}
	refuse := func(key kmsg.Key, err *kerr.Error) func() {
		f := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Count: -1, Err: err, TopLevel: key == kmsg.OffsetFetch})
		return f.Remove
	}
	none := func() func() { return func() {} }
	for _, test := range []struct {
		topic, group, want string
		refuse             func() func()
	}{
		{"not-there", "", "--create --topic not-there", none},
		{"millrace._state", "", "keeps for itself", none},
		{smsTopic, "g", "give it Read on the group", func() func() { return refuse(kmsg.OffsetFetch, kerr.GroupAuthorizationFailed) }},
		{smsTopic, "", "give it Read and Describe", func() func() { return refuse(kmsg.ListOffsets, kerr.TopicAuthorizationFailed) }},
	} {
		done := test.refuse()
		how := shortly(test.group)
		how.OnlyNew = true
		_, err := newSubscriber(t, opts, how).Subscribe(t.Context(), test.topic)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.topic) {
			t.Errorf("%s: got %v, want %q in it", test.topic, err, test.want)
		}
		done()
	}
	if _, err := NewSubscriber(Options{}, SubscriberOptions{}); err == nil {
		t.Error("a subscriber without brokers is made")
	}
	if _, err := NewSubscriber(Options{Brokers: opts.Brokers, Mechanism: "telepathy"}, SubscriberOptions{}); err == nil {
		t.Error("a subscriber with an unknown way to log in is made")
	}
}

// TestSubscribeChanging has members come and go, and answers fail, while keys are
// written: nothing is missing, and no message is first seen before an earlier one
// of its key.
func TestSubscribeChanging(t *testing.T) {
	cluster := readCluster(t, 4, []string{"sms"}, kfake.NumBrokers(3), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	opts := Options{Brokers: cluster.ListenAddrs(), requestWait: 2 * time.Second}
	p := newPublisher(t, opts)
	const keys, total = 12, 3000
	o := &observed{next: map[string]int{}, enough: make(chan struct{}), want: total}
	var members sync.WaitGroup
	defer members.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 {
		members.Go(func() {
			for ctx.Err() == nil {
				o.member(t, ctx, opts, 200+rand.IntN(300))
			}
		})
	}
	faults := []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.RebalanceInProgress}
	for n := 0; n < total; {
		var list []*message.Message
		for range 100 {
			m := message.NewMessage("", fmt.Append(nil, n/keys))
			m.Metadata[attributeKey] = fmt.Sprint("key", n%keys)
			list = append(list, m)
			n++
		}
		if err := p.Publish(smsTopic, list...); err != nil {
			t.Fatal(err)
		}
		switch rand.IntN(4) {
		case 0:
			cluster.ShufflePartitionLeaders()
		case 1:
			cluster.RehashCoordinators()
		default:
			key := []kmsg.Key{kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.Heartbeat, kmsg.JoinGroup}[rand.IntN(4)]
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: faults[rand.IntN(len(faults))]})
		}
	}
	select {
	case <-o.enough:
	case <-time.After(2 * readPatience):
		t.Errorf("%d of %d messages came", o.seen, total)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, wrong := range o.wrong {
		t.Error(wrong)
	}
	if o.again > total/2 {
		t.Errorf("%d messages came again", o.again)
	}
}

// observed is what all members have seen together.
type observed struct {
	mu     sync.Mutex
	next   map[string]int // by key
	seen   int
	again  int
	want   int
	wrong  []string
	enough chan struct{}
}

// member handles some messages and leaves.
func (o *observed) member(t *testing.T, ctx context.Context, opts Options, count int) { //nolint:revive // t first, as in all helpers
	s, err := NewSubscriber(opts, shortly("g"))
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	messages, err := s.Subscribe(ctx, smsTopic)
	if err != nil {
		return
	}
	for ; count > 0; count-- {
		var m *message.Message
		select {
		case m = <-messages:
		case <-ctx.Done():
		}
		if m == nil {
			return
		}
		o.note(m)
		m.Ack()
	}
}

func (o *observed) note(m *message.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key, n := m.Metadata[attributeKey], 0
	fmt.Sscan(string(m.Payload), &n)
	switch next := o.next[key]; {
	case n == next:
		o.next[key]++
		if o.seen++; o.seen == o.want {
			close(o.enough)
		}
	case n < next:
		o.again++
	case !slices.Contains(o.wrong, key):
		o.wrong = append(o.wrong, fmt.Sprintf("%s: %d came, and %d had not come", key, n, next))
	}
}

// TestSubscribeRemembers does not handle again what it could not tell the group,
// when it comes back to the same partition.
func TestSubscribeRemembers(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"}, kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	write(t, writer(t, cluster.ListenAddrs(), ""), smsTopic, 0, "a", "b", "c")
	messages := subscribed(t, t.Context(), newSubscriber(t, Options{Brokers: cluster.ListenAddrs(), requestWait: time.Second}, shortly("g")), smsTopic)
	first := received(t, messages)
	commits := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Err: kerr.IllegalGeneration})
	first.Ack()
	received(t, messages).Ack()
	third := received(t, messages)
	beats := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Count: 2, Err: kerr.RebalanceInProgress})
	if err := beats.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	<-third.Context().Done() // it had its time
	if err := commits.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	commits.Remove()
	m := received(t, messages)
	if string(m.Payload) != "c" {
		t.Errorf("%q comes after the group has gathered anew, want c", m.Payload)
	}
	m.Ack()
}

// TestSubscribeToANewTopic waits a moment for a topic that has just been made.
func TestSubscribeToANewTopic(t *testing.T) {
	cluster := readCluster(t, 1, nil)
	asked := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Count: -1, Observe: true})
	var made sync.WaitGroup
	defer made.Wait()
	made.Go(func() {
		_ = asked.Wait(context.Background(), 1)
		if err := cluster.CreateTopic(smsTopic, 1, nil); err != nil {
			t.Error(err)
		}
	})
	messages := subscribed(t, t.Context(), newSubscriber(t, Options{Brokers: cluster.ListenAddrs()}, shortly("g")), smsTopic)
	write(t, writer(t, cluster.ListenAddrs(), ""), smsTopic, 0, "x")
	received(t, messages).Ack()
}
