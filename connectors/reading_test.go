package connectors

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// batchesOf takes messages apart.
func batchesOf(messages []*Batch) (batches []*Batch) {
	for _, m := range messages {
		batches = append(batches, m.Batches()...)
	}
	return batches
}

// While a commit takes its time pages are read, and the next commit takes all that
// wait, in order, each with its own window and progress; it takes no more than it may.
func TestWaitingPagesAreOneMessage(t *testing.T) {
	for name, c := range map[string]struct{ page, join, most, least int }{
		"all that wait":               {100, 10_000, 10_000, 2_000},
		"as many as it may":           {100, 250, 250, 200},
		"none":                        {100, 0, 100, 100},
		"parts of one page":           {1e9, 3_500, 3_500, 3_000},
		"less than a page is allowed": {100, 50, 100, 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			since := now.Add(-3 * time.Hour)
			api := &fakeAPI{records: every(since, now, time.Second), page: c.page}
			stream := fakeStream(t, api, func(o *Options) { o.Since = since })
			stream.Whole = c.page == 1e9
			var kept store
			largest := 0
			messages, err := readLanes(t, stream, SubscriberOptions{Store: &kept, Once: true, Join: c.join}, func(b *Batch) error {
				time.Sleep(time.Minute) // until everybody who reads has come to a stop
				n := 0
				for _, one := range b.Batches() {
					n += len(one.Records)
				}
				largest = max(largest, n)
				return nil
			})
			batches := batchesOf(messages)
			if got := distinct(batches); err != nil || !slices.Equal(got, idsOf(api.records)) {
				t.Errorf("%s: %d of %d records in their order, %v", name, len(got), len(api.records), err)
			}
			if largest < c.least || largest > c.most {
				t.Errorf("%s: at most %d records in a message, want %d to %d", name, largest, c.least, c.most)
			}
			if kept.saves != len(messages) || !samePosition(kept.Live, batches[len(batches)-1].Progress.Live) {
				t.Errorf("%s: saved %d times for %d messages, in the end %+v", name, kept.saves, len(messages), kept.Live)
			}
			at := since.Truncate(time.Second)
			for n, b := range batches {
				p := b.Progress.Live
				if !b.Window.From.Equal(at) || b.EndsPage && p.Window.To.IsZero() && !p.At.Equal(b.Window.To) || n > 0 && b.Ended.Before(batches[n-1].Began) {
					t.Fatalf("%s: batch %d of %s, at %s, leads to %+v", name, n, b.Window, at, p)
				}
				at = p.At
			}
		})
	}
}

// A page is delivered the moment it has come and all before it are out: with those
// that had to wait for it, where windows are read side by side, else alone.
func TestASinglePageIsNotDelayed(t *testing.T) {
	for name, c := range map[string]struct {
		whole    bool
		requests int
	}{"page after page": {true, 1}, "side by side": {false, 4}} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			since := now.Add(-2 * time.Hour)
			api := &fakeAPI{records: every(since, now, time.Second), page: 100}
			api.latency = func(r Request) time.Duration { return time.Duration(1+r.From.Unix()%7) * time.Second }
			stream := fakeStream(t, api, func(o *Options) { o.Since, o.Requests = since, c.requests })
			stream.Whole = c.whole
			joined := 0
			messages, err := readLanes(t, stream, SubscriberOptions{Once: true, Join: 10_000}, func(b *Batch) error {
				if late := time.Since(b.Ended); late != 0 {
					t.Errorf("%s: a page waited %s", name, late)
				}
				joined += len(b.Joined)
				return nil
			})
			if got := distinct(batchesOf(messages)); err != nil || !slices.Equal(got, idsOf(api.records)) || (joined == 0) != c.whole {
				t.Errorf("%s: %d records, %d of %d pages joined others, %v", name, len(got), joined, len(messages), err)
			}
		})
	}
}

// A message that is refused, or left for ever, is read again whole: what was
// accepted is not, but for the window under way.
func TestJoinedPagesAreReadAgain(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 7))
			now := time.Now()
			since := now.Add(-5 * time.Hour)
			api := &fakeAPI{records: every(since, now, 2*time.Second), page: 50 + dice.IntN(1500)}
			stream := fakeStream(t, api, func(o *Options) { o.Since = since })
			kept := store{}
			var accepted []*Batch
			joined, stops := 0, 0
			for done := false; !done; {
				_, err := readLanes(t, stream, SubscriberOptions{Store: &kept, Once: true, Join: 5000}, func(b *Batch) error {
					time.Sleep(time.Duration(dice.IntN(3)) * time.Minute)
					joined += len(b.Joined)
					if n := len(accepted); n > 0 {
						before := accepted[n-1].Progress.Live
						if first := b.Batches()[0]; first.Window.From.Before(before.At) {
							t.Errorf("behind %s a window from %s is read", before.At, first.Window.From)
						}
					}
					switch dice.IntN(6) {
					case 0:
						stops++
						return errNacked
					case 1:
						stops++
						return errors.New("killed")
					}
					accepted = append(accepted, b.Batches()...)
					return nil
				})
				done = err == nil
			}
			if got := distinct(accepted); !slices.Equal(got, idsOf(api.records)) || joined < 5 || stops < 2 {
				t.Errorf("%d of %d records, %d batches joined others, %d stops", len(got), len(api.records), joined, stops)
			}
		})
	}
}
