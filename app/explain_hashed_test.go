package app

import (
	"fmt"
	"testing"

	"github.com/millrace-io/millrace/events"
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
