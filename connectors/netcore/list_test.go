package netcore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
)

func TestMore(t *testing.T) {
	for _, c := range []struct {
		n          counts
		page, rows int
		more       bool
	}{
		{counts{}, 1, 49, false},
		{counts{}, 1, 50, true}, // a full page that tells nothing
		{counts{limit: 25}, 1, 25, true},
		{counts{pages: 1, total: 50}, 1, 50, false},
		{counts{pages: 2}, 1, 50, true},
		{counts{pages: 2}, 2, 50, false},
		{counts{pages: 3}, 2, 0, true}, // an empty page in between
		{counts{pages: 2}, 2, 0, false},
		{counts{next: true, total: 90}, 1, 0, false}, // an empty page is the last
		{counts{pages: 2, next: true}, 2, 1, true},
		{counts{pages: 2, next: true}, 3, 1, false}, // or it would never end
		{counts{next: true}, 9, 1, true},
		{counts{total: 51}, 1, 50, true},
		{counts{total: 51}, 2, 1, false},
		{counts{pages: 1, total: 51}, 1, 50, true}, // whatever says so counts
		{counts{pages: 1, total: 50}, 1, 53, false},
		{counts{total: 120, limit: 25}, 2, 25, true},
	} {
		if got := c.n.more(c.page, 50, c.rows); got != c.more {
			t.Errorf("%+v, page %d of %d rows: %t", c.n, c.page, c.rows, got)
		}
	}
}

// The numbers beside a list come in all forms, and hasNextPage is a number or a
// boolean.
func TestCounts(t *testing.T) {
	for body, want := range map[string]counts{
		`{"users":[],"page":1,"pages":3,"total":101,"limit":50,"hasNextPage":1}`:            {3, 101, 50, true},
		`{"pages":"3","total":"101","limit":"50","hasNextPage":true,"users":[],"page":"1"}`: {3, 101, 50, true},
		`{"pages":3.0,"total":null,"limit":{},"hasNextPage":"true","users":[]}`:             {3, 0, 0, true},
		`{"users":[],"pages":[],"hasNextPage":0}`:                                           {},
		`{"users":[],"hasNextPage":false}`:                                                  {},
		`{"users":[],"hasNextPage":"0"}`:                                                    {},
		`{"users":[],"hasNextPage":"no","total":-1}`:                                        {total: -1},
	} {
		a := connectors.ReadArray(strings.NewReader(body), 1<<10, "users")
		for {
			if _, err := a.Next(); err != nil {
				break
			}
		}
		if got, err := countsOf(a); got != want || err != nil {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
		details := strings.NewReplacer(`"users":[],`, "", `,"users":[]`, "").Replace(body)
		a = connectors.ReadArray(strings.NewReader(`{"transcripts":null,"paginationDetails":`+details+`}`), 1<<10, "transcripts")
		_, _ = a.Next()
		if got, err := detailsOf(a); got != want || err != nil {
			t.Errorf("%s: %+v, %v", details, got, err)
		}
	}
}

// follow follows the cursors of a stream from the beginning, and returns them.
func follow(t *testing.T, s *connectors.Stream, each func(n int, ids []string)) (cursors []string) {
	t.Helper()
	now := time.Now()
	r := connectors.Request{From: now.Add(-time.Hour)}
	for n := 0; ; n++ {
		records, next, _, err := ask(t, s, r)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, record := range records {
			ids = append(ids, record.ID)
		}
		each(n, ids)
		if r.Cursor = next; next == nil {
			return cursors
		}
		cursors = append(cursors, string(next))
	}
}

// A list of several pages is read forward and then backward, channel by channel;
// one of a single page once.
func TestTheOrderOfPages(t *testing.T) {
	a := &fakeAPI{answer: func(r *http.Request, body string) (int, string) {
		pages := 1
		if strings.Contains(body, "1014") {
			pages = 3
		}
		return 200, fmt.Sprintf(`{"users":[{"userId":"p%s"}],"pages":%d}`, r.URL.Query().Get("page"), pages)
	}}
	var read []string
	cursors := follow(t, streamOf(t, a, users, map[string]any{"channels": []int{1010, 1014, 1016}}), func(_ int, ids []string) { read = append(read, ids...) })
	want := []string{"1010/p1", "1014/p1", "1014/p2", "1014/p3", "1014/p2", "1014/p1", "1016/p1"}
	if !slices.Equal(read, want) {
		t.Errorf("%v, want %v", read, want)
	}
	if want := `{"channel":1014,"page":2,"limit":1000,"back":true,`; !strings.HasPrefix(cursors[3], want) {
		t.Errorf("%s, want %s", cursors[3], want)
	}
	s := streamOf(t, a, users, nil)
	for _, cursor := range []string{`5`, `{}`, `{"channel":1016,"page":1}`, `{"channel":1014,"page":0}`, `{"channel":1014,"page":1,"limit":5000}`} {
		if _, _, _, err := ask(t, s, connectors.Request{Cursor: json.RawMessage(cursor)}); connectors.KindOf(err) != connectors.Restart {
			t.Errorf("%s: %v", cursor, err)
		}
	}
}

// Users who act while the list is read move to one end of it, and others to other
// pages. Only who acts may be missing: they are listed again by the next poll.
func TestUsersWhoMoveWhileTheyAreListed(t *testing.T) {
	for _, order := range []int{1, -1} {
		for seed := range 50 {
			const all, size = 120, 25
			active := map[int]int{} // user: when they acted last
			for i := range all {
				active[i] = i
			}
			acted := map[string]bool{}
			clock := all
			a := &fakeAPI{answer: func(r *http.Request, _ string) (int, string) {
				page, _ := strconv.Atoi(r.URL.Query().Get("page"))
				list := make([]int, all)
				for i := range list {
					list[i] = i
				}
				slices.SortFunc(list, func(a, b int) int { return order * cmp.Compare(active[a], active[b]) })
				var rows []string
				for _, user := range list[min((page-1)*size, all):min(page*size, all)] {
					rows = append(rows, fmt.Sprintf(`{"userId":"%d"}`, user))
				}
				for i := range 7 { // somebody acts between any two requests
					user := (seed*31 + clock*17 + i*i) % all
					active[user] = clock
					clock++
					acted[fmt.Sprintf("1010/%d", user)] = true
				}
				return 200, fmt.Sprintf(`{"users":[%s],"limit":%d,"total":%d,"pages":%d}`, strings.Join(rows, ","), size, all, (all+size-1)/size)
			}}
			found := map[string]bool{}
			follow(t, streamOf(t, a, users, map[string]any{"channels": []int{1010}}), func(_ int, ids []string) {
				for _, id := range ids {
					found[id] = true
				}
			})
			for i := range all {
				if id := fmt.Sprintf("1010/%d", i); !found[id] && !acted[id] {
					t.Errorf("order %d, seed %d: %s is missing", order, seed, id)
				}
			}
		}
	}
}

// Where large pages are refused, small ones are asked for from then on; other
// refusals change nothing.
func TestLargePagesAreRefused(t *testing.T) {
	refusing := true
	status := 400
	a := &fakeAPI{answer: func(r *http.Request, _ string) (int, string) {
		if refusing && (status != 400 || r.URL.Query().Get("limit") != "50") {
			return status, ""
		}
		return 200, `{"users":[],"transcripts":[]}`
	}}
	keys := map[string]any{"transcripts": byChannel}
	c, err := connect(a, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r := connectors.Request{From: now.Add(-time.Minute), To: now}
	limits := func(s *connectors.Stream) (list []string) {
		a.asked = nil
		_, _, _, err = ask(t, s, r)
		for _, line := range a.asked {
			_, rest, _ := strings.Cut(line, "limit=")
			limit, _, _ := strings.Cut(rest, "&")
			list = append(list, limit)
		}
		return list
	}
	for _, s := range c.Streams[1:] {
		refusing, status = true, 403
		limits(s)
		if connectors.KindOf(err) != connectors.Fail {
			t.Error(err)
		}
		refusing, status = false, 400
		if got := limits(s); !slices.Equal(got, []string{"1000"}) || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		refusing = true
		r.Cursor = json.RawMessage(`{"channel":1010,"page":2,"limit":1000}`)
		if got := limits(s); !slices.Equal(got, []string{"1000"}) || connectors.KindOf(err) != connectors.Restart {
			t.Errorf("%v, %v", got, err)
		}
		r.Cursor = nil
		if got := limits(s); !slices.Equal(got, []string{"1000", "50"}) || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		refusing = false
		if got := limits(s); !slices.Equal(got, []string{"50"}) || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
	// A 400 that small pages do not mend is about something else.
	a.answer = says(400, "")
	s := streamOf(t, a, users, nil)
	for range 2 {
		if got := limits(s); !slices.Contains(got, "1000") || connectors.KindOf(err) != connectors.Fail {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// An API that gives the same page again and again, and says that there is more, is
// not followed for ever.
func TestPagesThatRepeat(t *testing.T) {
	rows := strings.TrimSuffix(strings.Repeat(`{"userId":"u","from":"User","type":"text","text":{"message":"a"}},`, 1000), ",")
	a := &fakeAPI{answer: func(r *http.Request, _ string) (int, string) {
		if r.URL.Path == usersPath {
			return 200, `{"users":[` + rows + `],"hasNextPage":true}`
		}
		return 200, `{"transcripts":[` + rows + `]}`
	}}
	now := time.Now()
	for name, id := range map[string]string{users: "", transcripts: "1014/a/b"} {
		s := streamOf(t, a, name, nil)
		r := connectors.Request{From: now.Add(-3 * time.Second), To: now, Key: connectors.Key{ID: id}}
		var err error
		for n := 0; err == nil; n++ {
			if _, r.Cursor, _, err = ask(t, s, r); r.Cursor == nil && err == nil || n > 5 {
				t.Fatalf("%s: page %d leads to %s, %v", name, n, r.Cursor, err)
			}
		}
		if connectors.KindOf(err) != connectors.Retry || !strings.Contains(err.Error(), "parameter page") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
