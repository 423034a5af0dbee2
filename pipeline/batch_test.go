package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// paged is an API that gives its records page by page along a cursor, each page
// after a second.
type paged struct {
	pages [][]string
	begun time.Time // when it was the end

	mu      sync.Mutex
	arrived []time.Time // of the pages
}

// now is a clock that is at the end when it is first asked.
func (p *paged) now() time.Time {
	if p.begun.IsZero() {
		p.begun = time.Now()
	}
	return end.Add(time.Since(p.begun))
}

func (p *paged) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	n := 0
	if r.Cursor != nil {
		if err := json.Unmarshal(r.Cursor, &n); err != nil {
			return nil, err
		}
	}
	began := p.now()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	p.arrived = append(p.arrived, time.Now())
	p.mu.Unlock()
	answer := &connectors.Answer{Reader: strings.NewReader("[" + strings.Join(p.pages[n], ",") + "]"), Began: began}
	next := func(*connectors.Array) (json.RawMessage, error) {
		if n++; n == len(p.pages) {
			return nil, nil
		}
		return json.RawMessage(strconv.Itoa(n)), nil
	}
	return connectors.NewPage(answer, r.Key, 32<<20, nil, func(raw []byte, f *connectors.Fields) events.Record {
		r := events.Record{Type: events.TypeMessage, Time: start.Add(time.Minute)}
		r.Dead = f.Object(raw, func(name, value []byte) {
			if string(name) == "id" {
				r.ID = connectors.Text(value)
			}
		})
		return r
	}, next), nil
}

// somePages makes pages of so many records each; the first record of each is the
// last of the one before.
func somePages(pages, records int) (p *paged, ids []string) {
	p = &paged{}
	for n := range pages {
		var page []string
		for i := range records + 1 {
			id := max(n*records+i-1, 0)
			page = append(page, fmt.Sprintf(`{"id":"%d"}`, id))
			if id == len(ids) {
				ids = append(ids, strconv.Itoa(id))
			}
		}
		p.pages = append(p.pages, page)
	}
	return p, ids
}

// pagedStream is a stream that is read in one window, up to the end.
func pagedStream(t *testing.T, p *paged, versioned bool) *connectors.Stream {
	p.now()
	s := streamAt(t, nil, versioned, p.now)
	s.Pager, s.Whole = p, true
	return s
}

// Pages that wait while a commit is under way are one commit, of which the
// checkpoint stands behind the last; no more than the broker takes at once.
func TestWaitingPagesAreOneCommit(t *testing.T) {
	for limit, want := range map[int][]int{
		10_000: {100, 1000, 900},
		602:    {100, 500, 500, 500, 400},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, ids := somePages(20, 100)
			m := newInMemory()
			m.limits.Messages = limit
			var sizes []int
			m.commit = func(n int, c *topics.Commit) (bool, error) {
				sizes = append(sizes, len(c.Messages))
				time.Sleep(10*time.Second + time.Second/2) // ten pages come
				return true, nil
			}
			status := ingest(t, pagedStream(t, p, false), options(m))
			if !slices.Equal(m.ids(), ids) || !slices.Equal(sizes, want) {
				t.Errorf("%d events in commits of %v, want %v", len(m.messages), sizes, want)
			}
			if c := status.Checkpoint.Counts; c.Events != 2000 || c.Duplicates != 20 || c.Requests != 20 || len(m.entries) != len(sizes) {
				t.Errorf("%d entries, counted %+v", len(m.entries), c)
			}
		})
	}
}

// A page that has come is committed at once where no commit is under way.
func TestASinglePageIsCommittedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ids := somePages(20, 100)
		m := newInMemory()
		var late []time.Duration
		m.commit = func(n int, c *topics.Commit) (bool, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			late = append(late, time.Since(p.arrived[n-1]))
			return true, nil
		}
		ingest(t, pagedStream(t, p, false), options(m))
		if !slices.Equal(m.ids(), ids) || len(late) != 20 || slices.Max(late) != 0 {
			t.Errorf("%d events in %d commits, so long after their pages came: %v", len(m.messages), len(late), late)
		}
	})
}

// Invariants 1, 2, 3 and 5: a commit of several pages that fails, made or not, also
// one that had to be cut, loses nothing and repeats nothing.
func TestJoinedCommitsFail(t *testing.T) {
	for crash := range 12 {
		for _, refused := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p, ids := somePages(20, 100)
				m := newInMemory()
				o := options(m)
				if refused { // it takes less than it had said
					o.Broker = boasting{m}
					m.limits.Messages = 352
				}
				failed := false
				m.commit = func(n int, c *topics.Commit) (bool, error) {
					time.Sleep(3*time.Second + time.Second/2)
					if n != crash/2+1 {
						return true, nil
					}
					failed = true
					return crash%2 == 1, errors.New("killed")
				}
				status := ingest(t, pagedStream(t, p, false), o)
				if !slices.Equal(m.ids(), ids) || !failed {
					t.Errorf("crash %d: %d of %d events, failed: %v", crash, len(m.messages), len(ids), failed)
				}
				if c := m.stands(); c.Counts.Events != 2000 || !c.Live.At.Equal(end) || !c.Live.Window.To.IsZero() || !status.Checkpoint.Live.At.Equal(end) {
					t.Errorf("crash %d: it stands at %+v, and counts %+v", crash, c.Live, c.Counts)
				}
			})
		}
	}
}

// boasting is a broker that tells of a larger limit than it has.
type boasting struct{ *inMemory }

func (boasting) Limits() topics.Limits { return topics.Limits{Messages: 10_000, Bytes: 1 << 20} }

// Each page of a commit is checked as the answer that it was: a version that was
// asked for behind the one before is not taken for an older one.
func TestVersionsOfJoinedPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paged{}
		var want []string
		for n := range 9 {
			text := fmt.Sprintf(`{"id":"1","state":%d}`, n%3)
			p.pages, want = append(p.pages, []string{text, text}), append(want, text)
		}
		m := newInMemory()
		m.commit = func(n int, _ *topics.Commit) (bool, error) {
			time.Sleep(4 * time.Second)
			return true, nil
		}
		ingest(t, pagedStream(t, p, true), options(m))
		var got []string
		seen := map[string]bool{}
		for _, message := range m.messages {
			var data struct{ Raw json.RawMessage }
			if err := json.Unmarshal(message.Data, &data); err != nil {
				t.Fatal(err)
			}
			got = append(got, string(data.Raw))
			seen[message.Attributes[1].Value] = true
		}
		if !slices.Equal(got, want) || len(seen) != len(want) || m.commits > 4 {
			t.Errorf("%d versions with %d ids in %d commits, want %d", len(got), len(seen), m.commits, len(want))
		}
	})
}

// Invariant 8: the entry of a commit names all windows that it holds: what is read
// again of any of them is known.
func TestWindowsOfJoinedPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := spread(3000)
		a.began = func() time.Time { return end }
		m := newInMemory()
		largest := 0
		m.commit = func(n int, c *topics.Commit) (bool, error) {
			time.Sleep(time.Minute)
			largest = max(largest, len(c.Messages))
			return true, nil
		}
		ingest(t, stream(t, a, false), options(m))
		for overlap := 5 * time.Minute; overlap <= time.Hour; overlap += 5 * time.Minute {
			again := stream(t, a, false)
			again.Options.Overlap = overlap
			status := ingest(t, again, options(m))
			if c := status.Checkpoint.Counts; len(m.messages) != 3000 || c.Events != 3000 || c.Duplicates < 200 || largest < 1500 {
				t.Errorf("%d events, at most %d in a commit; counted %+v", len(m.messages), largest, c)
			}
		}
	})
}
