package transforms

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/millrace-io/millrace/events"
)

// item is one event on its way through a chain. Its data is taken apart when the
// first step asks for it, and put together when the last one is through.
type item struct {
	events.Event
	members  []member
	parsed   bool
	measured bool // it is not too deep
	changed  bool // members are to be put together
	written  []written
	step     *step // the one that is at work
}

// newItem begins the way of an event.
func newItem(e *events.Event) *item {
	it := &item{Event: *e}
	if i := space(it.Raw, 0); i > 0 {
		it.Raw = it.Raw[i:]
	}
	return it
}

// member is one member of an event's data but for raw: its name, and its value
// as JSON text.
type member struct {
	name  string
	value []byte
}

// written is a member that a step has written.
type written struct {
	name string
	by   *step
}

const rawName = "raw"

// data returns the members.
func (it *item) data(r *run) []member {
	if !it.parsed {
		it.parsed = true
		it.members = make([]member, 0, 16)
		for i := 0; ; {
			name, value, end, ok := nextMember(it.Members, i)
			if !ok {
				break
			}
			it.members = append(it.members, member{r.name(unquoted(name)), value})
			i = end
		}
	}
	return it.members
}

// manyNames is how many names of members a run keeps at most: records may have
// names of their own making.
const manyNames = 1000

func (r *run) name(text []byte) string {
	if name, ok := r.names[string(text)]; ok {
		return name
	}
	if len(r.names) >= manyNames {
		return string(text)
	}
	name := string(text)
	r.names[name] = name
	return name
}

// get returns a member's value; nil for one that is not there. It knows raw too.
func (it *item) get(r *run, name string) []byte {
	if name == rawName {
		return it.Raw
	}
	members := it.data(r)
	for n := range members {
		if members[n].name == name {
			return members[n].value
		}
	}
	return nil
}

// put writes a member, in its place or behind the others; nil takes it out.
func (it *item) put(r *run, name string, value []byte) {
	if name == rawName {
		it.Raw = value
		if value != nil {
			it.note(name)
		}
		return
	}
	n := slices.IndexFunc(it.data(r), func(m member) bool { return m.name == name })
	switch {
	case value == nil && n < 0:
		return
	case value == nil:
		it.members = slices.Delete(it.members, n, n+1)
	case n < 0:
		it.members = append(it.members, member{name, value})
	default:
		it.members[n].value = value
	}
	if it.changed = true; value != nil {
		it.note(name)
	}
}

// note remembers who has written a member last.
func (it *item) note(name string) {
	for n := range it.written {
		if it.written[n].name == name {
			it.written[n].by = it.step
			return
		}
	}
	it.written = append(it.written, written{name, it.step})
}

// clone returns an item that shares no list with the other.
func (it *item) clone() *item {
	other := *it
	other.members, other.written = slices.Clone(it.members), slices.Clone(it.written)
	return &other
}

// check says what is not as the catalogue has it of what steps have written: every
// event that is published is. The error is a [*StepError].
func (it *item) check() error {
	for _, w := range it.written {
		value := it.Raw
		if w.name != rawName {
			n := slices.IndexFunc(it.members, func(m member) bool { return m.name == w.name })
			if n < 0 {
				continue
			}
			value = it.members[n].value
		}
		if value == nil {
			continue
		}
		if err := schemaOf(it.Type).check(w.name, value); err != nil {
			return &StepError{Step: w.by.name, Err: fmt.Errorf("the member %s %w", w.name, err)}
		}
	}
	return nil
}

// size is how many bytes the members have.
func (it *item) size() (size int) {
	if !it.changed {
		return len(it.Members)
	}
	for n := range it.members {
		size += len(it.members[n].name) + len(it.members[n].value)
	}
	return size
}

// event returns the event with its data put together.
func (it *item) event() events.Event {
	e := it.Event
	if !it.changed {
		return e
	}
	size := 0
	for n := range it.members {
		size += len(it.members[n].name) + len(it.members[n].value) + len(`"":,`)
	}
	text := bytes.NewBuffer(make([]byte, 0, size))
	for n := range it.members {
		if n > 0 {
			text.WriteByte(',')
		}
		name := it.members[n].name
		if plain(name) {
			text.WriteByte('"')
			text.WriteString(name)
			text.WriteByte('"')
		} else {
			text.Write(quote(name))
		}
		text.WriteByte(':')
		text.Write(it.members[n].value)
	}
	e.Members = text.Bytes()
	return e
}

// plain says whether a name needs no escapes.
func plain(name string) bool {
	for n := range len(name) {
		if c := name[n]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
