package connectors

import (
	"github.com/millrace-io/millrace/events"
)

// Prepare makes a record of one element's text that does not come with a page
// now, and gives it the identity that it had, or would have had, in a pass over
// the window in which it was found, of a key. Number counts the equal ones before it. It
// returns false for a record that nothing but its quarter of an hour could tell
// from others like it, where the window does not say which one that is.
func (s *Stream) Prepare(raw []byte, number int, window Window, key string) (Prepared, bool) {
	f := Fields{Key: Key{ID: key}}
	record := s.Map.Map(raw, &f)
	cell := window.From.Truncate(events.Quarter)
	if s.timeless(&record) && window.To.After(cell.Add(events.Quarter)) {
		return Prepared{Record: record}, false
	}
	b := builder{stream: s, cell: cell}
	b.add(record, &tally{first: number}, number)
	p, at := b.records[0], b.spans[0]
	p.ReadFor = key
	if p.Dead == nil {
		p.Raw, p.Members = b.raw[at.raw:at.rawEnd], b.members[at.members:at.membersEnd]
	}
	return p, true
}
