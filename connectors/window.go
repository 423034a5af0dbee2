package connectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// windowRead reads one window, page by page, into batches. It is run by one
// goroutine and drained by another.
type windowRead struct {
	lane   *lane
	window Window
	cursor json.RawMessage // where to begin
	out    chan *Batch
	err    error // why out was closed early; read it after out is closed

	seen     tally
	cursors  map[uint64]bool // those that the window's pages returned
	requests int             // made since the last batch
	pages    int
	records  int
	shortest time.Duration // the shortest part that it was cut into; 0: it was not
	failing  failures
	stuck    bool // not even one second can be read before its cursor ends
}

// verdict is what comes of reading a window.
type verdict int

const (
	done  verdict = iota
	again         // begin again
	halve         // begin again, with its first half
)

// run closes out when the window is read, or cannot be.
func (r *windowRead) run(ctx context.Context) {
	defer close(r.out)
	todo := []Window{r.window}
	for len(todo) > 0 && r.err == nil {
		var v verdict
		switch v, r.err = r.read(ctx, todo[0]); v {
		case done:
			todo = todo[1:]
		case halve:
			w := todo[0]
			r.shortest = (w.To.Sub(w.From) / 2).Truncate(time.Second)
			middle := w.From.Add(r.shortest)
			todo = append([]Window{{w.From, middle}, {middle, w.To}}, todo[1:]...)
		}
	}
}

var cursorSeed = maphash.MakeSeed()

// read reads one window from its cursor on.
func (r *windowRead) read(ctx context.Context, w Window) (verdict, error) {
	cursor, stored := r.cursor, r.cursor != nil
	r.cursor = nil
	r.seen = tally{}
	r.cursors = map[uint64]bool{maphash.Bytes(cursorSeed, cursor): cursor != nil}
	divisible := w.To.Sub(w.From) > time.Second
	for {
		next, err := r.page(ctx, w, cursor)
		if err == nil {
			if r.stuck = r.stuck && next != nil; !r.stuck {
				r.lane.sub.health.good(r.failing.count)
				r.failing = failures{}
			}
			if next == nil {
				return done, nil
			}
			cursor, stored = next, false
			continue
		}
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		r.seen.dropPage()
		ended := KindOf(err) == Restart && cursor != nil
		switch {
		case ended && stored: // it was kept too long, the window is not to blame
			return again, nil
		case ended && divisible: // half of it takes half as long, so this ends
			return halve, nil
		}
		r.stuck = r.stuck || ended
		wait, giveUp := r.lane.sub.failed(&r.failing, err)
		if giveUp {
			r.lane.gaveUp(err)
			return done, err
		}
		if err := sleep(ctx, wait); err != nil {
			return done, err
		}
		switch {
		case ended:
			return again, nil
		case divisible && cursor == nil && KindOf(err) == Retry && r.failing.count%halveAfter == 0:
			return halve, nil // it may be more than the API can answer in time
		}
	}
}

// halveAfter is how many failures of a request halve its window.
const halveAfter = 3

// page reads one page. Its last batch carries the position behind it; those
// before leave the position where it is.
func (r *windowRead) page(ctx context.Context, w Window, cursor json.RawMessage) (json.RawMessage, error) {
	stream := r.lane.sub.stream
	slot := &slot{lane: r.lane}
	defer slot.release()
	if err := r.admit(ctx, slot); err != nil {
		return nil, err
	}
	r.requests++
	page, err := stream.Pager.Page(ctx, Request{From: w.From.Add(-time.Second), To: w.To.Add(time.Second), Cursor: cursor})
	if err != nil {
		return nil, r.counted(err)
	}
	defer page.Close()
	b := builder{stream: stream}
	records := 0
	for record, err := range page.Records {
		if err != nil {
			return nil, r.counted(asError("reading an answer", err))
		}
		if b.full() {
			if err := r.deliver(ctx, w, page.Began, b.finish(), nil, slot); err != nil {
				return nil, err
			}
		}
		b.add(record, &r.seen)
		records++
	}
	next, err := r.next(page)
	if err != nil {
		return nil, r.counted(err)
	}
	page.Close()
	slot.release() // the commit may take its time
	stream.metrics.requests("ok").Inc()
	stream.metrics.pages.Inc()
	stream.metrics.records.Add(float64(records))
	r.pages++
	r.records += records
	r.seen.commitPage()
	return next, r.deliver(ctx, w, page.Began, b.finish(), r.position(w, next), slot)
}

// next returns the cursor of the page that follows. One that was there before
// would be followed for ever.
func (r *windowRead) next(page *Page) (json.RawMessage, error) {
	next, err := page.Next()
	switch {
	case err != nil || next == nil:
		return nil, err
	case len(next) > MaxCursor:
		return nil, &Error{Kind: Fail, Op: "reading a cursor", Err: fmt.Errorf("the API's cursor has %d bytes; at most %d are kept", len(next), MaxCursor)}
	}
	h := maphash.Bytes(cursorSeed, next)
	if r.cursors[h] {
		return nil, &Error{Kind: Retry, Op: "reading page after page", Err: errors.New("the API returned a cursor again that it had returned in this window before, with more to come: following it would never end")}
	}
	r.cursors[h] = true
	return next, nil
}

// counted counts a failed request, unless it was we who ended it.
func (r *windowRead) counted(err error) error {
	if !errors.Is(err, context.Canceled) {
		r.lane.sub.stream.metrics.requests(outcome(err)).Inc()
	}
	return err
}

// position is where the lane stands behind a page.
func (r *windowRead) position(w Window, next json.RawMessage) *Position {
	switch {
	case next == nil:
		return &Position{At: w.To}
	case !r.seen.empty():
		// Records that are told apart by their number within the pass cannot be
		// told by half a pass: if it is interrupted, it starts again, and the
		// ids drop what is published.
		return &Position{Window: w}
	}
	return &Position{Window: w, Cursor: next}
}

// admit waits until there is room for what the window may read next, and for the
// request. Who waits for room holds no slot: the window that is committed next,
// which makes the room, may need it.
func (r *windowRead) admit(ctx context.Context, slot *slot) error {
	for {
		if err := slot.take(ctx); err != nil || r.lane.buffer.open(r) {
			return err
		}
		slot.release()
		if err := r.lane.buffer.room(ctx, r); err != nil {
			return err
		}
	}
}

// deliver hands a batch over; after is nil when more of the page follows.
func (r *windowRead) deliver(ctx context.Context, w Window, began time.Time, b *Batch, after *Position, slot *slot) error {
	b.Lane, b.Window, b.Began, b.Ended = r.lane.name, w, began, r.lane.sub.stream.client.now()
	b.Requests, r.requests = r.requests, 0
	if after != nil {
		b.EndsPage, b.after = true, *after
	}
	r.lane.buffer.add(r, b.size)
	select {
	case r.out <- b:
	default:
		slot.release()
		select {
		case r.out <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if after != nil {
		return nil
	}
	return r.admit(ctx, slot)
}

// failures counts what failed in a row for one request.
type failures struct {
	count int
	since time.Time
}

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

// open says whether a window may read more.
func (a *readAhead) open(r *windowRead) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used <= a.max || a.head == r && a.held[r] == 0
}

// room waits until a window may read more.
func (a *readAhead) room(ctx context.Context, r *windowRead) error {
	for {
		a.mu.Lock()
		wake := a.wake
		a.mu.Unlock()
		if a.open(r) {
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
