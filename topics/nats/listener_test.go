package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
)

// reader is a plain NATS client without credentials, and what it was refused.
type reader struct {
	nc        *natsgo.Conn
	sentinels int
	mu        sync.Mutex
	no        []string
}

func connectReader(t *testing.T, b *Broker, options ...natsgo.Option) *reader {
	t.Helper()
	r := &reader{}
	options = append(options, natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.no = append(r.no, err.Error())
	}))
	nc, err := natsgo.Connect("nats://"+b.Addr(), options...)
	if err != nil {
		t.Fatalf("connect as a reader: %v", err)
	}
	t.Cleanup(nc.Close)
	r.nc = nc
	return r
}

// refused returns what the server refused since the last call. Refusals come
// through a queue of the client's own, so a sentinel is refused last.
func (r *reader) refused(t *testing.T) []string {
	t.Helper()
	r.sentinels++
	sentinel := fmt.Sprintf("sentinel.%d", r.sentinels)
	if err := r.nc.Publish(sentinel, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a refusal", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.no) > 0 && strings.Contains(r.no[len(r.no)-1], sentinel)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	no := r.no[:len(r.no)-1]
	r.no = nil
	return no
}

// content is all that an attacker must not change.
type content struct {
	State  jetstream.StreamState
	Config jetstream.StreamConfig
	Bodies []string
}

func contentOf(t *testing.T, b *Broker) content {
	t.Helper()
	info, err := b.session.stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := content{State: info.State, Config: info.Config}
	c.State.Consumers = 0
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := b.session.stream.GetMsg(t.Context(), seq)
		if err != nil {
			c.Bodies = append(c.Bodies, err.Error())
			continue
		}
		c.Bodies = append(c.Bodies, m.Subject+" "+string(m.Data))
	}
	return c
}

func TestReaderReadsThroughConsumers(t *testing.T) {
	b := open(t, Options{Listen: "127.0.0.1:0"})
	s := acquire(t, b, testKey)
	commit(t, s, batch("a", 0, 20))
	r := connectReader(t, b)
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	stream, err := js.Stream(ctx, "MILLRACE")
	if err != nil {
		t.Fatalf("find the stream: %v", err)
	}
	durable, err := js.CreateOrUpdateConsumer(ctx, "MILLRACE", jetstream.ConsumerConfig{Durable: "crm", FilterSubject: "millrace.sms.>", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatalf("make a consumer: %v", err)
	}
	fetched, err := durable.Fetch(20, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for m := range fetched.Messages() {
		got = append(got, string(m.Data()))
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatalf("ack: %v", err)
		}
	}
	if want := numbered(0, 20); !slices.Equal(got, want) {
		t.Errorf("the durable consumer read %v, want %v", got, want)
	}
	ordered, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"millrace.sms.>"}})
	if err != nil {
		t.Fatalf("ordered consumer: %v", err)
	}
	m, err := ordered.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil || string(m.Data()) != `{"n":0}` {
		t.Errorf("the ordered consumer read %v, %v", m, err)
	}
	for _, name := range []string{"crm"} {
		if err := stream.DeleteConsumer(ctx, name); err != nil {
			t.Errorf("delete an own consumer: %v", err)
		}
	}
	if no := r.refused(t); len(no) > 0 {
		t.Errorf("an ordinary reader was refused: %q", no)
	}
}

func TestReaderMayUseAPushConsumer(t *testing.T) {
	b := open(t, Options{Listen: "127.0.0.1:0"})
	s := acquire(t, b, testKey)
	commit(t, s, batch("a", 0, 3))
	r := connectReader(t, b)
	inbox := r.nc.NewInbox()
	sub, err := r.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.nc.Request("$JS.API.CONSUMER.CREATE.MILLRACE.push", []byte(consumerRequest("push", map[string]any{"deliver_subject": inbox, "filter_subject": "millrace.sms.>"})), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, want := range numbered(0, 3) {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil || string(m.Data) != want {
			t.Fatalf("got %v, %v, want %s", m, err, want)
		}
	}
}

func TestIngestWorksWhenReadersHaveTakenAllConsumers(t *testing.T) {
	b := open(t, Options{Listen: "127.0.0.1:0"})
	r := connectReader(t, b)
	full := false
	for i := 0; !full && i <= maxConsumers; i++ {
		name := fmt.Sprintf("c%d", i)
		m, err := r.nc.Request("$JS.API.CONSUMER.CREATE.MILLRACE."+name, []byte(consumerRequest(name, map[string]any{"mem_storage": true})), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		full = strings.Contains(string(m.Data), "maximum consumers limit")
	}
	if !full {
		t.Fatal("the number of consumers has no bound")
	}
	s := acquire(t, b, testKey)
	commit(t, s, batch("a", 0, 3))
	if err := s.Advance(t.Context(), "b", []byte("x")); err != nil {
		t.Errorf("advance: %v", err)
	}
	if entries, err := s.Entries(t.Context()); err != nil || len(entries) != 1 {
		t.Errorf("entries: %q, %v", entries, err)
	}
	if _, err := s.Entry(t.Context(), "a"); err != nil {
		t.Errorf("entry: %v", err)
	}
	if err := s.Forget(t.Context(), []string{"a"}); err != nil {
		t.Errorf("forget: %v", err)
	}
	if all, err := b.Checkpoints(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("checkpoints: %v, %v", all, err)
	}
	if err := b.Tail(t.Context(), topics.TailOptions{Stop: true}, func(topics.Received) error { return nil }); !errors.Is(err, errAllTaken) {
		t.Errorf("tail: %v, want %v", err, errAllTaken)
	}
}

func TestListenerOffLoopbackNeedsUsers(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:4222", "example.com:4222"} {
		_, err := Open(t.Context(), Options{Dir: t.TempDir(), Listen: listen})
		var oe *topics.OpenError
		if !errors.As(err, &oe) || oe.Remote || !strings.Contains(err.Error(), "broker.nats.users") {
			t.Errorf("listen on %s: %v", listen, err)
		}
	}
	b := open(t, Options{Listen: "0.0.0.0:0", Users: []User{{"ann", "s3cret"}}})
	_, port, _ := net.SplitHostPort(b.Addr())
	if _, err := natsgo.Connect("nats://127.0.0.1:" + port); !errors.Is(err, natsgo.ErrAuthorization) {
		t.Errorf("without credentials: %v", err)
	}
	nc, err := natsgo.Connect("nats://127.0.0.1:"+port, natsgo.UserInfo("ann", "s3cret"))
	if err != nil {
		t.Fatalf("with credentials: %v", err)
	}
	defer nc.Close()
	if _, err := nc.Request("$JS.API.STREAM.INFO.MILLRACE", nil, 5*time.Second); err != nil {
		t.Errorf("a user reads: %v", err)
	}
}

func TestReaderIsRefusedWhateverElseItTries(t *testing.T) {
	b := open(t, Options{Listen: "127.0.0.1:0"})
	s := acquire(t, b, testKey)
	commit(t, s, batch("a", 0, 20))
	tailing(t, b)
	before := contentOf(t, b)
	r := connectReader(t, b)

	for _, subject := range []string{
		"millrace.sms.support", "millrace.sms.x", "millrace._checkpoint.feedyou.acme.outgoingSms", "millrace._lease.a.b.c", "millrace.x",
		"$JS.API.STREAM.DELETE.MILLRACE", "$JS.API.STREAM.PURGE.MILLRACE", "$JS.API.STREAM.UPDATE.MILLRACE", "$JS.API.STREAM.CREATE.X",
		"$JS.API.STREAM.MSG.DELETE.MILLRACE", "$JS.API.STREAM.MSG.GET.MILLRACE", "$JS.API.STREAM.SNAPSHOT.MILLRACE", "$JS.API.STREAM.RESTORE.X",
		"$JS.API.STREAM.LIST", "$JS.API.INFO", "$JS.API.DIRECT.GET.MILLRACE", "$JS.API.STREAM.LEADER.STEPDOWN.MILLRACE",
		"$JS.API.CONSUMER.CREATE.MILLRACE", "$JS.API.CONSUMER.DURABLE.CREATE.MILLRACE.millrace_tail_1", "$JS.API.CONSUMER.CREATE.MILLRACE.millrace_tail_1",
		"$JS.API.CONSUMER.CREATE.MILLRACE.millrace_tail_16.millrace.sms.>", "$JS.API.CONSUMER.DELETE.MILLRACE.millrace_tail_1",
		"$JS.API.CONSUMER.MSG.NEXT.MILLRACE.millrace_tail_1", "$JS.API.CONSUMER.PAUSE.MILLRACE.millrace_tail_1", "$JS.API.CONSUMER.PAUSE.MILLRACE.crm",
		"$JS.API.CONSUMER.UNPIN.MILLRACE.millrace_tail_1", "$JS.API.CONSUMER.RESET.MILLRACE.millrace_tail_1", "$JS.API.CONSUMER.INFO.MILLRACE.millrace_tail_1", "$JS.API.CONSUMER.NAMES.MILLRACE",
		"$JS.ACK.MILLRACE.millrace_tail_1.1.1.1.1.1", "$JS.ACK.X.y.1.1.1.1.1", "$JS.ACK._.x.MILLRACE.millrace_tail_1.1.1.1.1.1",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO", "_MILLRACE.millrace.ops", "_INBOX.x", "foo", "_R_.x",
	} {
		if err := r.nc.PublishRequest(subject, "_INBOX.answer", nil); err != nil {
			t.Fatal(err)
		}
		if no := r.refused(t); len(no) != 1 || !strings.Contains(strings.ToLower(no[0]), "permissions violation for publish") {
			t.Errorf("publish to %s: refused %q", subject, no)
		}
	}
	for _, subject := range []string{"millrace.>", "millrace.sms.support", ">", "*.sms.*", "$JS.>", "$JS.API.>", "$SYS.>", "_MILLRACE.>", "_MILLRACE.millrace.ops", "*", "_INBOX", "_R_.>", "$JS.EVENT.>"} {
		if _, err := r.nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if no := r.refused(t); len(no) != 1 || !strings.Contains(strings.ToLower(no[0]), "permissions violation for subscription") {
			t.Errorf("subscribe to %s: refused %q", subject, no)
		}
	}
	if after := contentOf(t, b); !reflect.DeepEqual(before, after) {
		t.Errorf("something changed:\n%v\n%v", before, after)
	}
}

// tailing runs a Tail until the test ends, so that one of our consumers exists.
func tailing(t *testing.T, b *Broker) {
	t.Helper()
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		err := b.Tail(t.Context(), topics.TailOptions{Ready: func() { close(ready) }}, func(topics.Received) error { return nil })
		if !errors.Is(err, t.Context().Err()) && !errors.Is(err, errClosed) {
			t.Errorf("tail: %v", err)
		}
	}()
	t.Cleanup(func() { <-done })
	<-ready
}

// serving answers operating requests until the test ends.
func serving(t *testing.T, b *Broker, answer func([]byte) []byte) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Serve(t.Context(), func(_ context.Context, request []byte) []byte { return answer(request) })
	}()
	t.Cleanup(func() { <-done })
	eventually(t, "operating requests are answered", func() bool {
		b.session.nc.Flush()
		return b.session.nc.NumSubscriptions() > 1
	})
}

// dangerous are subjects that do harm when the server itself can be made to
// publish there.
var dangerous = []string{
	"$JS.API.STREAM.PURGE.MILLRACE", "$JS.API.STREAM.DELETE.MILLRACE", "$JS.API.STREAM.MSG.DELETE.MILLRACE",
	"$JS.API.STREAM.UPDATE.MILLRACE", "$JS.API.STREAM.SNAPSHOT.MILLRACE", "$JS.API.CONSUMER.DELETE.MILLRACE.millrace_tail_1",
	"millrace.sms.support", "millrace._checkpoint.feedyou.acme.outgoingSms", "millrace._lease.x.y.z",
	"_MILLRACE.millrace.ops", "$JS.ACK.MILLRACE.millrace_tail_1.1.1.1.1.1",
	"$JS.API.CONSUMER.PAUSE.MILLRACE.millrace_tail_1",
}

func TestReaderCannotMakeTheServerAct(t *testing.T) {
	b := open(t, Options{Listen: "127.0.0.1:0"})
	var asked atomic.Int32
	serving(t, b, func([]byte) []byte { asked.Add(1); return nil })
	s := acquire(t, b, testKey)
	commit(t, s, batch("a", 0, 20))
	tailing(t, b)
	before := contentOf(t, b)
	r := connectReader(t, b)

	for _, target := range dangerous {
		// A reply subject makes the server publish its answer there.
		for _, request := range []struct{ subject, body string }{
			{"$JS.API.STREAM.NAMES", ""},
			{"$JS.API.STREAM.INFO.MILLRACE", ""},
			{"$JS.API.CONSUMER.INFO.MILLRACE.none", ""},
			{"$JS.API.CONSUMER.CREATE.MILLRACE.pull", consumerRequest("pull", nil)},
			{"$JS.API.CONSUMER.MSG.NEXT.MILLRACE.pull", `{"batch":5,"expires":1000000}`},
			{"$JS.API.CONSUMER.CREATE.MILLRACE.bare", consumerRequest("bare", map[string]any{"headers_only": true})},
			{"$JS.API.CONSUMER.MSG.NEXT.MILLRACE.bare", `{"batch":5,"no_wait":true}`},
			{"$JS.ACK.MILLRACE.pull.1.1.1.1.1", "+NXT 5"},
			{"$JS.ACK.MILLRACE.bare.1.1.1.1.1", "+NXT 5"},
			{"$JS.ACK.MILLRACE.bare.1.2.2.1.1", "+ACK"},
		} {
			if err := r.nc.PublishRequest(request.subject, target, []byte(request.body)); err != nil {
				t.Fatal(err)
			}
			r.refused(t)
		}
		// So does a push consumer's deliver subject, here with empty messages.
		for _, headersOnly := range []bool{true, false} {
			name := "push" + strings.NewReplacer(".", "_", "$", "_").Replace(target)
			if headersOnly {
				name += "_bare"
			}
			_, err := r.nc.Request("$JS.API.CONSUMER.CREATE.MILLRACE."+name,
				[]byte(consumerRequest(name, map[string]any{"deliver_subject": target, "headers_only": headersOnly, "idle_heartbeat": 100_000_000, "flow_control": true})), 2*time.Second)
			if err != nil {
				t.Fatalf("push consumer to %s: %v", target, err)
			}
		}
		settle(t, b, r)
		after := contentOf(t, b)
		if !reflect.DeepEqual(before, after) {
			t.Errorf("by way of %s something changed:\n%v\n%v", target, before.State, after.State)
			before = after
		}
	}
	if _, err := b.session.stream.Consumer(t.Context(), tailName(1)); err != nil {
		t.Errorf("our own consumer: %v", err)
	}
	if got := published(t, b); !slices.Equal(got, numbered(0, 20)) {
		t.Errorf("the topics hold %v", got)
	}
	if asked.Load() != 0 {
		t.Errorf("%d events were taken for operating requests", asked.Load())
	}
}

// settle waits until the server has done what the reader asked for: requests
// and deliveries that came later went through the same queues.
func settle(t *testing.T, b *Broker, r *reader) {
	t.Helper()
	for range 10 {
		if _, err := r.nc.Request("$JS.API.STREAM.INFO.MILLRACE", nil, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := b.session.stream.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func consumerRequest(name string, more map[string]any) string {
	config := map[string]any{"name": name, "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant", "inactive_threshold": 5_000_000_000}
	for k, v := range more {
		config[k] = v
	}
	text, _ := json.Marshal(map[string]any{"stream_name": "MILLRACE", "config": config})
	return string(text)
}
