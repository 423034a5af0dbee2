package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
)

// A part that is added to a stream is read from since on, it alone, and that is
// told; one that was there before, or comes back before anything was read without
// it, is not.
func TestAddedParts(t *testing.T) {
	var log listener
	o := options(open(t, t.TempDir()))
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	a := &parted{api: spread(12)}
	s := func(parts ...string) *connectors.Stream {
		s := streamAt(t, a.api, false, o.Now, brief)
		s.Parts, s.Pager = parts, a
		return s
	}
	for _, parts := range [][]string{{"a", "b"}, {"a", "b"}, {"b"}, {"b", "a"}} {
		if c := ingest(t, s(parts...), o).Checkpoint; len(c.Backfills) > 0 {
			t.Fatalf("%q: %+v", parts, c.Backfills)
		}
	}
	a.only = nil
	c := ingest(t, s("b", "a", "c"), o).Checkpoint
	if len(c.Backfills) != 1 || !c.Backfills[0].From.Equal(c.Since) || c.Backfills[0].Done.IsZero() || !slices.Equal(c.Parts, []string{"a", "b", "c"}) {
		t.Errorf("%+v of %q", c.Backfills, c.Parts)
	}
	if len(a.only) == 0 || strings.Trim(strings.Join(a.only, ""), "c") != "" {
		t.Errorf("asked for %q", a.only)
	}
	if line := log.await(t, "the stream has new parts"); !strings.Contains(line, "parts=[c]") {
		t.Error(line)
	}
	if ingest(t, s("c", "b"), o); len(c.Backfills) != 1 {
		t.Errorf("%+v", c.Backfills)
	}
	unique(t, read(t, o.Broker), 12)
}

// parted is an API that notes which parts are asked for on their own.
type parted struct {
	*api
	only []string
}

func (p *parted) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	p.mu.Lock()
	p.only = append(p.only, r.Parts...)
	p.mu.Unlock()
	return p.api.Page(ctx, r)
}

// A part that is added while a window is half read is read in that window too,
// though it sorts in front of the part that was come to.
func TestAPartThatIsAddedInAWindow(t *testing.T) {
	o := options(open(t, t.TempDir()))
	a := &partly{api: &api{}, refused: "c"}
	s := func(parts ...string) *connectors.Stream {
		s := streamAt(t, a.api, false, o.Now)
		s.Parts, s.Pager, s.Whole = parts, a, true
		a.parts = parts
		return s
	}
	if err := pipeline.New(s("b", "c"), o).Run(t.Context()); err == nil {
		t.Fatal("the window was read to its end")
	}
	unique(t, read(t, o.Broker), 1)
	a.refused = ""
	ingest(t, s("a", "b", "c"), o)
	unique(t, read(t, o.Broker), 3)
}

// partly is an API that gives one part after the other, a record each.
type partly struct {
	*api
	parts   []string
	refused string
}

func (p *partly) Page(_ context.Context, r connectors.Request) (*connectors.Page, error) {
	at := 0
	if r.Cursor != nil {
		at = slices.Index(p.parts, strings.Trim(string(r.Cursor), `"`))
	}
	if p.parts[at] == p.refused {
		return nil, &connectors.Error{Kind: connectors.Fail, Op: "reading", Err: errors.New("refused")}
	}
	answer := &connectors.Answer{Reader: strings.NewReader(`[{"id":"` + p.parts[at] + `"}]`), Began: time.Now()}
	mapper := func(raw []byte, f *connectors.Fields) events.Record {
		return events.Record{Type: events.TypeMessage, ID: p.parts[at], Time: start, Dead: f.Object(raw, func(_, _ []byte) {})}
	}
	return connectors.NewPage(answer, r.Key, 1<<20, nil, mapper, func(*connectors.Array) (json.RawMessage, error) {
		if at+1 == len(p.parts) {
			return nil, nil
		}
		return json.Marshal(p.parts[at+1])
	}), nil
}

// perPart is an API with a record of each of some parts at each of its moments.
type perPart struct {
	*api
	parts []string
}

func (p *perPart) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	parts := r.Parts
	if parts == nil {
		parts = p.parts
	}
	answers := &api{began: p.began}
	for _, m := range p.more {
		for _, part := range parts {
			answers.more = append(answers.more, moment{m.at, fmt.Sprintf(`{"id":"%s %d"}`, part, m.at.Unix())})
		}
	}
	return answers.Page(ctx, r)
}

// hourly is a stream of parts with records of some days, and the clock that it
// is read by.
func hourly(t *testing.T, o *pipeline.Options, change ...func(*connectors.Options)) (s func(parts ...string) *connectors.Stream, now *time.Time) {
	at := end
	o.Now = func() time.Time { return at }
	a := &api{began: o.Now}
	for at := start.Add(time.Minute); at.Before(start.Add(8 * 24 * time.Hour)); at = at.Add(time.Hour) {
		a.more = append(a.more, moment{at: at}, moment{at: at.Add(59 * time.Minute)})
	}
	return func(parts ...string) *connectors.Stream {
		s := streamAt(t, a, false, o.Now, append([]func(*connectors.Options){brief}, change...)...)
		s.Parts, s.Pager = parts, &perPart{a, parts}
		return s
	}, &at
}

// Invariants 1 and 12: a part that was left out and comes back is read from where
// it was left, and before that as far as a sweep would have and ids are remembered.
func TestPartsThatComeBack(t *testing.T) {
	for _, test := range []struct {
		horizon, back time.Duration // of sweeps
		days          int           // it is left out
		from          time.Time
	}{
		{time.Hour, time.Minute, 3, end.Add(-time.Minute)},
		{time.Hour, 30 * time.Minute, 3, end.Add(-events.Quarter)},
		{72 * time.Hour, 24 * time.Hour, 1, start},
	} {
		o := options(open(t, t.TempDir()))
		o.Horizon = test.horizon
		s, now := hourly(t, &o, func(c *connectors.Options) { c.SweepBack = test.back })
		ingest(t, s("a", "b"), o)
		for range test.days {
			*now = now.Add(24 * time.Hour)
			ingest(t, s("b"), o)
		}
		if got := len(read(t, o.Broker)); got != 4+test.days*48 {
			t.Errorf("%d events without it", got)
		}
		c := ingest(t, s("a", "b"), o).Checkpoint
		if len(c.Backfills) != 1 || !c.Backfills[0].From.Equal(test.from) || len(c.LeftOut) > 0 {
			t.Errorf("%+v, left out is %v", c.Backfills, c.LeftOut)
		}
		unique(t, read(t, o.Broker), 4+2*test.days*48)
		for range 2 {
			*now = now.Add(24 * time.Hour)
			ingest(t, s("a", "b"), o)
		}
		unique(t, read(t, o.Broker), 4+2*(test.days+2)*48)
	}
}

// The backfill of a part that was added waits while the part is left out.
func TestBackfillsOfPartsWait(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s, now := hourly(t, &o)
	ingest(t, s("a"), o)
	*now = now.Add(24 * time.Hour)
	ingest(t, s("a"), o)
	added := s("a", "b")
	added.Pager = &refusing{added.Pager, now.Add(-2 * time.Minute)} // the backfill comes to nothing
	if err := pipeline.New(added, o).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the backfill was not") {
		t.Fatalf("the test shows nothing: %v", err)
	}
	c := ingest(t, s("a"), o).Checkpoint
	if open := c.OpenBackfills(); len(open) != 1 || !open[0].Paused {
		t.Errorf("without the part: %+v", c.Backfills)
	}
	_, err := asks(t, s("a"), o, pipeline.BackfillRequest{Do: pipeline.BackfillResume})
	wantRefused(t, err, "left out")
	if c = ingest(t, s("a"), o).Checkpoint; len(c.OpenBackfills()) != 1 {
		t.Errorf("it was carried out without the part: %+v", c.Backfills)
	}
	if c = ingest(t, s("a", "b"), o).Checkpoint; len(c.OpenBackfills()) > 0 {
		t.Errorf("with it again: %+v", c.Backfills)
	}
	unique(t, read(t, o.Broker), 2*(2+48))
}

// Invariant 1: what a backfill has read while a part was left out is read of it
// when it is back.
func TestBackfilledWithoutAPart(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s, now := hourly(t, &o)
	ingest(t, s("a", "b"), o)
	hole := *now
	*now = now.Add(24 * time.Hour)
	if _, err := move(t, s("a", "b"), o, pipeline.Move{To: now.Add(-time.Hour), Set: true}); err != nil {
		t.Fatal(err)
	}
	ingest(t, s("a", "b"), o)
	ingest(t, s("b"), o)
	begin(t, s("b"), o, hole, hole.Add(23*time.Hour), false)
	fill(t, s("b"), o)
	for range 2 { // behind the horizon
		*now = now.Add(24 * time.Hour)
		ingest(t, s("b"), o)
	}
	if c := ingest(t, s("a", "b"), o).Checkpoint; len(c.OpenBackfills()) > 0 {
		t.Errorf("%+v", c.Backfills)
	}
	unique(t, read(t, o.Broker), 2*2*73)
}

// Of what was skipped a part that is added is not read either, so that a backfill
// of all, long after, finds nothing that is published.
func TestAddedPartsLeaveWhatWasSkipped(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s, now := hourly(t, &o)
	ingest(t, s("a"), o)
	hole := *now
	*now = now.Add(24 * time.Hour)
	if _, err := move(t, s("a"), o, pipeline.Move{To: now.Add(-time.Hour), Set: true}); err != nil {
		t.Fatal(err)
	}
	ingest(t, s("a"), o)
	c := ingest(t, s("a", "b"), o).Checkpoint
	if len(c.Backfills) != 2 || c.Backfills[0].Number == c.Backfills[1].Number || len(c.OpenBackfills()) > 0 {
		t.Errorf("%+v", c.Backfills)
	}
	unique(t, read(t, o.Broker), 2*5)
	for range 2 {
		*now = now.Add(24 * time.Hour)
		ingest(t, s("a", "b"), o)
	}
	begin(t, s("a", "b"), o, hole, hole.Add(23*time.Hour), false)
	fill(t, s("a", "b"), o)
	unique(t, read(t, o.Broker), 2*2*73)
}

// Who moves since back is told that a backfill is what they want, until it is done.
func TestSinceMovedBack(t *testing.T) {
	o := options(open(t, t.TempDir()))
	a := spread(12)
	s := func(since time.Time) *connectors.Stream {
		return streamAt(t, a, false, o.Now, brief, func(c *connectors.Options) { c.Since = since })
	}
	says := func(since time.Time) string {
		var text log
		o := o
		o.Log = slog.New(slog.NewTextHandler(&text, nil))
		ingest(t, s(since), o)
		return text.String()
	}
	half := start.Add(30 * time.Minute)
	if said := says(half); strings.Contains(said, "backfill") {
		t.Error(said)
	}
	want := "millrace backfill support/things --from 2026-11-01T00:00:00Z --to 2026-11-01T00:30:00Z"
	if said := says(start); !strings.Contains(said, want) || !strings.Contains(said, "level=WARN") {
		t.Errorf("it says %q, not %q", said, want)
	}
	begin(t, s(half), o, start, half, false)
	if said := says(start); strings.Contains(said, want) {
		t.Error(said)
	}
	if said := says(start); strings.Contains(said, want) {
		t.Error(said)
	}
	unique(t, read(t, o.Broker), 12)
}

// A since in the future is told of, and so is how to leave it once a stream has
// begun there.
func TestSinceInTheFuture(t *testing.T) {
	o := options(open(t, t.TempDir()))
	for _, c := range []struct {
		since time.Time
		want  string
	}{
		{o.Now().Add(24 * time.Hour), "since lies in the future"},
		{start, "millrace cursor set support/things --to 2026-11-01T00:00:00Z"},
	} {
		var text log
		o := o
		o.Log = slog.New(slog.NewTextHandler(&text, nil))
		ingest(t, streamAt(t, spread(12), false, o.Now, brief, func(options *connectors.Options) { options.Since = c.since }), o)
		if said := text.String(); !strings.Contains(said, c.want) || !strings.Contains(said, "level=WARN") || strings.Contains(said, "backfill") {
			t.Errorf("it says %q, not %q", said, c.want)
		}
	}
}

// What the API cannot be asked for any more is said not to be read, by live reads
// as by backfills.
func TestTheAPIForgets(t *testing.T) {
	var text log
	o := options(open(t, t.TempDir()))
	o.Log = slog.New(slog.NewTextHandler(&text, nil))
	a := spread(12)
	now := end
	o.Now = func() time.Time { return now }
	oldest := start.Add(20 * time.Minute)
	s := func(since time.Time) *connectors.Stream {
		s := streamAt(t, a, false, o.Now, brief, func(c *connectors.Options) { c.Since = since })
		s.Oldest = func(time.Time) time.Time { return oldest }
		return s
	}
	c := ingest(t, s(start), o).Checkpoint
	edge := start.Add(30 * time.Minute)
	if len(c.Covered) != 1 || !c.Covered[0].From.Equal(edge) || !strings.Contains(text.String(), "this range was not read") {
		t.Errorf("covered is %v; the log:\n%s", c.Covered, text.String())
	}
	unique(t, read(t, o.Broker), 6)
	_, err := asks(t, s(start), o, pipeline.BackfillRequest{Do: pipeline.BackfillBegin, From: start, To: edge})
	wantRefused(t, err, "cannot be asked")
	oldest = start.Add(10 * time.Minute)
	if p := begin(t, s(start), o, start, edge, false); !p.Oldest.Equal(start.Add(15*time.Minute)) || !p.From.Equal(p.Oldest) {
		t.Errorf("%+v", p)
	}
	oldest = start.Add(16 * time.Minute) // meanwhile
	c = fill(t, s(start), o)
	if len(c.Covered) != 1 || !c.Covered[0].From.Equal(edge) {
		t.Errorf("covered is %v", c.Covered)
	}
	unique(t, read(t, o.Broker), 6)
}
