package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// How much of what the topics hold of one id is kept in memory.
const (
	mostFound      = 1000
	mostFoundBytes = 64 << 20
)

// finder finds the events and the dead letters of an id, or of a record, in the
// topics. A record is found in one pass. Of an event it has to be known first which
// record it is of: the pass that finds it ends there, and a second one is made.
type finder struct {
	topics topics.Broker
	text   string    // what was asked for
	id     events.ID // that it is; zero where it is none
	only   string    // stream that it is narrowed to; "" for none

	steps    *transforms.Chain
	streams  []events.Event    // one of each stream, and one of none that is known
	original map[string]string // ids of records by what the transforms may have made of them

	records    map[record]bool // that are wanted
	letterIDs  map[events.ID]bool
	found      map[record]*group
	kept, size int
	incomplete map[*pipeline.Letter]bool // parts of it are gone
}

// record names a record of a stream.
type record struct {
	source events.StreamKey
	id     string
}

// group is what was found of one record.
type group struct {
	source    events.StreamKey
	connector string
	recordID  string
	events    []*foundEvent
	letters   []*pipeline.Letter
	more      int // events that are not kept
}

// foundEvent is an event and where it lies.
type foundEvent struct {
	events.Event
	attributes []events.Attribute
	data       []byte
	topic      string
	partition  int
	position   uint64
	stored     time.Time
}

func newFinder(o *operator, what ExplainOptions) *finder {
	f := &finder{
		topics: o.broker, text: what.ID, only: what.Stream,
		steps: o.chain, streams: []events.Event{{}}, original: map[string]string{},
		records: map[record]bool{}, letterIDs: map[events.ID]bool{},
		found: map[record]*group{}, incomplete: map[*pipeline.Letter]bool{},
	}
	for _, c := range o.connectors {
		for _, s := range c.Streams {
			f.streams = append(f.streams, events.Event{Connector: c.Name, Source: s.Key})
		}
	}
	f.id, _ = events.ParseID(what.ID)
	f.knows(what.ID)
	return f
}

// knows notes a record's id, with what the transforms may have made of it.
func (f *finder) knows(id string) {
	for n := range f.streams {
		for _, hashed := range f.steps.RecordIDs(&f.streams[n], id) {
			f.original[hashed] = id
		}
	}
}

// recordID is a record's id as its API has it, where a transform has hashed one that
// is known; another one as it is.
func (f *finder) recordID(id string) string { return cmp.Or(f.original[id], id) }

// ofStream says whether a stream is wanted.
func (f *finder) ofStream(connector string, key events.StreamKey) bool {
	s := Selection{Stream: f.only}
	return f.only == "" || s.isOf(connector, key)
}

// find reads the topics up to now.
func (f *finder) find(ctx context.Context) error {
	if f.id != (events.ID{}) {
		if err := f.identify(ctx); err != nil {
			return err
		}
		if len(f.records) == 0 && len(f.letterIDs) == 0 {
			return nil
		}
		for r := range f.records {
			f.knows(r.id)
		}
	}
	box := pipeline.Letterbox{Wanted: f.wantsLetter}
	err := f.topics.Tail(ctx, topics.TailOptions{Beginning: true, Stop: true}, func(m topics.Received) error {
		if m.Topic == events.TypeDeadLetter {
			l, err := box.Add(&m)
			if l != nil {
				f.addLetter(l)
			}
			return err
		}
		if f.id == (events.ID{}) && f.recordID(attribute(&m, "recordid")) != f.text {
			return nil
		}
		if e, ok := f.wanted(&m); ok {
			f.add(&m, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range box.Incomplete() {
		f.incomplete[l] = true
		f.addLetter(l)
	}
	return nil
}

// identify finds which record an event id is of, and ends there. Where it is a
// record's id, which may look like one of an event, all streams may have it.
func (f *finder) identify(ctx context.Context) error {
	found := false
	box := pipeline.Letterbox{Wanted: func(l *pipeline.Letter) bool {
		if f.ofStream(l.Connector, l.Stream) && (l.ID == f.id || l.Event == f.id) {
			found = true
			f.letterIDs[l.ID] = true
			if l.Event != (events.ID{}) { // then it has the record's id
				f.records[record{l.Stream, l.RecordID}] = true
			}
		} else if f.ofStream(l.Connector, l.Stream) && l.RecordID == f.text {
			f.records[record{l.Stream, l.RecordID}] = true
		}
		return false
	}}
	text := f.id.String()
	err := f.topics.Tail(ctx, topics.TailOptions{Beginning: true, Stop: true}, func(m topics.Received) error {
		if m.Topic == events.TypeDeadLetter {
			if _, err := box.Add(&m); err != nil {
				return err
			}
		} else if its := attribute(&m, "id") == text; its || f.recordID(attribute(&m, "recordid")) == f.text {
			if e, err := events.FromAttributes(m.Attributes); err == nil && f.ofStream(e.Connector, e.Source) {
				f.records[record{e.Source, f.recordID(e.RecordID)}] = true
				found = its
			}
		}
		if found {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (f *finder) wanted(m *topics.Received) (events.Event, bool) {
	e, err := events.FromAttributes(m.Attributes)
	if err != nil || !f.ofStream(e.Connector, e.Source) {
		return e, false
	}
	return e, f.id == (events.ID{}) || e.ID == f.id || f.records[record{e.Source, f.recordID(e.RecordID)}]
}

// wantsLetter says whether a letter is about what is wanted.
func (f *finder) wantsLetter(l *pipeline.Letter) bool {
	switch {
	case !f.ofStream(l.Connector, l.Stream):
		return false
	case f.id == (events.ID{}):
		return l.RecordID == f.text
	}
	return f.letterIDs[l.ID] || l.Event != (events.ID{}) && l.Event == f.id || f.records[record{l.Stream, l.RecordID}]
}

func (f *finder) group(r record, connector string) *group {
	g := f.found[r]
	if g == nil {
		g = &group{source: r.source, recordID: r.id}
		f.found[r] = g
	}
	g.connector = connector
	return g
}

// recordOf is the record that an event is of. A transform may have hashed its id: then
// it is that of the dead letter which led to the event.
func (f *finder) recordOf(e *events.Event) record {
	r := record{e.Source, f.recordID(e.RecordID)}
	if e.ID == f.id && !f.records[r] {
		for wanted := range f.records {
			if wanted.source == e.Source {
				return wanted
			}
		}
	}
	return r
}

// add keeps an event, the latest ones of each record where there are too many. It is
// copied: the message is valid during the call only.
func (f *finder) add(m *topics.Received, e events.Event) {
	g := f.group(f.recordOf(&e), e.Connector)
	full := func() bool { return f.kept >= mostFound || f.size+len(m.Data) > mostFoundBytes }
	for full() && f.dropFirst(g) {
	}
	if e.ID != f.id && full() {
		g.more++
		return
	}
	f.kept, f.size = f.kept+1, f.size+len(m.Data)
	g.events = append(g.events, &foundEvent{
		Event: e, attributes: slices.Clone(m.Attributes), data: bytes.Clone(m.Data),
		topic: m.FullTopic, partition: m.Partition, position: m.Sequence, stored: m.Stored,
	})
}

// dropFirst gives back the first event of a record but for the one that was asked for;
// false where there is none.
func (f *finder) dropFirst(g *group) bool {
	n := slices.IndexFunc(g.events, func(e *foundEvent) bool { return e.ID != f.id })
	if n < 0 {
		return false
	}
	f.kept, f.size, g.more = f.kept-1, f.size-len(g.events[n].data), g.more+1
	g.events = slices.Delete(g.events, n, n+1)
	return true
}

func (f *finder) addLetter(l *pipeline.Letter) {
	g := f.group(record{l.Stream, l.RecordID}, l.Connector)
	g.letters = append(g.letters, l)
}

// groups returns what was found, each in the order of publication.
func (f *finder) groups() []*group {
	var all []*group
	for _, g := range f.found {
		g.sort()
		slices.SortFunc(g.letters, func(a, b *pipeline.Letter) int { return a.Stored.Compare(b.Stored) })
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int {
		return cmp.Or(strings.Compare(a.source.String(), b.source.String()), strings.Compare(a.recordID, b.recordID))
	})
	return all
}

// sort puts the events into the order of publication: that of their positions where
// all lie in one partition, or on a broker without, else that of the broker's clocks.
func (g *group) sort() {
	one := !slices.ContainsFunc(g.events, func(e *foundEvent) bool {
		return e.partition >= 0 && (e.partition != g.events[0].partition || e.topic != g.events[0].topic)
	})
	slices.SortFunc(g.events, func(a, b *foundEvent) int {
		if one {
			return cmp.Compare(a.position, b.position)
		}
		return cmp.Or(a.stored.Compare(b.stored), strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), cmp.Compare(a.position, b.position))
	})
}

// letter returns the letter with an id, of another one the first; nil where there
// is none.
func (g *group) letter(id events.ID) *pipeline.Letter {
	for _, l := range g.letters {
		if l.ID == id {
			return l
		}
	}
	if len(g.letters) == 0 {
		return nil
	}
	return g.letters[0]
}

// asked returns the event with an id, the one that was published last; of another
// one the latest of all. Nil where there is none.
func (g *group) asked(id events.ID) *foundEvent {
	for n := len(g.events) - 1; n >= 0; n-- {
		if g.events[n].ID == id {
			return g.events[n]
		}
	}
	for _, l := range g.letters {
		if l.ID == id {
			return nil
		}
	}
	if len(g.events) == 0 {
		return nil
	}
	return g.events[len(g.events)-1]
}

func (e *foundEvent) place() Place {
	p := Place{Topic: e.topic, Stored: e.stored.UTC()}
	if e.partition < 0 {
		p.Sequence = &e.position
	} else {
		p.Partition, p.Offset = &e.partition, &e.position
	}
	return p
}

func (e *foundEvent) explained() *ExplainedEvent {
	out := &ExplainedEvent{Attributes: map[string]string{}, Place: e.place()}
	for _, a := range e.attributes {
		out.Attributes[a.Name] = a.Value
	}
	if out.Data = e.data; !json.Valid(e.data) {
		out.Data, _ = json.Marshal(string(e.data))
	}
	return out
}

// raw returns the record that the event carries; nil for none.
func (e *foundEvent) raw() json.RawMessage {
	var data struct{ Raw json.RawMessage }
	_ = json.Unmarshal(e.data, &data)
	return data.Raw
}

// attribute returns one of a message's attributes; "" where it is not there.
func attribute(m *topics.Received, name string) string {
	for i := range m.Attributes {
		if m.Attributes[i].Name == name {
			return m.Attributes[i].Value
		}
	}
	return ""
}
