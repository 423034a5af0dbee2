package connectors

import (
	"context"
	"sync"
)

// readAhead bounds what is read and not yet committed: windows that are read
// side by side wait while together they hold more. A window that may go on reads
// a batch, so that there are at most as many more batches than max as there may
// be requests. The window that is committed next may always go on once all of it
// is taken.
type readAhead struct {
	mu   sync.Mutex
	max  int
	used int
	held map[*windowRead]int
	head *windowRead
	wake chan struct{} // closed when something changed
}

func newReadAhead(max int) *readAhead {
	return &readAhead{max: max, held: map[*windowRead]int{}, wake: make(chan struct{})}
}

// open says whether a window may read more, which may hold so much itself.
func (a *readAhead) open(r *windowRead, own int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used <= a.max && a.held[r] <= own || a.head == r && a.held[r] == 0
}

// room waits until a window may read more.
func (a *readAhead) room(ctx context.Context, r *windowRead, own int) error {
	for {
		a.mu.Lock()
		wake := a.wake
		a.mu.Unlock()
		if a.open(r, own) {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *readAhead) add(r *windowRead, size int) {
	a.change(func() {
		a.used += size
		a.held[r] += size
	})
}

func (a *readAhead) took(r *windowRead, size int) {
	a.change(func() {
		a.used -= size
		a.held[r] -= size
	})
}

func (a *readAhead) setHead(r *windowRead) { a.change(func() { a.head = r }) }

// drop forgets a window that is read, or not read any more.
func (a *readAhead) drop(r *windowRead) {
	a.change(func() {
		a.used -= a.held[r]
		delete(a.held, r)
	})
}

func (a *readAhead) change(what func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what()
	close(a.wake)
	a.wake = make(chan struct{})
}
