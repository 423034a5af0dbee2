package nativechat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// perPage is the limit that the vendor's examples have; the most that may be
// asked for is not documented, nor what happens to those who ask for more.
const perPage = 100

// Skip moves while new documents arrive, so pages follow the time: the next one
// begins with the last time that was seen, and skips what had that very time.

// cursor is where the next page begins.
type cursor struct {
	// Name is the field that is sorted by.
	Name string `json:"name"`
	// Value is the last time, as documents show it; nil: none was seen.
	Value json.RawMessage `json:"value,omitempty"`
	// Skip is how many documents of that time were seen.
	Skip int `json:"skip"`
	// Page is a hash of the page before: a server that does not skip gives it again.
	Page string `json:"page,omitempty"`
}

// readCursor reads a stored cursor; nil is the beginning.
func (d *dates) readCursor(stored json.RawMessage) (*cursor, error) {
	at := &cursor{Name: d.name}
	if stored == nil {
		return at, nil
	}
	restart := func(why string) error {
		return &connectors.Error{Kind: connectors.Restart, Op: "reading the stored cursor", Err: errors.New(why)}
	}
	switch err := json.Unmarshal(stored, at); {
	case err != nil:
		return nil, restart("it is not one of ours")
	case at.Name != d.name:
		return nil, restart("it follows another field than " + d.name)
	case at.Skip < 0, at.Value != nil && timeOf(at.Value).IsZero():
		return nil, restart("it has no time")
	case at.Value != nil && d.class != shownDate && classOf(at.Value, false) != d.class:
		return nil, restart("its time is of another type")
	}
	return at, nil
}

// page asks for one page of documents. It is an error when the answer shows that
// the server does not do what it was asked: each tells of each document that can
// be read.
func (c *collection) page(ctx context.Context, d *dates, a asking, stored json.RawMessage, key connectors.Key, each func(*document) error) (*connectors.Page, error) {
	at, err := d.readCursor(stored)
	if err != nil {
		return nil, err
	}
	answer, err := c.client.Get(ctx, "listing "+c.name, c.path, parameters(d.query(a, at), d.sort, perPage, at.Skip))
	if err != nil {
		return nil, err
	}
	r := &reader{collection: c, dates: d, asking: a, from: at, each: each, last: at.Value, same: at.Skip, hash: sha256.New()}
	if at.Value != nil {
		r.time = timeOf(at.Value)
	}
	page := connectors.PageOf(answer, connectors.ReadList(answer, c.maxRecord, wrappers...), key, r.record, func(*connectors.Array) (json.RawMessage, error) {
		return r.next()
	})
	records := page.Records
	page.Records = func(yield func(events.Record, error) bool) {
		for record, err := range records {
			if err == nil {
				err = r.see(&record)
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
	return page, nil
}

// reader follows the documents of one page.
type reader struct {
	*collection
	*dates
	asking
	from *cursor
	each func(*document) error
	doc  document // the one that was read last
	n    int
	last json.RawMessage // the time that was seen last; nil: none
	time time.Time       // the same
	same int             // how many had it
	seen bool            // this page had a time
	hash hash.Hash
}

// record maps an element, and keeps what was found in it.
func (r *reader) record(raw []byte, f *connectors.Fields) events.Record {
	return r.mapped(raw, f, &r.doc)
}

// see checks the document that was mapped last, and remembers its time. One that
// has none, or one of another type than the others (which is sorted apart from
// them, and not found by a time of theirs), or cannot be read, is not counted among
// those to skip: it may come again, which ids find out, but nothing is skipped that
// was not seen.
func (r *reader) see(record *events.Record) error {
	r.n++
	_, _ = r.hash.Write(record.Raw)
	if record.Dead != nil {
		return nil
	}
	if err := r.each(&r.doc); err != nil {
		return err
	}
	value := r.doc.values[r.field]
	if value == nil || classOf(value, r.doc.extended[r.field]) != r.class {
		if r.last == nil {
			r.same++
			r.seen = true
		}
		return nil
	}
	t := timeOf(value)
	switch {
	case t.Before(r.time.Add(-r.spelling.slack())): // as texts, 05.5Z comes before 05Z
		return r.ignored("a document is older than the one before it, though they were asked for in the order of "+r.dates.name, "sort or query")
	case !r.holds(r.asking, &r.doc, t):
		return r.ignored("a document is outside of the range of "+r.dates.name+" that was asked for", "query")
	}
	if string(value) != string(r.last) {
		r.last, r.same = json.RawMessage(string(value)), 0
		if t.After(r.time) {
			r.time = t
		}
	}
	r.same++
	r.seen = true
	return nil
}

// ignored is the error of a server that does not do as it is asked: what it gives
// cannot be followed.
func (r *reader) ignored(what, parameter string) error {
	return &connectors.Error{Kind: connectors.Fail, Op: "listing " + r.collection.name, Err: fmt.Errorf(
		"%s: the API seems to ignore the parameter %s, and cannot be read page by page; set time_fields to a field that it sorts by", what, parameter)}
}

// next returns the cursor behind the page; nil behind the last.
func (r *reader) next() (json.RawMessage, error) {
	if r.saw(r.n) {
		return nil, nil
	}
	next := cursor{Name: r.dates.name, Value: r.last, Skip: r.same, Page: hex.EncodeToString(r.hash.Sum(nil)[:16])}
	if !r.seen {
		next.Skip = r.from.Skip + r.n // nothing else leads on
	}
	if next.Page == r.from.Page {
		return nil, r.ignored("two pages are the same", "skip or query")
	}
	return json.Marshal(next)
}

func timeOf(value []byte) time.Time { return connectors.Time(value) }
