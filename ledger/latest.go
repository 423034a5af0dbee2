package ledger

import "github.com/millrace-io/millrace/events"

// Latest returns the event of the latest known version of a record that changes;
// false when none is known.
func (d *Draft) Latest(record events.Identity) (events.ID, bool) {
	for _, known := range [][]version{d.records[record], d.book.records[record]} {
		if n := len(known); n > 0 {
			return record.Version(known[n-1].content, int(known[n-1].number)), true
		}
	}
	return events.ID{}, false
}
