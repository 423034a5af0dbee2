package pipeline

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// check makes events of the records that are not out (invariant 1: the others
// are counted), dead letters of those that cannot become events.
// Stands is how far live reads have come before the batch.
func (t *tenure) check(draft *ledger.Draft, batch *connectors.Batch, stands time.Time, limits topics.Limits) ([]events.Event, ledger.Counts) {
	records := batch.Records
	counts := ledger.Counts{Records: int64(len(records))}
	now := t.opts.Now().UTC().Truncate(time.Millisecond)
	replay := t.replaying(batch)
	fresh := make([]events.Event, 0, len(records))
	for n := range records {
		r := &records[n]
		id := r.Identity.Event()
		var isNew bool
		if t.stream.Versioned && r.Dead == nil {
			id, isNew = draft.Version(r.Identity, r.Content, batch.Began, batch.Ended)
		} else {
			isNew = draft.Record(id)
		}
		again := isNew && t.maybeOut(r, batch) // published once more
		if replay != nil {
			first := id != (events.ID{}) && draft.Record(events.ReplayMark(id, replay.Number))
			again = again || !isNew || forgotten(replay, r, batch)
			isNew = first
		}
		if !isNew {
			counts.Duplicates++
			continue
		}
		e := events.Event{
			ID: id, Source: t.stream.Key, Connector: t.stream.Connector,
			Type: r.Type, Key: r.Key, RecordID: r.ID,
			Time: r.Time, Recorded: now, Replay: again,
			Members: r.Members, Raw: r.Raw, ReadFor: r.ReadFor,
		}
		if e.RecordID == "" {
			e.RecordID = r.Identity.String()
		}
		if e.Key == "" {
			e.Key = e.RecordID
		}
		if r.Dead != nil {
			fresh = append(fresh, unreadable(&e, r, batch, limits.Bytes)...)
			counts.DeadLetters++
			continue
		}
		fresh = append(fresh, e)
		counts.Events++
		t.observe(&counts, batch, r.Time, stands, now)
	}
	return fresh, counts
}

// observe notes how late a new record was seen, where that is the API's doing: in
// reads of the present, and in sweeps, which read what was read before.
func (t *tenure) observe(counts *ledger.Counts, batch *connectors.Batch, at, stands, now time.Time) {
	o := t.stream.Options
	switch {
	case batch.Lane == connectors.Backfill:
		return // it is late because we are
	case batch.Lane == connectors.Live:
		if batch.Began.Sub(stands) > o.Settle+2*o.Poll { // it is catching up
			return
		}
	case t.stream.Versioned: // it changed, which is not to be late
		return
	default:
		known := at
		if known.IsZero() {
			known = batch.Window.To
		}
		if missed := stands.Sub(known); missed > o.Overlap {
			counts.Late++
			counts.Overlap = max(counts.Overlap, ledger.SecondsOf(missed))
		}
	}
	if !at.IsZero() {
		late := max(0, now.Sub(at))
		counts.Lateness.Observe(late)
		t.lateness = append(t.lateness, late)
	}
}

// letter is what a dead letter says of its record beside what all of them say.
type letter struct {
	events.Dead
	event  events.ID // that the record's event would have had; zero when unknown
	whole  events.ID // of the letter that the parts make
	number int       // among equal ones of the pass
	step   string    // of the transforms, that failed; "" for other reasons
}

// deadLetter is the data of a dead letter: the record whole, or one of its parts
// (from 1).
func deadLetter(dead letter, e *events.Event, batch *connectors.Batch, raw []byte, part, parts int) events.Members {
	sum := sha256.Sum256(raw)
	var m events.Members
	m.Text("reason", dead.Reason)
	m.TextOf("detail", dead.Detail)
	m.Text("stage", dead.Stage)
	m.TextOf("step", dead.step)
	m.Text("connector", e.Connector)
	m.Text("stream", e.Source.String())
	m.Text("window", batch.Window.From.UTC().Format(time.RFC3339)+"/"+batch.Window.To.UTC().Format(time.RFC3339))
	m.Text("sha256", hex.EncodeToString(sum[:]))
	m.TextOf("read_for", e.ReadFor)
	if dead.event != (events.ID{}) {
		m.Text("event_id", dead.event.String())
	}
	if dead.number > 0 {
		m.JSON("number", strconv.AppendInt(nil, int64(dead.number), 10))
	}
	if parts > 0 {
		m.Text("letter_id", dead.whole.String())
		m.JSON("part", strconv.AppendInt(nil, int64(part), 10))
		m.JSON("parts", strconv.AppendInt(nil, int64(parts), 10))
		size := (len(raw) + parts - 1) / parts
		raw = raw[(part-1)*size : min(part*size, len(raw))]
	}
	if parts == 0 && utf8.Valid(raw) {
		m.Text("record", string(raw))
	} else {
		m.Text("record_base64", base64.StdEncoding.EncodeToString(raw))
	}
	return m
}

// encoder makes messages of events: those of one commit, which are valid until the
// next one begins.
type encoder struct {
	attributes events.Encoder
	messages   []topics.Message
	attrs      []events.Attribute
	data       []byte
}

// attributesOf is more attributes than an event has.
const attributesOf = 14

// keepBytes is how large a buffer may be that is kept, however little of it is used.
const keepBytes = 4 << 20

// begin forgets the messages that were made before, and gives back the memory of
// what was much larger.
func (c *encoder) begin() {
	if cap(c.data) > keepBytes && len(c.data) < cap(c.data)/4 {
		c.messages, c.attrs, c.data = nil, nil, nil
	}
	c.messages, c.attrs, c.data = c.messages[:0], c.attrs[:0], c.data[:0]
}

// grow makes room for events.
func (c *encoder) grow(fresh []events.Event) {
	total := 0
	for n := range fresh {
		total += fresh[n].DataLen()
	}
	c.data, c.attrs = slices.Grow(c.data, total), slices.Grow(c.attrs, attributesOf*len(fresh))
}

// mark says how far the encoder has come, back takes back what came behind it.
func (c *encoder) mark() [3]int { return [3]int{len(c.messages), len(c.attrs), len(c.data)} }

func (c *encoder) back(to [3]int) {
	c.messages, c.attrs, c.data = c.messages[:to[0]], c.attrs[:to[1]], c.data[:to[2]]
}

// add encodes an event, with raw or without, or says why its record is dead: the
// broker does not take it.
func (c *encoder) add(e *events.Event, raw bool, limits topics.Limits) (dead *letter) {
	one, before := *e, c.mark()
	if !raw {
		one.Raw = nil
	}
	m := c.message(&one)
	if m.Size() > limits.Bytes {
		c.back(before)
		return &letter{Dead: events.Dead{
			Reason: events.ReasonTooLarge, Stage: events.StageCommit,
			Detail: fmt.Sprintf("its event has %d bytes, the broker takes %d", one.DataLen(), limits.Bytes),
		}}
	}
	c.messages = append(c.messages, m)
	return nil
}

func (c *encoder) message(e *events.Event) topics.Message {
	attrs, data := len(c.attrs), len(c.data)
	c.attrs = c.attributes.AppendAttributes(c.attrs, e)
	c.data = e.AppendData(c.data)
	topic := e.Topic
	if topic == "" || e.Type == events.TypeDeadLetter { // whose topic is what tells of them
		topic = e.Type
	}
	return topics.Message{
		Topic: topic, Connector: e.Connector, Key: e.Key,
		Attributes: c.attrs[attrs:len(c.attrs):len(c.attrs)],
		Data:       c.data[data:len(c.data):len(c.data)],
	}
}

// overhead are attributes and the other members of a dead letter, generously.
const overhead = 8 << 10

// unreadable makes dead letters of a record that can be no event: one, or its
// parts where the broker does not take that.
func unreadable(e *events.Event, r *connectors.Prepared, batch *connectors.Batch, limit int) []events.Event {
	dead := letter{Dead: *r.Dead, whole: e.ID, number: r.Number}
	whole := *e
	whole.Type, whole.Time, whole.Raw = events.TypeDeadLetter, time.Time{}, nil
	whole.Members = deadLetter(dead, e, batch, r.Raw, 0, 0)
	if len(whole.Members) <= limit-overhead {
		return []events.Event{whole}
	}
	return inParts(dead, e, batch, r.Raw, limit, func(part int) events.Identity {
		return events.DeadLetterIdentity(e.Source, r.Raw, r.Number, part)
	})
}

// lettersOf makes dead letters of an event's record, in parts where one is too
// large too.
func lettersOf(e *events.Event, dead *letter, limit int, batch *connectors.Batch) []events.Event {
	dead.event = e.ID
	// The event's own id is in the letters': it tells equal bytes apart, and
	// versions that come back.
	id := func(part int) events.Identity {
		return events.Identity(events.Identity(e.ID).Version(events.HashOf(e.Raw), part))
	}
	dead.whole = id(0).Event()
	return inParts(*dead, e, batch, e.Raw, limit, id)
}

// inParts makes the events of a dead letter: one, or its parts.
func inParts(dead letter, e *events.Event, batch *connectors.Batch, raw []byte, limit int, id func(part int) events.Identity) []events.Event {
	room := max(limit-overhead, 1<<10)
	parts := 0
	if 6*len(raw) > room { // escaped at the worst
		if parts = (len(raw)*4/3 + 4 + room - 1) / room; parts < 2 {
			parts = 2
		}
	}
	var letters []events.Event
	for part := min(1, parts); part <= parts; part++ {
		identity := id(part)
		letter := events.Event{
			ID: identity.Event(), Source: e.Source, Connector: e.Connector, Type: events.TypeDeadLetter,
			Key: e.Key, RecordID: e.RecordID, Recorded: e.Recorded, Replay: e.Replay, ReadFor: e.ReadFor,
		}
		if len(e.Key) > overhead/8 { // it may be what is too large
			letter.Key = dead.whole.String() // one for all parts, to keep them in order
		}
		if len(e.RecordID) > overhead/8 {
			letter.RecordID = identity.String()
		}
		letter.Members = deadLetter(dead, &letter, batch, raw, part, parts)
		letters = append(letters, letter)
	}
	return letters
}
