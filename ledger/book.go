package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Invariant 5: deduplication is check, commit, mark. A [Draft] checks; only when
// what it holds is committed does Mark put it into the book.

// Book knows what a stream has published. For records that never change it holds
// the ids of the windows that are being read; for records that change, the
// versions of all windows that are kept, since a change may move a record from
// one window to another. It is not for concurrent use.
type Book struct {
	pages   map[string]*page // by the entry's name
	ids     *events.Set[events.ID]
	stale   int // ids of pages that are unloaded: they are in the set still
	records map[events.Identity][]version
	all     bool // every page is needed
}

// page is what the book knows of one entry.
type page struct {
	name     string
	window   Range
	commit   uint64
	loaded   bool
	ids      int // how many
	versions []events.Identity
}

type version struct {
	content events.Hash
	number  uint32
	ended   time.Time // when the answer that gave it had come; zero when it was loaded
	page    *page
}

// NewBook returns a book of the entries with these names, none of them loaded.
// All says that a record may be known from any window.
func NewBook(all bool, names []string) (*Book, error) {
	b := &Book{
		pages: map[string]*page{}, ids: newIDs(),
		records: map[events.Identity][]version{}, all: all,
	}
	for _, name := range names {
		if IsResolution(name) {
			continue
		}
		window, commit, err := ParseName(name)
		if err != nil {
			return nil, err
		}
		b.pages[name] = &page{name: name, window: window, commit: commit}
	}
	return b, nil
}

// Needed returns the names of the entries that must be loaded before records of
// a window are checked, in the order of their commits.
func (b *Book) Needed(window Range) []string {
	var needed []*page
	for _, p := range b.pages {
		if !p.loaded && (b.all || touches(p.window, window)) {
			needed = append(needed, p)
		}
	}
	slices.SortFunc(needed, func(x, y *page) int { return cmp.Compare(x.commit, y.commit) })
	names := make([]string, len(needed))
	for i, p := range needed {
		names[i] = p.name
	}
	return names
}

// touches says whether a record may be in both windows: both are asked for with
// a second more on both sides.
func touches(a, b Range) bool {
	const slack = 2 * time.Second
	return !a.To.Add(slack).Before(b.From) && !b.To.Add(slack).Before(a.From)
}

// Load takes an entry in.
func (b *Book) Load(name string, e *Entry) {
	b.take(name, e, func(id events.ID) { b.ids.Add(id) })
}

// take takes an entry in, of which add takes the ids.
func (b *Book) take(name string, e *Entry, add func(events.ID)) {
	p := b.pages[name]
	if p == nil {
		p = &page{name: name, window: e.Window, commit: e.Commit}
		b.pages[name] = p
	}
	if p.loaded {
		return
	}
	p.loaded, p.ids = true, len(e.IDs)
	for _, id := range e.IDs {
		add(id)
	}
	if p.versions != nil { // only its ids were dropped
		return
	}
	for _, v := range e.Versions {
		b.add(v.Record, version{v.Content, v.Number, v.ended, p})
		p.versions = append(p.versions, v.Record)
	}
}

// add puts a version behind those that were committed before it: pages may be
// loaded in any order.
func (b *Book) add(record events.Identity, v version) {
	known := append(b.records[record], v)
	for i := len(known) - 1; i > 0 && known[i-1].page.commit > v.page.commit; i-- {
		known[i-1], known[i] = known[i], known[i-1]
	}
	b.records[record] = known
}

// Unload gives back the memory of windows that are not being read: those that
// touch none of the ranges. They can be loaded again.
func (b *Book) Unload(reading ...Range) {
	if b.all {
		return
	}
	var unused []*page
	for _, p := range b.pages {
		if !slices.ContainsFunc(reading, func(r Range) bool { return touches(p.window, r) }) {
			unused = append(unused, p)
		}
	}
	b.unload(unused)
}

// manyStale is how many ids that are not needed are kept: they do no harm but
// that they take memory, and to be rid of them all others are loaded again.
const manyStale = 1 << 17

func (b *Book) unload(pages []*page) {
	for _, p := range pages {
		if !p.loaded {
			continue
		}
		for _, record := range p.versions {
			kept := slices.DeleteFunc(b.records[record], func(v version) bool { return v.page == p })
			if len(kept) == 0 {
				delete(b.records, record)
			} else {
				b.records[record] = kept
			}
		}
		b.stale += p.ids
		p.loaded, p.versions = false, nil
	}
	if b.stale < manyStale || b.all {
		return
	}
	b.ids, b.stale = newIDs(), 0
	for _, p := range b.pages {
		p.loaded = false
	}
}

func newIDs() *events.Set[events.ID] {
	return events.NewSet(
		func(x, y events.ID) int { return bytes.Compare(x[:], y[:]) },
		func(id events.ID) uint64 { return binary.BigEndian.Uint64(id[:]) },
	)
}

// Before returns the names of the entries whose windows ended before a time, but
// for those that touch a range to keep.
func (b *Book) Before(t time.Time, keep ...Range) []string {
	var names []string
	for name, p := range b.pages {
		kept := slices.ContainsFunc(keep, func(r Range) bool { return touches(p.window, r) })
		if p.window.To.Before(t) && !kept {
			names = append(names, name)
		}
	}
	return names
}

// Forget drops entries for ever.
func (b *Book) Forget(names []string) {
	var forgotten []*page
	for _, name := range names {
		if p := b.pages[name]; p != nil {
			forgotten = append(forgotten, p)
			delete(b.pages, name)
		}
	}
	b.unload(forgotten)
}

// Len returns how many entries there are, and how many ids are in memory.
func (b *Book) Len() (entries, ids int) { return len(b.pages), b.ids.Len() + len(b.records) }

// Draft checks records against the book and against each other. Nothing of it
// is in the book until Mark.
type Draft struct {
	book    *Book
	ids     *events.Set[events.ID]
	records map[events.Identity][]version
	renew   time.Time
	entry   Entry
	pages   []Page // that what was checked is of
	noted   Page   // how many ids and versions are of these pages
	full    bool   // there were more pages
}

// Draft returns an empty draft.
func (b *Book) Draft() *Draft {
	return &Draft{book: b, ids: newIDs()}
}

// Renew has the draft write down again what it knows of a record that changes,
// where that stands in an entry whose window ended before a time: the entry will
// be forgotten, and the record is still there.
func (d *Draft) Renew(before time.Time) { d.renew = before }

// Record checks a record that never changes; it returns false for a duplicate.
func (d *Draft) Record(id events.ID) bool {
	if d.book.ids.Has(id) || !d.ids.Add(id) {
		return false
	}
	d.entry.IDs = append(d.entry.IDs, id)
	return true
}

// Version checks a version of a record that changes, from an answer that was
// asked for when it began and had come when it ended. It returns the event's id,
// and false when it is the latest that was published, or may be older than that:
// of two answers that were under way at the same time nobody can tell which one
// the API made first. For one that may be older the id is zero.
func (d *Draft) Version(record events.Identity, content events.Hash, began, ended time.Time) (events.ID, bool) {
	number := uint32(0)
	var latest *version
	for _, known := range [][]version{d.book.records[record], d.records[record]} {
		for i := range known {
			latest = &known[i]
			if latest.content == content {
				number = max(number, latest.number+1)
			}
		}
	}
	switch {
	case latest != nil && latest.content == content:
		if latest.page != nil && latest.page.window.To.Before(d.renew) {
			d.note(RecordVersion{record, content, latest.number, latest.ended})
		}
		return record.Version(content, int(latest.number)), false
	case latest != nil && began.Before(latest.ended):
		return events.ID{}, false
	}
	d.note(RecordVersion{record, content, number, ended})
	return record.Version(content, int(number)), true
}

func (d *Draft) note(v RecordVersion) {
	if d.records == nil {
		d.records = map[events.Identity][]version{}
	}
	d.records[v.Record] = append(d.records[v.Record], version{content: v.Content, number: v.Number, ended: v.ended})
	d.entry.Versions = append(d.entry.Versions, v)
}

// Versions returns how many versions of a record are known.
func (d *Draft) Versions(record events.Identity) int {
	return len(d.book.records[record]) + len(d.records[record])
}

// Entry returns what is to be committed, to be completed by the caller.
func (d *Draft) Entry() *Entry { return &d.entry }

// Mark puts a committed draft into the book.
func (d *Draft) Mark() {
	if !d.Empty() {
		d.book.take(d.entry.Name(), &d.entry, d.book.ids.Put) // all are new to it
	}
}

// Empty says whether nothing that was checked is new.
func (d *Draft) Empty() bool { return len(d.entry.IDs) == 0 && len(d.entry.Versions) == 0 }
