package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// asks does something with the backfills of a stream that nobody reads.
func asks(t *testing.T, s *connectors.Stream, o pipeline.Options, r pipeline.BackfillRequest) (p *pipeline.BackfillPlan, err error) {
	t.Helper()
	err = offline(t, s, o, func(i *pipeline.Ingest) error {
		p, err = i.Backfill(t.Context(), r)
		return err
	})
	return p, err
}

func begin(t *testing.T, s *connectors.Stream, o pipeline.Options, from, to time.Time, replay bool) *pipeline.BackfillPlan {
	t.Helper()
	p, err := asks(t, s, o, pipeline.BackfillRequest{Do: pipeline.BackfillBegin, From: from, To: to, Replay: replay})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fill carries out all backfills, and nothing else.
func fill(t *testing.T, s *connectors.Stream, o pipeline.Options) *ledger.Checkpoint {
	t.Helper()
	o.Only = connectors.Backfill
	c := ingest(t, s, o).Checkpoint
	if open := c.OpenBackfills(); len(open) > 0 {
		t.Errorf("not carried out: %+v", open)
	}
	return c
}

// history is an API with a day before, and some hours after, a time in the middle
// of a quarter of an hour: records around it and at the edges of quarters, some
// with neither id nor time, of which there are equal ones.
func history(since time.Time) *api {
	a := &api{}
	add := func(at time.Time) {
		n := len(a.more)
		a.more = append(a.more, moment{at, fmt.Sprintf(`{"id":"%d"}`, n)}, moment{at, fmt.Sprintf(`{"same":%d}`, n)}, moment{at, fmt.Sprintf(`{"same":%d}`, n)})
	}
	for at := since.Add(-24 * time.Hour); at.Before(since.Add(3 * time.Hour)); at = at.Add(97 * time.Minute) {
		add(at)
	}
	quarter := since.Truncate(events.Quarter)
	for _, edge := range []time.Time{since, quarter, quarter.Add(events.Quarter), quarter.Add(-events.Quarter)} {
		for _, off := range []time.Duration{-time.Second, -time.Millisecond, 0, time.Millisecond, 999 * time.Millisecond} {
			add(edge.Add(off))
		}
	}
	return a
}

// withoutTimes adds rows that only their quarter of an hour tells apart.
func withoutTimes(a *api) {
	for _, m := range slices.Clone(a.more) {
		if strings.Contains(m.text, "same") {
			a.more = append(a.more, moment{m.at, `{"timeless":true}`})
		}
	}
}

// Invariants 1, 5, 8 and 12: what lies before a late since is published once,
// long after the ids of its neighbours are past the horizon, killed before or
// after any of the commits; what live reads had published at since is not
// published again.
func TestBackfillOfWhatWasNeverRead(t *testing.T) {
	for name, timeless := range map[string]bool{"timed": false, "timeless": true} {
		for crash := range 6 {
			t.Run(fmt.Sprint(name, crash), func(t *testing.T) { neverRead(t, timeless, crash) })
		}
	}
}

func neverRead(t *testing.T, timeless bool, crash int) {
	since := start.Add(7*time.Minute + 11*time.Second)
	h := &hooked{Broker: open(t, t.TempDir()), most: 20} // some commits, however much waits
	o := options(h)
	now := since.Add(3 * time.Hour)
	o.Now = func() time.Time { return now }
	a := history(since)
	if timeless {
		withoutTimes(a)
	}
	s := func() *connectors.Stream {
		return streamAt(t, a, false, o.Now, brief, func(c *connectors.Options) { c.Since = since })
	}
	ingest(t, s(), o)
	var before *ledger.Checkpoint
	for n := range 2 {
		now = now.Add(15 * 24 * time.Hour)
		a.more = append(a.more, moment{now.Add(-time.Minute), fmt.Sprintf(`{"id":"new %d"}`, n)})
		before = ingest(t, s(), o).Checkpoint
	}
	if !before.Forgotten.After(since.Add(events.Quarter)) {
		t.Fatal("nothing is forgotten: the test shows nothing")
	}
	first := read(t, h)
	p := begin(t, s(), o, since.Add(-25*time.Hour), since, false)
	if p.From.After(since.Add(-25*time.Hour)) || p.To.Before(since) || !p.To.Equal(p.To.Truncate(events.Quarter)) {
		t.Errorf("the range is %s to %s", p.From, p.To)
	}
	kill := killAt(h, crash)
	c := fill(t, s(), o)
	if *kill {
		t.Errorf("there is no commit %d: the test shows nothing", crash/2)
	}
	all := read(t, h)
	unique(t, all, len(a.more))
	if b := c.BackfillOf(p.Numbers[0]); b == nil || b.Done.IsZero() || b.Counts.Events != int64(len(all)-len(first)) {
		t.Errorf("it ends as %+v, with %d events", b, len(all)-len(first))
	}
	if len(c.Covered) != 1 || !c.Covered[0].From.Equal(p.From) || c.Counts.Late != 0 || c.Counts.Lateness != before.Counts.Lateness {
		t.Errorf("covered is %v, late %d", c.Covered, c.Counts.Late)
	}
	ingest(t, s(), o)
	unique(t, read(t, h), len(a.more))
}

// killAt makes one of the commits from now on fail: half of them are made and not
// told. It returns whether that is still to come.
func killAt(h *hooked, crash int) *bool {
	ahead, n := true, 0
	h.commit = func(ctx context.Context, s topics.Stream, c *topics.Commit) error {
		if n++; n != crash/2+1 {
			return s.Commit(ctx, c)
		}
		ahead = false
		if crash%2 == 1 {
			if err := s.Commit(ctx, c); err != nil {
				return err
			}
		}
		return errors.New("killed")
	}
	return &ahead
}

// What turned up later than anything reads is found, and nothing else published.
func TestBackfillFindsWhatWasMissed(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		a := spread(12)
		o := options(open(t, t.TempDir()))
		o.Horizon = 24 * time.Hour
		a.began = o.Now
		s := func() *connectors.Stream { return streamAt(t, a, versioned, o.Now, brief) }
		ingest(t, s(), o)
		a.more = append(a.more, moment{start.Add(20 * time.Minute), `{"id":"late"}`})
		ingest(t, s(), o)
		unique(t, read(t, o.Broker), 12)
		for range 2 {
			begin(t, s(), o, start, end.Add(-time.Minute), false)
			c := fill(t, s(), o)
			unique(t, read(t, o.Broker), 13)
			if c.Counts.Late > 0 {
				t.Errorf("%d count as found by a sweep", c.Counts.Late)
			}
		}
	}
}

// A backfill that replays publishes all of its range once more, marked, killed
// wherever it may be; live reads beside it publish nothing again.
func TestBackfillReplayIsExactlyOnce(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for crash := range 6 {
			t.Run(fmt.Sprint(versioned, crash), func(t *testing.T) {
				h := &hooked{Broker: open(t, t.TempDir()), most: 4}
				o := options(h)
				a := spread(12)
				s, _ := longAgo(t, a, &o, versioned)
				_, err := asks(t, s(), o, pipeline.BackfillRequest{Do: pipeline.BackfillBegin, From: start, To: end})
				wantRefused(t, err, "--replay")
				begin(t, s(), o, start, end, true)
				kill := killAt(h, crash)
				ingest(t, s(), o) // live reads and the backfill
				if *kill && crash < 4 {
					t.Error("nothing was killed: the test shows nothing")
				}
				h.commit = nil
				begin(t, s(), o, start, end, true) // another one
				fill(t, s(), o)
				times := map[string]int{}
				for _, e := range read(t, h) {
					if times[e.RecordID]++; (times[e.RecordID] > 1) != e.Replay {
						t.Errorf("%s, time %d, marked: %v", e.RecordID, times[e.RecordID], e.Replay)
					}
				}
				for id, n := range times {
					if want := map[bool]int{true: 1, false: 3}[id == "new"]; n != want {
						t.Errorf("%s is there %d times, want %d", id, n, want)
					}
				}
			})
		}
	}
}

// What a backfill has published is remembered while it is under way, paused too;
// one that was cancelled in the middle of a window leaves ids that the next one
// needs.
func TestBackfillStops(t *testing.T) {
	since := start.Add(7 * time.Minute)
	for _, do := range []string{pipeline.BackfillPause, pipeline.BackfillCancel} {
		h := &hooked{Broker: open(t, t.TempDir())}
		l := &limited{Broker: h, limits: topics.Limits{Messages: 6, Bytes: 1 << 20}} // several commits for a window
		o := options(l)
		now := since.Add(time.Hour)
		o.Now = func() time.Time { return now }
		a := history(since)
		from := since.Add(-25 * time.Hour)
		for n := range 20 {
			a.more = append(a.more, moment{from.Truncate(events.Quarter).Add(time.Duration(n) * time.Second), fmt.Sprintf(`{"id":"early %d"}`, n)})
		}
		s := func() *connectors.Stream {
			return streamAt(t, a, false, o.Now, brief, func(c *connectors.Options) { c.Since = since })
		}
		ingest(t, s(), o)
		begin(t, s(), o, from, since, false)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		h.commit = func(ctx context.Context, s topics.Stream, c *topics.Commit) error {
			if n++; n == 2 { // in the middle of the first window
				cancel()
				return errors.New("stopped")
			}
			return s.Commit(ctx, c)
		}
		only := o
		only.Only = connectors.Backfill
		if err := pipeline.New(s(), only).Run(ctx); err == nil {
			t.Error("it was not stopped")
		}
		h.commit = nil
		p, err := asks(t, s(), o, pipeline.BackfillRequest{Do: do})
		if err != nil || len(p.Numbers) != 1 {
			t.Fatalf("%+v, %v", p, err)
		}
		ingest(t, s(), only) // does nothing
		for n := range 2 {
			now = now.Add(15 * 24 * time.Hour)
			a.more = append(a.more, moment{now.Add(-time.Minute), fmt.Sprintf(`{"id":"new %d"}`, n)})
			ingest(t, s(), o)
		}
		again := begin(t, s(), o, from, since, false)
		if again.Resumed != (do == pipeline.BackfillPause) {
			t.Errorf("%s: resumed is %v", do, again.Resumed)
		}
		fill(t, s(), o)
		now = now.Add(time.Minute)
		ingest(t, s(), o)
		want := 0 // what occurred while nobody read is read too
		for _, m := range a.more {
			if !m.at.After(now) {
				want++
			}
		}
		unique(t, read(t, l), want)
	}
}

// Backfills are carried out one after the other, in one run.
func TestBackfillsInARow(t *testing.T) {
	since := end.Add(-10 * time.Minute)
	o := options(open(t, t.TempDir()))
	a := spread(12)
	s := func() *connectors.Stream {
		return streamAt(t, a, false, o.Now, brief, func(c *connectors.Options) { c.Since = since })
	}
	ingest(t, s(), o)
	first := begin(t, s(), o, start, start.Add(15*time.Minute), false)
	second := begin(t, s(), o, start.Add(15*time.Minute), since, false)
	if first.Before != 0 || second.Before != 1 || second.Resumed || first.Numbers[0] == second.Numbers[0] {
		t.Errorf("%+v and %+v", first, second)
	}
	if again := begin(t, s(), o, start.Add(16*time.Minute), since, false); !again.Resumed || again.Numbers[0] != second.Numbers[0] {
		t.Errorf("the same again is %+v", again)
	}
	c := fill(t, s(), o)
	unique(t, read(t, o.Broker), 12)
	if x, y := c.BackfillOf(first.Numbers[0]), c.BackfillOf(second.Numbers[0]); x.Counts.Events+y.Counts.Events != 10 || y.Counts.Events == 0 {
		t.Errorf("%+v and %+v", x, y)
	}
}

// An API that lists by last activity gives more than the range: what live reads may
// have published there, and is forgotten, is marked; what is remembered, or lies in
// the range, is not published again, or new.
func TestBackfillFindsWhatLiesBehindIt(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for _, again := range []bool{false, true} {
			o := options(open(t, t.TempDir()))
			since := start.Add(30 * time.Minute)
			now := since.Add(5 * time.Minute) // the ids of what is read first, at an edge, are kept
			o.Now = func() time.Time { return now }
			a := &api{began: o.Now, more: []moment{
				{start.Add(10 * time.Minute), `{"id":"before"}`},
				{since.Add(20 * time.Minute), `{"id":"forgotten"}`},
			}}
			s := func() *connectors.Stream {
				return streamAt(t, a, versioned, o.Now, brief, func(c *connectors.Options) { c.Since = since })
			}
			ingest(t, s(), o)
			now = end
			ingest(t, s(), o)
			for _, id := range []string{"old", "remembered"} {
				now = now.Add(24 * time.Hour)
				a.more = append(a.more, moment{now.Add(-10 * time.Minute), fmt.Sprintf(`{"id":%q}`, id)})
				ingest(t, s(), o)
			}
			a.open = true
			begin(t, s(), o, start, start.Add(15*time.Minute), again)
			fill(t, s(), o)
			times := map[string]int{}
			for _, e := range read(t, o.Broker) {
				if times[e.RecordID]++; (times[e.RecordID] > 1) != e.Replay {
					t.Errorf("versioned %v, replay %v: %s, time %d, is marked: %v", versioned, again, e.RecordID, times[e.RecordID], e.Replay)
				}
			}
			if times["before"] != 1 || times["forgotten"] != 2 || versioned && times["remembered"] > 1 && !again {
				t.Errorf("versioned %v, replay %v: %v", versioned, again, times)
			}
		}
	}
}

// A backfill that the API refuses does not keep a single run from reading the
// present; the run tells of it.
func TestOnceReadsThePresentBesideABackfillThatFails(t *testing.T) {
	since := start.Add(30 * time.Minute)
	o := options(open(t, t.TempDir()))
	now := end
	o.Now = func() time.Time { return now }
	a := spread(12)
	s := func() *connectors.Stream {
		s := streamAt(t, a, false, o.Now, brief, func(c *connectors.Options) { c.Since = since })
		s.Pager = &refusing{a, since.Add(-time.Minute)}
		return s
	}
	ingest(t, s(), o)
	begin(t, s(), o, start, since, false)
	now = now.Add(24 * time.Hour)
	for n := range 3 {
		a.more = append(a.more, moment{now.Add(-time.Duration(n+1) * 5 * time.Hour), fmt.Sprintf(`{"id":"new %d"}`, n)})
	}
	i := pipeline.New(s(), o)
	if err := i.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the backfill was not: reading: too old") {
		t.Errorf("it says %v", err)
	}
	unique(t, read(t, o.Broker), 6+3)
	if at := i.Status().Checkpoint.Live.At; at.Before(now.Add(-time.Minute)) {
		t.Errorf("live reads have come to %s", at)
	}
}

// refusing is an API that refuses to be asked for what lies before a time.
type refusing struct {
	connectors.Pager
	before time.Time
}

func (r *refusing) Page(ctx context.Context, q connectors.Request) (*connectors.Page, error) {
	if q.From.Before(r.before) {
		return nil, &connectors.Error{Kind: connectors.Fail, Op: "reading", Err: errors.New("too old")}
	}
	return r.Pager.Page(ctx, q)
}
