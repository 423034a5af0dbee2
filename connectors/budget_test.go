package connectors

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const third = 340 * time.Millisecond // what 3 requests a second are apart

// waiter starts a request and tells when its turn came.
func waiter(ctx context.Context, b *Budget, name string, mu *sync.Mutex, came *[]string) {
	go func() {
		if b.Wait(ctx) == nil {
			mu.Lock()
			*came = append(*came, name)
			mu.Unlock()
		}
	}()
	synctest.Wait()
}

func TestBudgetPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(3)
		began := time.Now()
		for n := 1; n <= 10; n++ {
			if err := b.Wait(t.Context()); err != nil || time.Since(began) != time.Duration(n)*third {
				t.Fatalf("request %d after %s, %v", n, time.Since(began), err)
			}
		}
		time.Sleep(time.Minute) // what was not spent is gone, but for what a late timer takes
		began = time.Now()
		for n := range 4 {
			if err := b.Wait(t.Context()); err != nil || time.Since(began) != max(0, time.Duration(n)*third-caughtUp) {
				t.Fatalf("after a rest, request %d after %s, %v", n, time.Since(began), err)
			}
		}
		if rate := b.Rate(); rate < 2.99 || rate > 3.01 {
			t.Errorf("the rate is %v", rate)
		}
	})
}

func TestBudgetPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, mu, came := NewBudget(1), sync.Mutex{}, []string{}
		sweep := withLane(t.Context(), Sweep)
		waiter(sweep, b, "s1", &mu, &came)
		waiter(sweep, b, "s2", &mu, &came)
		waiter(withLane(t.Context(), Live), b, "l1", &mu, &came)
		waiter(t.Context(), b, "l2", &mu, &came)
		time.Sleep(3 * time.Second)
		waiter(withLane(t.Context(), Live), b, "l3", &mu, &came)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := []string{"l1", "l2", "l3", "s1", "s2"}; !slices.Equal(came, want) {
			t.Errorf("they came as %v, want %v", came, want)
		}
	})
}

// Who gives up in the queue spends nothing.
func TestBudgetCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, mu, came := NewBudget(3), sync.Mutex{}, []string{}
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			waiter(ctx, b, "gone", &mu, &came)
		}
		waiter(t.Context(), b, "stays", &mu, &came)
		time.Sleep(third / 2)
		cancel()
		synctest.Wait()
		time.Sleep(third / 2)
		synctest.Wait()
		if !slices.Equal(came, []string{"stays"}) {
			t.Errorf("%v came", came)
		}
		if err := b.Wait(ctx); err == nil {
			t.Error("an ended context gets a turn")
		}
	})
}

// A turn that comes in the moment in which its request is given up is the next
// one's.
func TestBudgetCancelWithTheTurn(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			b := NewBudget(1)
			interval := b.interval
			ctx, cancel := context.WithTimeout(t.Context(), interval)
			defer cancel()
			err := b.Wait(ctx)
			began := time.Now()
			if e := b.Wait(t.Context()); e != nil {
				t.Fatal(e)
			}
			if took, want := time.Since(began), map[bool]time.Duration{true: interval, false: 0}[err == nil]; took != want {
				t.Errorf("given up (%v), and the next one waited %s", err, took)
			}
		})
	}
}

func TestBudgetPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, began := NewBudget(3), time.Now()
		time.AfterFunc(100*time.Millisecond, func() { b.Pause(10 * time.Second) })
		time.AfterFunc(200*time.Millisecond, func() { b.Pause(time.Second) }) // does not shorten it
		if err := b.Wait(t.Context()); err != nil || time.Since(began) != 10*time.Second+100*time.Millisecond {
			t.Errorf("after %s, %v", time.Since(began), err)
		}
		b.Pause(time.Minute)
		if got := b.Paused(); got != time.Minute {
			t.Errorf("paused for %s", got)
		}
		b = NewBudget(0)
		if b.Wait(t.Context()) != nil || b.Paused() != 0 || b.Rate() != 0 {
			t.Error("a budget without limit is paused")
		}
		b.Pause(time.Second)
		began = time.Now()
		if err := b.Wait(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("without limit, after %s, %v", time.Since(began), err)
		}
	})
}

func TestBudgetsAreShared(t *testing.T) {
	all := NewBudgets()
	a := all.Get("key", "https://x/a", 3)
	if all.Get("key", "https://x/b", 3) == a || all.Get("other", "https://x/a", 3) == a {
		t.Error("another endpoint, or credential, has the same budget")
	}
	for rate, want := range map[float64]float64{5: 3, 2: 2, 0: 2} {
		if rate == 0 || rate == 5 {
			continue
		}
		if all.Get("key", "https://x/a", rate) != a || a.Rate() < want*.99 || a.Rate() > want*1.01 {
			t.Errorf("asked for %v it is %v, want %v", rate, a.Rate(), want)
		}
	}
	for _, rate := range []float64{5, 0} { // the lower one holds
		if all.Get("key", "https://x/a", rate); a.Rate() > 2.01 {
			t.Errorf("asked for %v it is %v", rate, a.Rate())
		}
	}
}

// Whatever happens, no four requests are within a second.
func TestBudgetIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dice := rand.New(rand.NewPCG(1, 2))
		b, mu, at := NewBudget(3), sync.Mutex{}, []time.Time{}
		var all sync.WaitGroup
		for range 10_000 {
			ctx, cancel := context.WithTimeout(withLane(t.Context(), []Lane{Live, Sweep}[dice.IntN(2)]), time.Duration(dice.IntN(1e10)))
			all.Go(func() {
				defer cancel()
				if b.Wait(ctx) == nil {
					mu.Lock()
					at = append(at, time.Now())
					mu.Unlock()
				}
			})
			time.Sleep(time.Duration(dice.IntN(5e8)))
			if dice.IntN(100) == 0 {
				b.Pause(time.Duration(dice.IntN(2e9)))
			}
		}
		all.Wait()
		if len(at) < 5000 {
			t.Fatalf("only %d requests went", len(at))
		}
		for i := 3; i < len(at); i++ {
			if d := at[i].Sub(at[i-3]); d <= time.Second {
				t.Fatalf("requests %d to %d are within %s", i-3, i, d)
			}
		}
	})
}
