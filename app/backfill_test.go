package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// underWay is a stream with a backfill of ten hours that has done two, and one
// that waits.
func underWay(known connectors.BackfillProgress, window time.Duration) StreamStatus {
	c := &ledger.Checkpoint{Live: ledger.Lane{At: noon}}
	at := noon.Add(-8 * time.Hour)
	b := ledger.Backfill{Number: 3, From: noon.Add(-10 * time.Hour), To: noon, Lane: ledger.Lane{At: at}}
	b.Counts.Records = 300
	if window > 0 {
		b.Window = ledger.Range{From: at, To: at.Add(window)}
	}
	c.SetBackfill(b)
	c.SetBackfill(ledger.Backfill{Number: 4, From: noon.Add(-time.Hour), To: noon, Lane: ledger.Lane{At: noon.Add(-time.Hour)}})
	p := pipeline.Status{
		Stream: events.StreamKey{Vendor: "v", Account: "a", Stream: "things"}, Connector: "c", State: pipeline.StateReading, Checkpoint: c,
		Rate: 3, Requests: 2, Backfill: known, Filled: 50, Passed: 288,
	}
	return running(p, noon)
}

// Percent is the share of the range, of the steps of the window that is being
// read, or of the records that are expected.
func TestHowFarABackfillIs(t *testing.T) {
	for name, c := range map[string]struct {
		known  connectors.BackfillProgress
		window time.Duration
		want   float64
	}{
		"by its range":                 {window: time.Hour, want: 20},
		"by the steps of its window":   {known: connectors.BackfillProgress{Walked: connectors.Walked{Keys: 1, Of: 2}, Expected: 10_000}, window: 8 * time.Hour, want: 60},
		"by records":                   {known: connectors.BackfillProgress{Expected: 600}, want: 50},
		"more records than expected":   {known: connectors.BackfillProgress{Expected: 200}, want: almost},
		"fewer than its range's share": {known: connectors.BackfillProgress{Expected: 30_000}, want: 20},
	} {
		s := underWay(c.known, c.window)
		if b := s.Backfills[0]; b.Percent != c.want || b.State != BackfillReading || b.SecondsLeft != 100 || b.Records != 50 {
			t.Errorf("%s: %+v, want %v%%", name, b, c.want)
		}
		if b := s.Backfills[1]; b.Percent != 0 || b.State != BackfillWaiting {
			t.Errorf("%s: the other is %+v", name, b)
		}
	}
}

func TestBackfillStates(t *testing.T) {
	for want, b := range map[string]ledger.Backfill{
		BackfillWaiting:   {},
		BackfillPaused:    {Paused: true},
		BackfillDone:      {Done: noon},
		BackfillCancelled: {Done: noon, Cancelled: true},
	} {
		if got := backfillOf(&b).State; got != want {
			t.Errorf("%+v is %s, want %s", b, got, want)
		}
	}
}

// On a terminal one line is drawn again, and the log does not stand in it;
// elsewhere there are no lines that nobody would read.
func TestBar(t *testing.T) {
	one := &followed{
		stream: &connectors.Stream{Connector: "c", Key: events.StreamKey{Stream: "things"}}, plan: &pipeline.BackfillPlan{Numbers: []uint64{3}, From: noon.Add(-10 * time.Hour), To: noon},
	}
	one.look(underWay(connectors.BackfillProgress{Expected: 1000}, 0))
	const text = " 30.0% [#######.................] 300 of about 1000 records, 50/s, 1.0 of 3.0 requests/s left, 1m40s to go"
	var out, notes bytes.Buffer
	bar := NewBar(&out, &notes, true)
	bar.progress([]*followed{one})
	fmt.Fprint(bar, "a line of the log\n")
	if want := "\r\x1b[K\x1b[?7l" + text + "\x1b[?7h\r\x1b[Ka line of the log\n"; notes.String() != want {
		t.Errorf("it draws %q, want %q", notes.String(), want)
	}
	one.seen.State, one.seen.Done = BackfillDone, noon
	bar.summary([]*followed{one})
	if !strings.Contains(out.String(), "c/things: backfill 3 is done") || strings.Contains(out.String(), "\r") {
		t.Errorf("in the end it says %q", out.String())
	}

	notes.Reset()
	bar = NewBar(&out, &notes, false)
	for range 3 {
		bar.progress([]*followed{one})
	}
	if notes.Len() > 0 {
		t.Errorf("lines at once: %q", notes.String())
	}
	one.seen = BackfillStatus{}
	slow := underWay(connectors.BackfillProgress{}, 0)
	slow.Backfills[0].Records = 0.4
	one.look(slow)
	bar.shown = bar.shown.Add(-lineEvery)
	bar.progress([]*followed{one})
	if want := " 20.0% 300 records, 0.4/s, 1.0 of 3.0 requests/s left, 1m40s to go\n"; notes.String() != want {
		t.Errorf("a line is %q, want %q", notes.String(), want)
	}
}

// Of two that are read here, and of which the second fails, the first is done.
func TestTheSecondBackfillFails(t *testing.T) {
	s := &connectors.Stream{Connector: "c", Key: events.StreamKey{Stream: "things"}}
	var out bytes.Buffer
	f := &follower{show: NewBar(&out, io.Discard, false), operator: &operator{file: &config.File{}, log: slog.New(slog.DiscardHandler)}}
	f.follow(s, &answer{own: true, Backfill: &pipeline.BackfillPlan{Numbers: []uint64{1, 2}}})
	f.all[0].seen = BackfillStatus{Number: 1, State: BackfillDone}
	f.all[1].seen = BackfillStatus{Number: 2, State: BackfillReading}
	f.ended(f.reads[0], errors.New("refused"))
	f.show.summary(f.all)
	err := f.result()
	if err == nil || strings.Contains(err.Error(), "backfill 1") || !strings.Contains(err.Error(), "backfill 2") || !strings.Contains(out.String(), "backfill 1 is done") {
		t.Errorf("%v, and it says %q", err, out.String())
	}
}

// Of a backfill that is resumed the range is known when it was seen.
func TestResumedIsResumedAgain(t *testing.T) {
	one := &followed{stream: &connectors.Stream{Connector: "c", Key: events.StreamKey{Stream: "things"}}, plan: &pipeline.BackfillPlan{Numbers: []uint64{3}}}
	if got := one.again(); got != "millrace backfill resume c/things 3" {
		t.Errorf("before it is seen: %q", got)
	}
	one.look(underWay(connectors.BackfillProgress{}, 0))
	if got := one.again(); got != "millrace backfill c/things --from 2026-11-01T02:00:00Z --to 2026-11-01T12:00:00Z" {
		t.Errorf("when it was seen: %q", got)
	}
	if got := total([]*followed{one}).percent; got != one.seen.Percent || got == 0 {
		t.Errorf("it stands at %v%%, and is said to be at %v%%", one.seen.Percent, got)
	}
}

// A backfill whose requests fail says why, also where live reads do well; the time
// that a walk takes is told by its steps.
func TestABackfillThatFails(t *testing.T) {
	s := underWay(connectors.BackfillProgress{Cause: "refused", Walked: connectors.Walked{Keys: 1, Of: 4, Left: time.Hour}}, 8*time.Hour)
	if b := &s.Backfills[0]; b.Cause != "refused" || b.shownState() != "reading, failing" || b.left() != "1h" {
		t.Errorf("%+v, %s, %s", b, b.shownState(), b.left())
	}
	one := &followed{plan: &pipeline.BackfillPlan{Numbers: []uint64{3}, From: noon.Add(-10 * time.Hour), To: noon}}
	one.look(s)
	if got, want := total([]*followed{one}).String(false), " 40.0% 300 records, 50/s, 1.0 of 3.0 requests/s left, failing: refused"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var notes bytes.Buffer
	s.writeNotes(&notes)
	if !strings.Contains(notes.String(), ": reading, failing, 40.0%, 300 records, 1h to go\nrefused\n") {
		t.Errorf("status says %q", notes.String())
	}
	// When nobody reads it any more, what was seen last stands.
	s = underWay(connectors.BackfillProgress{}, 8*time.Hour)
	if one.look(s); one.seen.Percent != 40 {
		t.Errorf("while it ends it stands at %v%%", one.seen.Percent)
	}
	s.Backfills[0].State = BackfillWaiting
	if one.look(s); one.seen.Percent != 40 {
		t.Errorf("it stands at %v%%", one.seen.Percent)
	}
}

// Who does not read a backfill knows how many of its windows are over, and not how
// far it is in the next one.
func TestABackfillThatNobodyReads(t *testing.T) {
	b := ledger.Backfill{Number: 3, From: noon.Add(-10 * time.Hour), To: noon, Lane: ledger.Lane{At: noon.Add(-8 * time.Hour)}, Replay: true}
	if s := backfillOf(&b); s.shownPercent() != "20.0%" {
		t.Errorf("%s before it was read", s.shownPercent())
	}
	b.Counts.Requests, b.Counts.Records = 2, 1
	s := StreamStatus{Connector: "c", Stream: "v/a/things", Backfills: []BackfillStatus{backfillOf(&b)}}
	var notes bytes.Buffer
	s.writeNotes(&notes)
	if want := "\nc/things: backfill 3 of 2026-11-01T02:00:00Z to 2026-11-01T12:00:00Z: waiting, replay, >20.0%, 1 record\n"; notes.String() != want {
		t.Errorf("status says %q, want %q", notes.String(), want)
	}
	b.Done = noon
	if s := backfillOf(&b); s.shownPercent() != "20.0%" {
		t.Errorf("%s when it is done", s.shownPercent())
	}
}

// An instance that waits for the stream says how it stood when it held it itself:
// that it does not know of the backfill is no end of it.
func TestABackfillThatAnotherInstanceReads(t *testing.T) {
	now := underWay(connectors.BackfillProgress{}, 0)
	waits := now
	waits.State, waits.Backfills, waits.Instance = pipeline.StateWaiting, nil, "other"
	for state, want := range map[string]int{pipeline.StateWaiting: 2, pipeline.StateReading: 0} {
		c := &ledger.Checkpoint{Live: ledger.Lane{At: noon}}
		for _, b := range now.Backfills {
			c.SetBackfill(ledger.Backfill{Number: b.Number, From: b.From, To: b.To, Lane: ledger.Lane{At: b.At}})
		}
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		waits.State = state
		best := map[string]StreamStatus{waits.Stream: waits}
		addStored(best, []topics.Stored{{Key: events.StreamKey{Vendor: "v", Account: "a", Stream: "things"}, Checkpoint: data}}, noon)
		if s := best[waits.Stream]; len(s.Backfills) != want || s.State != state || s.Instance != "other" {
			t.Errorf("%s: %+v", state, s)
		}
	}
}

// What others have pushed off the list has ended.
func TestABackfillThatIsNotListed(t *testing.T) {
	one := &followed{plan: &pipeline.BackfillPlan{Numbers: []uint64{1}}}
	if one.look(StreamStatus{}); one.over() {
		t.Error("a stream that nobody tells of ends it")
	}
	if one.look(underWay(connectors.BackfillProgress{}, 0)); !one.over() {
		t.Errorf("it is %+v", one.seen)
	}
}
