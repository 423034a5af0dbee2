package connectors

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Windows shrink until answers are neither large nor slow, and grow in quiet
// times: nobody has to know how much an API holds.
func TestWindowsAreSizedByWhatComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		span    time.Duration // of records
		step    time.Duration // between records
		bytes   int           // of each
		latency func(length time.Duration) time.Duration
		want    [2]time.Duration // the windows' length in the end, at least and at most
	}{
		"a thousand small ones": {12 * time.Hour, time.Second, 10, nil, [2]time.Duration{10 * time.Minute, 15 * time.Minute}},
		"few large ones":        {6 * time.Hour, time.Minute, 1 << 20, nil, [2]time.Duration{2 * time.Minute, 6 * time.Minute}},
		"slow for long windows": {14 * 24 * time.Hour, time.Hour, 10, func(d time.Duration) time.Duration { return d / 200 }, [2]time.Duration{10 * time.Minute, 35 * time.Minute}},
		"slow for all windows":  {3 * 24 * time.Hour, time.Hour, 10, func(time.Duration) time.Duration { return 15 * time.Second }, [2]time.Duration{time.Hour, maxWindow}},
		"nothing there":         {20 * 24 * time.Hour, 5000 * time.Hour, 10, nil, [2]time.Duration{quietWindow, quietWindow}},
	} {
		synctest.Test(t, func(t *testing.T) {
			since := time.Now()
			time.Sleep(c.span)
			api := &fakeAPI{page: 1e9, records: every(since.Add(time.Second), time.Now(), c.step)}
			text := `{"n":"` + strings.Repeat("x", c.bytes) + `"}`
			for i := range api.records {
				api.records[i].text = text
			}
			if c.latency != nil {
				api.latency = func(r Request) time.Duration { return c.latency(r.To.Sub(r.From)) }
			}
			stream := fakeStream(t, api, func(o *Options) { o.Since = since })
			batches, err := readOnce(t, stream, nil, nil)
			if got := distinct(batches); err != nil || !slices.Equal(got, idsOf(api.records)) {
				t.Fatalf("%s: %d of %d records, %v", name, len(got), len(api.records), err)
			}
			asked := api.asked()
			slices.SortFunc(asked, func(a, b fakeRequest) int { return a.From.Compare(b.From) })
			last := asked[max(0, len(asked)-8) : len(asked)-2] // the very last end with the present
			for _, r := range last {
				if length := r.To.Sub(r.From) - 2*time.Second; length < c.want[0] || length > c.want[1] {
					t.Errorf("%s: a window of %s, want %s to %s", name, length, c.want[0], c.want[1])
					break
				}
			}
		})
	}
}

// A record that moves on with its user is never missed: of such a stream the
// live window that ends at the present has no end, and all others have one.
func TestRecordsThatMoveOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now()
		time.Sleep(10 * time.Hour)
		api := &fakeAPI{page: 1e9, records: every(since.Add(time.Second), time.Now(), time.Minute)}
		api.latency = func(Request) time.Duration { return time.Second }
		stream := fakeStream(t, api, func(o *Options) {
			o.Since, o.Settle, o.Overlap = since, time.Minute, time.Minute
			o.SweepEvery, o.SweepBack = time.Hour, time.Hour
		})
		stream.Versioned, stream.OpenEnd = true, true
		// While windows are read, one user acts every few seconds, always at the present.
		const busy = 100
		seen := map[string]bool{}
		api.fail = func(int, Request) error {
			api.mu.Lock()
			defer api.mu.Unlock()
			api.records = slices.Clone(api.records) // a page is made from those before
			api.records[busy].at = time.Now()
			api.records[busy].text = fmt.Sprintf(`{"active":%d}`, time.Now().Unix())
			return nil
		}
		sub := NewSubscriber(stream, SubscriberOptions{})
		out, err := sub.Subscribe(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(3 * time.Hour)
		versions := 0
		take(sub, out, func(b *Batch) error {
			for _, r := range b.Records {
				seen[r.ID] = true
				if r.ID == strconv.Itoa(busy) {
					versions++
				}
			}
			if time.Now().After(until) {
				return errors.New("enough")
			}
			return nil
		})
		if len(seen) != len(api.records) || versions < 100 {
			t.Errorf("%d of %d users, and %d reads of one that is always active", len(seen), len(api.records), versions)
		}
		open, bounded := 0, 0
		for _, r := range api.asked() {
			switch {
			case !r.To.IsZero():
				bounded++
			case r.lane != Live || r.at.Sub(r.From) > time.Hour:
				t.Fatalf("asked without an end at %s: %+v", r.at, r)
			default:
				open++
			}
		}
		if open < 100 || bounded < 20 {
			t.Errorf("%d requests without an end, %d with one", open, bounded)
		}
	})
}

// What is met once decides how windows are cut from then on, after a restart too.
func TestCellsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now()
		time.Sleep(2*time.Hour + 7*time.Minute)
		api := &fakeAPI{page: 1e9, number: mixed}
		for at := since.Add(time.Second); at.Before(time.Now()); at = at.Add(5 * time.Minute) {
			api.records = append(api.records, fakeRecord{at: at, text: `{"click":1}`})
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since = since })
		var kept store
		if _, err := readOnce(t, stream, &kept, nil); err != nil {
			t.Fatal(err)
		}
		before := len(api.asked())
		time.Sleep(time.Hour)
		batches, err := readOnce(t, stream, &kept, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			if !b.Window.From.Equal(b.Window.From.Truncate(events.Quarter)) || b.Window.To.Sub(b.Window.From)%events.Quarter != 0 {
				t.Errorf("a window from %s to %s", b.Window.From, b.Window.To)
			}
		}
		// Two answers for a cell with something in it, one for an empty one.
		if n := len(api.asked()) - before; n > 10 {
			t.Errorf("%d requests for five quarters of an hour", n)
		}
	})
}

// A read that takes longer than a second ends all the same, so that the next one
// comes with the poll, and with its overlap.
func TestSlowReadsKeepToThePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		f := &fakeUsers{users: someUsers(3, 1, now, 0), listed: 10, limit: 10, latency: 2 * time.Second}
		stream := f.stream(t, func(o *Options) { o.Since, o.Poll = now.Add(-time.Hour), time.Minute })
		sub := NewSubscriber(stream, SubscriberOptions{})
		out, err := sub.Subscribe(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		take(sub, out, func(*Batch) error {
			if time.Since(now) > time.Hour {
				return errors.New("it is enough")
			}
			return nil
		})
		if n := len(f.asked); n < 50 || n > 200 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

// What turns up late in a window that was read before the process was stopped is
// found by the read that goes on with it.
func TestLateRecordsOfAnUnfinishedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		api := &fakeAPI{records: every(now.Add(-time.Minute), now, 10*time.Second), page: 2}
		stream := fakeStream(t, api, func(o *Options) { o.Since, o.Overlap = now.Add(-time.Minute), 10*time.Minute })
		var kept store
		n := 0
		first, _ := readOnce(t, stream, &kept, func(*Batch) error {
			if n++; n > 2 {
				return errors.New("stop")
			}
			return nil
		})
		if kept.Live.Cursor == nil {
			t.Fatalf("it stands at %+v", kept.Live)
		}
		time.Sleep(time.Hour)
		api.records = slices.Insert(api.records, 0, fakeRecord{now.Add(-50 * time.Second), "late", `{}`})
		second, err := readOnce(t, stream, &kept, nil)
		if got := distinct(append(first, second...)); err != nil || len(got) != len(api.records) {
			t.Errorf("%q of %d records, %v", got, len(api.records), err)
		}
	})
}
