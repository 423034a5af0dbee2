package ledger

import (
	"encoding/json"
	"fmt"
	"time"
)

// Page is what an entry remembers of one page that its commit is of: for people who
// ask where an event came from. Nothing else hangs on it, so it may be missing,
// of entries of older versions for one. It holds no secret: the cursor is the API's,
// the key that of a user or a conversation.
type Page struct {
	// IDs and Versions are how many of the entry's are of the page. Pages are in the
	// order of the ids: the first ones are the first page's.
	IDs      int `json:"ids,omitempty"`
	Versions int `json:"versions,omitempty"`
	// Sent is when the request was sent, in milliseconds of Unix time.
	Sent int64 `json:"sent"`
	// Window is the one that was read, Asked are the bounds of the request, in seconds
	// of Unix time. An end of 0 is none; both 0: no request gave the records.
	Window [2]int64 `json:"window"`
	Asked  [2]int64 `json:"asked,omitzero"`
	// Number counts the pages of the window, from 1; 0: unknown.
	Number int `json:"page,omitempty"`
	// Cursor is what was asked with, cut where it is long; "" for none.
	Cursor string `json:"cursor,omitempty"`
	// Key is what the page was read for, cut where it is long; "" for nothing.
	Key string `json:"key,omitempty"`
	// Cell: the records are the difference of two answers.
	Cell bool `json:"cell,omitempty"`
}

// What an entry remembers of pages at most: so many, and a key's so many bytes.
const (
	maxPages   = 256
	maxPageKey = 128
)

// SentAt returns when the request was sent.
func (p *Page) SentAt() time.Time { return time.UnixMilli(p.Sent).UTC() }

// Read returns the window that was read.
func (p *Page) Read() Range { return rangeOf(p.Window) }

// Bounds returns those that were asked for; an end that is zero is none. False: no
// request gave the records.
func (p *Page) Bounds() (Range, bool) {
	r := rangeOf(p.Asked)
	if p.Asked[1] == 0 {
		r.To = time.Time{}
	}
	return r, p.Asked != [2]int64{}
}

func rangeOf(seconds [2]int64) Range {
	return Range{time.Unix(seconds[0], 0).UTC(), time.Unix(seconds[1], 0).UTC()}
}

// Of notes that what was checked since the call before is of a page; what does not
// come of one page in a row is told apart. Its counts are filled in.
func (d *Draft) Of(p Page) {
	p.IDs, p.Versions = len(d.entry.IDs)-d.noted.IDs, len(d.entry.Versions)-d.noted.Versions
	if p.IDs == 0 && p.Versions == 0 || d.full {
		return
	}
	d.noted.IDs, d.noted.Versions = len(d.entry.IDs), len(d.entry.Versions)
	if len(p.Key) > maxPageKey {
		p.Key = p.Key[:maxPageKey-3] + "..."
	}
	if n := len(d.pages) - 1; n >= 0 && d.pages[n].same(p) {
		d.pages[n].IDs += p.IDs
		d.pages[n].Versions += p.Versions
	} else if d.full = len(d.pages) == maxPages; !d.full {
		d.pages = append(d.pages, p)
	}
}

// same says whether two are one page, whatever they count.
func (p Page) same(other Page) bool {
	p.IDs, p.Versions = other.IDs, other.Versions
	return p == other
}

// NotePages puts what was noted into the entry, as many pages as fit into so many
// bytes: of the others, the last ones, nothing is remembered.
func (d *Draft) NotePages(bytes int) error {
	all := []byte{'['}
	for n := range d.pages {
		one, err := json.Marshal(&d.pages[n])
		if err != nil {
			return fmt.Errorf("encoding a page of a ledger entry: %w", err)
		}
		if len(all)+len(one)+1 > bytes {
			break
		}
		if n > 0 {
			all = append(all, ',')
		}
		all = append(all, one...)
	}
	if len(all) > 1 {
		d.entry.Pages = append(all, ']')
	}
	return nil
}

// PageOf returns the page that the n-th of the entry's ids is of, or of its versions;
// nil where nothing is remembered of it.
func (e *Entry) PageOf(n int, version bool) *Page {
	var pages []Page
	if json.Unmarshal(e.Pages, &pages) != nil {
		return nil
	}
	for i := range pages {
		p := &pages[i]
		here := p.IDs
		if version {
			here = p.Versions
		}
		if here < 0 {
			return nil // nobody has written that
		}
		if n < here {
			return p
		}
		n -= here
	}
	return nil
}
