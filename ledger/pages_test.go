package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

// stored writes a draft down, as it is committed, and reads it again.
func stored(t *testing.T, d *ledger.Draft, bytes int) (*ledger.Entry, []byte) {
	t.Helper()
	if err := d.NotePages(bytes); err != nil {
		t.Fatal(err)
	}
	e := d.Entry()
	e.Window, e.Commit = window(0, 10), 1
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ledger.DecodeEntry(data)
	if err != nil {
		t.Fatal(err)
	}
	return again, data
}

func emptyDraft(t *testing.T) *ledger.Draft {
	t.Helper()
	book, err := ledger.NewBook(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return book.Draft()
}

// records checks so many records that are new, from one on.
func records(d *ledger.Draft, from, n int) {
	for i := from; i < from+n; i++ {
		d.Record(id(strconv.Itoa(i)))
	}
}

func TestPagesOfAnEntry(t *testing.T) {
	d := emptyDraft(t)
	first, second := ledger.Page{Sent: 1, Number: 1}, ledger.Page{Sent: 2, Number: 2, Key: "anna", Asked: [2]int64{5, 0}}
	records(d, 0, 3)
	d.Of(first)
	records(d, 3, 2) // the next batch of the same page
	d.Of(first)
	records(d, 0, 5) // a page without anything new
	d.Of(ledger.Page{Sent: 3})
	records(d, 5, 2)
	d.Version(events.RecordIdentity(key, "v"), events.HashOf([]byte("1")), t0, t0)
	d.Of(second)
	e, data := stored(t, d, 1<<10)
	if n := bytes.Count(data, []byte(`"sent"`)); n != 2 {
		t.Errorf("%d pages are remembered, want 2: %s", n, e.Pages)
	}
	for n, want := range []int{1, 1, 1, 1, 1, 2, 2} {
		if p := e.PageOf(n, false); p == nil || p.Number != want {
			t.Errorf("id %d is of the page %+v, want %d", n, p, want)
		}
	}
	p := e.PageOf(0, true)
	if p == nil || p.Key != "anna" || p.SentAt().UnixMilli() != 2 {
		t.Fatalf("the version is of %+v", p)
	}
	if asked, ok := p.Bounds(); !ok || asked.From.Unix() != 5 || !asked.To.IsZero() {
		t.Errorf("it was asked for with %+v, %v", asked, ok)
	}
	if e.PageOf(7, false) != nil || e.PageOf(1, true) != nil {
		t.Error("there is a page of what is not there")
	}
}

// However many pages a commit is of, and however long what they were asked with:
// an entry stays small, and what is remembered of the first ones is right.
func TestPagesAreBounded(t *testing.T) {
	const pages = 2000
	for _, test := range []struct {
		key                          string
		bytes, most, fewest, longest int
	}{
		{"k", 1 << 20, 256, 256, 256 * 80},
		{strings.Repeat("k", 8<<10), 4 << 10, 30, 10, 4 << 10},
		{"k", 1, 0, 0, 0},
	} {
		d := emptyDraft(t)
		for n := range pages {
			records(d, 3*n, 3)
			d.Of(ledger.Page{Sent: int64(n), Key: test.key})
		}
		records(d, 3*pages, 3)
		d.Of(ledger.Page{Sent: 255, Key: test.key}) // as the last that is remembered of short ones
		e, _ := stored(t, d, test.bytes)
		known := 0
		for n := range 3 * pages {
			p := e.PageOf(n, false)
			if p != nil && p.Sent != int64(n/3) {
				t.Fatalf("id %d is of page %d", n, p.Sent)
			}
			if p != nil {
				known++
			}
		}
		if known%3 != 0 || known > 3*test.most || known < 3*test.fewest || len(e.Pages) > test.longest {
			t.Errorf("%d ids of %d have a page, in %d bytes", known, 3*pages, len(e.Pages))
		}
	}
}

// An entry of before, or of a version that writes pages in another way, is an entry
// of which no page is known; and a version that knows of no pages reads this one's.
func TestEntriesOfOtherVersions(t *testing.T) {
	d := emptyDraft(t)
	records(d, 0, 1)
	d.Of(ledger.Page{Sent: 1})
	_, data := stored(t, d, 1<<10)
	head, body, _ := bytes.Cut(data, []byte("\n"))
	var members map[string]json.RawMessage
	if err := json.Unmarshal(head, &members); err != nil {
		t.Fatal(err)
	}
	if string(members["version"]) != "3" {
		t.Errorf("the format is %s: versions before would refuse it for what they can leave aside", members["version"])
	}
	for _, pages := range []string{"", `"none"`, `{"0":{}}`, `[1]`, `[{"ids":"x"}]`} {
		delete(members, "pages")
		if pages != "" {
			members["pages"] = json.RawMessage(pages)
		}
		head, _ := json.Marshal(members)
		e, err := ledger.DecodeEntry(fmt.Appendf(nil, "%s\n%s", head, body))
		if err != nil || len(e.IDs) != 1 || e.PageOf(0, false) != nil {
			t.Errorf("pages %s: %+v, %v", pages, e, err)
		}
	}
	members["version"] = json.RawMessage("4")
	head, _ = json.Marshal(members)
	var newer *ledger.NewerError
	if _, err := ledger.DecodeEntry(fmt.Appendf(nil, "%s\n%s", head, body)); !errors.As(err, &newer) {
		t.Errorf("a newer format: %v", err)
	}
}
