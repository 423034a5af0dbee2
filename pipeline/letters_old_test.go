package pipeline_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
)

// messages counts the events that came of records.
func messages(all []seen) (n int) {
	for _, e := range all {
		if e.Type == events.TypeMessage {
			n++
		}
	}
	return n
}

// timed is the API with another mapping, whose records are of a moment.
type timed struct{ mapped }

func (m *timed) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	if r.From.After(m.at) || !r.To.After(m.at) {
		return connectors.EmptyPage(time.Now()), nil
	}
	return m.mapped.Page(ctx, r)
}

// Kafka deletes what is too old when it deletes a segment, and on topics that were
// there it keeps what it likes: a letter may be there for longer than it is
// remembered that it was dealt with.
func TestLettersThatAreKeptTooLongCountAsGone(t *testing.T) {
	o := options(open(t, t.TempDir()))
	o.Retention = time.Hour
	a, dead := &api{at: start.Add(30 * time.Minute), elements: []string{`{"id":"1"}`, `{"id":"2"}`}}, true
	s := func() *connectors.Stream {
		s := streamAt(t, a, false, o.Now)
		s.Map = func(raw []byte, f *connectors.Fields) events.Record {
			r := events.Record{Type: events.TypeMessage, ID: string(raw), Time: a.at}
			if r.Dead = f.Object(raw, func(_, _ []byte) {}); dead {
				r.Dead = &events.Dead{Reason: events.ReasonNotJSON, Stage: events.StageConnector}
			}
			return r
		}
		s.Pager = &timed{mapped{a, s.Map}}
		return s
	}
	ingest(t, s(), o)
	dead, a.elements = false, nil
	all := letters(t, o.Broker)
	for _, l := range all {
		l.Stored = end
	}
	if r, err := resolve(t, s(), o, all[:1], false); err != nil || r.Replayed != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	o.Now = func() time.Time { return end.Add(100 * time.Hour) } // what was published is forgotten too
	for range 3 {
		ingest(t, s(), o)
	}
	names, err := o.Broker.Ledger(s().Key).Entries(t.Context())
	if err != nil || strings.Contains(strings.Join(names, " "), "resolved.") {
		t.Fatalf("the resolution is kept: %s, %v", names, err)
	}
	before := messages(read(t, o.Broker))
	if r, err := resolve(t, s(), o, all, false); err != nil || r.Replayed+r.Known+r.Discarded > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if n := messages(read(t, o.Broker)); n != before {
		t.Errorf("%d events, there were %d", n, before)
	}
}

// However a stream reads again, what that has published is forgotten some time: the
// letter of such a record stays dead, and is no second event.
func TestLettersOfWhatWasReadAgain(t *testing.T) {
	for _, how := range []string{"rewind", "rewind --replay", "backfill", "backfill --replay"} {
		o := options(open(t, t.TempDir()))
		a, dead := &api{at: start.Add(30 * time.Minute), elements: []string{`{"id":"1"}`}}, true
		s := func() *connectors.Stream {
			s := streamAt(t, a, false, o.Now)
			s.Map = func(raw []byte, f *connectors.Fields) events.Record {
				r := events.Record{Type: events.TypeMessage, ID: string(raw), Time: a.at}
				if r.Dead = f.Object(raw, func(_, _ []byte) {}); dead {
					r.Dead = &events.Dead{Reason: events.ReasonNotJSON, Stage: events.StageConnector}
				}
				return r
			}
			s.Pager = &timed{mapped{a, s.Map}}
			return s
		}
		ingest(t, s(), o)
		all := letters(t, o.Broker)
		all[0].Stored = end.Add(-time.Second)
		dead = false
		way, _, replay := strings.Cut(how, " ")
		if way == "rewind" {
			if _, err := move(t, s(), o, pipeline.Move{To: start, Replay: replay}); err != nil {
				t.Fatal(err)
			}
			ingest(t, s(), o)
		} else {
			begin(t, s(), o, start, end, replay)
			fill(t, s(), o)
		}
		a.elements = nil
		o.Now = func() time.Time { return end.Add(100 * time.Hour) }
		for range 3 {
			ingest(t, s(), o)
		}
		r, err := resolve(t, s(), o, all, false)
		if n := messages(read(t, o.Broker)); err != nil || n != 1 {
			t.Errorf("%s: it is published %d times; %+v, %v", how, n, r, err)
		}
	}
}

// A record that was dead, was replayed and forgotten, and is dead again in a replay of
// the stream, is one event.
func TestLettersThatComeBack(t *testing.T) {
	o := options(open(t, t.TempDir()))
	a, dead := &api{at: start.Add(30 * time.Minute), elements: []string{`{"id":"1"}`}}, true
	s := func() *connectors.Stream {
		s := streamAt(t, a, false, o.Now)
		s.Map = func(raw []byte, f *connectors.Fields) events.Record {
			r := events.Record{Type: events.TypeMessage, ID: string(raw), Time: a.at}
			if r.Dead = f.Object(raw, func(_, _ []byte) {}); dead {
				r.Dead = &events.Dead{Reason: events.ReasonNotJSON, Stage: events.StageConnector}
			}
			return r
		}
		s.Pager = &timed{mapped{a, s.Map}}
		return s
	}
	ingest(t, s(), o)
	all := letters(t, o.Broker)
	all[0].Stored = end
	dead = false
	if r, err := resolve(t, s(), o, all, false); err != nil || r.Replayed != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	elements := a.elements
	a.elements = nil
	o.Now = func() time.Time { return end.Add(100 * time.Hour) }
	for range 3 {
		ingest(t, s(), o)
	}
	a.elements, dead = elements, true
	if _, err := move(t, s(), o, pipeline.Move{To: start, Replay: true}); err != nil {
		t.Fatal(err)
	}
	ingest(t, s(), o)
	all, dead = letters(t, o.Broker), false
	if len(all) != 2 {
		t.Fatalf("%d letters", len(all))
	}
	all[0].Stored, all[1].Stored = end, end.Add(101*time.Hour)
	r, err := resolve(t, s(), o, all, false)
	if n := messages(read(t, o.Broker)); err != nil || n != 1 {
		t.Errorf("it is published %d times; %+v, %v", n, r, err)
	}
}
