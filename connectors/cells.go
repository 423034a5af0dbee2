package connectors

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unsafe"

	"github.com/millrace-io/millrace/events"
)

// Records with neither an id nor a time are told apart by the quarter of an hour
// that they fell into: their cell, [s, e). Which these are the API does not say,
// so it is found out: the cell's records are those of the answer to (s-1 .. e)
// less those of the answer to (s-1 .. s), as multisets. That tiles time exactly,
// whatever the API's bounds mean. The larger answer is asked for first: a record
// that turns up in between is missing then until the next read, and never there
// twice.
//
// A cell is read from its beginning, always, but it may be read up to a moment
// inside of it: the records that it has by then are a part of it, and have the
// lower numbers. Records with an id or a time need no cell, and are taken from
// the larger answer as they come.

// errCells says that a window holds a record with neither an id nor a time.
var errCells = errors.New("a record has neither an id nor a time")

// maxHeld is how much of a cell's larger answer is kept in memory, in bytes,
// until the smaller one has come. Behind it, the larger one is read twice.
const maxHeld = 8 << 20

// timeless says that only a cell can tell the record from others like it. A
// record that changes is a state; equal ones are one. In a walk the key tells.
func (s *Stream) timeless(r *events.Record) bool {
	return r.Time.IsZero() && r.ID == "" && r.Dead == nil && !s.Versioned && s.Walk == nil
}

// cell is a quarter of an hour, as far as it is read.
type cell struct {
	start time.Time // of the quarter; names it
	read  Window    // begins with the quarter, or with the stream
}

// readCells reads the cells of a window, one after the other.
func (r *windowRead) readCells(ctx context.Context, w Window) error {
	since := r.lane.begins().Add(-time.Second) // like a window's first second, a tie
	for start := w.From.Truncate(events.Quarter); start.Before(w.To); start = start.Add(events.Quarter) {
		c := cell{start, Window{later(start, since), earlier(start.Add(events.Quarter), w.To)}}
		if err := r.readCell(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// readCell reads a cell in one pass, in shorter pieces where the API cannot
// answer for all of it.
func (r *windowRead) readCell(ctx context.Context, c cell) error {
	before := map[uint64]int{} // which number of each content is behind those of earlier pieces; other records are counted in each piece alone
	pieces := []Window{c.read}
	var d *difference
	for len(pieces) > 0 {
		if d == nil {
			r.seen = tally{}
			d = &difference{windowRead: r, cell: c, piece: pieces[0], last: len(pieces) == 1, before: before}
			d.b = builder{stream: r.lane.sub.stream, cell: c.start}
		}
		err := d.read(ctx)
		if err == nil {
			r.succeeded()
			for _, given := range d.given {
				before[given.content] = max(before[given.content], given.number+1)
			}
			pieces, d = pieces[1:], nil
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.failed(ctx, err); err != nil {
			return err
		}
		if d.begun { // what the larger answer told is still good
			continue
		}
		d = nil
		if r.halves(pieces[0], err) {
			first, second := pieces[0].halves()
			pieces = append([]Window{first, second}, pieces[1:]...)
		}
	}
	return nil
}

// difference is what one answer holds more than another.
type difference struct {
	*windowRead
	cell   cell
	piece  Window
	last   bool           // the position moves behind it
	before map[uint64]int // where numbers of each content begin, behind the cell's earlier pieces
	given  []given        // what this one had, where others follow
	b      builder
	slot   *slot

	begun bool            // the larger answer was read
	at    time.Time       // when it was asked for
	more  multiset        // of timeless records: those of the larger answer
	less  multiset        // those of the smaller one
	held  []events.Record // those of the larger one
	size  int             // bytes held, or which would have been
}

// given is the number that one of a content had.
type given struct {
	content uint64
	number  int
}

// read reads a piece of a cell. It can be called again after an error.
func (d *difference) read(ctx context.Context) (err error) {
	d.slot = &slot{lane: d.lane} // held for all answers, so that few cells are in memory
	defer d.slot.release()
	larger := Request{From: d.piece.From.Add(-time.Second), To: d.piece.To}
	d.origin = &Origin{From: larger.From, To: larger.To, Cell: true}
	if !d.begun {
		if d.at, err = d.answer(ctx, larger, d.keep); err != nil {
			return err
		}
		d.begun = true
	}
	if d.more.n > 0 {
		d.less = multiset{}
		smaller := Request{From: larger.From, To: d.piece.From}
		if _, err := d.answer(ctx, smaller, d.takeOff); err != nil {
			return err
		}
		d.more.sort()
		d.more.subtract(&d.less)
	}
	if d.size <= maxHeld {
		for i := range d.held {
			if err := d.give(ctx, d.at, &d.held[i]); err != nil {
				return err
			}
		}
	} else if _, err := d.answer(ctx, larger, d.give); err != nil {
		d.begun = false // some may be delivered
		return err
	}
	var after *Position
	if d.last {
		after = &Position{At: d.piece.To}
	} else if len(d.b.records) == 0 {
		return nil
	}
	d.slot.release()
	return d.send(ctx, d.at, after)
}

// answer reads all pages of an answer, and tells when it was asked for.
func (d *difference) answer(ctx context.Context, what Request, each func(context.Context, time.Time, *events.Record) error) (began time.Time, err error) {
	d.follow(nil)
	for cursor := json.RawMessage(nil); ; {
		what.Cursor = cursor
		var asked time.Time
		cursor, asked, err = d.ask(ctx, d.slot, what, func(at time.Time, record events.Record) error { return each(ctx, at, &record) })
		if began.IsZero() {
			began = asked
		}
		if err != nil || cursor == nil {
			return began, err
		}
	}
}

// keep takes a record of the larger answer.
func (d *difference) keep(ctx context.Context, began time.Time, r *events.Record) error {
	if !d.b.stream.timeless(r) {
		return d.add(ctx, began, r, 0)
	}
	d.timeless++
	d.more.add(contentOf(r))
	if d.size += len(r.Raw) + len(r.Members) + len(r.Masked) + int(unsafe.Sizeof(*r)); d.size > maxHeld {
		d.held = nil
		return nil
	}
	kept := *r
	kept.Raw, kept.Members, kept.Masked = slices.Clone(r.Raw), slices.Clone(r.Members), slices.Clone(r.Masked)
	d.held = append(d.held, kept)
	return nil
}

// takeOff takes a record of the smaller answer.
func (d *difference) takeOff(_ context.Context, _ time.Time, r *events.Record) error {
	if d.b.stream.timeless(r) {
		d.less.add(contentOf(r))
	}
	return nil
}

// give adds a record of the larger answer, if it is one more. Of equal ones the
// first has the highest number: how many are left is known, and a count of what
// went before would take as much memory again.
func (d *difference) give(ctx context.Context, began time.Time, r *events.Record) error {
	if !d.b.stream.timeless(r) {
		return nil
	}
	content := contentOf(r)
	left, ok := d.more.take(content)
	if !ok {
		return nil
	}
	number := d.before[content] + left
	if !d.last {
		d.given = append(d.given, given{content, number})
	}
	return d.add(ctx, began, r, number)
}

// add adds a record with its number among equal ones, if it is timeless.
func (d *difference) add(ctx context.Context, began time.Time, r *events.Record, number int) error {
	if d.b.full() {
		if err := d.send(ctx, began, nil); err != nil {
			return err
		}
	}
	d.b.add(*r, &d.seen, number)
	return nil
}

// send hands a batch over. Its window is the whole quarter, however much of it
// was read: whoever reads the cell again begins with its beginning, and needs to
// know what was published of all of it.
func (d *difference) send(ctx context.Context, began time.Time, after *Position) error {
	b := d.b.finish()
	b.cells = true
	return d.deliver(ctx, Window{d.cell.start, d.cell.start.Add(events.Quarter)}, began, b, after, d.slot)
}

func contentOf(r *events.Record) uint64 {
	// The scan that mapped the record has proved that it is I-JSON.
	canonical, _ := events.Canonical(r.Raw)
	hash := events.HashOf(canonical)
	return binary.BigEndian.Uint64(hash[:])
}
