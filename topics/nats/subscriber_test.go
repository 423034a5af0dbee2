package nats

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics/topictest"
)

// committed commits n events, numbered from 0, on a server of its own.
func committed(t *testing.T, n int) *process {
	t.Helper()
	server := startServer(t, "nats-server", "")
	commit(t, acquire(t, open(t, Options{URL: server.url()}), testKey), batch("1", 0, n))
	return server
}

func subscribe(t *testing.T, s *Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return messages
}

func arrival(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg, ok := <-messages:
		if ok {
			return msg
		}
		t.Fatal("the channel is closed")
	case <-time.After(15 * time.Second):
		t.Fatal("no message came within 15 s")
	}
	return nil
}

// handled acknowledges n messages and returns their payloads.
func handled(t *testing.T, messages <-chan *message.Message, n int) []string {
	t.Helper()
	var got []string
	for range n {
		msg := arrival(t, messages)
		got = append(got, string(msg.Payload))
		msg.Ack()
	}
	return got
}

// TestSlowHandler works longer than AckWait: nobody else gets its message.
func TestSlowHandler(t *testing.T) {
	server := committed(t, 2)
	opts := pubSubOptions(t, server.url(), "g")
	opts.AckWait = 300 * time.Millisecond
	slow, other := newSubscriber(t, opts), newSubscriber(t, opts)
	mine := subscribe(t, slow, "millrace.sms")
	held := arrival(t, mine)
	theirs := subscribe(t, other, "millrace.sms")
	// That nothing happens takes time to see.
	select {
	case msg := <-theirs:
		t.Fatalf("another member got %s", msg.Payload)
	case msg := <-mine:
		t.Fatalf("%s was delivered while %s was handled", msg.Payload, held.Payload)
	case <-time.After(5 * opts.AckWait):
	}
	held.Ack()
	var last *message.Message
	select {
	case last = <-theirs:
	case last = <-mine:
	case <-time.After(15 * time.Second):
		t.Fatal("the next message did not come")
	}
	if last.Ack(); string(last.Payload) != `{"n":1}` {
		t.Errorf("after it came %s", last.Payload)
	}
}

// TestDeadMember loses a member that has a message in hand: another gets it, and
// before any later one.
func TestDeadMember(t *testing.T) {
	server := startServer(t, "nats-server", "")
	source := acquire(t, open(t, Options{URL: server.url()}), testKey)
	commit(t, source, batch("1", 0, 2))
	proxy := topictest.NewProxy(t, server.addr, "never", "never")
	opts := pubSubOptions(t, "nats://"+proxy.Addr(), "g")
	opts.AckWait = 500 * time.Millisecond
	dying := newSubscriber(t, opts)
	messages := subscribe(t, dying, "millrace.sms")
	handled(t, messages, 1)
	arrival(t, messages)
	opts.URL = server.url()
	theirs := subscribe(t, newSubscriber(t, opts), "millrace.sms")
	proxy.Sever()
	commit(t, source, batch("2", 2, 3))
	if got := handled(t, theirs, 4); !slices.Equal(got, numbered(1, 4)) {
		t.Errorf("the other member read %v, want 1 to 4", got)
	}
}

// TestClosedMembersGiveBack closes members with a message that nobody took, and
// with one that was never acknowledged: others need not wait for AckWait.
func TestClosedMembersGiveBack(t *testing.T) {
	server := committed(t, 5)
	opts := pubSubOptions(t, server.url(), "g")
	opts.AckWait = time.Hour
	for range 3 {
		s := newSubscriber(t, opts)
		subscribe(t, s, "millrace.sms")
		onItsWay(t, s)
		s.Close()
		s = newSubscriber(t, opts)
		arrival(t, subscribe(t, s, "millrace.sms"))
		s.Close()
	}
	if got := handled(t, subscribe(t, newSubscriber(t, opts), "millrace.sms"), 5); !slices.Equal(got, numbered(0, 5)) {
		t.Errorf("read %v, want 0 to 4", got)
	}
}

// TestMessagesOnTheirWayAreGivenBack ends a subscription when it has asked for a
// message and not looked at it yet.
func TestMessagesOnTheirWayAreGivenBack(t *testing.T) {
	server := committed(t, 1)
	opts := pubSubOptions(t, server.url(), "g")
	opts.AckWait = time.Hour
	s := newSubscriber(t, opts)
	ctx, cancel := context.WithCancel(t.Context())
	sub, err := s.subscription(ctx, "millrace.sms")
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{subscription: sub, consumer: sub.first}
	cancel()
	// It asks, and may or may not see the message before the end.
	if m, err := w.try(); err == nil {
		w.giveBack(m, 0)
	}
	onItsWay(t, s)
	w.drain()
	sub.forget()
	if got := handled(t, subscribe(t, s, "millrace.sms"), 1); !slices.Equal(got, numbered(0, 1)) {
		t.Errorf("read %v", got)
	}
}

// onItsWay waits until a message of the group is with a member.
func onItsWay(t *testing.T, s *Subscriber) {
	t.Helper()
	eventually(t, "a message is on its way", func() bool {
		c, err := s.js.Consumer(t.Context(), "MILLRACE", durable("g", "millrace.sms"))
		return err == nil && c.CachedInfo().NumAckPending == 1
	})
}

// TestAcknowledgementIsCutOff loses the server's answer to an acknowledgement:
// it is sent again, and the message does not come again.
func TestAcknowledgementIsCutOff(t *testing.T) {
	server := committed(t, 3)
	proxy := topictest.NewProxy(t, server.addr, "+ACK", "never")
	opts := pubSubOptions(t, "nats://"+proxy.Addr(), "g")
	opts.AckWait = 10 * time.Second
	messages := subscribe(t, newSubscriber(t, opts), "millrace.sms")
	msg := arrival(t, messages)
	proxy.CutBefore()
	msg.Ack()
	start := time.Now()
	if got := handled(t, messages, 2); !slices.Equal(got, numbered(1, 2)) {
		t.Errorf("read %v, want 1 and 2", got)
	}
	if proxy.Cuts() != 1 {
		t.Errorf("the connection was cut %d times", proxy.Cuts())
	}
	if took := time.Since(start); took >= opts.AckWait {
		t.Errorf("it took %v, as if the message had been given up", took)
	}
}

// TestParallel hands out several messages at once, each once.
func TestParallel(t *testing.T) {
	const n = 200
	server := committed(t, n)
	opts := pubSubOptions(t, server.url(), "g")
	opts.Parallel = 4
	seen := map[string]int{}
	var mu sync.Mutex
	var members sync.WaitGroup
	all := make(chan struct{})
	for range 2 {
		s := newSubscriber(t, opts)
		messages := subscribe(t, s, "millrace.sms")
		var held []*message.Message
		for range opts.Parallel {
			held = append(held, arrival(t, messages))
		}
		select {
		case msg := <-messages:
			t.Errorf("%s is one too many at once", msg.Payload)
		case <-time.After(50 * time.Millisecond):
		}
		members.Go(func() {
			count := func(msg *message.Message) {
				mu.Lock()
				defer mu.Unlock()
				if seen[string(msg.Payload)]++; len(seen) == n {
					close(all)
				}
				msg.Ack()
			}
			for _, msg := range held {
				count(msg)
			}
			for msg := range messages {
				count(msg)
			}
		})
		t.Cleanup(func() { s.Close(); members.Wait() })
	}
	select {
	case <-all:
	case <-time.After(15 * time.Second):
		t.Fatal("not all messages came within 15 s")
	}
	mu.Lock()
	defer mu.Unlock()
	for payload, times := range seen {
		if times != 1 {
			t.Errorf("%s came %d times", payload, times)
		}
	}
}

// TestManyMessages reads so many that requests go under new addresses.
func TestManyMessages(t *testing.T) {
	const n = 3 * pullRequests
	b := open(t, Options{Listen: "127.0.0.1:0"})
	commit(t, acquire(t, b, testKey), batch("1", 0, n))
	for _, parallel := range []int{1, 2} {
		opts := pubSubOptions(t, "nats://"+b.Addr(), fmt.Sprint("g", parallel))
		opts.Parallel = parallel
		messages := subscribe(t, newSubscriber(t, opts), "millrace.sms")
		got := handled(t, messages, n)
		if parallel > 1 {
			got = slices.Compact(slices.Sorted(slices.Values(got)))
		} else if !slices.Equal(got, numbered(0, n)) {
			t.Error("the order is lost")
		}
		if len(got) != n {
			t.Errorf("with %d at once %d of %d messages came", parallel, len(got), n)
		}
		// The server forgets them in its own time.
		eventually(t, "the server forgets requests", func() bool {
			return b.session.srv.GlobalAccount().NumPendingAllResponses() <= parallel*(pullRequests+10)
		})
	}
}

func TestOnlyNew(t *testing.T) {
	server := startServer(t, "nats-server", "")
	s := acquire(t, open(t, Options{URL: server.url()}), testKey)
	commit(t, s, batch("1", 0, 3))
	var readers []<-chan *message.Message
	for _, group := range []string{"g", ""} {
		opts := pubSubOptions(t, server.url(), group)
		opts.OnlyNew = true
		readers = append(readers, subscribe(t, newSubscriber(t, opts), "millrace.sms"))
	}
	commit(t, s, batch("2", 3, 3))
	for i, messages := range readers {
		if got := handled(t, messages, 3); !slices.Equal(got, numbered(3, 3)) {
			t.Errorf("reader %d: %v, want 3 to 5", i, got)
		}
	}
}

// TestConsumerIsDeleted takes a subscription's consumer away: it goes on behind
// what it has acknowledged, also when nothing has come yet.
func TestConsumerIsDeleted(t *testing.T) {
	server := startServer(t, "nats-server", "")
	js := connectAdmin(t, server)
	s := acquire(t, open(t, Options{URL: server.url()}), testKey)
	commit(t, s, batch("0", 0, 2))
	opts := pubSubOptions(t, server.url(), "")
	opts.OnlyNew = true
	fresh := newSubscriber(t, opts)
	none := subscribe(t, fresh, "millrace.sms")
	opts.Group, opts.OnlyNew = "g", false
	messages := subscribe(t, newSubscriber(t, opts), "millrace.sms")
	if got := handled(t, messages, 1); !slices.Equal(got, numbered(0, 1)) {
		t.Fatalf("read %v", got)
	}
	held := arrival(t, messages)
	stream, err := js.Stream(t.Context(), "MILLRACE")
	if err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		deleted++
	}
	if deleted != 2 {
		t.Fatalf("%d consumers were deleted, want 2", deleted)
	}
	commit(t, s, batch("1", 2, 3))
	held.Ack()
	if got := handled(t, messages, 3); !slices.Equal(got, numbered(2, 3)) {
		t.Errorf("the group read %v, want 2 to 4", got)
	}
	if got := handled(t, none, 3); !slices.Equal(got, numbered(2, 3)) {
		t.Errorf("the subscriber without a group read %v, want 2 to 4", got)
	}
}

// TestConsumersOfGroups names them, takes over changed options, refuses what is
// none of ours, and cleans up behind those without a group.
func TestConsumersOfGroups(t *testing.T) {
	server := committed(t, 1)
	js := connectAdmin(t, server)
	opts := pubSubOptions(t, server.url(), "my group")
	newSubscriber(t, opts)
	for _, o := range []PubSubOptions{opts, func() PubSubOptions { o := opts; o.AckWait, o.Parallel = time.Minute, 8; return o }()} {
		s := newSubscriber(t, o)
		subscribe(t, s, "millrace.sms")
		s.Close()
		c, err := js.Consumer(t.Context(), "MILLRACE", "my%20group+millrace+sms")
		if err != nil {
			t.Fatal(err)
		}
		pending := 1
		if o.Parallel > 1 {
			pending = -1
		}
		if config := c.CachedInfo().Config; config.AckWait != o.AckWait || config.MaxAckPending != pending || config.FilterSubject != "millrace.sms.*" || config.Durable == "" || config.InactiveThreshold != 0 {
			t.Errorf("the consumer is %+v", config)
		}
	}
	if _, err := js.CreateConsumer(t.Context(), "MILLRACE", jetstream.ConsumerConfig{Durable: "taken+millrace+sms", FilterSubject: "millrace.click.*", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	opts.Group = "taken"
	if _, err := newSubscriber(t, opts).Subscribe(t.Context(), "millrace.sms"); err == nil || !strings.Contains(err.Error(), "another group") {
		t.Errorf("a consumer of another topic: %v", err)
	}
	opts.Group = ""
	s := newSubscriber(t, opts)
	subscribe(t, s, "millrace.sms")
	s.Close()
	stream, err := js.Stream(t.Context(), "MILLRACE")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 2 {
		t.Errorf("%d consumers are there, want the groups' 2", n)
	}
}

// TestBackoff lets a message rest longer after each Nack.
func TestBackoff(t *testing.T) {
	server := committed(t, 2)
	opts := pubSubOptions(t, server.url(), "g")
	opts.Backoff = []time.Duration{time.Millisecond, 400 * time.Millisecond}
	messages := subscribe(t, newSubscriber(t, opts), "millrace.sms")
	var rests []time.Duration
	var nacked time.Time
	for i := range 4 {
		msg := arrival(t, messages)
		if string(msg.Payload) != `{"n":0}` {
			t.Fatalf("delivery %d is %s", i, msg.Payload)
		}
		if i > 0 {
			rests = append(rests, time.Since(nacked))
		}
		nacked = time.Now()
		msg.Nack()
	}
	if rests[0] >= rests[1] || rests[1] < 300*time.Millisecond || rests[2] < 300*time.Millisecond {
		t.Errorf("it rested %v, want about 1 ms, 400 ms, 400 ms", rests)
	}
}

// TestSubscriberOverTLS reads from a listener with users and a certificate.
func TestSubscriberOverTLS(t *testing.T) {
	serving, pool := selfSigned(t)
	b := open(t, Options{Listen: "127.0.0.1:0", ServerTLS: serving, Users: []User{{"ann", "s3cret"}}})
	commit(t, acquire(t, b, testKey), batch("1", 0, 1))
	opts := pubSubOptions(t, "nats://"+b.Addr(), "g")
	if _, err := NewSubscriber(t.Context(), opts); err == nil {
		t.Error("it connects without a name")
	}
	opts.User, opts.Password = "ann", "s3cret"
	opts.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if got := handled(t, subscribe(t, newSubscriber(t, opts), "millrace.sms"), 1); !slices.Equal(got, numbered(0, 1)) {
		t.Errorf("read %v", got)
	}
}
