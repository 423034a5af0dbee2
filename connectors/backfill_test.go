package connectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// filling is the progress of a stream that is at the present and has a backfill.
func filling(from, to, present time.Time, parts ...string) Progress {
	return Progress{
		Since: to, Live: Position{At: present}, Sweep: SweepPosition{Due: present.Add(time.Hour)},
		Backfill: &BackfillPosition{Number: 7, From: from, To: to, Parts: parts, Position: Position{At: from}},
	}
}

// A backfill reads its range and nothing else, in order, goes on where it was
// stopped, and reads again what was refused. It ends, also with an empty window.
func TestBackfillReadsItsRange(t *testing.T) {
	for accepted := range 10 {
		synctest.Test(t, func(t *testing.T) {
			from := time.Now()
			time.Sleep(20 * time.Hour)
			to := from.Add(16 * time.Hour)
			api := &fakeAPI{records: every(from.Add(-time.Hour), from.Add(14*time.Hour), 9*time.Second), page: 300}
			api.latency = func(r Request) time.Duration { return time.Duration((r.From.Unix()*7919)%3000) * time.Millisecond }
			stream := fakeStream(t, api, nil)
			kept := store{Progress: filling(from, to, time.Now(), "a", "b")}
			stood := kept.Live
			left, nacked := accepted, false
			first, _ := fillOnce(t, stream, &kept, func(b *Batch) error {
				if left == 2 && !nacked {
					nacked = true
					return errNacked
				}
				if left--; left < 0 {
					return errors.New("stop")
				}
				return nil
			})
			if at := kept.Backfill.At; accepted > 2 && !at.After(from) {
				t.Errorf("after %d batches it stands at %s", accepted, at)
			}
			second, err := fillOnce(t, stream, &kept, nil)
			if err != nil || !kept.Backfill.Over() || kept.Backfill.Number != 7 || !samePosition(kept.Live, stood) {
				t.Fatalf("%+v, %v", kept.Backfill, err)
			}
			want := slices.DeleteFunc(slices.Clone(api.records), func(r fakeRecord) bool { return r.at.Before(from.Add(-time.Second)) })
			if got := distinct(append(first, second...)); !slices.Equal(got, idsOf(want)) {
				t.Errorf("after %d batches and a stop: %d records, want %d in their order", accepted, len(got), len(want))
			}
			for _, r := range api.asked() {
				if r.lane != Backfill || !slices.Equal(r.Parts, []string{"a", "b"}) || r.From.Before(from.Add(-time.Second)) || r.To.After(to.Add(time.Second)) {
					t.Fatalf("asked for %+v", r)
				}
			}
			before := len(api.asked())
			if again, err := fillOnce(t, stream, &kept, nil); len(again) > 0 || err != nil || len(api.asked()) > before {
				t.Errorf("when it is over: %d batches, %v", len(again), err)
			}
		})
	}
}

func samePosition(a, b Position) bool {
	return a.At.Equal(b.At) && a.Window == b.Window && slices.Equal(a.Cursor, b.Cursor)
}

// Beside a backfill live reads keep up, and all lanes together keep the limit,
// with few requests at once as with many.
func TestLiveReadsKeepUpWithABackfill(t *testing.T) {
	for _, requests := range []int{1, 2, 4, 16} {
		synctest.Test(t, func(t *testing.T) {
			const rate, poll, settle = 3, 10 * time.Second, 2 * time.Second
			from := time.Now()
			time.Sleep(30 * 24 * time.Hour)
			present := time.Now()
			api := &fakeAPI{page: 1000, records: every(from, present, 10*time.Minute)}
			for at := present; at.Before(present.Add(time.Hour)); at = at.Add(time.Second) {
				api.records = append(api.records, fakeRecord{at, "live " + at.Format(time.TimeOnly), `{}`})
			}
			budget := NewBudget(rate)
			var lock sync.Mutex
			var sent []time.Time
			api.wait = func(ctx context.Context) error {
				err := budget.Wait(ctx)
				lock.Lock()
				defer lock.Unlock()
				sent = append(sent, time.Now())
				return err
			}
			var most, now atomic.Int64
			api.latency = func(Request) time.Duration { return 700 * time.Millisecond }
			api.within = func(at, from, to time.Time) bool { return !at.Before(from) && at.Before(to) && !at.After(time.Now()) }
			stream := fakeStream(t, api, func(o *Options) {
				o.Poll, o.Settle, o.Overlap, o.Requests = poll, settle, time.Minute, requests
				o.SweepEvery, o.SweepBack = time.Minute, time.Hour
			})
			stream.Pager = lanes{api, &now, &most}
			kept := store{Progress: filling(from, present, present)}
			sub := NewSubscriber(stream, SubscriberOptions{Store: &kept})
			out, _ := sub.Subscribe(t.Context(), "")
			worst := time.Duration(0)
			seen := map[string]bool{}
			var batches []*Batch
			take(sub, out, func(b *Batch) error {
				if b.Lane == Live {
					for _, r := range b.Records {
						if !seen[r.ID] {
							seen[r.ID] = true
							worst = max(worst, time.Since(api.timeOf(r.ID)))
						}
					}
				} else if b.Lane == Backfill {
					batches = append(batches, b)
				}
				if b.Progress.Backfill.Over() {
					return errors.New("enough")
				}
				return nil
			})
			if got := distinct(batches); len(got) < 30*24*6 {
				t.Errorf("requests %d: %d records of history", requests, len(got))
			}
			if worst >= settle+2*poll || len(seen) == 0 {
				t.Errorf("requests %d: a live record is seen after %s", requests, worst)
			}
			if n := most.Load(); n > int64(max(1, requests/2)) {
				t.Errorf("requests %d: the backfill has %d under way", requests, n)
			}
			for n := rate; n < len(sent); n++ {
				if d := sent[n].Sub(sent[n-rate]); d < time.Second {
					t.Fatalf("%d requests within %s", rate+1, d)
				}
			}
		})
	}
}

func (f *fakeAPI) timeOf(id string) time.Time {
	n := slices.IndexFunc(f.records, func(r fakeRecord) bool { return r.id == id })
	return f.records[n].at
}

// lanes counts the requests that the backfill has under way at once.
type lanes struct {
	*fakeAPI
	now, most *atomic.Int64
}

func (l lanes) Page(ctx context.Context, r Request) (*Page, error) {
	if ctx.Value(laneKey{}) == Backfill {
		l.most.Store(max(l.most.Load(), l.now.Add(1)))
		defer l.now.Add(-1)
	}
	return l.fakeAPI.Page(ctx, r)
}

// What lies further back than the API can be asked is jumped over, by live reads
// and by backfills, and the batches say so.
func TestWhatTheAPICannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		time.Sleep(10 * time.Hour)
		api := &fakeAPI{page: 1e9, records: every(from, time.Now(), time.Minute)}
		stream := fakeStream(t, api, func(o *Options) { o.Since, o.Overlap = from, 9*time.Hour })
		oldest := from.Add(4*time.Hour + time.Minute)
		edge := from.Add(4*time.Hour + 15*time.Minute)
		stream.Oldest = func(time.Time) time.Time { return oldest }
		for _, lane := range []Lane{Live, Backfill} {
			api.requests = nil
			var batches []*Batch
			var err error
			if lane == Live {
				batches, err = readOnce(t, stream, &store{}, nil)
			} else {
				batches, err = fillOnce(t, stream, &store{Progress: filling(from, from.Add(6*time.Hour), time.Now())}, nil)
			}
			if err != nil || len(batches) < 2 {
				t.Fatalf("%s: %d batches, %v", lane, len(batches), err)
			}
			if b := batches[0]; !b.Jump || len(b.Records) > 0 || !b.Window.From.Equal(from) || !b.Window.To.Equal(edge) {
				t.Errorf("%s: the first batch is %+v", lane, b)
			}
			for _, r := range api.asked() {
				if r.From.Before(edge.Add(-time.Second)) {
					t.Errorf("%s asks for %s", lane, r.From)
				}
			}
		}
		// All of a backfill may be out of reach meanwhile.
		batches, err := fillOnce(t, stream, &store{Progress: filling(from, from.Add(time.Hour), time.Now())}, nil)
		if err != nil || len(batches) != 1 || !batches[0].Jump || !batches[0].Progress.Backfill.Over() {
			t.Errorf("%d batches, %v", len(batches), err)
		}
	})
}

// A walk that is interrupted goes on behind the last that is done, also where what
// can be asked for has moved on meanwhile.
func TestAWalkGoesOnBehindAJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		time.Sleep(10 * time.Hour)
		users := &fakeUsers{users: someUsers(30, 3, from, time.Hour), listed: 50, limit: 100}
		stream := users.stream(t, nil)
		oldest := from
		stream.Oldest = func(time.Time) time.Time { return oldest }
		kept := store{Progress: filling(from, from.Add(9*time.Hour), time.Now())}
		done := 0
		_, err := fillOnce(t, stream, &kept, func(*Batch) error {
			if done++; done > 1 {
				return errors.New("killed")
			}
			return nil
		})
		if err == nil {
			t.Fatal("it was not killed")
		}
		var stands walked
		if err := json.Unmarshal(kept.Backfill.Cursor, &stands); err != nil {
			t.Fatal(err)
		}
		oldest, users.asked, users.latency = from.Add(time.Hour), nil, time.Second
		sub := NewSubscriber(stream, SubscriberOptions{Store: &kept, Once: true, Only: Backfill, Join: MaxBatchRecords})
		out, err := sub.Subscribe(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		var batches []*Batch
		var left time.Duration
		take(sub, out, func(b *Batch) error {
			batches = append(batches, b)
			left = max(left, sub.Backfill().Walked.Left)
			return nil
		})
		err = sub.Err()
		if err != nil || !kept.Backfill.Over() {
			t.Fatalf("it stands at %+v, %v", kept.Backfill, err)
		}
		if b := batches[0]; !b.Jump || !b.Progress.Backfill.At.Equal(oldest) {
			t.Errorf("the first batch is %+v", b)
		}
		if left < time.Second || left > time.Minute { // the first may be answered as late as the second second
			t.Errorf("at most %s were left", left)
		}
		for _, user := range users.asked {
			if user != "list" && user <= stands.Behind {
				t.Errorf("asked for %s, who was done with %s", user, stands.Behind)
			}
		}
	})
}

// The API is asked once how many records there are; that it does not tell stops nothing.
func TestBackfillCounts(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			from := time.Now()
			time.Sleep(2 * time.Hour)
			stream := fakeStream(t, &fakeAPI{page: 10, records: every(from, time.Now(), time.Minute)}, nil)
			asked := 0
			stream.Count = func(_ context.Context, a, b time.Time) (int64, error) {
				asked++
				if !a.Equal(from) || !b.Equal(from.Add(time.Hour)) {
					t.Errorf("it asks for %s to %s", a, b)
				}
				if fails {
					return 0, errors.New("no")
				}
				return 61, nil
			}
			sub := NewSubscriber(stream, SubscriberOptions{Store: &store{Progress: filling(from, from.Add(time.Hour), time.Now())}, Once: true, Only: Backfill})
			out, _ := sub.Subscribe(t.Context(), "")
			n := 0
			take(sub, out, func(b *Batch) error { n += len(b.Records); return nil })
			if want := fmt.Sprint(map[bool]int{false: 61}[fails]); asked != 1 || n < 60 || fmt.Sprint(sub.Backfill().Expected) != want {
				t.Errorf("asked %d times, %d records, expected %+v", asked, n, sub.Backfill())
			}
		})
	}
}

func TestBackfillsAreLastInTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, mu, came := NewBudget(1), sync.Mutex{}, []string{}
		for _, lane := range []Lane{Backfill, Sweep, Live} {
			waiter(withLane(t.Context(), lane), b, string(lane), &mu, &came)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if want := []string{"live", "sweep", "backfill"}; !slices.Equal(came, want) {
			t.Errorf("they came as %v, want %v", came, want)
		}
	})
}

// That the requests of a backfill fail is told as long as they do, whatever live
// reads tell of the stream meanwhile.
func TestWhyABackfillFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		time.Sleep(10 * time.Hour)
		to, mended := from.Add(time.Hour), time.Now().Add(10*time.Minute)
		api := &fakeAPI{page: 1e9, records: every(from, to, time.Minute)}
		api.fail = func(_ int, r Request) error {
			if r.From.Before(to) && time.Now().Before(mended) {
				return &Error{Kind: Fail, Op: "asking", Err: errors.New("too old")}
			}
			return nil
		}
		stream := fakeStream(t, api, func(o *Options) { o.Poll, o.SweepBack = 10*time.Second, 0 })
		sub := NewSubscriber(stream, SubscriberOptions{Store: &store{Progress: filling(from, to, time.Now())}})
		out, _ := sub.Subscribe(t.Context(), "")
		told := 0
		take(sub, out, func(b *Batch) error {
			if b.Lane == Live && time.Now().Before(mended) && time.Now().After(mended.Add(-9*time.Minute)) {
				if told++; sub.Backfill().Cause == "" {
					t.Errorf("%s before it is mended it says nothing", time.Until(mended))
				}
			}
			if b.Progress.Backfill.Over() {
				return errors.New("enough")
			}
			return nil
		})
		if cause := sub.Backfill().Cause; told == 0 || cause != "" {
			t.Errorf("told %d times, and in the end %q", told, cause)
		}
	})
}
