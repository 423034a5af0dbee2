package simulator

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 100})
	ok := always()
	for name, c := range map[string]struct {
		key    string
		params params
		want   int
		says   string
	}{
		"right":            {DefaultAPIKey, ok, 200, ""},
		"no key":           {"", ok, 401, "Missing"},
		"wrong key":        {"demo", ok, 401, "Invalid"},
		"wrong plan":       {"basic-plan", ok, 403, "Enterprise"},
		"no start":         {DefaultAPIKey, ok.without("start_time"), 400, "start_time is required"},
		"no end":           {DefaultAPIKey, ok.without("end_time"), 400, "end_time is required"},
		"milliseconds":     {DefaultAPIKey, ok.with("end_time", "1772625600000"), 400, "seconds"},
		"text for a time":  {DefaultAPIKey, ok.with("end_time", "2026-03-04"), 400, "seconds"},
		"backwards":        {DefaultAPIKey, ok.with("start_time", "99999999999"), 400, "after"},
		"no bot":           {DefaultAPIKey, ok.without("bot_name"), 400, "bot_name is required"},
		"unknown bot":      {DefaultAPIKey, ok.with("bot_name", "r3-1"), 404, "Bot not found"},
		"page too large":   {DefaultAPIKey, ok.with("per_page", "1001"), 400, "1 to 1000"},
		"page of nothing":  {DefaultAPIKey, ok.with("per_page", "0"), 400, "1 to 1000"},
		"cursor of nobody": {DefaultAPIKey, ok.with("cursor", "MTIz"), 400, "invalid cursor"},
	} {
		for _, path := range []string{messagesPath, conversationsPath} {
			r := request(path, c.params)
			r.Header.Set("x-api-key", c.key)
			w := serve(s, r)
			if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: %d %s, want %d with %q", name, w.Code, w.Body, c.want, c.says)
			}
			if got := w.Header().Get("Date"); got != noon.Format(http.TimeFormat) {
				t.Errorf("%s: Date is %q", name, got)
			}
		}
	}
	if w := serve(s, request("/nowhere", nil)); w.Code != http.StatusNotFound {
		t.Errorf("unknown path: %d", w.Code)
	}
}

func TestEveryRecordHasTheDocumentedFields(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 3000})
	for path, fields := range map[string][]string{
		messagesPath:      {"_id", "time", "conversationId", "type", "outMsg"},
		conversationsPath: {"_id", "startTime", "lastActionAt", "locale", "tags", "metadata"},
	} {
		records := all(t, s, path)
		for _, r := range records {
			var got map[string]any
			if err := json.Unmarshal([]byte(r), &got); err != nil {
				t.Fatalf("%v: %s", err, r)
			}
			for _, f := range fields {
				if _, ok := got[f]; !ok {
					t.Fatalf("no %s: %s", f, r)
				}
			}
			if path == messagesPath && (got["type"] == "UserInput") != (got["userActionType"] != nil && got["userInput"] != nil) {
				t.Fatalf("a user's input and only that has an action: %s", r)
			}
		}
		slices.Sort(records)
		if unique := slices.Compact(ids(t, records)); len(unique) != len(records) {
			t.Errorf("%s: %d ids of %d records", path, len(unique), len(records))
		}
	}
}

func TestTimesComeInAllForms(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 3000})
	text := strings.Join(all(t, s, messagesPath), "\n")
	for _, sample := range []string{`"time":177`, `"time":"177`, `Z","conversationId"`, `"time":"2026-`} {
		if !strings.Contains(text, sample) {
			t.Errorf("no message has %s", sample)
		}
	}
	for _, odd := range []string{`"deletedAt":null`, `\u`, "\u2028", `"seq":"`, "👩‍👩‍👧‍👦", "สวัสดี", "你好", `"userInput":""`} {
		if !strings.Contains(text, odd) {
			t.Errorf("no message has %s", odd)
		}
	}
}

func TestAdjacentWindowsTileTime(t *testing.T) {
	for _, by := range []string{ByStart, ByActivity} {
		s := build(t, Options{Seed: 2, Backlog: 2000, Span: 6 * time.Hour, ConversationsBy: by})
		for _, path := range []string{messagesPath, conversationsPath} {
			var tiled []string
			for at := noon.Add(-7 * time.Hour); at.Before(noon.Add(time.Hour)); at = at.Add(7 * time.Minute) {
				tiled = append(tiled, walk(t, s, path, window(at, at.Add(7*time.Minute)).with("per_page", "7"), nil)...)
			}
			if whole := all(t, s, path); !slices.Equal(tiled, whole) {
				t.Errorf("%s by %s: %d records in windows, %d in all", path, by, len(tiled), len(whole))
			}
		}
	}
}

func TestBoundsBelongOrDoNot(t *testing.T) {
	for bounds, want := range map[Bounds][2]int{HalfOpen: {1, 0}, Inclusive: {1, 1}, Exclusive: {0, 0}, OpenStart: {0, 1}} {
		s := build(t, Options{Seed: 2, Backlog: 1, Bounds: bounds, ConversationsBy: ByStart})
		at := s.Account().Endpoints["deepconverse/conversations"].Records[0].Time // whole seconds
		start := get(t, s, conversationsPath, window(at, at.Add(time.Hour)))
		end := get(t, s, conversationsPath, window(at.Add(-time.Hour), at))
		if got := [2]int{len(start.Data), len(end.Data)}; got != want {
			t.Errorf("%s: found at its start and end: %v, want %v", bounds, got, want)
		}
	}
}

func TestCursorsAreCompleteWhileTheWorldGoesOn(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Backlog: 500, Rate: 50, Now: c.Now})
	before := all(t, s, messagesPath)
	walked := walk(t, s, messagesPath, window(noon.Add(-DefaultSpan), noon).with("per_page", "13"), func() { c.add(time.Second) })
	if !slices.Equal(before, walked) {
		t.Errorf("%d messages before, %d in pages while new ones came", len(before), len(walked))
	}
	open := walk(t, s, messagesPath, always().with("per_page", "500"), func() { c.add(time.Second) })
	found := ids(t, open)
	slices.Sort(found)
	if len(slices.Compact(found)) != len(open) {
		t.Error("a page repeats what another had")
	}
	if missing := len(all(t, s, messagesPath)) - len(open); missing != 0 {
		t.Errorf("%d messages are missing", missing)
	}
}

func TestCursors(t *testing.T) {
	c := newClock()
	o := Options{Seed: 4, Backlog: 500, CursorLife: time.Minute, Now: c.Now}
	s := build(t, o)
	p := always().with("per_page", "10")
	next := p.with("cursor", *get(t, s, messagesPath, p).Cursor)
	code := func(s *Simulator, path string, p params) int { return serve(s, request(path, p)).Code }

	c.add(time.Minute)
	if got := code(s, messagesPath, next.with("per_page", "20")); got != 200 {
		t.Errorf("a cursor at the end of its life, another size of page: %d", got)
	}
	if got := code(s, messagesPath, next.with("start_time", "1")); got != 400 {
		t.Errorf("a cursor of another window: %d", got)
	}
	if got := code(s, conversationsPath, next); got != 400 {
		t.Errorf("a cursor of another endpoint: %d", got)
	}
	if got := code(build(t, Options{Seed: 5, Backlog: 500}), messagesPath, next); got != 400 {
		t.Errorf("a cursor of another world: %d", got)
	}
	seen := map[int]bool{}
	for size := 1; size < 20; size++ {
		p := p.with("per_page", strconv.Itoa(size))
		next := p.with("cursor", *get(t, s, messagesPath, p).Cursor)
		c.add(time.Minute + time.Millisecond)
		seen[code(s, messagesPath, next)] = true
	}
	if len(seen) != 2 || !seen[400] || !seen[410] {
		t.Errorf("expired cursors are answered %v, want 400 and 410", seen)
	}
}

func TestTheCursorComesBeforeOrBehindTheData(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 50})
	seen := map[bool]bool{}
	for i := range 20 {
		w := serve(s, request(messagesPath, always().with("start_time", strconv.Itoa(i))))
		seen[strings.HasPrefix(w.Body.String(), `{"cursor":`)] = true
	}
	if len(seen) != 2 {
		t.Error("the cursor is always in the same place")
	}
}

func TestOneConversation(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 1000})
	messages := all(t, s, messagesPath)
	for _, id := range ids(t, all(t, s, conversationsPath))[:10] {
		want := slices.DeleteFunc(slices.Clone(messages), func(m string) bool {
			return !strings.Contains(m, `"conversationId":"`+id+`"`)
		})
		got := walk(t, s, messagesPath, always().with("conversation_id", id).with("per_page", "3"), nil)
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("conversation %s: %d messages, want %d", id, len(got), len(want))
		}
	}
	if got := get(t, s, messagesPath, always().with("conversation_id", "nobody's")); len(got.Data) != 0 {
		t.Errorf("an unknown conversation has %d messages", len(got.Data))
	}
}

func TestActivityMovesAConversation(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Rate: 5, ConversationsBy: ByActivity, Now: c.Now})
	c.add(20 * time.Second)
	early := window(noon, c.Now().Add(time.Second))
	before := ids(t, walk(t, s, conversationsPath, early, nil))
	c.add(10 * time.Minute)
	if after := walk(t, s, conversationsPath, early, nil); len(before) == 0 || len(after) >= len(before) {
		t.Errorf("%d conversations in the window, %d after more activity", len(before), len(after))
	}
	now := ids(t, all(t, s, conversationsPath))
	for _, id := range before {
		if !slices.Contains(now, id) {
			t.Errorf("conversation %s is gone", id)
		}
	}
}

func TestGzip(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 200})
	plain := serve(s, request(messagesPath, always()))
	for header, zipped := range map[string]bool{"gzip": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "br": false} {
		r := request(messagesPath, always())
		r.Header.Set("Accept-Encoding", header)
		w := serve(s, r)
		body := w.Body.Bytes()
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("%q: gzip is %v", header, got)
			continue
		}
		if zipped {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(body, plain.Body.Bytes()) {
			t.Errorf("%q: another body", header)
		}
	}
}
