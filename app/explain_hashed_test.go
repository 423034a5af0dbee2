package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

// An event whose record id a transform has hashed is found by its own id, also where
// a dead letter that has the record's id led to it.
func TestExplainAHashedRecordID(t *testing.T) {
	a := newArchive()
	data := fmt.Sprintf(`{"reason":"transform","stage":"transform","window":"2026-11-01T12:00:00Z/2026-11-01T12:01:00Z","event_id":%q,"record":"{}"}`, idOf("r1"))
	a.put(t, events.Event{ID: events.ID{7}, RecordID: "r1", Type: events.TypeDeadLetter}, data)
	event := a.put(t, events.Event{ID: idOf("r1"), RecordID: "k1:hash"}, `{}`)
	a.commit(t, 3, "live", explainedAt, idOf("r1"))
	x, text := a.mustExplain(t, event.ID.String())
	if x.Event == nil || len(x.Versions) != 1 || len(x.Letters) != 1 || len(x.Origins) != 1 {
		t.Errorf("it says\n%s", text)
	}
}

// A record is found by the id that its API has, also where a transform has hashed
// it, together with what was published before there was that transform.
func TestExplainARecordWhoseIDIsHashed(t *testing.T) {
	const steps = `transforms: [{redact: {fields: [event.record_id], with: hash, key: 0123456789abcdef, key_id: k1}}]`
	list, _, err := config.ParseTransforms("t.yaml", []byte(steps), transforms.Settings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive()
	if a.chain, err = transforms.New(list, transforms.Known{}); err != nil {
		t.Fatal(err)
	}
	id := "00112233445566778899aabbccddeeff" // as those of events are
	for _, id := range []string{"r1", id} {
		first := a.put(t, events.Event{ID: idOf(id), RecordID: id}, `{"raw":{"n":1}}`)
		out, err := a.chain.Apply(t.Context(), events.Event{Type: first.Type, RecordID: id})
		if err != nil {
			t.Fatal(err)
		}
		a.put(t, events.Event{ID: events.ID{9}, RecordID: out[0].RecordID}, `{"raw":{"n":2}}`)
		a.put(t, events.Event{ID: events.ID{8}, RecordID: "k1:other"}, `{}`)
		a.commit(t, 3, "live", explainedAt, idOf(id), events.ID{9})
		x, text := a.mustExplain(t, id)
		if x.RecordID != id || x.Event == nil || x.Event.Attributes["recordid"] != out[0].RecordID || len(x.Versions) != 2 || len(x.Origins) != 1 {
			t.Errorf("of %s it says\n%s", id, text)
		}
		if x, text = a.mustExplain(t, first.ID.String()); len(x.Versions) != 2 || x.Event.Attributes["recordid"] != id {
			t.Errorf("of the event of %s it says\n%s", id, text)
		}
	}
}

// Of a record whose id looks like that of an event all is found: in each stream, and
// where there are dead letters only.
func TestExplainARecordWhoseIDIsLikeThatOfAnEvent(t *testing.T) {
	const id = "00112233445566778899aabbccddeeff"
	a := newArchive()
	a.put(t, events.Event{ID: events.ID{1}, RecordID: id, Source: otherKey, Type: events.TypeUser}, `{}`)
	a.put(t, events.Event{ID: idOf(id), RecordID: id}, `{}`)
	if all, err := a.explain(t, id, ""); err != nil || len(all) != 2 {
		t.Errorf("in two streams: %d, %v", len(all), err)
	}
	a = newArchive()
	for _, id := range []string{id, "ab345678901234567890123456789xyz"} {
		a.put(t, events.Event{ID: events.ID{7}, RecordID: id, Type: events.TypeDeadLetter}, `{"reason":"record","stage":"connector","window":"2026-11-01T12:00:00Z/2026-11-01T12:01:00Z","record":"{}"}`)
		if x, text := a.mustExplain(t, id); len(x.Letters) != 1 || x.RecordID != id {
			t.Errorf("of a dead letter of %s it says\n%s", id, text)
		}
	}
}

// Where the transforms cannot be made here, nobody claims that a record is not there.
func TestExplainSaysWhatItCannotLookFor(t *testing.T) {
	list, _, err := config.ParseTransforms("t.yaml", []byte(`transforms: [{redact: {fields: [event.record_id], with: hash, key: "${KEY}"}}]`), transforms.Settings{}, func(string) (string, bool) { return Unset, true })
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive()
	a.commit(t, 3, "live", explainedAt, idOf("r1"))
	o := &operator{file: &config.File{Transforms: list}, broker: a}
	for _, id := range []string{"r1", "r2"} {
		if _, err := o.explain(t.Context(), ExplainOptions{ID: id}); err == nil || !strings.Contains(err.Error(), "not looked for") || !strings.Contains(err.Error(), "variable that is not set here") {
			t.Errorf("of %s it says %v", id, err)
		}
	}
}
