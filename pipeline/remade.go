package pipeline

import (
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

// Remade makes an event again of the record that it holds, as it goes into the
// transforms, or says why it cannot. The record was found in a window, for a key
// ("" for none). The id, and when it was seen, are those of the event.
func Remade(s *connectors.Stream, e *events.Event, raw []byte, window ledger.Range, key string) (again events.Event, why string) {
	// What tells the record from others does not matter: the event has its id.
	record, _ := s.Prepare(raw, 0, connectors.Window(window), key)
	if record.Dead != nil {
		return events.Event{}, record.Dead.Reason + ": " + record.Dead.Detail
	}
	again = eventOf(s, &Letter{Event: e.ID, RecordID: e.RecordID, Recorded: e.Recorded}, &record, e.ID)
	again.Replay, again.ReadFor = e.Replay, key
	return again, ""
}
