package connectors

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/events"
)

// stands makes the page of a key that is passed over: it says so.
func stands(r Request) *Page {
	return &Page{
		Began: time.Now(), Close: func() {},
		Records: func(yield func(events.Record, error) bool) {
			yield(events.Record{Raw: []byte("{}"), ID: "without " + r.Key.ID, Type: events.TypeMessage}, nil)
		},
	}
}

// refusing fails what is asked of some users, from a time on and for a while.
func refusing(status int, from, to time.Duration, users ...string) func(int, string) error {
	began := time.Now()
	return func(_ int, what string) error {
		if at := time.Since(began); at < from || at >= to || !slices.Contains(users, what) {
			return nil
		}
		return statusError("asking", &http.Response{StatusCode: status, Header: http.Header{}}, time.Now())
	}
}

// One user whom the API refuses, while it answers for others, keeps nobody from
// being read; where it answers for nobody, all are waited for.
func TestOneUserIsRefused(t *testing.T) {
	const ever = 1000 * time.Hour
	all := []string{"u00000", "u00001", "u00002", "u00003", "u00004", "u00005", "u00006", "u00007", "u00008", "u00009"}
	for name, c := range map[string]struct {
		of       int // users
		status   int
		from, to time.Duration
		users    []string
		passed   []string      // who are passed over
		within   time.Duration // when it is over
	}{
		"not found":            {10, 404, 0, ever, all[3:4], all[3:4], time.Minute},
		"the first":            {10, 400, 0, ever, all[:1], all[:1], time.Minute},
		"three of them":        {10, 400, 0, ever, all[2:5], all[2:5], time.Minute},
		"a broken one":         {10, 500, 0, ever, all[3:4], all[3:4], 20 * time.Minute},
		"a busy one":           {10, 429, 0, time.Hour, all[3:4], nil, 2 * time.Hour},
		"for some minutes":     {10, 503, 0, 9 * time.Minute, all[3:4], nil, 15 * time.Minute},
		"all":                  {10, 500, 0, time.Hour, all, nil, 2 * time.Hour},
		"all are refused":      {10, 404, 0, time.Hour, all, nil, 2 * time.Hour},
		"all from a moment on": {10, 500, 2500 * time.Millisecond, time.Hour, all, nil, 2 * time.Hour},
		"a wrong key":          {10, 401, 0, time.Hour, all[3:4], nil, 2 * time.Hour},
		"there is one alone":   {1, 404, 0, time.Hour, all[:1], nil, 2 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			since := time.Now().Add(-time.Hour)
			f := &fakeUsers{users: someUsers(c.of, 2, since, time.Minute), listed: 20, limit: 100, latency: time.Second}
			f.fail = refusing(c.status, c.from, c.to, c.users...)
			stream := f.stream(t, func(o *Options) { o.Since, o.Poll = since, ever })
			stream.Without = stands
			var log bytes.Buffer
			sub := NewSubscriber(stream, SubscriberOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
			out, err := sub.Subscribe(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var batches []*Batch
			take(sub, out, func(b *Batch) error {
				if batches = append(batches, b); b.Progress.Live.Window.To.IsZero() {
					return errors.New("it is over")
				}
				return nil
			})
			want := f.ids()
			for _, user := range c.passed {
				want = slices.DeleteFunc(want, func(id string) bool { return strings.HasPrefix(id, user) })
				want = append(want, "without "+user)
			}
			if got := sorted(distinct(batches)); !slices.Equal(got, sorted(want)) || time.Since(began) > c.within {
				t.Errorf("%s: %q after %s, want %q", name, got, time.Since(began), want)
			}
			warned := strings.Count(log.String(), "it is passed over")
			if warned != len(c.passed) || warned > 0 && (!strings.Contains(log.String(), "key="+c.passed[0]) || !strings.Contains(log.String(), "millrace backfill c/s --from 1999-")) {
				t.Errorf("%s: the log says %s", name, log.String())
			}
			if h := sub.Health(); h.State != StateOK {
				t.Errorf("%s: %+v", name, h)
			}
		})
	}
}

// One who is alone in a window is compared with somebody who is not in it.
func TestTheOnlyOneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		f := &fakeUsers{users: someUsers(4, 1, now.Add(-48*time.Hour), 0), listed: 20, limit: 100}
		f.users["u00002"] = append(f.users["u00002"], fakeRecord{now.Add(-time.Minute), "new", "{}"})
		f.fail = refusing(404, 0, time.Hour, "u00002")
		stream := f.stream(t, func(o *Options) { o.Since = now.Add(-time.Hour) })
		var kept store
		if _, err := readOnce(t, stream, &kept, nil); KindOf(err) != Unavailable {
			t.Errorf("where nothing counts instead: %v", err)
		}
		stream.Without = stands
		batches, err := readOnce(t, stream, &kept, nil)
		if got := distinct(batches); err != nil || !slices.Equal(got, []string{"without u00002"}) || kept.Live.At.Before(now) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// One who is known to be refused is waited for no longer in the windows that
// follow, until the API answers for it.
func TestAKnownOneIsNotWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now().Add(-time.Hour)
		f := &fakeUsers{users: someUsers(10, 2, since, time.Minute), listed: 20, limit: 100, latency: time.Second}
		f.fail = refusing(500, 0, 5*time.Hour, "u00003")
		stream := f.stream(t, func(o *Options) { o.Since, o.Poll, o.Overlap = since, time.Hour, 1000*time.Hour })
		stream.Without = stands
		sub := NewSubscriber(stream, SubscriberOptions{})
		out, err := sub.Subscribe(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var took []time.Duration // of each read
		take(sub, out, func(b *Batch) error {
			if b.Progress.Live.Window.To.IsZero() {
				took = append(took, time.Since(began)%time.Hour)
			}
			if len(took) == 4 {
				return errors.New("it is enough")
			}
			return nil
		})
		if took[0] < passAfter || took[1] > time.Minute || took[2] > time.Minute || took[3] > time.Minute {
			t.Errorf("the reads took %s", took)
		}
	})
}
