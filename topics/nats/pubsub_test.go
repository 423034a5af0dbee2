package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

func TestPlaces(t *testing.T) {
	n := names{prefix: "my.app"}
	for topic, want := range map[string]place{
		"orders":           {topic: "orders", filter: "orders", stream: "orders"},
		"orders.created-x": {topic: "orders.created-x", filter: "orders.created-x", stream: "orders+created-x"},
		"orders+created":   {topic: "orders+created", filter: "orders+created", stream: "orders%2Bcreated"},
		"my.ap":            {topic: "my.ap", filter: "my.ap", stream: "my+ap"},
		"my.appendix":      {topic: "my.appendix", filter: "my.appendix", stream: "my+appendix"},
		"my.app.message":   {topic: "my.app.message", filter: "my.app.message.*", stream: "MY_APP", ours: true},
	} {
		if got, err := n.place(topic); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", topic, got, err, want)
		}
	}
	for _, topic := range []string{"", ".", "a..b", "a.", ".a", "a b", "a\n", "*", "a.*", ">", "a.>", "a*", "$JS.API.INFO", "_INBOX.x", "_x", "my.app", "my.app.a.b", "my.app._lease", "my.app._checkpoint", "my.app.a%", "MY_APP"} {
		if got, err := n.place(topic); err == nil {
			t.Errorf("%q is a topic: %+v", topic, got)
		}
	}
	if a, b := durable("a+b", "c"), durable("a", "b.c"); a == b {
		t.Errorf("two groups share the consumer %s", a)
	}
}

// stored reads what a JetStream stream holds, as subject and headers.
func stored(t *testing.T, js jetstream.JetStream, name string) []*jetstream.RawStreamMsg {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var list []*jetstream.RawStreamMsg
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func TestRepeatsAreDropped(t *testing.T) {
	server := startServer(t, "nats-server", "")
	js := connectAdmin(t, server)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHARED", Subjects: []string{"shared.>"}}); err != nil {
		t.Fatal(err)
	}
	p := newPublisher(t, pubSubOptions(t, server.url(), ""))
	for range 2 {
		for _, topic := range []string{"shared.a", "shared.b"} {
			// Also within one call.
			if err := p.Publish(topic, message.NewMessage("1", []byte("x")), message.NewMessage("2", []byte("y")), message.NewMessage("1", []byte("x")), message.NewMessage("", nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	for _, m := range stored(t, js, "SHARED") {
		got = append(got, m.Subject+" "+string(m.Data))
	}
	slices.Sort(got)
	want := []string{"shared.a ", "shared.a ", "shared.a x", "shared.a y", "shared.b ", "shared.b ", "shared.b x", "shared.b y"}
	if !slices.Equal(got, want) {
		t.Errorf("stored %q, want %q", got, want)
	}
}

func TestStreamsOfTopics(t *testing.T) {
	server := startServer(t, "nats-server", "")
	js := connectAdmin(t, server)
	opts := pubSubOptions(t, server.url(), "g")
	opts.CreateStreams = false
	p, s := newPublisher(t, opts), newSubscriber(t, opts)
	msg := message.NewMessage("1", []byte("x"))
	for topic, advice := range map[string]string{"orders.created": "set CreateStreams", "millrace.message": "start millrace on it first"} {
		var failed *topics.PublishError
		if err := p.Publish(topic, msg); !errors.As(err, &failed) || !strings.Contains(err.Error(), advice) || !strings.Contains(err.Error(), server.addr) {
			t.Errorf("publish to %s: %v", topic, err)
		}
		if _, err := s.Subscribe(t.Context(), topic); err == nil || !strings.Contains(err.Error(), advice) {
			t.Errorf("subscribe to %s: %v", topic, err)
		}
	}
	opts.CreateStreams, opts.MaxAge = true, time.Hour
	p, s = newPublisher(t, opts), newSubscriber(t, opts)
	if err := p.Publish("orders.created", msg); err != nil {
		t.Fatal(err)
	}
	if err := s.SubscribeInitialize("orders.paid"); err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{"orders+created": "orders.created", "orders+paid": "orders.paid"} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c := stream.CachedInfo().Config; !slices.Equal(c.Subjects, []string{subject}) || c.MaxAge != time.Hour || c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if _, err := js.Consumer(t.Context(), "orders+paid", "g+orders+paid"); err != nil {
		t.Errorf("the group's consumer: %v", err)
	}
	// One that is gone is made again.
	if err := js.DeleteStream(t.Context(), "orders+created"); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish("orders.created", msg); err == nil {
		t.Error("a message is stored where there is no stream")
	}
	if err := p.Publish("orders.created", msg); err != nil {
		t.Errorf("the stream was not made again: %v", err)
	}
}

// TestPublishToEvents puts messages among millrace's own, as alerts are.
func TestPublishToEvents(t *testing.T) {
	server := startServer(t, "nats-server", "")
	b := open(t, Options{URL: server.url()})
	p := newPublisher(t, pubSubOptions(t, server.url(), ""))
	for _, connector := range []string{"support", "", "a.b"} {
		msg := message.NewMessage("", []byte("{}"))
		msg.Metadata["ce_connector"] = connector
		if err := p.Publish("millrace.alert", msg); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := b.Tail(t.Context(), topics.TailOptions{Topics: []string{"alert"}, Beginning: true, Stop: true}, func(r topics.Received) error {
		got = append(got, r.Connector)
		return nil
	})
	if want := []string{"support", "_", "_"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("connectors %q, %v, want %q", got, err, want)
	}
	s := acquire(t, b, testKey)
	commit(t, s, batch("1", 0, 3))
}

func TestListenerLetsNobodyPublish(t *testing.T) {
	b := open(t, Options{Listen: "127.0.0.1:0"})
	opts := pubSubOptions(t, "nats://"+b.Addr(), "")
	opts.PublishWait = time.Minute
	opts.CreateStreams = false
	p := newPublisher(t, opts)
	start := time.Now()
	for _, topic := range []string{"millrace.message", "orders"} {
		var failed *topics.PublishError
		err := p.Publish(topic, message.NewMessage("1", nil), message.NewMessage("2", nil))
		if !errors.As(err, &failed) || len(failed.Failed) != 2 || !errors.Is(err, natsgo.ErrPermissionViolation) || !strings.Contains(err.Error(), "does not let this user publish") {
			t.Errorf("publish to %s: %v", topic, err)
		}
	}
	opts.CreateStreams = true
	p = newPublisher(t, opts)
	if err := p.Publish("orders", message.NewMessage("1", nil)); !errors.Is(err, natsgo.ErrPermissionViolation) {
		t.Errorf("make a stream: %v", err)
	}
	if took := time.Since(start); took > readWait {
		t.Errorf("it took %v to be refused", took)
	}
}

func TestPubSubTooMuchOfHeaders(t *testing.T) {
	server := startServer(t, "nats-server", "")
	p := newPublisher(t, pubSubOptions(t, server.url(), ""))
	msg := message.NewMessage("large", nil)
	for i := range 40 {
		msg.Metadata[fmt.Sprint("m", i)] = strings.Repeat("x", 1639)
	}
	if err := p.Publish("a.b", msg, message.NewMessage("small", nil)); err == nil || !strings.Contains(err.Error(), "at most 65535") || strings.Contains(err.Error(), "small") {
		t.Errorf("got %v", err)
	}
}

// TestPublishEndsWithTheMessage publishes a message whose context has ended, and
// one whose context ends while the server is silent.
func TestPublishEndsWithTheMessage(t *testing.T) {
	server := startServer(t, "nats-server", "")
	js := connectAdmin(t, server)
	opts := pubSubOptions(t, server.url(), "")
	opts.PublishWait, opts.CreateStreams = time.Minute, false
	p := newPublisher(t, opts)
	// Somebody listens who is no JetStream stream, so there is no answer.
	heard := make(chan *natsgo.Msg, 10)
	if _, err := js.Conn().ChanSubscribe("silent", heard); err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	before, during := message.NewMessage("before", nil), message.NewMessage("during", nil)
	for _, msg := range []*message.Message{before, during} {
		ctx, cancel := context.WithCancel(t.Context())
		msg.SetContext(ctx)
		if msg == before {
			cancel()
		} else {
			go func() {
				<-heard
				cancel()
			}()
		}
	}
	err := p.Publish("silent", before, during)
	var failed *topics.PublishError
	if !errors.As(err, &failed) || len(failed.Failed) != 2 || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "was not published") || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("got %v", err)
	}
	if len(heard) != 0 {
		t.Error("a message whose context had ended was sent")
	}
	opts.PublishWait = 100 * time.Millisecond
	if err := newPublisher(t, opts).Publish("silent", message.NewMessage("3", nil)); !errors.Is(err, errUnanswered) {
		t.Errorf("nobody answers: %v", err)
	}
}

// TestPublishIsCutOff loses the connection while acknowledgements are on their
// way: the messages are told as unknown, and published again they are there once.
func TestPublishIsCutOff(t *testing.T) {
	server := startServer(t, "nats-server", "")
	js := connectAdmin(t, server)
	proxy := topictest.NewProxy(t, server.addr, "never seen", `"seq":200`)
	p := newPublisher(t, pubSubOptions(t, "nats://"+proxy.Addr(), ""))
	if err := p.Publish("a", message.NewMessage("first", []byte("first"))); err != nil {
		t.Fatal(err)
	}
	var list []*message.Message
	var want []string
	for i := range 500 {
		list = append(list, message.NewMessage(fmt.Sprint(i), fmt.Append(nil, i)))
		want = append(want, fmt.Sprint(i))
	}
	proxy.CutAfter()
	var failed *topics.PublishError
	if err := p.Publish("a", list...); !errors.As(err, &failed) || len(failed.Failed) == 0 || !strings.Contains(err.Error(), "publish it again") {
		t.Fatalf("got %v", err)
	}
	if err := p.Publish("a", list...); err != nil {
		t.Fatalf("again: %v", err)
	}
	var got []string
	for _, m := range stored(t, js, "a")[1:] {
		got = append(got, string(m.Data))
	}
	if !slices.Equal(got, want) {
		t.Errorf("stored %d messages, want 0 to 499 in order: %q", len(got), got)
	}
}

func TestPublishWaitsForTheConnection(t *testing.T) {
	server := startServer(t, "nats-server", "")
	opts := pubSubOptions(t, server.url(), "")
	p := newPublisher(t, opts)
	if err := p.Publish("a", message.NewMessage("1", nil)); err != nil {
		t.Fatal(err)
	}
	opts.PublishWait = 50 * time.Millisecond
	hasty := newPublisher(t, opts)
	server.kill(t)
	eventually(t, "the connections are lost", func() bool { return !p.nc.IsConnected() && !hasty.nc.IsConnected() })
	if err := hasty.Publish("a", message.NewMessage("2", nil)); err == nil || !strings.Contains(err.Error(), "nothing was published") {
		t.Errorf("without a server: %v", err)
	}
	published := make(chan error, 1)
	go func() { published <- p.Publish("a", message.NewMessage("3", nil)) }()
	server.start(t)
	if err := <-published; err != nil {
		t.Errorf("when the server came back: %v", err)
	}
}

func TestPubSubConnects(t *testing.T) {
	server := startServer(t, "nats-server", `authorization { user: ann, password: "s3cr/et" }`)
	good := PubSubOptions{URL: server.url(), User: "ann", Password: "s3cr/et"}
	newPublisher(t, good)
	newSubscriber(t, good)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewSubscriber(ended, good); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
	for _, test := range []struct {
		opts   PubSubOptions
		advice string
		remote bool
	}{
		{PubSubOptions{URL: server.url(), User: "ann", Password: "wr0ng"}, "check Creds, User, Password or Token", true},
		{PubSubOptions{URL: "nats://ann:wr0ng@" + server.addr}, "check Creds, User, Password or Token", true},
		{PubSubOptions{URL: "nats://ann:wr0ng@" + ports.Addr(t)}, "check URL and that the server runs", true},
		{PubSubOptions{URL: "nats://ann:wr0ng%zz@host"}, "URL: address 1 is not a URL", false},
		{PubSubOptions{}, "URL holds no address", false},
		{PubSubOptions{URL: server.url(), Prefix: "a b"}, "prefix", false},
	} {
		_, err := NewPublisher(t.Context(), test.opts)
		var oe *topics.OpenError
		if !errors.As(err, &oe) || oe.Remote != test.remote || !strings.Contains(err.Error(), test.advice) || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: %v", test.advice, err)
		}
	}
}
