package transforms_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

// delivered is an event as the subscribers of topics/nats and topics/kafka give it.
func delivered(t testing.TB, data string) *message.Message {
	t.Helper()
	e := event(t, "message", data)
	m := message.NewMessage(e.ID.String(), e.AppendData(nil))
	for _, a := range attrs("message") {
		m.Metadata["ce_"+a.Name] = a.Value
	}
	m.Metadata["content-type"], m.Metadata["ce_traceparent"], m.Metadata["mine"] = "application/json", "00-1-2-01", "x"
	return m
}

// In a router: events are dropped, changed and split, a step that fails fails the
// message, and what is no event does too.
func TestMiddleware(t *testing.T) {
	chain := chainOf(t, `  - {filter: text != "drop", types: [message]}
  - {name: number, set: {n: int(text)}, when: text startsWith "1", types: [message]}
  - {split: {field: raw.items, into: item}, types: [message]}
  - {route: items, when: item != nil, types: [message]}
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	bus := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 16, Persistent: true}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Second}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan string, 16)
	router.AddMiddleware(func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			out, err := h(m)
			if err != nil { // as a poison queue does
				failed <- err.Error()
			}
			return out, nil
		}
	}, chain.Middleware)
	router.AddHandler("copy", "in", bus, "out", bus, func(m *message.Message) ([]*message.Message, error) {
		if m.Context().Err() != nil {
			t.Error("the message's context is gone")
		}
		return message.Messages{m}, nil
	})
	done := make(chan error, 1)
	go func() { done <- router.Run(ctx) }()
	<-router.Running()
	out, err := bus.Subscribe(ctx, "out")
	if err != nil {
		t.Fatal(err)
	}
	stranger := message.NewMessage("stranger", []byte(`{"text":"`+planted+`"}`))
	noData := delivered(t, `{}`)
	noData.Payload = []byte(`{"a":1,"a":2}`)
	for _, m := range []*message.Message{
		delivered(t, `{"text":"drop"}`), delivered(t, `{"text":"same \/"}`), delivered(t, `{"text":"split","raw":{"items":["a","b"]}}`), delivered(t, `{"text":"1`+planted+`"}`), stranger, noData,
	} {
		if err := bus.Publish("in", m); err != nil {
			t.Fatal(err)
		}
	}
	id := event(t, "message", `{}`).ID
	var got, reasons []string
	for range 3 {
		m := <-out
		m.Ack()
		got = append(got, strings.Join([]string{m.UUID, m.Metadata["ce_id"], m.Metadata["topic"], m.Metadata["content-type"], m.Metadata["ce_traceparent"], m.Metadata["mine"], string(m.Payload)}, " "))
	}
	for range 3 {
		reasons = append(reasons, <-failed)
	}
	slices.Sort(got)
	first, second := events.SplitID(id, 0).String(), events.SplitID(id, 1).String()
	want := []string{
		id.String() + " " + id.String() + `  application/json 00-1-2-01 x {"text":"same \/"}`,
		first + " " + first + ` items application/json 00-1-2-01 x {"text":"split","item":"a","raw":{"items":["a","b"]}}`,
		second + " " + second + ` items application/json 00-1-2-01 x {"text":"split","item":"b","raw":{"items":["a","b"]}}`,
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	slices.Sort(reasons)
	for n, begin := range []string{"message stranger is no event of millrace: ", "the data of event " + id.String() + ": it is not one JSON object", "the transform number failed: n: the expression cannot be evaluated: it fails at 1:1"} {
		if !strings.HasPrefix(reasons[n], begin) || strings.Contains(reasons[n], planted) {
			t.Errorf("%q, want %q", reasons[n], begin)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
}

// The message itself stays as it is, and what the handler says comes back.
func TestMiddlewareKeepsTheMessage(t *testing.T) {
	m := delivered(t, `{"text":"a","raw":{"items":[1,2]}}`)
	payload, metadata := string(m.Payload), maps.Clone(m.Metadata)
	var calls int
	h := chainOf(t, "  - {split: {field: raw.items, into: text}, types: [message]}\n").Middleware(func(m *message.Message) ([]*message.Message, error) { return nil, nil })
	var failed *transforms.StepError
	if _, err := h(m); !errors.As(err, &failed) || failed.Step != "split-1" {
		t.Error(err)
	}
	h = chainOf(t, "  - {split: {field: raw.items, into: item}, types: [message]}\n").Middleware(func(part *message.Message) ([]*message.Message, error) {
		if calls++; calls == 2 {
			return nil, errors.New("no room")
		}
		for i := range part.Payload {
			part.Payload[i] = 'x'
		}
		part.Metadata["ce_id"] = "other"
		return message.Messages{part}, nil
	})
	if out, err := h(m); err == nil || err.Error() != "no room" || out != nil {
		t.Error(out, err)
	}
	if string(m.Payload) != payload || !maps.Equal(m.Metadata, metadata) {
		t.Error("the message was changed")
	}
	replay := delivered(t, `{}`)
	replay.Metadata["ce_replay"], replay.Metadata["ce_time"] = "true", "2026-01-01T00:00:00Z"
	h = chainOf(t, "  - {filter: event.replay and event.time.Year() == 2026}\n").Middleware(func(m *message.Message) ([]*message.Message, error) { return message.Messages{m}, nil })
	if out, err := h(replay); err != nil || len(out) != 1 || out[0].Metadata["ce_replay"] != "true" {
		t.Error(out, err)
	}
}
