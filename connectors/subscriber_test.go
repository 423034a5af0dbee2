package connectors

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Windows tile time, are committed in order however long each takes, and hold
// every record.
func TestReadsEverythingInOrder(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 1))
			now := time.Now()
			since := now.Add(-50 * time.Hour)
			api := &fakeAPI{records: every(since, now, 7*time.Second+time.Duration(seed)*time.Millisecond), page: 50 + dice.IntN(1000)}
			api.latency = func(r Request) time.Duration { return time.Duration((r.From.Unix()*7919)%3000) * time.Millisecond }
			stream := fakeStream(t, api, func(o *Options) { o.Since = since })
			var kept store
			batches, err := readOnce(t, stream, &kept, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := distinct(batches); !slices.Equal(got, idsOf(api.records)) {
				t.Errorf("%d records, want %d in their order", len(got), len(api.records))
			}
			at := since.Truncate(time.Second)
			for i, b := range batches {
				if b.Lane != Live || !b.EndsPage || len(b.Records) > MaxBatchRecords {
					t.Fatalf("batch %d: %s, %v, %d records", i, b.Lane, b.EndsPage, len(b.Records))
				}
				if p := b.Progress.Live; p.Window.To.IsZero() {
					if !b.Window.From.Equal(at) || !p.At.Equal(b.Window.To) {
						t.Fatalf("after %s comes the window %s to %s, at %s", at, b.Window.From, b.Window.To, p.At)
					}
					at = b.Window.To
				} else if p.Window != b.Window || p.Cursor == nil || !p.At.Equal(at) {
					t.Fatalf("batch %d inside a window leads to %+v", i, p)
				}
			}
			if want := ceilSecond(now); !kept.Live.At.Equal(want) || kept.saves != len(batches) {
				t.Errorf("stands at %s, want %s; %d of %d batches saved", kept.Live.At, want, kept.saves, len(batches))
			}
			for _, r := range api.asked() {
				if r.From.Nanosecond() != 0 || r.To.Nanosecond() != 0 || r.lane != Live {
					t.Fatalf("asked for %+v", r)
				}
			}
		})
	}
}

// A stop in the middle, by a refusal or for ever, loses nothing, and what was
// accepted is not read again, but for the window under way.
func TestResumes(t *testing.T) {
	for accepted := range 12 {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			since := now.Add(-3 * time.Hour)
			api := &fakeAPI{records: every(since, now, 2*time.Second), page: 300}
			stream := fakeStream(t, api, func(o *Options) { o.Since = since })
			var kept store
			left := accepted
			first, _ := readOnce(t, stream, &kept, func(*Batch) error {
				if left--; left < 0 {
					return errors.New("stop")
				}
				return nil
			})
			before, stood := len(api.asked()), kept.Live
			second, err := readOnce(t, stream, &kept, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := distinct(append(slices.Clone(first), second...)); !slices.Equal(got, idsOf(api.records)) {
				t.Errorf("%d records after %d batches and a stop, want %d", len(got), accepted, len(api.records))
			}
			next := api.asked()[before]
			if accepted > 0 && (!slices.Equal(next.Cursor, stood.Cursor) || stood.Cursor != nil && !next.To.Equal(stood.Window.To.Add(time.Second))) {
				t.Errorf("after %d batches it stands at %+v and asks for %+v", accepted, stood, next.Request)
			}
			if n := len(second[0].Records); accepted > 0 && distinct(second)[0] != distinct(first)[len(distinct(first))-1] && second[0].Records[0].ID != strconv.Itoa(len(distinct(first))) && n == 0 {
				t.Errorf("after %d batches comes %s", accepted, second[0].Records[0].ID)
			}
		})
	}
}

func TestNackReadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		since := now.Add(-20 * time.Hour)
		api := &fakeAPI{records: every(since, now, 2*time.Second), page: 300}
		stream := fakeStream(t, api, func(o *Options) { o.Since = since })
		dice := rand.New(rand.NewPCG(1, 1))
		var refused *Batch
		nacks := 0
		batches, err := readOnce(t, stream, nil, func(b *Batch) error {
			if refused != nil && (b.Window.From != refused.Window.From || b.Records[0].ID != refused.Records[0].ID || b.Progress.Live.At.Before(refused.Window.From)) {
				t.Errorf("after a refused batch of %s from record %s comes %s from %s", refused.Window.From, refused.Records[0].ID, b.Window.From, b.Records[0].ID)
			}
			refused = nil
			if dice.IntN(4) == 0 {
				nacks++
				refused = b
				return errNacked
			}
			return nil
		})
		if got := distinct(batches); err != nil || nacks < 5 || !slices.Equal(got, idsOf(api.records)) {
			t.Errorf("%d records after %d refusals, want %d, %v", len(got), nacks, len(api.records), err)
		}
	})
}

// A page of many records is many batches; only the last moves the position.
func TestAHugePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		since := now.Add(-10 * time.Minute)
		api := &fakeAPI{records: every(since, now, time.Second/60), page: 2500}
		stream := fakeStream(t, api, func(o *Options) { o.Since = since })
		stood := Position{At: since.UTC().Truncate(time.Second)}
		batches, err := readOnce(t, stream, nil, func(b *Batch) error {
			if !b.EndsPage && !reflect.DeepEqual(b.Progress.Live, stood) {
				t.Errorf("inside a page it moves from %+v to %+v", stood, b.Progress.Live)
			}
			stood = b.Progress.Live
			return nil
		})
		if got := distinct(batches); err != nil || !slices.Equal(got, idsOf(api.records)) || len(batches) < 36 {
			t.Errorf("%d records in %d batches, %v", len(got), len(batches), err)
		}
	})
}

// Invariant 11: what is read ahead of a consumer that stands still is bounded.
func TestReadAheadIsBounded(t *testing.T) {
	for _, c := range []struct{ page, join int }{{1, 0}, {50, 0}, {1e9, 0}, {1, 5000}, {50, 5000}} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			since := now.Add(-100 * time.Hour)
			api := &fakeAPI{records: every(since, now, 30*time.Minute), page: c.page}
			text := `{"n":"` + strings.Repeat("x", 1<<20) + `"}`
			for i := range api.records {
				api.records[i].text = text
			}
			stream := fakeStream(t, api, func(o *Options) { o.Since = since })
			sub := NewSubscriber(stream, SubscriberOptions{Once: true, Join: c.join})
			out, err := sub.Subscribe(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var batches []*Batch
			messages, last, released := 0, 0, 0
			take(sub, out, func(b *Batch) error {
				if messages++; messages%20 == 1 || c.join > 0 {
					time.Sleep(time.Hour) // everybody who reads comes to a stop
					api.mu.Lock()
					ahead := api.given - released
					api.mu.Unlock()
					// Each request may hold a batch, and one more is out, with those that have joined it.
					most := readAheadBy + (stream.Options.Requests+2)*(MaxBatchBytes+2<<20)
					if c.join > 0 {
						most += maxJoinedBytes
					}
					if ahead > most {
						t.Errorf("%d MB are in memory, want %d at most", ahead>>20, most>>20)
					}
					last = max(last, ahead)
				}
				size := 0
				for _, one := range b.Batches() {
					size += one.size
				}
				if b.Joined != nil && size > maxJoinedBytes {
					t.Errorf("a message of %d MB", size>>20)
				}
				released += size
				batches = append(batches, b.Batches()...)
				return nil
			})
			if err := sub.Err(); err != nil || len(distinct(batches)) != len(api.records) {
				t.Errorf("%d of %d records, %v", len(distinct(batches)), len(api.records), err)
			}
			if last < readAheadBy/2 {
				t.Errorf("at most %d MB were read ahead", last>>20)
			}
		})
	}
}

// Invariant 9: a cursor that comes again with more to come is an error, not a loop.
func TestCursorsThatRepeat(t *testing.T) {
	for name, cursor := range map[string]func(string) string{
		"the same again": func(string) string { return "10" },
		"A, B, A":        func(next string) string { return map[string]string{"10": "20", "20": "30", "30": "20"}[next] },
	} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			api := &fakeAPI{records: every(now.Add(-30*time.Second), now, time.Second/10), page: 10}
			api.cursor = cursor
			stream := fakeStream(t, api, func(o *Options) { o.Since = now.Add(-30 * time.Second) })
			_, err := readOnce(t, stream, nil, nil)
			if err == nil || !strings.Contains(err.Error(), "cursor again") {
				t.Errorf("%s: %v", name, err)
			}
			if n := len(api.asked()); n > 20 {
				t.Errorf("%s: %d requests", name, n)
			}
		})
	}
}

// A cursor that ends before its window does is no loop: the window is halved.
func TestCursorsThatEnd(t *testing.T) {
	for _, life := range []time.Duration{10 * time.Second, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			since := now.Add(-10 * time.Minute)
			api := &fakeAPI{records: every(since, now, time.Second/4), page: 10, life: life}
			api.latency = func(Request) time.Duration { return 900 * time.Millisecond }
			// Not the cursor's age counts but its window's: its first page's time.
			began := map[int64]time.Time{}
			api.fail = func(_ int, r Request) error {
				key := r.From.Unix()<<20 ^ r.To.Unix()
				if r.Cursor == nil {
					api.mu.Lock()
					began[key] = time.Now()
					api.mu.Unlock()
					return nil
				}
				api.mu.Lock()
				defer api.mu.Unlock()
				if time.Since(began[key]) > life {
					return &Error{Kind: Restart, Op: "listing", Err: errors.New("the cursor has ended")}
				}
				return nil
			}
			stream := fakeStream(t, api, func(o *Options) { o.Since = since })
			batches, err := readOnce(t, stream, nil, nil)
			if got := distinct(batches); err != nil || !slices.Equal(got, idsOf(api.records)) {
				t.Errorf("cursors live for %s: %d records of %d, %v", life, len(got), len(api.records), err)
			}
		})
	}
}

// Where not even a second can be read, that is a failure, not a hot loop.
func TestASecondThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		since := now.Add(-time.Minute)
		api := &fakeAPI{records: every(since, now, time.Second/100), page: 10}
		api.fail = func(_ int, r Request) error {
			if r.Cursor != nil {
				return &Error{Kind: Restart, Op: "listing", Err: errors.New("the cursor has ended")}
			}
			return nil
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since = since })
		_, err := readOnce(t, stream, nil, nil)
		if KindOf(err) != Restart || len(api.asked()) > 60 {
			t.Errorf("%v after %d requests", err, len(api.asked()))
		}
	})
}

// A window that the API does not answer in time is asked for in halves.
func TestAWindowThatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		since := now.Add(-5 * time.Hour)
		api := &fakeAPI{records: every(since, now, time.Minute), page: 1e9}
		api.fail = func(_ int, r Request) error {
			if r.To.Sub(r.From) > 10*time.Minute {
				return &Error{Kind: Retry, Op: "listing", Status: 504, Err: errors.New("gateway timeout")}
			}
			return nil
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since = since })
		batches, err := readOnce(t, stream, nil, nil)
		if err == nil { // Once gives up after five failures in a row
			t.Fatalf("read %d batches", len(batches))
		}
		sub := NewSubscriber(stream, SubscriberOptions{})
		out, _ := sub.Subscribe(t.Context(), "")
		batches = nil
		take(sub, out, func(b *Batch) error {
			if batches = append(batches, b); len(distinct(batches)) >= len(api.records) {
				return errors.New("enough")
			}
			return nil
		})
		if got := distinct(batches); !slices.Equal(got, idsOf(api.records)) {
			t.Errorf("%d records, want %d", len(got), len(api.records))
		}
	})
}

// Records that are told apart by their number within a pass cannot be told apart
// by half a pass.
func TestNumberedRecordsResumeAtTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		since := now.Add(-10 * time.Minute)
		api := &fakeAPI{records: every(since, now, time.Second/10), page: 100}
		api.number = func(x fakeRecord) events.Record {
			return events.Record{Type: events.TypeMessage, Time: x.at.Truncate(time.Second), Raw: []byte(`{"same":` + strconv.Itoa(int(x.at.Unix())) + `}`)}
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since = since })
		var kept store
		n := 0
		first, _ := readOnce(t, stream, &kept, func(*Batch) error {
			if n++; n > 3 {
				return errors.New("stop")
			}
			return nil
		})
		if kept.Live.Window.To.IsZero() || kept.Live.Cursor != nil {
			t.Errorf("it stands at %+v", kept.Live)
		}
		second, err := readOnce(t, stream, &kept, nil)
		if got := len(distinct(append(first, second...))); err != nil || got != len(api.records) {
			t.Errorf("%d records, want %d, %v", got, len(api.records), err)
		}
	})
}

// What was read never ends behind the time that the API's own clock allows.
func TestAnAPIWhoseClockIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const behind = 5 * time.Minute
		now := time.Now()
		since := now.Add(-behind - 10*time.Second) // the first window ends behind the API's present
		api := &fakeAPI{records: every(since, now.Add(time.Hour), time.Second), page: 1e9}
		stream := fakeStream(t, api, func(o *Options) { o.Since, o.Settle = since, 0 })
		var told atomic.Int64 // how far the API's clock is wrong, in nanoseconds
		api.fail = func(int, Request) error {
			date := time.Now().Add(-behind - time.Duration(told.Load()))
			stream.client.learnClock(headers("Date", date.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")))
			return nil
		}
		sub := NewSubscriber(stream, SubscriberOptions{})
		out, _ := sub.Subscribe(t.Context(), "")
		var reads int
		take(sub, out, func(b *Batch) error {
			if end := time.Now().Add(-behind); b.Progress.Live.At.After(end) && told.Load() == 0 {
				t.Errorf("it stands at %s, the API's clock at %s", b.Progress.Live.At, end)
			}
			switch reads++; {
			case reads == 5: // a clock that is wrong for once does not stop the stream
				told.Store(int64(24 * time.Hour))
			case reads == 7:
				told.Store(0)
			case reads > 20:
				return errors.New("enough")
			}
			return nil
		})
		if took := time.Since(now); took > 30*time.Minute {
			t.Errorf("20 polls took %s", took)
		}
	})
}
