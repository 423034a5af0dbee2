package connectors

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// pace spreads requests a little wider than the limit allows: an API counts what
// arrives in a second, and the way there is not always equally long.
const pace = 1.02

// caughtUp is how late a request may go without making the next one later too:
// timers are late on a busy machine. It is half of what pace leaves in a second,
// and all that may be caught up, so there is never a burst.
const caughtUp = 10 * time.Millisecond

// Budget paces the requests that one credential may make to one endpoint:
// evenly, never in a burst, waiting live reads first and backfills last. It starts empty, so that a
// process that restarts again and again stays within the limit. Its methods may
// be called concurrently.
type Budget struct {
	mu       sync.Mutex
	interval time.Duration
	next     time.Time  // when the next request may go
	queue    [3][]*turn // live reads, sweeps, backfills
	timer    *time.Timer
}

// turn is one request's place in the queue.
type turn struct {
	come          chan struct{} // closed when it has come
	before, after time.Time     // the budget's next, then
}

// NewBudget returns a budget of so many requests a second; 0 is no limit.
func NewBudget(rate float64) *Budget {
	b := &Budget{}
	if rate > 0 {
		b.interval = time.Duration(pace / rate * float64(time.Second))
	}
	b.next = time.Now().Add(b.interval)
	return b
}

type laneKey struct{}

// withLane tells budgets, by way of the context, which lane asks.
func withLane(ctx context.Context, lane Lane) context.Context {
	return context.WithValue(ctx, laneKey{}, lane)
}

// Wait returns when one request may be made, and spends it. It fails only with
// the context.
func (b *Budget) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	class := 0
	switch lane, _ := ctx.Value(laneKey{}).(Lane); lane {
	case Sweep:
		class = 1
	case Backfill:
		class = 2
	}
	t := &turn{come: make(chan struct{})}
	b.mu.Lock()
	b.queue[class] = append(b.queue[class], t)
	b.dispatch()
	b.mu.Unlock()
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue[class], t); i >= 0 {
		b.queue[class] = slices.Delete(b.queue[class], i, i+1)
	} else if b.next.Equal(t.after) { // the turn came at the same moment: the next one has it
		b.next = t.before
		b.dispatch()
	}
	return ctx.Err()
}

// Pause lets no request go for a while: the API asked for it.
func (b *Budget) Pause(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.next) {
		b.next = until
	}
}

// Paused returns how long no request may go, beyond the usual pace.
func (b *Budget) Paused() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := time.Until(b.next); wait > b.interval {
		return wait
	}
	return 0
}

// Rate returns the requests a second that the budget allows; 0 is no limit.
func (b *Budget) Rate() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.interval == 0 {
		return 0
	}
	return pace * float64(time.Second) / float64(b.interval)
}

// slowDown lowers the rate to what another user of the same budget wants.
func (b *Budget) slowDown(rate float64) {
	if rate <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.interval = max(b.interval, time.Duration(pace/rate*float64(time.Second)))
}

// dispatch gives turns to those who wait, as far as time allows. The caller
// holds the lock.
func (b *Budget) dispatch() {
	for class := 0; class < len(b.queue); {
		if len(b.queue[class]) == 0 {
			class++
			continue
		}
		now := time.Now()
		if wait := b.next.Sub(now); wait > 0 {
			if b.timer != nil {
				b.timer.Stop()
			}
			b.timer = time.AfterFunc(wait, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.dispatch()
			})
			return
		}
		t := b.queue[class][0]
		b.queue[class] = slices.Delete(b.queue[class], 0, 1)
		t.before = b.next
		b.next = later(b.next, now.Add(-caughtUp)).Add(b.interval)
		t.after = b.next
		close(t.come)
		class = 0
	}
}

// Budgets holds the budgets of all connectors: one for each credential and
// endpoint, whoever uses them.
type Budgets struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*Budget
}

// NewBudgets returns an empty set.
func NewBudgets() *Budgets { return &Budgets{all: map[[sha256.Size]byte]*Budget{}} }

// Get returns the budget of a credential at an endpoint (its address and path),
// made on the first call. Where two ask for different rates the lower one holds.
// The credential is kept as a hash only.
func (b *Budgets) Get(credential, endpoint string, rate float64) *Budget {
	id := sha256.Sum256([]byte(credential + "\x00" + endpoint))
	b.mu.Lock()
	defer b.mu.Unlock()
	if budget, ok := b.all[id]; ok {
		budget.slowDown(rate)
		return budget
	}
	budget := NewBudget(rate)
	b.all[id] = budget
	return budget
}
