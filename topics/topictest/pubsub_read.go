package topictest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	pubsub "github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"
)

// testReadOrder interleaves keys: each keeps its order, and nothing is missing
// or there twice.
func testReadOrder(t *testing.T, f feed) {
	const keys, round, rounds = 14, 200, 5
	f.write(t, 0, round, keys)
	_, messages := f.subscribe(t, "g")
	for i := 1; i < rounds; i++ {
		f.write(t, i*round, round, keys)
	}
	last := map[string]int{}
	for range round * rounds {
		msg := next(t, messages)
		n, key := numberOf(t, msg), msg.Metadata["ce_partitionkey"]
		if key != keyOf(n, keys) {
			t.Fatalf("message %d has the key %q, want %q", n, key, keyOf(n, keys))
		}
		before, seen := last[key]
		if seen && n != before+keys || !seen && n >= keys {
			t.Fatalf("%s: %d came after %d", key, n, before)
		}
		last[key] = n
		msg.Ack()
	}
}

// testReadResume lets a group come back: it goes on behind the last message that
// was acknowledged, with the one that was not.
func testReadResume(t *testing.T, f feed) {
	f.write(t, 0, 20, 1)
	first, messages := f.subscribe(t, "g")
	if got := take(t, messages, 10); !slices.Equal(got, numbers(0, 10)) {
		t.Fatalf("the first member read %v, want 0 to 9", got)
	}
	if n := numberOf(t, next(t, messages)); n != 10 {
		t.Fatalf("the first member got %d, want 10", n)
	}
	closeSubscriber(t, first)

	second, messages := f.subscribe(t, "g")
	if got := take(t, messages, 10); !slices.Equal(got, numbers(10, 10)) {
		t.Fatalf("the second member read %v, want 10 to 19", got)
	}
	closeSubscriber(t, second)

	_, messages = f.subscribe(t, "g")
	f.write(t, 20, 1, 1)
	if got := take(t, messages, 1); got[0] != 20 {
		t.Errorf("the third member read %d, want 20", got[0])
	}
}

func closeSubscriber(t *testing.T, sub pubsub.Subscriber) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if err := sub.Close(); err != nil {
			t.Errorf("close the subscriber: %v", err)
		}
	}()
	wait(t, "the subscriber closes", closed)
}

// testReadNack refuses one message: it comes again, before any later one.
func testReadNack(t *testing.T, f feed) {
	f.write(t, 0, 10, 1)
	_, messages := f.subscribe(t, "g")
	var got []int
	for nacks := 3; len(got) < 13; {
		msg := next(t, messages)
		n := numberOf(t, msg)
		got = append(got, n)
		if n == 3 && nacks > 0 {
			nacks--
			msg.Nack()
			continue
		}
		msg.Ack()
	}
	if want := []int{0, 1, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// testReadGroups reads a topic several times: each group, and each subscriber
// without one, gets everything.
func testReadGroups(t *testing.T, f feed) {
	const n = 50
	f.write(t, 0, n/2, 1)
	readers := map[string]<-chan *pubsub.Message{}
	for _, name := range []string{"a", "b", "", " again"} {
		group := name
		if name == " again" {
			group = ""
		}
		_, readers[name] = f.subscribe(t, group)
	}
	f.write(t, n/2, n-n/2, 1)
	for name, messages := range readers {
		if got := take(t, messages, n); !slices.Equal(got, numbers(0, n)) {
			t.Errorf("group %q read %v, want 0 to %d", name, brief(got), n-1)
		}
	}
}

// share counts what the members of a group get.
type share struct {
	mu      sync.Mutex
	seen    map[int]int // deliveries by number
	members [2]int      // deliveries by member
	changed chan struct{}
}

func (s *share) read(t *testing.T, member int, messages <-chan *pubsub.Message) {
	for msg := range messages {
		n := numberOf(t, msg)
		s.mu.Lock()
		s.seen[n]++
		s.members[member]++
		s.mu.Unlock()
		msg.Ack()
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

func (s *share) count() (seen int, members [2]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen), s.members
}

// testReadShare lets two members of a group read: together they get everything,
// and both of them something.
func testReadShare(t *testing.T, f feed) {
	s := &share{seen: map[int]int{}, changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for member := range 2 {
		_, sub := f.be.New(t, "g")
		messages, err := sub.Subscribe(ctx, f.topic)
		if err != nil {
			t.Fatalf("subscribe: %v", err)
		}
		readers.Go(func() { s.read(t, member, messages) })
	}
	const round = 100
	written := 0
	late := time.After(patience)
	for {
		seen, members := s.count()
		if seen == written {
			if members[0] >= round && members[1] >= round {
				break
			}
			// A member may still be on its way into the group.
			f.write(t, written, round, 20)
			written += round
		}
		select {
		case <-s.changed:
		case <-late:
			t.Fatalf("%d of %d messages were read, %v by each member", seen, written, members)
		}
	}
	if _, members := s.count(); members[0]+members[1] > written+written/2 {
		t.Errorf("%d messages were delivered %v times: they are not shared", written, members)
	}
}

// testReadEnd ends a subscription by its context: the channel is closed, the
// message's context has ended and its value is there, and the message that was
// not acknowledged comes again.
func testReadEnd(t *testing.T, f feed) {
	f.write(t, 0, 3, 1)
	type valueKey struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "here"))
	defer cancel()
	_, sub := f.be.New(t, "g")
	messages, err := sub.Subscribe(ctx, f.topic)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	msg := next(t, messages)
	if msg.Context().Err() != nil || msg.Context().Value(valueKey{}) != "here" {
		t.Errorf("a message's context is not made of Subscribe's: %v", msg.Context())
	}
	msg.Ack()
	wait(t, "the context of a message that is acknowledged ends", msg.Context().Done())
	held := next(t, messages)
	cancel()
	wait(t, "the context of a message ends with the subscription", held.Context().Done())
	ended(t, messages)
	// The same subscriber goes on.
	if got := take(t, subscribe(t, sub, f.topic), 2); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("read %v, want 1 and 2", got)
	}
}

// testReadClose closes a subscriber while a handler works: what the handler
// acknowledges in time counts, and all channels are closed when Close returns.
func testReadClose(t *testing.T, f feed) {
	f.write(t, 0, 3, 1)
	sub, messages := f.subscribe(t, "g")
	msg := next(t, messages)
	go msg.Ack()
	closeSubscriber(t, sub)
	select {
	case _, ok := <-messages:
		if ok {
			t.Error("a message came after Close")
		}
	default:
		t.Error("Close returned before the channel was closed")
	}
	closeSubscriber(t, sub)
	if _, err := sub.Subscribe(t.Context(), f.topic); err == nil {
		t.Error("a closed subscriber subscribes")
	}
	_, messages = f.subscribe(t, "g")
	if got := take(t, messages, 2); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("read %v, want 1 and 2", got)
	}
}

// testReadGoroutines leaves none behind, whether a subscription ends by its
// context, with a message in hand, or by Close.
func testReadGoroutines(t *testing.T, f feed) {
	f.write(t, 0, 10, 1)
	use := func(group string) {
		pub, sub := f.be.New(t, group)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		byContext, err := sub.Subscribe(ctx, f.topic)
		if err != nil {
			t.Fatalf("subscribe: %v", err)
		}
		take(t, byContext, 1)
		next(t, byContext)
		cancel()
		ended(t, byContext)
		take(t, subscribe(t, sub, f.topic), 1)
		closeSubscriber(t, sub)
		if pub != nil {
			if err := pub.Close(); err != nil {
				t.Errorf("close the publisher: %v", err)
			}
		}
	}
	// The first use leaves what the server keeps for a group, where the server
	// is in this process.
	use("g")
	before := append(f.be.Server, goleak.IgnoreCurrent())
	use("g")
	use("")
	if err := goleak.Find(before...); err != nil {
		t.Errorf("goroutines are left behind: %v", err)
	}
}

// testReadRestart restarts the server under readers that have a message in hand,
// with a group and without: reading and writing go on, and nothing is missing.
func testReadRestart(t *testing.T, f feed) {
	f.be.mayRestart(t)
	f.write(t, 0, 20, 1)
	readers := map[string]<-chan *pubsub.Message{}
	held := map[string]*pubsub.Message{}
	for _, group := range []string{"g", ""} {
		_, readers[group] = f.subscribe(t, group)
		take(t, readers[group], 10)
		held[group] = next(t, readers[group])
	}
	f.restart(t)
	f.write(t, 20, 20, 1)
	for group, messages := range readers {
		held[group].Ack()
		seen := map[int]bool{10: true}
		for !seen[39] {
			seen[take(t, messages, 1)[0]] = true
		}
		for _, n := range numbers(10, 30) {
			if !seen[n] {
				t.Errorf("group %q: message %d did not come", group, n)
			}
		}
	}
}
