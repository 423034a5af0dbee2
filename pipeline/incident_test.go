package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
)

// Equal bytes make the same letter: one that is stored after it was dealt with
// tells of something new, and is open again.
func TestLettersOfANewIncidentAreOpen(t *testing.T) {
	now := start.Add(time.Minute)
	o := options(open(t, t.TempDir()))
	o.Now = func() time.Time { return now }
	a := &api{more: []moment{{start, `null`}}}
	s := func() *connectors.Stream { return streamAt(t, a, false, o.Now, brief) }
	ingest(t, s(), o)
	first := letters(t, o.Broker)
	if r, err := resolve(t, s(), o, first, true); err != nil || r.Discarded != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	now = start.Add(10 * time.Hour) // where nothing is new
	ingest(t, s(), o)
	now = now.Add(10 * time.Hour)
	a.more = append(a.more, moment{now.Add(-time.Minute / 2), `null`})
	ingest(t, s(), o)
	all := letters(t, o.Broker)
	if len(all) != 2 || all[0].ID != all[1].ID {
		t.Fatalf("the letters are %+v", all)
	}
	for _, want := range []int{1, 0} {
		r, err := resolve(t, s(), o, all, true)
		if err != nil || r.Discarded != want || r.Already != 2-want {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// What a dry run says of a letter is what its replay says, by its window and its
// number among equals.
func TestStillDeadIsWhatAReplaySays(t *testing.T) {
	s := streamAt(t, nil, false, func() time.Time { return end }, brief)
	s.Map = func(raw []byte, f *connectors.Fields) events.Record {
		r := events.Record{Type: events.TypeMessage}
		r.Dead = f.Object(raw, func(_, _ []byte) {})
		return r
	}
	o := options(open(t, t.TempDir()))
	limits := o.Broker.Limits()
	large := `{"a":"` + strings.Repeat("x", limits.Bytes) + `"}`
	for n, tt := range []struct {
		raw  string
		long time.Duration
		want string
	}{
		{`{"a":1}`, time.Hour, "it has neither"}, {`{"a":1}`, 15 * time.Minute, ""}, {`null`, time.Hour, "not_an_object"},
		{large, 15 * time.Minute, "its event is larger"},
	} {
		l := &pipeline.Letter{ID: events.ID{byte(n + 1)}, Raw: []byte(tt.raw), Window: ledger.Range{From: start, To: start.Add(tt.long)}, Recorded: end}
		why := pipeline.StillDead(s, l, true, limits)
		r, err := resolve(t, s, o, []*pipeline.Letter{l}, false)
		if err != nil || !strings.HasPrefix(why, tt.want) || (why == "") != (r.Replayed == 1) || why != "" && r.Dead[why] != 1 {
			t.Errorf("%.20s in %s: said to be dead for %q, replayed as %+v, %v", tt.raw, tt.long, why, r, err)
		}
	}
}
