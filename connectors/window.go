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
	expired  bool
}

// run closes out when the window is read, or cannot be.
func (r *windowRead) run(ctx context.Context) {
	defer close(r.out)
	todo := []Window{r.window}
	for len(todo) > 0 && r.err == nil {
		var restart bool
		restart, r.err = r.read(ctx, todo[0])
		switch {
		case r.err != nil:
		case !restart:
			todo = todo[1:]
		case todo[0].To.Sub(todo[0].From) > time.Second:
			// The cursor ended before the window did. Half of it takes half as
			// long, so this ends.
			w := todo[0]
			middle := w.From.Add(w.To.Sub(w.From) / 2).Truncate(time.Second)
			todo = append([]Window{{w.From, middle}, {middle, w.To}}, todo[1:]...)
		}
	}
}

var cursorSeed = maphash.MakeSeed()

// read reads one window from its cursor on. It returns true when the cursor is
// not good any more and the window must begin again.
func (r *windowRead) read(ctx context.Context, w Window) (restart bool, err error) {
	cursor := r.cursor
	r.cursor = nil
	r.seen = tally{}
	r.cursors = map[uint64]bool{maphash.Bytes(cursorSeed, cursor): cursor != nil}
	var failing failures
	for {
		next, err := r.page(ctx, w, cursor)
		if err == nil {
			r.lane.sub.health.good(failing.count)
			failing = failures{}
			if next == nil {
				return false, nil
			}
			cursor = next
			continue
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		r.seen.dropPage()
		if KindOf(err) == Restart && cursor != nil {
			r.expired = true
			return true, nil
		}
		wait, giveUp := r.lane.sub.failed(&failing, err)
		if giveUp {
			return false, err
		}
		if err := sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}

// page reads one page. Its last batch carries the position behind it; those
// before leave the position where it is.
func (r *windowRead) page(ctx context.Context, w Window, cursor json.RawMessage) (json.RawMessage, error) {
	stream := r.lane.sub.stream
	slot := &slot{lane: r.lane}
	if err := slot.take(ctx); err != nil {
		return nil, err
	}
	defer slot.release()
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
		r.lane.sub.stream.metrics.requests(KindOf(err).String()).Inc()
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

// deliver hands a batch over; after is nil when more of the page follows. A
// reader that has to wait gives its slot back meanwhile: the window that is
// committed next may need it.
func (r *windowRead) deliver(ctx context.Context, w Window, began time.Time, b *Batch, after *Position, slot *slot) error {
	b.Lane, b.Window, b.Began = r.lane.name, w, began
	b.Requests, r.requests = r.requests, 0
	if after != nil {
		b.EndsPage, b.after = true, *after
	}
	size := b.size()
	if r.lane.buffer.try(r, size) {
		select {
		case r.out <- b:
			return nil
		default:
		}
	} else {
		slot.release()
		if err := r.lane.buffer.put(ctx, r, size); err != nil {
			return err
		}
	}
	slot.release()
	select {
	case r.out <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	if after != nil {
		return nil
	}
	return slot.take(ctx)
}

// failures counts what failed in a row for one request.
type failures struct {
	count int
	since time.Time
}

// readAhead bounds what is read and not yet committed: windows that are read
// side by side wait when together they hold more. The one that is committed next
// may always go on.
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

// try reserves room; it returns false when there is none.
func (a *readAhead) try(r *windowRead, size int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used+size > a.max && (a.head != r || a.held[r] > 0) {
		return false
	}
	a.used += size
	a.held[r] += size
	return true
}

// put waits until there is room.
func (a *readAhead) put(ctx context.Context, r *windowRead, size int) error {
	for {
		a.mu.Lock()
		wake := a.wake
		a.mu.Unlock()
		if a.try(r, size) {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *readAhead) took(r *windowRead, size int) {
	a.change(func() {
		a.used -= size
		if a.held[r] -= size; a.held[r] == 0 {
			delete(a.held, r)
		}
	})
}

func (a *readAhead) setHead(r *windowRead) { a.change(func() { a.head = r }) }

// drop forgets what a window held that is not read any more.
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
