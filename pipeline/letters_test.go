package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// letters reads the dead letters that are there.
func letters(t *testing.T, b topics.Broker) (all []*pipeline.Letter) {
	t.Helper()
	box := pipeline.Letterbox{Bytes: true}
	err := b.Tail(t.Context(), topics.TailOptions{Topics: []string{events.TypeDeadLetter}, Beginning: true, Stop: true}, func(m topics.Received) error {
		l, err := box.Add(&m)
		if l != nil {
			l.Raw = bytes.Clone(l.Raw)
			all = append(all, l)
		}
		return err
	})
	if err != nil || len(box.Incomplete()) > 0 {
		t.Fatal(err, len(box.Incomplete()))
	}
	return all
}

func resolve(t *testing.T, s *connectors.Stream, o pipeline.Options, all []*pipeline.Letter, discard bool) (r *pipeline.Resolved, err error) {
	t.Helper()
	err = offline(t, s, o, func(i *pipeline.Ingest) error {
		r, err = i.Resolve(t.Context(), all, discard)
		return err
	})
	return r, err
}

// deadThenFine makes letters of bytes that a later version can read.
func deadThenFine(t *testing.T, o pipeline.Options, texts ...string) (s func() *connectors.Stream) {
	t.Helper()
	a := &api{elements: texts}
	dead := true
	s = func() *connectors.Stream {
		s := streamAt(t, a, false, o.Now, brief)
		mapper := func(raw []byte, f *connectors.Fields) events.Record {
			r := events.Record{Type: events.TypeMessage, Time: start}
			r.Dead = f.Object(raw, func(name, value []byte) {
				if string(name) == "id" {
					r.ID = connectors.Text(value)
				}
			})
			if dead && bytes.Contains(raw, []byte("cured")) {
				r.Dead = &events.Dead{Reason: events.ReasonNotJSON, Stage: events.StageConnector}
			}
			return r
		}
		s.Map, s.Pager = mapper, &mapped{a, mapper}
		return s
	}
	ingest(t, s(), o)
	dead = false
	return s
}

// mapped is the API with another mapping.
type mapped struct {
	*api
	mapper connectors.Mapper
}

func (m *mapped) Page(_ context.Context, r connectors.Request) (*connectors.Page, error) {
	answer := &connectors.Answer{Reader: strings.NewReader("[" + strings.Join(m.elements, ",") + "]"), Began: time.Now()}
	return connectors.NewPage(answer, r.Key, 32<<20, nil, m.mapper, nil), nil
}

// Each letter is dealt with once, whatever crashes, however often it is asked.
func TestLettersAreReplayedOnce(t *testing.T) {
	for crash := range 3 { // never, before the commit, after it
		t.Run(fmt.Sprint(crash), func(t *testing.T) {
			h := &hooked{Broker: open(t, t.TempDir())}
			o := options(h)
			s := deadThenFine(t, o, `{"id":"1"}`, `{"id":"2","cured":1}`, `{"cured":2}`, `{"cured":2}`, `null`, `{"id":"1","cured":3}`)
			all := letters(t, h)
			if len(all) != 5 {
				t.Fatalf("%d dead letters", len(all))
			}
			h.commit = func(ctx context.Context, s topics.Stream, c *topics.Commit) error {
				h.commit = nil
				if crash == 2 {
					if err := s.Commit(ctx, c); err != nil {
						return err
					}
				}
				if crash > 0 {
					return errors.New("killed")
				}
				return s.Commit(ctx, c)
			}
			if _, err := resolve(t, s(), o, all, false); (err != nil) != (crash > 0) {
				t.Fatal(err)
			}
			r, err := resolve(t, s(), o, append(all, all...), false)
			if err != nil || r.Dead["not_an_object: a JSON value, but not an object"] != 1 {
				t.Errorf("%+v, %v", r, err)
			}
			if done := r.Replayed + r.Known; crash == 1 && done != 4 || crash != 1 && done != 0 {
				t.Errorf("dealt with again: %+v", r)
			}
			events := 0
			var texts []string
			for _, e := range read(t, h) {
				if e.Type == "message" {
					events++
					texts = append(texts, string(e.raw))
				}
				if e.Replay {
					t.Errorf("%s is marked replay", e.ID)
				}
			}
			if events != 4 {
				t.Errorf("%d events: %q; want 1, 2 and the two equal ones", events, texts)
			}
			ingest(t, s(), o) // the API gives them again, and they are known
			unique(t, read(t, h), 4+5)
		})
	}
}

func TestLettersAreDiscardedOnce(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s := deadThenFine(t, o, `{"id":"2","cured":1}`, `null`)
	all := letters(t, o.Broker)
	if r, err := resolve(t, s(), o, all[:1], true); err != nil || r.Discarded != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err := resolve(t, s(), o, all, false)
	if err != nil || r.Already != 1 || len(r.Dead) != 1 || r.Replayed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if c := ingest(t, s(), o).Checkpoint.Counts; c.DeadLetters != 2 || c.Resolved != 1 {
		t.Errorf("%+v", c)
	}
}

// A record that was too large is published under its own id when there is room,
// whole, also where events leave raw out.
func TestLargeLettersAreReplayed(t *testing.T) {
	for _, raw := range []bool{true, false} {
		text := strings.Repeat("ä", 20_000)
		big := `{"id":"` + text + `"}`
		l := &limited{Broker: open(t, t.TempDir()), limits: topics.Limits{Messages: 100, Bytes: 20_000}}
		o := options(l)
		o.Raw = raw
		s := func() *connectors.Stream {
			s := stream(t, nil, false)
			s.Map = func(raw []byte, f *connectors.Fields) events.Record {
				r := events.Record{Type: events.TypeMessage, Time: start, ID: "big"}
				r.Dead = f.Object(raw, func(_, value []byte) { f.Text("text", connectors.Text(value)) })
				return r
			}
			s.Pager = &mapped{&api{elements: []string{big}}, s.Map}
			return s
		}
		ingest(t, s(), o)
		all := letters(t, l)
		if len(all) != 1 || string(all[0].Raw) != big || all[0].Parts < 2 || !all[0].Intact() || all[0].Event == (events.ID{}) {
			t.Fatalf("%d letters: %+v", len(all), all)
		}
		if r, err := resolve(t, s(), o, all, false); err != nil || r.Replayed != 0 || len(r.Dead) != 1 {
			t.Errorf("still too large: %+v, %v", r, err)
		}
		l.limits.Bytes = 1 << 20
		for range 2 {
			if _, err := resolve(t, s(), o, all, false); err != nil {
				t.Fatal(err)
			}
		}
		found := 0
		for _, e := range read(t, l) {
			if e.ID != all[0].Event {
				continue
			}
			if found++; e.Type != events.TypeMessage || (string(e.raw) == big) != raw || e.data["text"] != text {
				t.Errorf("%s: %.60s", e.Type, e.raw)
			}
		}
		if found != 1 {
			t.Errorf("it was published %d times", found)
		}
	}
}

// What is left of letters that are gone goes too.
func TestResolutionsGoWithTheirLetters(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s := deadThenFine(t, o, `null`)
	if _, err := resolve(t, s(), o, letters(t, o.Broker), true); err != nil {
		t.Fatal(err)
	}
	names := func() (n int) {
		all, err := o.Broker.Ledger(s().Key).Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			if strings.HasPrefix(name, "resolved.") {
				n++
			}
		}
		return n
	}
	ingest(t, s(), o)
	if names() != 1 {
		t.Fatalf("%d resolutions", names())
	}
	o.Retention = time.Hour
	o.Now = func() time.Time { return end.Add(3 * time.Hour) }
	ingest(t, s(), o)
	if names() != 0 {
		t.Errorf("%d resolutions of letters that are gone", names())
	}
}
