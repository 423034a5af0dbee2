package ledger_test

import (
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

// A resolution holds for the letters that were stored before it, whatever order
// resolutions are read in.
func TestResolutionsHoldForWhatWasStored(t *testing.T) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	id := events.ID{1}
	of := func(what string, stored time.Time) *ledger.Resolution {
		r := &ledger.Resolution{At: at.Add(time.Hour)}
		r.Add(id, what, stored)
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if r, err = ledger.DecodeResolution(data); err != nil {
			t.Fatal(err)
		}
		return r
	}
	all := ledger.Resolutions{}
	all.Add(of(ledger.Replayed, at.Add(time.Minute)))
	all.Add(of(ledger.Discarded, at))
	for after, want := range map[time.Duration]string{0: ledger.Replayed, time.Minute: ledger.Replayed, time.Minute + 1: ""} {
		if got := all.Of(id, at.Add(after)); got != want {
			t.Errorf("a letter that is stored %s later is %q, want %q", after, got, want)
		}
	}
	if got := all.Of(events.ID{2}, at); got != "" {
		t.Errorf("another letter is %q", got)
	}
	old := ledger.Resolutions{} // which did not tell when its letters were stored
	old.Add(&ledger.Resolution{At: at, Letters: map[string]string{id.String(): ledger.Known}})
	if old.Of(id, at) != ledger.Known || old.Of(id, at.Add(1)) != "" {
		t.Errorf("of an old resolution: %+v", old)
	}
}
