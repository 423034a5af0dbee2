package connectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/millrace-io/millrace/events"
)

// windowRead reads one window, page by page, into batches. It is run by one
// goroutine and drained by another.
type windowRead struct {
	lane   *lane
	window Window
	cursor json.RawMessage // where to begin
	open   bool            // the window is asked for without an end
	cells  bool            // it is read in cells; see cells.go
	key    *Key            // the key that is read; nil where there are none
	before *Position       // of a walk: where the lane stands until the key is done
	behind *Position       // of a walk: where it stands then; not nil
	out    chan *Batch
	err    error // why out was closed early; read it after out is closed

	seen     tally
	cursors  map[uint64]bool // those that the pass's pages returned
	requests int             // made since the last batch
	pages    int
	records  int
	bytes    int           // of all records
	timeless int           // records that only a cell can tell apart
	slowest  time.Duration // answer, from the request to its first byte
	shortest time.Duration // the shortest part that it was cut into; 0: it was not
	failing  failures
	pageKey  string    // of the page that is being read; see [Page]
	number   int       // of that page in its window, from 1; 0 behind a cursor of before
	origin   *Origin   // of the batches of that page
	asked    time.Time // of a walk: when its keys were asked for
	passing  passing   // of a walk: what is known of a key that fails
	stuck    bool      // not even one second can be read before its cursor ends
}

// verdict is what comes of reading a window.
type verdict int

const (
	done    verdict = iota
	again           // begin again
	halve           // begin again, with its first half
	cells           // begin again, in cells
	without         // go on without the key; see pass.go
)

// part is a piece of a window that is read in one pass, or in cells.
type part struct {
	Window
	cells bool
}

// run closes out when the window is read, or cannot be.
func (r *windowRead) run(ctx context.Context) {
	defer close(r.out)
	if r.behind != nil && r.key == nil { // a walk in which there is nothing to read
		slot := &slot{lane: r.lane}
		defer slot.release()
		r.err = r.deliver(ctx, r.window, r.asked, (&builder{stream: r.lane.sub.stream}).finish(), r.behind, slot)
		return
	}
	todo := []part{{r.window, r.cells}}
	for len(todo) > 0 && r.err == nil {
		p := todo[0]
		if p.cells {
			r.err = r.readCells(ctx, p.Window)
			todo = todo[1:]
			continue
		}
		var v verdict
		switch v, r.err = r.read(ctx, p.Window); v {
		case done:
			todo = todo[1:]
		case halve:
			first, second := p.halves()
			r.shortest = first.To.Sub(first.From)
			todo = append([]part{{first, false}, {second, false}}, todo[1:]...)
		case cells:
			r.cells, todo[0].cells = true, true
		case without:
			r.err = r.pass(ctx, p.Window)
			todo = todo[1:]
		}
	}
}

func (w Window) halves() (first, second Window) {
	middle := w.From.Add((w.To.Sub(w.From) / 2).Truncate(time.Second))
	return Window{w.From, middle}, Window{middle, w.To}
}

func (w Window) divisible() bool { return w.To.Sub(w.From) > time.Second }

var cursorSeed = maphash.MakeSeed()

// read reads one window from its cursor on.
func (r *windowRead) read(ctx context.Context, w Window) (verdict, error) {
	cursor, stored := r.cursor, r.cursor != nil
	r.cursor = nil
	r.seen = tally{}
	r.follow(cursor)
	if r.number = 0; cursor == nil {
		r.number = 1
	}
	for {
		next, err := r.page(ctx, w, cursor)
		if err == nil {
			if r.stuck = r.stuck && next != nil; !r.stuck {
				r.succeeded()
			}
			if next == nil {
				return done, nil
			}
			cursor, stored = next, false
			if r.number > 0 {
				r.number++
			}
			continue
		}
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		r.seen.dropPage()
		ended := KindOf(err) == Restart && cursor != nil
		switch {
		case errors.Is(err, errCells):
			r.succeeded()
			return cells, nil
		case KindOf(err) == TooMuch && w.divisible():
			r.succeeded()
			return halve, nil
		case ended && stored: // it was kept too long, the window is not to blame
			return again, nil
		case ended && w.divisible(): // half of it takes half as long, so this ends
			return halve, nil
		}
		switch once, pass := r.passes(ctx, w, err); {
		case pass:
			return without, nil
		case once:
			continue
		}
		r.stuck = r.stuck || ended
		if err := r.failed(ctx, err); err != nil {
			return done, err
		}
		switch {
		case ended:
			return again, nil
		case cursor == nil && r.halves(w, err):
			return halve, nil
		}
	}
}

// follow begins to follow cursors, from one on.
func (r *windowRead) follow(cursor json.RawMessage) {
	r.cursors = map[uint64]bool{maphash.Bytes(cursorSeed, cursor): cursor != nil}
}

// succeeded ends a row of failures.
func (r *windowRead) succeeded() {
	r.lane.sub.health.good(r.failing.count)
	r.failing, r.passing = failures{}, passing{}
	if r.key != nil {
		r.lane.sub.answered.add(*r.key)
	}
	if r.lane.name == Backfill {
		r.lane.sub.trouble.Store(nil)
	}
}

// failed waits after a failed request, or returns why there is no other.
func (r *windowRead) failed(ctx context.Context, err error) error {
	wait, giveUp := r.lane.sub.failed(&r.failing, err)
	// The good requests of live reads hide it from the stream's health.
	if kind := KindOf(err); r.lane.name == Backfill && (r.failing.count >= warnAfter || kind == Fail || kind == Unavailable) {
		cause := err.Error()
		r.lane.sub.trouble.Store(&cause)
	}
	if giveUp {
		r.lane.gaveUp(err)
		return err
	}
	return sleep(ctx, wait)
}

// halves says whether what has failed so often is to be halved: it may be more
// than the API can answer in time.
func (r *windowRead) halves(w Window, err error) bool {
	return w.divisible() && KindOf(err) == Retry && r.failing.count%halveAfter == 0
}

// halveAfter is how many failures of a request halve its window.
const halveAfter = 3

// page reads one page. Its last batch carries the position behind it; those
// before leave the position where it is.
func (r *windowRead) page(ctx context.Context, w Window, cursor json.RawMessage) (json.RawMessage, error) {
	slot := &slot{lane: r.lane}
	defer slot.release()
	ask := Request{From: w.From.Add(-time.Second), To: w.To.Add(time.Second), Cursor: cursor}
	if r.open && w.To.Equal(r.window.To) {
		ask.To = time.Time{}
	}
	if r.key != nil {
		ask.Key, ask.Listed = *r.key, r.asked
	}
	r.origin = &Origin{From: ask.From, To: ask.To, Page: r.number, Cursor: shortCursor(cursor)}
	b := builder{stream: r.lane.sub.stream}
	next, began, err := r.ask(ctx, slot, ask, func(began time.Time, record events.Record) error {
		if b.stream.timeless(&record) {
			return errCells
		}
		if b.full() {
			if err := r.deliver(ctx, w, began, b.finish(), nil, slot); err != nil {
				return err
			}
		}
		b.add(record, &r.seen, 0)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slot.release() // the commit may take its time
	r.seen.commitPage()
	return next, r.deliver(ctx, w, began, b.finish(), r.position(w, next), slot)
}

// ask makes one request and calls each with each of its records.
func (r *windowRead) ask(ctx context.Context, slot *slot, what Request, each func(began time.Time, record events.Record) error) (next json.RawMessage, began time.Time, err error) {
	stream := r.lane.sub.stream
	if err := r.admit(ctx, slot, readAheadBy); err != nil {
		return nil, began, err
	}
	r.requests++
	what.Parts = r.lane.parts
	page, err := stream.Pager.Page(ctx, what)
	if err != nil {
		return nil, began, r.counted(err)
	}
	defer page.Close()
	r.lane.sub.health.paused(stream.budget.Paused())
	r.pageKey = page.Key
	r.slowest = max(r.slowest, page.Took)
	records := 0
	for record, err := range page.Records {
		if err != nil {
			return nil, began, r.counted(asError("reading an answer", err))
		}
		r.bytes += len(record.Raw)
		records++
		if err := each(page.Began, record); err != nil {
			if errors.Is(err, errCells) { // the request is not to blame
				stream.metrics.requests("ok").Inc()
			}
			return nil, began, err
		}
	}
	if next, err = r.next(page); err != nil {
		return nil, began, r.counted(err)
	}
	stream.metrics.requests("ok").Inc()
	stream.metrics.pages.Inc()
	stream.metrics.records.Add(float64(records))
	r.pages++
	r.records += records
	return next, page.Began, nil
}

// next returns the cursor of the page that follows. One that was there before
// would be followed for ever.
func (r *windowRead) next(page *Page) (json.RawMessage, error) {
	next, err := page.Next()
	switch {
	case err != nil || next == nil:
		return nil, err
	}
	return r.follows(next)
}

// follows returns a cursor that may be followed.
func (r *windowRead) follows(next json.RawMessage) (json.RawMessage, error) {
	if len(next) > MaxCursor {
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
	case r.key != nil:
		return r.walkPosition(w, next)
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
// which makes the room, may need it. Own is how much the window itself may hold.
func (r *windowRead) admit(ctx context.Context, slot *slot, own int) error {
	for {
		if err := slot.take(ctx); err != nil || r.lane.buffer.open(r, own) {
			return err
		}
		slot.release()
		if err := r.lane.buffer.room(ctx, r, own); err != nil {
			return err
		}
	}
}

// deliver hands a batch over; after is nil when more of the page follows.
func (r *windowRead) deliver(ctx context.Context, w Window, began time.Time, b *Batch, after *Position, slot *slot) error {
	b.Lane, b.Window, b.Began, b.Ended = r.lane.name, w, began, r.lane.sub.stream.client.now()
	b.Origin = r.origin
	b.Requests, r.requests = r.requests, 0
	if b.Key = r.pageKey; r.key != nil {
		b.Key = r.key.ID
	}
	for i := range b.Records {
		b.Records[i].ReadFor = b.Key
	}
	if after != nil {
		b.EndsPage, b.after = true, *after
		b.ends = after == r.behind || r.behind == nil && after.Window.To.IsZero() && after.At.Equal(r.window.To)
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
	return r.admit(ctx, slot, pageAheadBy)
}

// failures counts what failed in a row for one request.
type failures struct {
	count int
	since time.Time
}
