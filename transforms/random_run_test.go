package transforms_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

// told is all that Apply says of an event, as text.
func told(t testing.TB, chain *transforms.Chain, e events.Event) string {
	out, err := chain.Apply(t.Context(), e)
	text := fmt.Sprintf("%v\n", err)
	for n := range out {
		text += fmt.Sprintf("%s %s %s\n", out[n].Topic, out[n].RecordID, transforms.Structured(&out[n]))
	}
	return text
}

// Chains of all operations on events of all types: what comes out is valid or an
// error that names its step, has ids of its own, and is the same whatever ran before
// or runs beside it. The event itself stays as it was.
func TestRandomChains(t *testing.T) {
	valid := schemas(t)
	all := samples(11, 2)
	lists, taken, failed, came := random(5, 500), 0, 0, 0
	for _, steps := range lists {
		chain, err := open("transforms:\n" + steps)
		if err != nil {
			continue
		}
		taken++
		first := make([]string, len(all))
		for n := range all {
			before := all[n]
			before.Members, before.Raw = slices.Clone(before.Members), slices.Clone(before.Raw)
			first[n] = told(t, chain, all[n])
			ids := map[events.ID]bool{}
			out, err := chain.Apply(t.Context(), all[n])
			if err != nil {
				failed++
			}
			for i := range out {
				came++
				if valid(t, &out[i]); ids[out[i].ID] {
					t.Fatalf("two events with one id:\n%s", steps)
				}
				ids[out[i].ID] = true
			}
			if !bytes.Equal(before.Members, all[n].Members) || !bytes.Equal(before.Raw, all[n].Raw) {
				t.Fatalf("the event was changed:\n%s", steps)
			}
			traced(t, chain, all[n], out, err)
		}
		var wait sync.WaitGroup
		for range 2 {
			wait.Go(func() {
				for n := len(all) - 1; n >= 0; n-- {
					if again := told(t, chain, all[n]); again != first[n] {
						t.Errorf("%s\nfirst %s\nthen %s", steps, first[n], again)
					}
				}
			})
		}
		if wait.Wait(); t.Failed() {
			return
		}
	}
	if taken < 100 || failed < 100 || came < 1000 {
		t.Errorf("of %d lists of steps %d are chains, on which %d events failed and %d came out: too few to show anything", len(lists), taken, failed, came)
	}
}

// traced checks that Trace ends as Apply does.
func traced(t *testing.T, chain *transforms.Chain, e events.Event, out []events.Event, err error) {
	t.Helper()
	steps := chain.Trace(t.Context(), e)
	last := steps[len(steps)-1]
	if (err == nil) != (last.Err == nil) || err != nil && err.Error() != last.Err.Error() {
		t.Fatalf("Apply says %v, Trace %v", err, last.Err)
	}
	if err != nil {
		return
	}
	var traced []events.Event
	for n := range steps {
		if steps[n].Step == last.Step {
			traced = append(traced, steps[n].Out...)
		}
	}
	if len(steps) > 0 && len(out) > 0 && len(traced) != len(out) {
		t.Fatalf("Apply gives %d events, Trace %d", len(out), len(traced))
	}
	for n := range out {
		if !bytes.Equal(out[n].AppendData(nil), traced[n].AppendData(nil)) {
			t.Fatalf("%s\n%s", out[n].AppendData(nil), traced[n].AppendData(nil))
		}
	}
	if err := transforms.WriteTrace(new(bytes.Buffer), steps); err != nil {
		t.Fatal(err)
	}
}
