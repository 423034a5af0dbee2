package pipeline_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// onTopic tells the ids of the events on a topic, and in what order they came;
// without a name, of all topics.
func onTopic(t *testing.T, b topics.Broker, names ...string) map[events.ID]int {
	t.Helper()
	ids := map[events.ID]int{}
	err := b.Tail(t.Context(), topics.TailOptions{Topics: names, Beginning: true, Stop: true}, func(m topics.Received) error {
		e, err := events.FromAttributes(m.Attributes)
		if err != nil {
			return err
		}
		if at, there := ids[e.ID]; there {
			t.Errorf("the id %s is there twice, first as number %d", e.ID, at)
		}
		ids[e.ID] = len(ids)
		for _, a := range m.Attributes {
			want := map[string]string{"type": "io.millrace." + e.Type + ".v1", "dataschema": "urn:millrace:" + e.Type + ":v1"}[a.Name]
			if want != "" && a.Value != want || strings.Contains(a.Value, "vip") {
				t.Errorf("on %s the attribute %s is %q, want %q", m.FullTopic, a.Name, a.Value, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// An event with a topic of its own is on that alone, with the id, type and schema
// that it would have on its type's; dead letters stay where they are looked for.
func TestEventsWithATopicOfTheirOwn(t *testing.T) {
	big := `{"id":"big","text":"` + strings.Repeat("x", 100<<10) + `"}`
	elements := append(many(10), `null`, big)
	little := topics.Limits{Messages: 100, Bytes: 64 << 10}
	plain := options(&limited{Broker: open(t, t.TempDir()), limits: little})
	ingest(t, stream(t, &api{elements: elements}, false), plain)
	want := onTopic(t, plain.Broker)

	o := options(&limited{Broker: open(t, t.TempDir()), limits: little})
	o.Transforms = func(_ context.Context, e events.Event) ([]events.Event, error) {
		if e.RecordID < "5" || e.RecordID == "big" {
			e.Topic = "vip"
		}
		return []events.Event{e}, nil
	}
	ingest(t, stream(t, &api{elements: elements}, false), o)
	ingest(t, stream(t, &api{elements: elements}, false), o)
	if got := onTopic(t, o.Broker); !maps.Equal(got, want) {
		t.Errorf("routed are\n%v, and not routed\n%v", got, want)
	}
	vip, messages := onTopic(t, o.Broker, "vip"), onTopic(t, o.Broker, events.TypeMessage)
	if len(vip) != 5 || len(messages) != 5 {
		t.Errorf("%d events on the topic of some, %d on that of the others, want 5 each", len(vip), len(messages))
	}
	if n := len(onTopic(t, o.Broker, "vip", events.TypeMessage)); n != 10 {
		t.Errorf("%d events on both, want 10", n)
	}
	reasons := map[string]int{}
	for _, l := range letters(t, o.Broker) {
		reasons[l.Dead.Reason]++
	}
	if fmt.Sprint(reasons) != fmt.Sprint(map[string]int{events.ReasonTooLarge: 1, events.ReasonNotObject: 1}) {
		t.Errorf("dead letters: %v", reasons)
	}
}

// A record that is a letter first goes where it is routed when it is dealt with.
func TestLettersAreReplayedToTheTopicOfTheirEvents(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s := deadThenFine(t, o, `{"id":"1"}`, `{"id":"2","cured":1}`)
	o.Transforms = func(_ context.Context, e events.Event) ([]events.Event, error) {
		e.Topic = "vip"
		return []events.Event{e}, nil
	}
	if r, err := resolve(t, s(), o, letters(t, o.Broker), false); err != nil || r.Replayed != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if vip, messages := onTopic(t, o.Broker, "vip"), onTopic(t, o.Broker, events.TypeMessage); len(vip) != 1 || len(messages) != 1 {
		t.Errorf("%d events where they are routed, %d of before, want 1 each", len(vip), len(messages))
	}
}
