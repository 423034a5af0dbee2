package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
)

// onceUnmarked wants no event to be there twice, unless it is marked as a replay.
func onceUnmarked(t *testing.T, o pipeline.Options) []seen {
	t.Helper()
	all := read(t, o.Broker)
	there := map[events.ID]bool{}
	for _, e := range all {
		if there[e.ID] && !e.Replay {
			t.Errorf("%s of %s is there twice: %s", e.RecordID, e.Time, e.raw)
		}
		there[e.ID] = true
	}
	return all
}

// What was skipped by hand is not read by overlaps; when it is read after all,
// what was published at its edge is not published again.
func TestSkippedRangesAreSkipped(t *testing.T) {
	skip := start.Add(10 * time.Minute)
	a := &api{more: []moment{
		{skip.Add(-time.Second), `{"id":"before"}`}, {skip, `{"id":"at the edge"}`}, {skip.Add(91 * time.Minute), `{"id":"skipped"}`},
	}}
	now := skip
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	s := func() *connectors.Stream {
		return streamAt(t, a, false, o.Now, brief, func(o *connectors.Options) { o.Overlap = 30 * time.Minute })
	}
	ingest(t, s(), o)
	now = skip.Add(2 * time.Hour)
	if _, err := move(t, s(), o, pipeline.Move{To: now, Set: true}); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		now = now.Add(time.Minute)
		a.more = append(a.more, moment{now.Add(-30 * time.Second), fmt.Sprintf(`{"id":"behind %d"}`, n)})
		ingest(t, s(), o)
	}
	if all := onceUnmarked(t, o); len(all) != 6 {
		t.Errorf("%d events, want what was there before, at the edge and behind", len(all))
	}
	now = now.Add(30 * 24 * time.Hour)
	a.more = append(a.more, moment{now.Add(-30 * time.Second), `{"id":"a month later"}`})
	ingest(t, s(), o)
	if _, err := move(t, s(), o, pipeline.Move{To: now.Add(time.Minute), Set: true}); err == nil {
		t.Error("the cursor was moved into the future")
	}
}

// A replay that is left by a move forward does not read what was skipped either.
func TestSkippedInAReplay(t *testing.T) {
	a := &api{more: []moment{{start.Add(time.Minute), `{"id":"before"}`}}}
	now := start.Add(2 * time.Hour)
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	s := func() *connectors.Stream {
		return streamAt(t, a, false, o.Now, brief, func(o *connectors.Options) { o.Overlap = 30 * time.Minute })
	}
	ingest(t, s(), o)
	if _, err := move(t, s(), o, pipeline.Move{To: start, Replay: true}); err != nil {
		t.Fatal(err)
	}
	a.more = append(a.more, moment{start.Add(50 * time.Minute), `{"id":"skipped"}`}, moment{start.Add(70 * time.Minute), `{"id":"behind"}`})
	if _, err := move(t, s(), o, pipeline.Move{To: start.Add(time.Hour), Set: true}); err != nil {
		t.Fatal(err)
	}
	ingest(t, s(), o)
	for _, e := range onceUnmarked(t, o) {
		if e.RecordID == "skipped" {
			t.Error("what was skipped is read")
		}
	}
}

func TestReadingWhatWasSkippedRepeatsNothingAtItsEdge(t *testing.T) {
	skip := start.Add(10 * time.Minute)
	a := &api{more: []moment{{skip.Add(-time.Second), `{"id":"before"}`}, {skip, `{"id":"at the edge"}`}, {skip.Add(time.Hour), `{"id":"skipped"}`}}}
	now := skip
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	s := func() *connectors.Stream { return streamAt(t, a, false, o.Now, brief) }
	ingest(t, s(), o)
	now = start.Add(30 * 24 * time.Hour)
	if _, err := move(t, s(), o, pipeline.Move{To: now.Add(-time.Minute), Set: true}); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		a.more = append(a.more, moment{now.Add(-30 * time.Second), fmt.Sprintf(`{"id":"new %d"}`, n)})
		ingest(t, s(), o)
		now = now.Add(time.Minute)
	}
	if _, err := move(t, s(), o, pipeline.Move{To: skip}); err != nil {
		t.Fatal(err)
	}
	ingest(t, s(), o)
	if all := onceUnmarked(t, o); len(all) != 5 {
		t.Errorf("%d events, want 5", len(all))
	}
}

// A record that changes and is in every answer, whatever its time, is published
// once, however long ago that was.
func TestRecordsThatStayAreRemembered(t *testing.T) {
	a := &api{elements: []string{`{"id":"u","time":"2040-01-01T00:00:00Z"}`}, always: true}
	now := end
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	a.began = o.Now
	for range 6 {
		s := streamAt(t, a, true, o.Now, brief)
		s.OpenEnd = true
		ingest(t, s, o)
		now = now.Add(50 * time.Minute)
	}
	unique(t, read(t, o.Broker), 1)
}
