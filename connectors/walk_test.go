package connectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/events"
)

// fakeUsers is an API that gives records user by user only, in pages of its
// listing that have no order, and at most limit records in an answer.
type fakeUsers struct {
	users   map[string][]fakeRecord // by time
	listed  int                     // users on a page of the listing
	limit   int
	latency time.Duration
	fail    func(n int, what string) error // called for each request, from 1

	mu    sync.Mutex
	asked []string // "list" or a user
	all   []bool   // what each listing asked for
	most  int      // requests at once
	now   int
}

func (f *fakeUsers) begin(ctx context.Context, what string) error {
	f.mu.Lock()
	f.asked = append(f.asked, what)
	n := len(f.asked)
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
	}()
	if err := sleep(ctx, f.latency); err != nil {
		return err
	}
	if f.fail != nil {
		return f.fail(n, what)
	}
	return nil
}

func (f *fakeUsers) Keys(ctx context.Context, r KeysRequest) (*Keys, error) {
	if err := f.begin(ctx, "list"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, r.All)
	var active []string
	for id, records := range f.users {
		last := records[len(records)-1].at
		if r.All || !last.Before(r.From) {
			active = append(active, id)
		}
	}
	slices.Sort(active)
	slices.Reverse(active)
	start := 0
	if r.Cursor != nil {
		start, _ = strconv.Atoi(string(r.Cursor))
	}
	page := &Keys{}
	end := min(start+f.listed, len(active))
	for _, id := range active[min(start, end):end] {
		page.Keys = append(page.Keys, Key{ID: id, Data: []byte("data of " + id)})
	}
	if end < len(active) {
		page.Next = json.RawMessage(strconv.Itoa(max(end-1, start+1))) // pages overlap: a user comes twice
	}
	return page, nil
}

func (f *fakeUsers) Page(ctx context.Context, r Request) (*Page, error) {
	if string(r.Key.Data) != "data of "+r.Key.ID {
		return nil, &Error{Kind: Fail, Op: "asking", Err: errors.New("the key's data did not come")}
	}
	began := time.Now()
	if err := f.begin(ctx, r.Key.ID); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found := slices.DeleteFunc(slices.Clone(f.users[r.Key.ID]), func(x fakeRecord) bool {
		return x.at.Before(r.From) || !x.at.Before(r.To)
	})
	start := 0
	if r.Cursor != nil {
		start, _ = strconv.Atoi(string(r.Cursor))
	}
	some := found[start:min(start+f.limit, len(found))]
	return &Page{
		Began: began, Close: func() {},
		Records: func(yield func(events.Record, error) bool) {
			for _, x := range some {
				if !yield(events.Record{Raw: []byte(x.text), ID: x.id, Key: r.Key.ID, Type: events.TypeMessage}, nil) {
					return
				}
			}
		},
		Next: func() (json.RawMessage, error) {
			switch {
			case start+len(some) == len(found):
				return nil, nil
			case !r.Second():
				return nil, &Error{Kind: TooMuch, Op: "asking", Err: errors.New("there is more")}
			}
			return json.RawMessage(strconv.Itoa(start + len(some))), nil
		},
	}, nil
}

func (f *fakeUsers) stream(t testing.TB, change func(*Options)) *Stream {
	s := fakeStream(t, nil, change)
	s.Pager, s.Walk = f, f
	return s
}

// someUsers makes users with some records each, from a time on.
func someUsers(n, each int, from time.Time, step time.Duration) map[string][]fakeRecord {
	users := map[string][]fakeRecord{}
	for i := range n {
		id := fmt.Sprintf("u%05d", i)
		for k := range each {
			at := from.Add(time.Duration(i%7)*time.Second + time.Duration(k)*step)
			users[id] = append(users[id], fakeRecord{at, fmt.Sprint(id, "-", k), fmt.Sprintf(`{"user":%q,"n":%d}`, id, k)})
		}
	}
	return users
}

func (f *fakeUsers) ids() []string {
	var ids []string
	for _, records := range f.users {
		ids = append(ids, idsOf(records)...)
	}
	slices.Sort(ids)
	return ids
}

// keysOf returns the keys of the records in batches, in order.
func keysOf(batches []*Batch) []string {
	var keys []string
	for _, b := range batches {
		for _, r := range b.Records {
			keys = append(keys, r.ReadFor)
		}
	}
	return slices.Compact(keys)
}

func sorted(ids []string) []string {
	slices.Sort(ids)
	return ids
}

// All records of all users are read, user by user in order, however often the
// read is stopped; what is read again are users that were in flight.
func TestWalksAreResumed(t *testing.T) {
	for stop := range 25 {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			since := now.Add(-48 * time.Hour)
			f := &fakeUsers{users: someUsers(20, 3, since, time.Hour), listed: 6, limit: 100, latency: time.Second}
			stream := f.stream(t, func(o *Options) { o.Since = since })
			var kept store
			left := stop
			first, _ := readOnce(t, stream, &kept, func(b *Batch) error {
				if left--; left < 0 {
					return errors.New("stop")
				}
				return nil
			})
			second, err := readOnce(t, stream, &kept, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := sorted(distinct(append(first, second...))); !slices.Equal(got, f.ids()) {
				t.Errorf("%d records, want %d", len(got), len(f.ids()))
			}
			done, again := keysOf(first), keysOf(second)
			for i, key := range done {
				if key != fmt.Sprintf("u%05d", i) {
					t.Errorf("user %d is %q", i, key)
				}
			}
			if len(done) < 20 && again[0] != fmt.Sprintf("u%05d", len(done)) {
				t.Errorf("stopped after %d users, it goes on with %q", len(done), again[0])
			}
			if len(done) < 20 && len(done)+len(again) != 20 {
				t.Errorf("%d users were committed, then %d", len(done), len(again))
			}
			for _, b := range first {
				if len(done) < 20 && b.Window != (Window{since.UTC().Truncate(time.Second), ceilSecond(now)}) {
					t.Errorf("the window %v", b.Window)
				}
			}
			asked := 0
			for _, what := range f.asked {
				if what != "list" {
					asked++
				}
			}
			if ahead := 4 * stream.Options.Requests; len(done) < 20 && asked > 20+ahead {
				t.Errorf("%d requests for 20 users, at most %d were in flight", asked, ahead)
			}
			if kept.Live.At.Before(ceilSecond(now)) || !kept.Live.Window.To.IsZero() {
				t.Errorf("it stands at %+v", kept.Live)
			}
		})
	}
}

// A walk in which there is nothing to read moves the stream all the same.
func TestAWalkOfNobodyMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		stream := (&fakeUsers{listed: 10, limit: 10, latency: time.Second}).stream(t, func(o *Options) { o.Since = now.Add(-time.Hour) })
		var kept store
		if _, err := readOnce(t, stream, &kept, nil); err != nil || kept.Live.At.Before(now) {
			t.Errorf("it stands at %s, %v", kept.Live.At, err)
		}
	})
}

// Four requests side by side take little more than a quarter of the time of one
// after the other.
func TestUsersAreReadSideBySide(t *testing.T) {
	took := func(requests int) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			since := time.Now().Add(-time.Hour)
			f := &fakeUsers{users: someUsers(5000, 2, since, time.Minute), listed: 1000, limit: 100, latency: 200 * time.Millisecond}
			stream := f.stream(t, func(o *Options) { o.Since, o.Requests = since, requests })
			began := time.Now()
			batches, err := readOnce(t, stream, nil, func(*Batch) error {
				time.Sleep(5 * time.Millisecond) // the commit
				return nil
			})
			d = time.Since(began)
			if got := distinct(batches); err != nil || len(got) != 10_000 || f.most > requests {
				t.Errorf("%d records, %d requests at once, %v", len(got), f.most, err)
			}
		})
		return d
	}
	one, four := took(1), took(4)
	t.Logf("one request at a time takes %s, four take %s: %.3f of it", one, four, four.Seconds()/one.Seconds())
	if four.Seconds() > .3*one.Seconds() {
		t.Errorf("four requests side by side take %s, one at a time %s", four, one)
	}
}

// A user with more than an answer holds is read in shorter windows, down to one
// second, of which pages are read.
func TestAUserWithMoreThanAnAnswerHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		since := now.Add(-24 * time.Hour)
		f := &fakeUsers{users: someUsers(3, 400, since, time.Minute), listed: 10, limit: 30}
		for i := range 100 { // in one second
			f.users["u00001"] = append(f.users["u00001"], fakeRecord{now.Add(-time.Hour), fmt.Sprint("tie-", i), `{}`})
		}
		slices.SortStableFunc(f.users["u00001"], func(a, b fakeRecord) int { return a.at.Compare(b.at) })
		stream := f.stream(t, func(o *Options) { o.Since = since })
		var kept store
		batches, err := readOnce(t, stream, &kept, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := sorted(distinct(batches)); !slices.Equal(got, f.ids()) {
			t.Errorf("%d records, want %d", len(got), len(f.ids()))
		}
		whole := Window{since.UTC().Truncate(time.Second), ceilSecond(now)}
		for i, b := range batches[:len(batches)-1] {
			if p := b.Progress.Live; p.Window != whole || !p.At.Equal(whole.From) {
				t.Fatalf("batch %d leads to %+v", i, p)
			}
		}
		if !kept.Live.At.Equal(whole.To) {
			t.Errorf("it stands at %+v", kept.Live)
		}
	})
}

// Live reads ask for those who were active, sweeps for all; a window without
// anybody moves the cursor; a listing that fails is repeated.
func TestWhoIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now().Add(-time.Hour)
		f := &fakeUsers{users: someUsers(5, 1, since, 0), listed: 2, limit: 100}
		f.fail = func(n int, what string) error {
			if n%3 == 1 && what == "list" {
				return errors.New("broken")
			}
			return nil
		}
		stream := f.stream(t, func(o *Options) {
			o.Since, o.Poll, o.SweepEvery, o.SweepBack = since, time.Minute, 10*time.Minute, 2*time.Hour
		})
		var kept store
		sub := NewSubscriber(stream, SubscriberOptions{Store: &kept})
		out, err := sub.Subscribe(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		swept := 0
		take(sub, out, func(b *Batch) error {
			if b.Lane == Sweep {
				swept += len(keysOf([]*Batch{b}))
			}
			if time.Since(began) > 15*time.Minute {
				return errors.New("stop")
			}
			return nil
		})
		if swept != 5 {
			t.Errorf("%d users were swept", swept)
		}
		if behind := time.Since(kept.Live.At); behind > 3*time.Minute {
			t.Errorf("windows without users do not move the cursor: %s behind", behind)
		}
		if !slices.Contains(f.all, true) || !slices.Contains(f.all, false) {
			t.Errorf("asked for all: %v", f.all)
		}
		if w := sub.Walked(Sweep); w != (Walked{Keys: 5, Of: 5}) {
			t.Errorf("the sweep has come to %+v", w)
		}
	})
}
