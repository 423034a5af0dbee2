package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// little is a broker that takes small messages only; more is when it takes others too.
func little(t *testing.T) *limited {
	t.Helper()
	return &limited{Broker: open(t, t.TempDir()), limits: topics.Limits{Messages: 100, Bytes: 20_000}}
}

const more = 1 << 20

// growing is a stream whose one record has the text that text points to.
func growing(t *testing.T, text *string, versioned bool, o pipeline.Options) func() *connectors.Stream {
	t.Helper()
	return func() *connectors.Stream {
		s := streamAt(t, nil, versioned, o.Now, brief)
		s.Map = func(raw []byte, f *connectors.Fields) events.Record {
			r := events.Record{Type: events.TypeMessage, Time: start, ID: "big"}
			r.Dead = f.Object(raw, func(_, value []byte) { f.Text("text", connectors.Text(value)) })
			return r
		}
		s.Pager = &mapped{&api{elements: []string{*text}}, s.Map}
		return s
	}
}

// large is a record that a little broker does not take.
func large(letter string) string { return `{"text":"` + strings.Repeat(letter, 40_000) + `"}` }

// published are the first letters of the texts of the events, in their order.
func published(t *testing.T, b topics.Broker) (texts string) {
	t.Helper()
	for _, e := range read(t, b) {
		if e.Type == events.TypeMessage {
			texts += fmt.Sprint(e.data["text"])[:1]
		}
	}
	return texts
}

// The last version of a record that is published is its last one: a letter of an
// older one is not published after it.
func TestOldVersionsStayDead(t *testing.T) {
	const a, b, small = "a", "b", `{"text":"small"}`
	for _, tt := range []struct {
		name     string
		versions []string
		want     string // that is published
		dead     int
	}{
		{"the only one", []string{large(a)}, "a", 0},
		{"an old one", []string{large(a), small}, "s", 1},
		{"the last one", []string{small, large(a)}, "sa", 0},
		{"an old one and the last one", []string{large(a), large(b)}, "b", 1},
		{"one that came back", []string{large(a), small, large(a)}, "sa", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, now := little(t), end
			o := options(l)
			o.Now = func() time.Time { return now }
			text := ""
			s := growing(t, &text, true, o)
			for _, text = range tt.versions {
				ingest(t, s(), o)
				now = now.Add(time.Second)
			}
			l.limits.Bytes = more
			r, err := resolve(t, s(), o, letters(t, l), false)
			if err != nil || r.Dead["a newer version of the record is known"] != tt.dead {
				t.Errorf("%+v, %v", r, err)
			}
			if got := published(t, l); got != tt.want {
				t.Errorf("published are the versions %q, want %q", got, tt.want)
			}
		})
	}
}

// A record that was too large is published once, be it by its letter or by a
// replay of the stream; and it is published at all.
func TestLargeLettersAndReplays(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for _, early := range []bool{true, false} { // the replay comes before there is room
			t.Run(fmt.Sprint(versioned, early), func(t *testing.T) {
				l := little(t)
				o := options(l)
				text := large("a")
				s := growing(t, &text, versioned, o)
				ingest(t, s(), o)
				if !early {
					l.limits.Bytes = more
				}
				if _, err := move(t, s(), o, pipeline.Move{To: start, Replay: true}); err != nil {
					t.Fatal(err)
				}
				ingest(t, s(), o)
				l.limits.Bytes = more
				r, err := resolve(t, s(), o, letters(t, l), false)
				if err != nil || early && r.Replayed != 1 || !early && r.Known != 1 {
					t.Errorf("%+v, %v", r, err)
				}
				if got := published(t, l); got != "a" {
					t.Errorf("it is published %d times", len(got))
				}
			})
		}
	}
}

// Where nobody knows any more whether a newer version was published, the letter of
// a version stays dead.
func TestVersionsBehindWhatIsRememberedStayDead(t *testing.T) {
	l, now := little(t), end
	o := options(l)
	o.Now = func() time.Time { return now }
	text := ""
	s := growing(t, &text, true, o)
	for _, text = range []string{large("a"), `{"text":"small"}`} {
		ingest(t, s(), o)
		now = now.Add(time.Second)
	}
	l.limits.Bytes = more
	for range 3 {
		now = now.Add(12 * time.Hour)
		quiet := s()
		quiet.Pager = &api{elements: []string{fmt.Sprintf(`{"id":"%d"}`, now.Unix())}, at: now.Add(-time.Hour), began: o.Now}
		ingest(t, quiet, o)
	}
	if r, err := resolve(t, s(), o, letters(t, l), false); err != nil || r.Replayed != 0 || len(r.Dead) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// What was published is forgotten with all else behind the horizon. A letter may
// publish it again then, and says so; not where a replay of the stream has read its
// time since.
func TestOldLettersAreMarked(t *testing.T) {
	for _, again := range []bool{false, true} { // a replay of the stream has published it
		l, now := little(t), end
		o := options(l)
		o.Now = func() time.Time { return now }
		text, at := large("a"), start.Add(30*time.Minute) // not where the stream begins: that is remembered
		first := growing(t, &text, false, o)
		s := func() *connectors.Stream {
			s := first()
			whenever := s.Map
			s.Map = func(raw []byte, f *connectors.Fields) events.Record {
				r := whenever(raw, f)
				r.Time = at
				return r
			}
			s.Pager = around{&mapped{&api{elements: []string{text}}, s.Map}, at}
			return s
		}
		ingest(t, s(), o)
		l.limits.Bytes = more
		if again {
			if _, err := move(t, s(), o, pipeline.Move{To: start, Replay: true}); err != nil {
				t.Fatal(err)
			}
			ingest(t, s(), o)
		}
		forget := func() {
			for range 3 {
				now = now.Add(12 * time.Hour)
				quiet := s()
				quiet.Pager = &api{elements: []string{fmt.Sprintf(`{"text":"%d"}`, now.Unix())}, at: now.Add(-time.Hour)}
				ingest(t, quiet, o)
			}
		}
		forget()
		all := letters(t, l)
		all[0].Stored = end.Add(-time.Second)
		if r, err := resolve(t, s(), o, all, false); err != nil || again && len(r.Dead) != 1 || !again && r.Replayed != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		if !again {
			forget()
			all[0].Stored = end.Add(time.Second) // the same letter, from a replay that found no room
			if r, err := resolve(t, s(), o, all, false); err != nil || r.Known != 1 {
				t.Errorf("a letter that was replayed before: %+v, %v", r, err)
			}
		}
		if n := strings.Count(published(t, l), "a"); n != 1 {
			t.Errorf("it is published %d times", n)
		}
		for _, e := range read(t, l) {
			if e.RecordID == "big" && e.Type == events.TypeMessage && !e.Replay {
				t.Errorf("%s is not marked", e.ID)
			}
		}
	}
}

// around answers for the windows that hold a moment alone.
type around struct {
	connectors.Pager
	at time.Time
}

func (a around) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	if a.at.Before(r.From) || !a.at.Before(r.To) {
		return (&api{at: a.at}).Page(ctx, r)
	}
	return a.Pager.Page(ctx, r)
}

// What can be no event is kept as it is, under its own reason, also where one
// message does not hold it; and it does not become an event by being replayed.
func TestLargeRecordsThatAreNoObjects(t *testing.T) {
	for reason, text := range map[string]string{
		events.ReasonNotObject: "[" + large("a") + "]",
		events.ReasonNotJSON:   `["` + strings.Repeat("\x01\xff", 7_500) + `"]`,
	} {
		l := little(t)
		o := options(l)
		s := growing(t, &text, false, o)
		c := ingest(t, s(), o).Checkpoint.Counts
		if c.DeadLetters != 1 || c.Events != 0 {
			t.Errorf("%d dead letters and %d events are counted, want 1 and 0", c.DeadLetters, c.Events)
		}
		all := letters(t, l)
		if len(all) != 1 || all[0].Dead.Reason != reason || string(all[0].Raw) != text || all[0].Parts < 2 || !all[0].Intact() || all[0].Event != (events.ID{}) {
			t.Fatalf("%d letters: %+v", len(all), all)
		}
		l.limits.Bytes = more
		if r, err := resolve(t, s(), o, all, false); err != nil || r.Replayed != 0 || len(r.Dead) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		ingest(t, s(), o) // it is known
		if again := letters(t, l); len(again) != 1 || published(t, l) != "" {
			t.Errorf("%d letters, and events %q", len(again), published(t, l))
		}
	}
}

// Of a key and a record id only the one that is too long is replaced.
func TestLongKeysAndRecordIDs(t *testing.T) {
	long := strings.Repeat("k", 5_000)
	for _, tt := range []struct{ key, id string }{{long, "id"}, {"key", long}, {long, long}, {"key", "id"}} {
		l := little(t)
		o := options(l)
		text := large("a")
		s := growing(t, &text, false, o)()
		mapper := s.Map
		s.Map = func(raw []byte, f *connectors.Fields) events.Record {
			r := mapper(raw, f)
			r.Key, r.ID = tt.key, tt.id
			return r
		}
		s.Pager.(*mapped).mapper = s.Map
		ingest(t, s, o)
		first := ""
		for _, e := range read(t, l) {
			if first == "" {
				first = e.Key
			}
			if e.Key != first {
				t.Errorf("parts of one letter have the keys %q and %q: a broker may mix up their order", first, e.Key)
			}
			if key, id := e.Key == tt.key, e.RecordID == tt.id; key != (tt.key != long) || id != (tt.id != long) {
				t.Errorf("the key of %d bytes and the record id of %d became %.40q and %.40q", len(tt.key), len(tt.id), e.Key, e.RecordID)
			}
		}
	}
}
