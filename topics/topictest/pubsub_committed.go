package topictest

import (
	"fmt"
	"testing"

	pubsub "github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// testReadCommitted reads the events of a broker's commits: all of them, with
// their attributes and data, and nothing else that such a commit writes, nor
// anything of commits that were refused or cut off.
func testReadCommitted(t *testing.T, be PubSubBackend) {
	b := be.Open(t)
	s := begin(t, b, key, "stale")
	first := batch("1", 0, 10)
	for i, text := range texts {
		m := message("sms", fmt.Sprint("ключ ", i), 10+i)
		m.Attributes = append(m.Attributes, events.Attribute{Name: "x", Value: text}, events.Attribute{Name: "subject", Value: text})
		first.Messages = append(first.Messages, m, message("click", "k", 1000+i), message(Routed()[0], "k", 1500+i))
	}
	commit(t, s, first)
	want := first.Messages
	if err := s.Advance(t.Context(), "a", []byte("advanced")); err != nil {
		t.Fatalf("advance: %v", err)
	}
	s.Release()
	fresh := begin(t, b, key, "fresh")
	second := batch("2", 100, 5)
	commit(t, fresh, second)
	want = append(want, second.Messages...)
	wantFenced(t, s.Commit(t.Context(), batch("3", 2000, 50)))
	fresh.Release()
	want = append(want, commitCut(t, be)...)

	messages := map[string]<-chan *pubsub.Message{}
	for _, topic := range []string{"sms", "click", Routed()[0]} {
		_, sub := be.New(t, "g")
		messages[topic] = subscribe(t, sub, be.Topic(topic))
	}
	last := begin(t, b, key, "last")
	end := &topics.Commit{ID: "end", Checkpoint: []byte("end"), Messages: []topics.Message{message("sms", "k", 5000), message("click", "k", 5001), message(Routed()[0], "k", 5002)}}
	commit(t, last, end)
	want = append(want, end.Messages...)
	for topic, from := range messages {
		wantEvents(t, topic, from, want)
	}
}

// commitCut commits over a connection that is cut, before a commit takes effect
// and after it did.
func commitCut(t *testing.T, be PubSubBackend) []topics.Message {
	t.Helper()
	if be.OpenCut == nil {
		return nil
	}
	b, cutter := be.OpenCut(t)
	other := key
	other.Account = "cut"
	s := begin(t, b, other, "cut")
	var all []topics.Message
	for i, cut := range []func(){cutter.CutBefore, cutter.CutAfter} {
		c := batch(fmt.Sprint("cut", i), 200+100*i, 100)
		cut()
		commit(t, s, c)
		all = append(all, c.Messages...)
	}
	if cutter.Cuts() != 2 {
		t.Fatalf("the connection was cut %d times, want 2", cutter.Cuts())
	}
	return all
}

// wantEvents reads the events on a topic. Those of one key come in order; the
// last is the last of its key, so there is no more behind it.
func wantEvents(t *testing.T, topic string, from <-chan *pubsub.Message, all []topics.Message) {
	t.Helper()
	byID, count := map[string]topics.Message{}, 0
	for _, m := range all {
		if m.Topic == topic {
			byID[attribute(m, "id")] = m
			count++
		}
	}
	for range count {
		got := next(t, from)
		m, ok := byID[got.UUID]
		if !ok {
			t.Errorf("event %q came twice, or was never committed", got.UUID)
		} else {
			want := pubsub.NewMessage(got.UUID, m.Data)
			want.Metadata["content-type"] = events.ContentType
			for _, a := range m.Attributes {
				want.Metadata["ce_"+a.Name] = a.Value
			}
			wantMessage(t, got, want)
		}
		delete(byID, got.UUID)
		got.Ack()
	}
	for id := range byID {
		t.Errorf("event %q did not come", id)
	}
	select {
	case got := <-from:
		t.Errorf("%q came, and was never committed", got.UUID)
	default:
	}
}

func attribute(m topics.Message, name string) string {
	for _, a := range m.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}
