package connectors

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// When a read that is to end some time gives up, and how soon.
func TestOnceGivesUp(t *testing.T) {
	fail := func(kind Kind, after time.Duration) error {
		return &Error{Kind: kind, Op: "listing", After: after, Err: errors.New("no")}
	}
	for name, c := range map[string]struct {
		err      error
		latency  time.Duration
		giveUp   time.Duration
		requests [2]int // at least, at most
		within   time.Duration
	}{
		"a wrong key":              {fail(Fail, 0), 0, 0, [2]int{1, 1}, 0},
		"no such endpoint":         {fail(Unavailable, 0), 0, 0, [2]int{1, 1}, 0},
		"a wrong key, patience":    {fail(Fail, 0), 0, time.Hour, [2]int{1, 1}, 0},
		"failing":                  {fail(Retry, 0), 0, 0, [2]int{5, 5}, 10 * time.Second},
		"failing slowly":           {fail(Retry, 0), 50 * time.Second, 0, [2]int{3, 3}, 160 * time.Second},
		"failing, patience":        {fail(Retry, 0), 0, 10 * time.Minute, [2]int{12, 200}, 12 * time.Minute},
		"told to wait too long":    {fail(Retry, 2*time.Minute), 0, 0, [2]int{1, 1}, 0},
		"told to wait, patience":   {fail(Retry, 2*time.Minute), 0, time.Hour, [2]int{25, 31}, time.Hour},
		"told to wait for a while": {fail(Retry, 20*time.Second), 0, 0, [2]int{5, 5}, 90 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			api := &fakeAPI{fail: func(int, Request) error { return c.err }}
			api.latency = func(Request) time.Duration { return c.latency }
			stream := fakeStream(t, api, func(o *Options) { o.Since = began.Add(-time.Hour) })
			sub := NewSubscriber(stream, SubscriberOptions{Once: true, GiveUp: c.giveUp})
			out, _ := sub.Subscribe(t.Context(), "")
			if _, open := <-out; open {
				t.Fatalf("%s: a message", name)
			}
			n, took := len(api.asked()), time.Since(began)
			if !errors.Is(sub.Err(), c.err) || n < c.requests[0] || n > c.requests[1] || took > c.within {
				t.Errorf("%s: %d requests in %s, %v", name, n, took, sub.Err())
			}
		})
	}
}

// A window that cannot be read takes nothing from those before it.
func TestOnceDeliversWhatComesBeforeAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		since := now.Add(-10 * time.Hour)
		api := &fakeAPI{records: every(since, now, 5*time.Second), page: 1000}
		bad := now.Add(-5 * time.Hour)
		api.fail = func(_ int, r Request) error {
			if r.From.Before(bad) && bad.Before(r.To) {
				return &Error{Kind: Fail, Op: "listing", Err: errors.New("a bad record")}
			}
			return nil
		}
		api.latency = func(r Request) time.Duration {
			return map[bool]time.Duration{true: time.Minute, false: 0}[r.From.Before(bad)]
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since = since })
		var kept store
		batches, err := readOnce(t, stream, &kept, nil)
		got := distinct(batches)
		if KindOf(err) != Fail || !slices.Equal(got, idsOf(api.records[:len(got)])) || kept.Live.At.After(bad) || kept.Live.At.Before(bad.Add(-2*time.Hour)) {
			t.Errorf("%d records, at %s, %v", len(got), kept.Live.At, err)
		}
	})
}

// The API lets nobody ask for an hour: those who wait for the budget do not wait.
func TestOnceDoesNotWaitInABudgetThatIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		api := &fakeAPI{page: 1000}
		stream := fakeStream(t, api, func(o *Options) { o.Since = now.Add(-1000 * time.Hour) })
		api.fail = func(n int, r Request) error {
			if n > 3 {
				stream.budget.Pause(time.Hour)
				return &Error{Kind: Retry, Op: "listing", After: time.Hour, Err: errors.New("too many")}
			}
			return nil
		}
		api.wait = stream.budget.Wait
		if _, err := readOnce(t, stream, nil, nil); err == nil || !strings.Contains(err.Error(), "too many") {
			t.Error(err)
		}
		if took := time.Since(now); took > time.Minute {
			t.Errorf("gave up after %s", took)
		}
	})
}

// The first poll, and each after it, ends settle ago and begins overlap back.
func TestPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		api := &fakeAPI{page: 1000}
		stream := fakeStream(t, api, func(o *Options) { o.Overlap = 10 * time.Minute })
		sub := NewSubscriber(stream, SubscriberOptions{})
		out, _ := sub.Subscribe(t.Context(), "")
		go take(sub, out, func(*Batch) error { return nil })
		time.Sleep(30*time.Minute + time.Second)
		sub.Close()
		polls := map[time.Time]*Window{}
		for _, r := range api.asked() {
			w := polls[r.at]
			if w == nil {
				w = &Window{r.From, r.To}
				polls[r.at] = w
			}
			w.From, w.To = earlier(w.From, r.From), later(w.To, r.To)
		}
		if n := len(api.asked()); len(polls) < 29 || len(polls) > 31 || n > len(polls)+5 {
			t.Errorf("%d requests in %d polls in half an hour", n, len(polls))
		}
		for at, w := range polls {
			end := at.Add(-stream.Options.Settle).Truncate(time.Second)
			from := later(began.Truncate(time.Second), end.Add(-time.Minute-stream.Options.Overlap))
			if !w.To.Equal(end.Add(time.Second)) || !w.From.Equal(from.Add(-time.Second)) {
				t.Errorf("at %s it asks for %s to %s, want %s to %s and a second on both sides", at, w.From, w.To, from, end)
			}
		}
	})
}

// A sweep is due one every after the start, wherever that was, finds what turned
// up late, and goes on where it was stopped.
func TestSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		since := began.Add(-48 * time.Hour)
		api := &fakeAPI{records: every(since, began, 10*time.Minute), page: 20}
		stream := fakeStream(t, api, func(o *Options) {
			o.Since, o.SweepEvery, o.SweepBack = since, 6*time.Hour, 24*time.Hour
		})
		var kept store
		var batches []*Batch
		run := func(d time.Duration, stopAtSweep bool) {
			sub := NewSubscriber(stream, SubscriberOptions{Store: &kept})
			out, _ := sub.Subscribe(t.Context(), "")
			timer := time.AfterFunc(d, func() { sub.Close() })
			defer timer.Stop()
			swept := 0
			take(sub, out, func(b *Batch) error {
				batches = append(batches, b)
				if b.Lane == Sweep {
					if swept++; stopAtSweep && swept == 3 {
						return errors.New("stop")
					}
				}
				return nil
			})
			sub.Close()
		}
		sweeps := func() (list []fakeRequest) {
			for _, r := range api.asked() {
				if r.lane == Sweep {
					list = append(list, r)
				}
			}
			return list
		}
		run(4*time.Hour, false)
		if n := len(sweeps()); n != 0 || !kept.Sweep.Due.Equal(began.Add(6*time.Hour)) {
			t.Fatalf("%d requests of sweeps after 4 hours, due at %s", n, kept.Sweep.Due)
		}
		late := fakeRecord{began.Add(-5 * time.Hour), "late", `{"late":true}`}
		api.mu.Lock()
		api.records = append(api.records, late)
		slices.SortStableFunc(api.records, func(a, b fakeRecord) int { return a.at.Compare(b.at) })
		api.mu.Unlock()
		run(4*time.Hour, true) // due after two of these hours
		first := sweeps()
		if len(first) == 0 || first[0].at.Sub(began) < 6*time.Hour || first[0].at.Sub(began) > 6*time.Hour+time.Minute || kept.Sweep.Until.IsZero() {
			t.Fatalf("the first of %d requests of sweeps %s after the start; it stands at %+v", len(first), first[0].at.Sub(began), kept.Sweep)
		}
		stood := kept.Sweep
		run(3*time.Hour, false)
		resumed := sweeps()[len(first)]
		if from := later(stood.At, stood.Window.From); resumed.From.Before(from.Add(-time.Second)) {
			t.Errorf("it stood at %+v and begins again at %s", stood.Position, resumed.From)
		}
		if !slices.Contains(distinct(batches), "late") {
			t.Error("the late record was not found")
		}
		if due := kept.Sweep.Due.Sub(stood.Until); !kept.Sweep.Until.IsZero() || due < 6*time.Hour || due > 8*time.Hour {
			t.Errorf("after the sweep it stands at %+v", kept.Sweep)
		}
	})
}

func TestBegin(t *testing.T) {
	o := Options{SweepEvery: time.Hour, SweepBack: time.Hour}
	p := Begin(Progress{}, o, noon.Add(500*time.Millisecond))
	if !p.Since.Equal(noon) || !p.Live.At.Equal(noon) || !p.Sweep.Due.Equal(noon.Add(time.Hour+500*time.Millisecond)) {
		t.Errorf("the first start gives %+v", p)
	}
	o.Since = noon.Add(-time.Hour)
	if again := Begin(p, o, noon.Add(time.Minute)); !again.Since.Equal(noon) || !again.Live.At.Equal(noon) || !again.Sweep.Due.Equal(p.Sweep.Due) {
		t.Errorf("a later start gives %+v", again)
	}
	o.SweepEvery = time.Minute // a shorter time counts at once
	p.Sweep.Until = noon
	if again := Begin(p, o, noon); !again.Sweep.Due.Equal(noon.Add(time.Minute)) || again.Sweep.Until.IsZero() {
		t.Errorf("a shorter every gives %+v", again.Sweep)
	}
	o.SweepBack = 0 // ids are kept for a sweep under way: there is none any more
	if again := Begin(p, o, noon); !again.Sweep.Until.IsZero() {
		t.Errorf("without sweeps it is %+v", again.Sweep)
	}
}

func TestSubscriberIsUsedOnce(t *testing.T) {
	stream := fakeStream(t, &fakeAPI{}, nil)
	sub := NewSubscriber(stream, SubscriberOptions{Store: &brokenStore{}})
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if _, err := sub.Subscribe(t.Context(), ""); err == nil || sub.Err() == nil || sub.Close() != nil {
		t.Errorf("a store that cannot be read: %v, %v", err, sub.Err())
	}
	if _, err := sub.Subscribe(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "used") {
		t.Error(err)
	}
}
