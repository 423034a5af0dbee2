package pipeline_test

import (
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
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
