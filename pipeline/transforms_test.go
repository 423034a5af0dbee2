package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// failsOn fails on records whose ids it is told, as a step of that name.
func failsOn(step string, ids ...string) transforms.Func {
	return func(_ context.Context, e events.Event) ([]events.Event, error) {
		for _, id := range ids {
			if e.RecordID == id {
				return nil, &transforms.StepError{Step: step, Err: errors.New("no")}
			}
		}
		return []events.Event{e}, nil
	}
}

// readable is a stream whose dead letters can be mapped again.
func readable(t *testing.T, a *api) *connectors.Stream {
	t.Helper()
	mapper := func(raw []byte, f *connectors.Fields) events.Record {
		r := events.Record{Type: events.TypeMessage, Time: start}
		r.Dead = f.Object(raw, func(name, value []byte) {
			if string(name) == "id" {
				r.ID = connectors.Text(value)
			}
		})
		return r
	}
	s := stream(t, a, false)
	s.Map, s.Pager = mapper, &mapped{a, mapper}
	return s
}

// Invariant 1: what a transform fails on is a dead letter with the step's name, and
// the stream goes on. When the transform is mended it is published once, as the
// event that it would have been.
func TestTransformsThatFailMakeDeadLetters(t *testing.T) {
	a := &api{elements: []string{`{"id":"a"}`, `{"id":"b"}`, `{"id":"c"}`}}
	o := options(open(t, t.TempDir()))
	ids := map[string]events.ID{}
	plain := options(open(t, t.TempDir()))
	ingest(t, readable(t, a), plain)
	for _, e := range read(t, plain.Broker) {
		ids[e.RecordID] = e.ID
	}
	o.Transforms = failsOn("cut", "b")
	status := ingest(t, readable(t, a), o)
	if c := status.Checkpoint.Counts; c.Events != 2 || c.DeadLetters != 1 || c.Records-c.Duplicates != 3 {
		t.Errorf("counted %+v", c)
	}
	all := letters(t, o.Broker)
	if len(all) != 1 || all[0].Dead != (events.Dead{Reason: events.ReasonTransform, Stage: events.StageTransform, Detail: "the transform cut failed: no"}) || string(all[0].Raw) != `{"id":"b"}` || all[0].Event != ids["b"] {
		t.Fatalf("%+v", all)
	}
	for _, e := range read(t, o.Broker) {
		if e.Type == events.TypeDeadLetter && e.data["step"] != "cut" {
			t.Errorf("the letter says %v", e.data)
		}
	}
	if r, err := resolve(t, readable(t, a), o, all, false); err != nil || r.Dead["the transform cut failed: no"] != 1 {
		t.Errorf("replayed with the same transform: %+v, %v", r, err)
	}
	o.Transforms = nil
	ingest(t, readable(t, a), o) // a mended transform publishes nothing by itself
	unique(t, read(t, o.Broker), 3)
	for range 2 {
		if _, err := resolve(t, readable(t, a), o, all, false); err != nil {
			t.Fatal(err)
		}
	}
	ingest(t, readable(t, a), o)
	found := read(t, o.Broker)
	unique(t, found, 4)
	if last := found[len(found)-1]; last.ID != ids["b"] || last.Replay {
		t.Errorf("the replayed event is %+v", last.Event)
	}
}

// Records of which a transform leaves nothing are counted, and so are the events of
// those that it splits.
func TestTransformsAreCounted(t *testing.T) {
	o := options(open(t, t.TempDir()))
	o.Transforms = func(_ context.Context, e events.Event) (out []events.Event, _ error) {
		parts := map[string]int{"0": 0, "1": 1, "2": 3}[e.RecordID]
		for n := range parts {
			part := e
			part.ID = events.SplitID(e.ID, n)
			out = append(out, part)
		}
		return out, nil
	}
	c := ingest(t, readable(t, &api{elements: many(3)}), o).Checkpoint.Counts
	if c.Records-c.Duplicates != 3 || c.Events != 4 || c.Dropped != 1 || c.DeadLetters != 0 {
		t.Errorf("counted %+v", c)
	}
	unique(t, read(t, o.Broker), 4)
}

// All that is made of one record is published together, or its record is dead: also
// where there are more than one commit takes, or one is too large.
func TestPartsStandAndFallTogether(t *testing.T) {
	for name, parts := range map[string][]int{"too many": make([]int, 200), "one too large": {10, 2 << 20, 10}} {
		t.Run(name, func(t *testing.T) {
			b := open(t, t.TempDir())
			o := options(&limited{Broker: b, limits: topics.Limits{Messages: 102, Bytes: 1 << 20}})
			if name == "too many" {
				o.Broker = &tight{b}
			}
			o.Transforms = func(_ context.Context, e events.Event) (out []events.Event, _ error) {
				for n, size := range parts {
					part := e
					part.ID = events.SplitID(e.ID, n)
					part.Members = fmt.Appendf(nil, `"text":%q`, strings.Repeat("x", size))
					out = append(out, part)
				}
				return out, nil
			}
			a := &api{elements: []string{`{"id":"a"}`}}
			ingest(t, readable(t, a), o)
			all := letters(t, b)
			if n := len(read(t, b)); n != 1 || len(all) != 1 || all[0].Dead.Reason != events.ReasonTooLarge || string(all[0].Raw) != `{"id":"a"}` {
				t.Fatalf("%d messages, %d letters", n, len(all))
			}
			if r, err := resolve(t, readable(t, a), o, all, false); err != nil || r.Replayed != 0 || len(r.Dead) != 1 {
				t.Errorf("replayed: %+v, %v", r, err)
			}
			o.Transforms = nil
			if r, err := resolve(t, readable(t, a), o, all, false); err != nil || r.Replayed != 1 {
				t.Errorf("replayed without the transform: %+v, %v", r, err)
			}
			unique(t, read(t, b), 2)
		})
	}
}

// tight takes few messages at once, and says so.
type tight struct{ topics.Broker }

func (t *tight) Limits() topics.Limits { return topics.Limits{Messages: 102, Bytes: 1 << 20} }

// Of letters that a transform makes several events of, no more go into one commit
// than the broker takes.
func TestLettersThatAreSplitAreCommittedInPieces(t *testing.T) {
	b := open(t, t.TempDir())
	o := options(b)
	o.Transforms = failsOn("all", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	a := &api{elements: many(10)}
	ingest(t, readable(t, a), o)
	all := letters(t, b)
	l := &limited{Broker: b, limits: topics.Limits{Messages: 102, Bytes: 1 << 20}}
	o.Broker = l
	o.Transforms = func(_ context.Context, e events.Event) (out []events.Event, _ error) {
		for n := range 40 {
			part := e
			part.ID = events.SplitID(e.ID, n)
			out = append(out, part)
		}
		return out, nil
	}
	if r, err := resolve(t, readable(t, a), o, all, false); err != nil || r.Replayed != 10 {
		t.Fatalf("%+v, %v", r, err)
	}
	unique(t, read(t, b), 10+400)
}

// A rewind that publishes again what is in letters settles them too.
func TestReplayOfAStreamSettlesLettersOfTransforms(t *testing.T) {
	a := &api{elements: []string{`{"id":"a"}`, `{"id":"b"}`}}
	o := options(open(t, t.TempDir()))
	o.Transforms = failsOn("cut", "b")
	ingest(t, readable(t, a), o)
	o.Transforms = nil
	all := letters(t, o.Broker)
	err := offline(t, readable(t, a), o, func(i *pipeline.Ingest) error {
		_, err := i.Move(t.Context(), pipeline.Move{To: start, Replay: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ingest(t, readable(t, a), o)
	if r, err := resolve(t, readable(t, a), o, all, false); err != nil || r.Known != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	n := 0
	for _, e := range read(t, o.Broker) {
		if e.Type != events.TypeDeadLetter && e.RecordID == "b" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the record is there %d times", n)
	}
}

// What a letter of a transform holds is the record as it came, whatever steps did to
// it before the one that failed.
func TestLettersOfTransformsHoldTheRecord(t *testing.T) {
	o := options(open(t, t.TempDir()))
	o.Transforms = func(_ context.Context, e events.Event) ([]events.Event, error) {
		e.Raw, e.Members = nil, nil
		return nil, &transforms.StepError{Step: "second", Err: errors.New("no")}
	}
	ingest(t, stream(t, &api{elements: []string{`{"id":"a","text":"x"}`}}, false), o)
	if all := letters(t, o.Broker); len(all) != 1 || !json.Valid(all[0].Raw) || string(all[0].Raw) != `{"id":"a","text":"x"}` || !all[0].Intact() {
		t.Errorf("%+v", all)
	}
}

// A letter that a replay of the stream has left is replayed as the event once more, and
// says so; what transforms drop of letters is counted like other records.
func TestLettersOfAReplayAreReplays(t *testing.T) {
	a := &api{elements: []string{`{"id":"a"}`, `{"id":"b"}`}}
	o := options(open(t, t.TempDir()))
	ingest(t, readable(t, a), o)
	o.Transforms = failsOn("cut", "a", "b")
	err := offline(t, readable(t, a), o, func(i *pipeline.Ingest) error {
		_, err := i.Move(t.Context(), pipeline.Move{To: start, Replay: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ingest(t, readable(t, a), o)
	o.Transforms = func(_ context.Context, e events.Event) ([]events.Event, error) {
		if e.RecordID == "b" {
			return nil, nil
		}
		return []events.Event{e}, nil
	}
	if r, err := resolve(t, readable(t, a), o, letters(t, o.Broker), false); err != nil || r.Replayed != 1 || r.Dropped != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	found := read(t, o.Broker)
	if last := found[len(found)-1]; last.RecordID != "a" || last.ID != found[0].ID || !last.Replay {
		t.Errorf("published again is %+v", last.Event)
	}
	if c := ingest(t, readable(t, a), o).Checkpoint.Counts; c.Events != 3 || c.Dropped != 1 || c.DeadLetters != 2 || c.Resolved != 2 {
		t.Errorf("counted %+v", c)
	}
}

// counting notes how much each commit publishes, and publishes nothing of it.
type counting struct {
	topics.Broker
	sizes []int
}

type countingStream struct {
	topics.Stream
	c *counting
}

func (c *counting) Acquire(ctx context.Context, key events.StreamKey, owner string, wait func(string)) (topics.Stream, error) {
	s, err := c.Broker.Acquire(ctx, key, owner, wait)
	return &countingStream{s, c}, err
}

func (s *countingStream) Commit(ctx context.Context, c *topics.Commit) error {
	size, dead := 0, c.Messages[:0:0]
	for _, m := range c.Messages {
		if size += len(m.Data); m.Topic == events.TypeDeadLetter {
			dead = append(dead, m)
		}
	}
	s.c.sizes = append(s.c.sizes, size)
	short := *c
	short.Messages = dead
	return s.Stream.Commit(ctx, &short)
}

// Invariant 11: parts of a record carry all of it each, and yet no commit has more
// than 32 MiB of them; a record of which more comes is dead.
func TestWhatIsMadeOfRecordsIsBounded(t *testing.T) {
	const most = 32 << 20
	text := fmt.Appendf(nil, `"text":%q`, strings.Repeat("x", 1_000_000))
	c := &counting{Broker: open(t, t.TempDir())}
	o := options(c)
	o.Transforms = failsOn("all", "0", "1", "2")
	a := &api{elements: many(3)}
	ingest(t, readable(t, a), o)
	all := letters(t, c.Broker)
	o.Transforms = func(_ context.Context, e events.Event) (out []events.Event, _ error) {
		parts := 20
		if strings.HasSuffix(e.RecordID, "1") {
			parts = 35
		}
		for n := range parts {
			part := e
			part.ID, part.Members = events.SplitID(e.ID, n), text
			out = append(out, part)
		}
		return out, nil
	}
	for what, do := range map[string]func(){
		"letters": func() {
			if r, err := resolve(t, readable(t, a), o, all, false); err != nil || r.Replayed != 2 || len(r.Dead) != 1 {
				t.Errorf("replayed: %+v, %v", r, err)
			}
		},
		"records": func() {
			a := &api{elements: []string{`{"id":"x0"}`, `{"id":"x1"}`, `{"id":"x2"}`}}
			if counts := ingest(t, readable(t, a), o).Checkpoint.Counts; counts.DeadLetters != 4 {
				t.Errorf("counted %+v", counts)
			}
		},
	} {
		c.sizes = nil
		do()
		total := 0
		for _, size := range c.sizes {
			total += size
			if size > most {
				t.Errorf("%s: a commit has %d bytes", what, size)
			}
		}
		if total < 2*20*1_000_000 {
			t.Errorf("%s: %d bytes were published", what, total)
		}
	}
}

// That a step fails is told once, not for each record.
func TestTransformThatFailsIsToldOnce(t *testing.T) {
	o := options(open(t, t.TempDir()))
	var said log
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	o.Transforms = failsOn("cut", "1", "2")
	ingest(t, stream(t, &api{elements: many(3)}, false), o)
	if n := strings.Count(said.String(), "a transform fails"); n != 1 || !strings.Contains(said.String(), "step=cut") {
		t.Errorf("told %d times:\n%s", n, said.String())
	}
}
