package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
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
// told; one that was there before, or comes back, is not.
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
