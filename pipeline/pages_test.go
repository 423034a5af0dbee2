package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// pagesOf returns what the ledger remembers of the pages of all ids.
func pagesOf(t *testing.T, m *inMemory) map[events.ID]*ledger.Page {
	t.Helper()
	pages := map[events.ID]*ledger.Page{}
	for name, data := range m.entries {
		if ledger.IsResolution(name) {
			continue
		}
		e, err := ledger.DecodeEntry(data)
		if err != nil {
			t.Fatal(err)
		}
		for n, id := range e.IDs {
			if _, there := pages[id]; there {
				t.Errorf("%s is in two entries", id)
			}
			pages[id] = e.PageOf(n, false)
		}
		for n, v := range e.Versions {
			pages[v.Record.Version(v.Content, int(v.Number))] = e.PageOf(n, true)
		}
	}
	return pages
}

// What the ledger tells of the page of each id is right where pages are joined,
// commits are cut, and a commit is made again after it failed, made or not.
func TestPagesOfJoinedCommits(t *testing.T) {
	key := events.StreamKey{Vendor: "test", Account: "bot", Stream: "things"}
	for crash := range 8 {
		for _, versioned := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p, ids := somePages(20, 100)
				m := newInMemory()
				o := options(m)
				if crash%4 > 1 { // it takes less than it had said
					o.Broker = boasting{m}
					m.limits.Messages = 352
				}
				m.commit = func(n int, c *topics.Commit) (bool, error) {
					time.Sleep(3*time.Second + time.Second/2)
					if n != 3+crash/4 {
						return true, nil
					}
					return crash%2 == 1, errors.New("killed")
				}
				ingest(t, pagedStream(t, p, versioned), o)
				if !slices.Equal(m.ids(), ids) {
					t.Fatalf("%d of %d events", len(m.messages), len(ids))
				}
				pages := pagesOf(t, m)
				sent := map[int64]int{} // by time: the page
				for n := range m.messages {
					e, err := events.FromAttributes(m.messages[n].Attributes)
					if err != nil {
						t.Fatal(err)
					}
					id, _ := strconv.Atoi(e.RecordID)
					if !versioned && e.ID != events.RecordIdentity(key, e.RecordID).Event() {
						t.Fatalf("the id of %s is %s", e.RecordID, e.ID)
					}
					wantPage(t, pages[e.ID], id/100, sent)
				}
				if len(sent) != 20 || len(pages) != 2000 {
					t.Errorf("%d pages of %d ids", len(sent), len(pages))
				}
			})
		}
	}
}

// wantPage wants what is remembered to be of the n-th page; sent says which page was
// asked for when.
func wantPage(t *testing.T, p *ledger.Page, n int, sent map[int64]int) {
	t.Helper()
	if p == nil {
		t.Fatalf("nothing is remembered of page %d", n)
	}
	if other, there := sent[p.Sent]; there && other != n {
		t.Fatalf("pages %d and %d were asked for at once", n, other)
	}
	sent[p.Sent] = n
	cursor := ""
	if n > 0 {
		cursor = strconv.Itoa(n)
	}
	asked, ok := p.Bounds()
	if p.Cursor != cursor || p.Number != n+1 && p.Number != 0 || !ok || p.Key != "" {
		t.Errorf("page %d is remembered as %+v", n, p)
	}
	if p.Number == 0 && n == 0 {
		t.Error("the first page has no number")
	}
	if w := p.Read(); !w.From.Equal(start) || !asked.From.Equal(start.Add(-time.Second)) || !asked.To.Equal(w.To.Add(time.Second)) || w.To.Before(end) {
		t.Errorf("page %d: the window %v was asked for as %v", n, w, asked)
	}
}

// A page of many commits is one page in each of them, and a commit of windows
// tells which of them each id is of.
func TestPagesOfWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := spread(3000)
		a.began = func() time.Time { return end }
		m := newInMemory()
		m.commit = func(int, *topics.Commit) (bool, error) {
			time.Sleep(time.Minute)
			return true, nil
		}
		ingest(t, stream(t, a, false), options(m))
		windows := map[ledger.Range]bool{}
		pages := pagesOf(t, m)
		for n := range m.messages {
			e, err := events.FromAttributes(m.messages[n].Attributes)
			if err != nil {
				t.Fatal(err)
			}
			p := pages[e.ID]
			if p == nil {
				t.Fatalf("nothing is remembered of %s", e.RecordID)
			}
			asked, _ := p.Bounds()
			if e.Time.Before(asked.From) || e.Time.After(asked.To) {
				t.Errorf("the record of %s was found between %s and %s", e.Time, asked.From, asked.To)
			}
			windows[p.Read()] = true
		}
		if len(windows) <= len(m.entries) {
			t.Errorf("%d windows in %d commits: the test shows nothing", len(windows), len(m.entries))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &paged{pages: [][]string{many(5000)}}
		m := newInMemory()
		m.limits.Messages = 702
		ingest(t, pagedStream(t, p, false), options(m))
		pages, first := pagesOf(t, m), (*ledger.Page)(nil)
		for _, page := range pages {
			if first == nil {
				first = page
			}
			if page == nil || page.Sent != first.Sent || page.Number != 1 {
				t.Fatalf("a page is remembered as %+v and as %+v", page, first)
			}
		}
		if len(pages) != 5000 || len(m.entries) < 5 {
			t.Errorf("%d ids in %d commits", len(pages), len(m.entries))
		}
		for name, data := range m.entries {
			if e, err := ledger.DecodeEntry(data); err != nil || len(e.Pages) > 200 {
				t.Errorf("entry %s holds of one page %s (%v)", name, fmt.Sprint(string(e.Pages)), err)
			}
		}
	})
}

// someUsers is an API that gives two records for each of its users, asked for them.
type someUsers int

func (n someUsers) Keys(context.Context, connectors.KeysRequest) (*connectors.Keys, error) {
	keys := &connectors.Keys{}
	for i := range int(n) {
		keys.Keys = append(keys.Keys, connectors.Key{ID: fmt.Sprintf("user%03d", i)})
	}
	return keys, nil
}

func (n someUsers) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	p := &paged{begun: time.Now(), pages: [][]string{{fmt.Sprintf(`{"id":"%s.1"}`, r.Key.ID), fmt.Sprintf(`{"id":"%s.2"}`, r.Key.ID)}}}
	return p.Page(ctx, connectors.Request{})
}

// Of many users whose pages are one commit each record is told to be of its own.
func TestPagesOfAWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory()
		m.commit = func(int, *topics.Commit) (bool, error) {
			time.Sleep(20 * time.Second)
			return true, nil
		}
		s := stream(t, nil, false)
		s.Whole, s.Walk, s.Pager = true, someUsers(150), someUsers(150)
		ingest(t, s, options(m))
		pages := pagesOf(t, m)
		for n := range m.messages {
			e, err := events.FromAttributes(m.messages[n].Attributes)
			if err != nil {
				t.Fatal(err)
			}
			if p := pages[e.ID]; p == nil || p.Key != strings.TrimSuffix(strings.TrimSuffix(e.RecordID, ".1"), ".2") || p.Number != 1 {
				t.Fatalf("the record %s is told to be of the page %+v", e.RecordID, p)
			}
		}
		if len(pages) != 300 || len(m.entries) > 20 {
			t.Errorf("%d ids in %d commits", len(pages), len(m.entries))
		}
	})
}

// Where transforms hide ids, the ledger does not say for whom pages were read.
func TestPagesThatDoNotSayForWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory()
		s := stream(t, nil, false)
		s.Whole, s.Walk, s.Pager = true, someUsers(5), someUsers(5)
		o := options(m)
		o.HideKeys = true
		ingest(t, s, o)
		pages := pagesOf(t, m)
		for id, p := range pages {
			if p.Key != "" || p.Cursor != "" || p.Number != 1 {
				t.Errorf("%s is told to be of the page %+v", id, p)
			}
		}
		if len(pages) != 10 {
			t.Errorf("%d ids", len(pages))
		}
	})
}
