package connectors

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each batch tells the request that gave it, also of a page that is many batches,
// and of one that was asked for again.
func TestBatchesTellTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		api := &fakeAPI{records: every(now.Add(-time.Hour), now.Add(-time.Minute), time.Second), page: 2500}
		failed := false
		api.fail = func(n int, r Request) error {
			if r.Cursor == nil || failed {
				return nil
			}
			failed = true
			return &Error{Kind: Retry, Op: "listing", Err: errors.New("not now")}
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since, o.Requests = now.Add(-2*time.Hour), 1 })
		stream.Whole = true
		batches, err := readOnce(t, stream, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		many := 0
		for _, b := range batches {
			o := b.Origin
			var asked *fakeRequest
			for _, r := range api.asked() {
				if o != nil && r.at.Equal(b.Began) && r.From.Equal(o.From) && r.To.Equal(o.To) && shortCursor(r.Cursor) == o.Cursor {
					asked = &r
				}
			}
			if asked == nil {
				t.Fatalf("no request was made that gave the batch of %s: %+v", b.Window, o)
			}
			if want := map[bool]int{true: 1, false: 2}[asked.Cursor == nil]; o.Page != want || o.Cell {
				t.Errorf("the request with the cursor %s is that of page %d", asked.Cursor, o.Page)
			}
			if !o.From.Equal(b.Window.From.Add(-time.Second)) || !o.To.Equal(b.Window.To.Add(time.Second)) {
				t.Errorf("the window %v was asked for as %s to %s", b.Window, o.From, o.To)
			}
			if !b.EndsPage {
				many++
			}
		}
		if !failed || many < 2 {
			t.Errorf("failed: %v; %d batches did not end a page: the test shows nothing", failed, many)
		}
	})
}

// A read that goes on from a cursor of before does not know which page it is at.
func TestAPageBehindAnOldCursorHasNoNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		api := &fakeAPI{records: every(now.Add(-time.Hour), now.Add(-time.Minute), time.Minute), page: 20}
		stream := fakeStream(t, api, func(o *Options) { o.Since = now.Add(-2 * time.Hour) })
		s := &store{Progress: Progress{Since: now.Add(-2 * time.Hour)}}
		s.Live = Position{At: now.Add(-2 * time.Hour), Window: Window{now.Add(-2 * time.Hour), now}, Cursor: json.RawMessage(`"20@0"`)}
		batches, err := readOnce(t, stream, s, nil)
		if err != nil || len(batches) < 2 {
			t.Fatal(len(batches), err)
		}
		for n, b := range batches[:2] {
			if b.Origin.Page != 0 || b.Origin.Cursor == "" {
				t.Errorf("batch %d is of the page %+v", n, b.Origin)
			}
		}
	})
}

func TestLongCursorsAreCut(t *testing.T) {
	short := `{"after":"` + strings.Repeat("x", 100) + `"}`
	long := json.RawMessage(`"` + strings.Repeat("é", MaxCursor/4) + `"`)
	other := append(json.RawMessage(nil), long...)
	other[len(other)-2]++
	switch got := shortCursor(long); {
	case shortCursor(json.RawMessage(short)) != short:
		t.Errorf("a short one is shown as %s", shortCursor(json.RawMessage(short)))
	case shortCursor(nil) != "":
		t.Errorf("none is shown as %s", shortCursor(nil))
	case len(got) > longCursor || !strings.HasPrefix(got, `"éé`):
		t.Errorf("a long one is shown as %s", got)
	case got == shortCursor(other):
		t.Error("two long ones are shown alike")
	}
}
