package topictest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	pubsub "github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/topics"
)

// texts are values that metadata must carry as they are.
var texts = []string{
	"", " ", "a b", "  padded  ", "\tpadded\t", "%", "%41", "100%", "a%20b", "https://example.com/a%2Fb?c=d%20e",
	`"quoted"`, "tab\tand\nline\r\n", "\r\nNats-Rollup: all", "\x00\x01\x7f", "\xff\xfe no UTF-8",
	"Žluťoučký kůň", "日本語", "🙂", "a:b: c", "a\u00a0b", "\u2028", "UTF-8''a%20b", "=?utf-8?q?a?=", "~!@#$^&*()_+{}|<>?`-=[];',./",
	strings.Repeat("x", 2000),
}

// testMetadata sends any text as metadata, as attributes of an event and others.
func testMetadata(t *testing.T, be PubSubBackend) {
	topic := be.newTopic(t)
	pub, sub := be.New(t, "g")
	msg := pubsub.NewMessage(watermill.NewUUID(), []byte{0, 1, 2, 0xff, '\n'})
	msg.Metadata["content-type"] = "application/json; charset=utf-8"
	for i, text := range texts {
		msg.Metadata["ce_x"+strconv.Itoa(i)] = text
		msg.Metadata["x-other_"+strconv.Itoa(i)] = text
		msg.Metadata["X-Other_"+strconv.Itoa(i)] = text + "."
	}
	bare := pubsub.NewMessage(watermill.NewUUID(), nil)
	marked := pubsub.NewMessage(watermill.NewUUID(), nil)
	marked.Metadata["a"] = ""
	sent := []*pubsub.Message{msg, bare, marked}
	copies := make([]*pubsub.Message, len(sent))
	for i := range sent {
		copies[i] = sent[i].Copy()
	}
	publish(t, pub, topic, sent...)
	messages := subscribe(t, sub, topic)
	for i := range sent {
		if !sent[i].Equals(copies[i]) {
			t.Errorf("Publish has changed message %d", i)
		}
		got := next(t, messages)
		wantMessage(t, got, copies[i])
		got.Ack()
	}
}

func wantMessage(t *testing.T, got, want *pubsub.Message) {
	t.Helper()
	if got.UUID != want.UUID {
		t.Errorf("the UUID is %q, want %q", got.UUID, want.UUID)
	}
	if string(got.Payload) != string(want.Payload) {
		t.Errorf("the payload is %.100q, want %.100q", got.Payload, want.Payload)
	}
	for name, value := range want.Metadata {
		if is, ok := got.Metadata[name]; !ok || is != value {
			t.Errorf("metadata %s: %.100q (there: %v), want %.100q", name, is, ok, value)
		}
	}
	for name, value := range got.Metadata {
		if _, ok := want.Metadata[name]; !ok {
			t.Errorf("metadata %s: %.100q was added", name, value)
		}
	}
}

// testUUID sends messages with an event's id, with a UUID of any text, with
// both, and with none.
func testUUID(t *testing.T, be PubSubBackend) {
	topic := be.newTopic(t)
	pub, sub := be.New(t, "g")
	for _, test := range []struct{ uuid, id, want string }{
		{"", "0123", "0123"},
		{"uuid", "4567", "4567"},
		{"any text\nof % 🙂", "", "any text\nof % 🙂"},
		{"", "", ""},
		{"", "", ""},
	} {
		msg := pubsub.NewMessage(test.uuid, []byte("x"))
		if test.id != "" {
			msg.Metadata["ce_id"] = test.id
		}
		publish(t, pub, topic, msg)
	}
	messages := subscribe(t, sub, topic)
	var got []string
	for range 5 {
		msg := next(t, messages)
		got = append(got, msg.UUID)
		msg.Ack()
	}
	if want := []string{"0123", "4567", "any text\nof % 🙂"}; fmt.Sprint(got[:3]) != fmt.Sprint(want) {
		t.Errorf("the UUIDs are %q, want %q", got[:3], want)
	}
	if got[3] == "" || got[4] == "" || got[3] == got[4] {
		t.Errorf("messages without a UUID got %q and %q, want new ones", got[3], got[4])
	}
}

// testStripped sends metadata that would speak to the server: the message
// arrives without them.
func testStripped(t *testing.T, be PubSubBackend) {
	topic := be.newTopic(t)
	pub, sub := be.New(t, "g")
	msg := pubsub.NewMessage(watermill.NewUUID(), []byte("x"))
	want := msg.Copy()
	want.Metadata["kept"], msg.Metadata["kept"] = "yes", "yes"
	for _, name := range be.Stripped {
		msg.Metadata[name] = "1"
	}
	publish(t, pub, topic, msg)
	got := next(t, subscribe(t, sub, topic))
	wantMessage(t, got, want)
	got.Ack()
}

// testPassedOn publishes what was read, as a router does that passes messages
// on: events of a broker, with their metadata, to a topic and on to another.
func testPassedOn(t *testing.T, be PubSubBackend) {
	if be.Open == nil {
		t.Skip("there is no broker")
	}
	f := committedFeed(t, be)
	f.write(t, 0, 20, 3)
	pub, sub := be.New(t, "g")
	from := subscribe(t, sub, f.topic)
	want := make([]*pubsub.Message, 20) // by number: not every broker keeps an order between keys
	for range want {
		msg := next(t, from)
		want[numberOf(t, msg)] = msg.Copy()
		msg.Ack()
	}
	for range 2 {
		topic := be.newTopic(t)
		publish(t, pub, topic, want...)
		messages := subscribe(t, sub, topic)
		byNumber := map[int]*pubsub.Message{}
		for range want {
			msg := next(t, messages)
			byNumber[numberOf(t, msg)] = msg.Copy()
			msg.Ack()
		}
		for i, msg := range want {
			if byNumber[i] == nil {
				t.Fatalf("event %d was not passed on", i)
			}
			wantMessage(t, byNumber[i], msg)
			want[i] = byNumber[i]
		}
	}
}

// testTooLarge publishes a message that is too large between others: the error
// tells which one it is, and what the limit is, and the others are there.
func testTooLarge(t *testing.T, be PubSubBackend) {
	topic := be.newTopic(t)
	pub, sub := be.New(t, "g")
	var list []*pubsub.Message
	for i := range 3 {
		list = append(list, pubsub.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"n":%d}`, i)))
	}
	list[1].Payload = fmt.Appendf(nil, `{"n":1,"pad":%q}`, strings.Repeat("x", be.Limit))
	err := pub.Publish(topic, list...)
	var failed *topics.PublishError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want a PublishError", err)
	}
	if len(failed.Failed) != 1 || failed.Failed[0].Index != 1 || failed.Failed[0].UUID != list[1].UUID || failed.Of != 3 || failed.Topic != topic {
		t.Errorf("it says %+v, want that message 1 of 3 has failed", failed)
	}
	for _, text := range []string{list[1].UUID, strconv.Itoa(be.Limit), topic} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	list[1].Payload = []byte(`{"n":1}`)
	publish(t, pub, topic, list[1])
	messages := subscribe(t, sub, topic)
	seen := map[int]int{}
	for range 3 {
		seen[take(t, messages, 1)[0]]++
	}
	if want := map[int]int{0: 1, 1: 1, 2: 1}; !maps.Equal(seen, want) {
		t.Errorf("read %v, want each once", seen)
	}
}

// testClosed uses a publisher after its end.
func testClosed(t *testing.T, be PubSubBackend) {
	topic := be.newTopic(t)
	pub, _ := be.New(t, "")
	publish(t, pub, topic)
	publish(t, pub, topic, pubsub.NewMessage(watermill.NewUUID(), []byte("x")))
	for range 2 {
		if err := pub.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := pub.Publish(topic, pubsub.NewMessage(watermill.NewUUID(), []byte("x"))); err == nil {
		t.Error("a closed publisher publishes")
	}
}

// testReconnect restarts the server twice while several publish and a group
// reads: what was published is read.
func testReconnect(t *testing.T, be PubSubBackend) {
	be.mayRestart(t)
	const publishers, each = 10, 300
	topic := be.newTopic(t)
	pub, sub := be.New(t, "g")
	messages := subscribe(t, sub, topic)
	published := make(chan string)
	failed := make(chan error, publishers)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for range publishers {
		work.Go(func() {
			for range each {
				msg := pubsub.NewMessage(watermill.NewUUID(), []byte("x"))
				if err := publishAgain(pub, topic, msg); err != nil {
					failed <- err
					return
				}
				select {
				case published <- msg.UUID:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	written, read := map[string]bool{}, map[string]bool{}
	late := time.After(3 * patience)
	for len(written) < publishers*each || len(read) < publishers*each {
		select {
		case uuid := <-published:
			written[uuid] = true
			if n := len(written); n == publishers*each/3 || n == publishers*each/2 {
				be.Restart(t)
			}
		case msg := <-messages:
			read[msg.UUID] = true
			msg.Ack()
		case err := <-failed:
			t.Fatal(err)
		case <-late:
			t.Fatalf("%d messages were published and %d were read within %v", len(written), len(read), 3*patience)
		}
	}
	if !maps.Equal(written, read) {
		t.Error("what was read is not what was published")
	}
}
