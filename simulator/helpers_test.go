package simulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	messagesPath      = "/conversations/export/v1/messages"
	conversationsPath = "/conversations/export/v1/conversations"
)

// noon is when the tests' worlds are made.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: noon} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// build makes a simulator, at noon unless the options have a clock.
func build(t testing.TB, o Options) *Simulator {
	t.Helper()
	if o.Now == nil {
		o.Now = newClock().Now
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// live is build with time going on.
func live(t testing.TB, o Options) *Simulator {
	t.Helper()
	s := build(t, o)
	s.start()
	return s
}

type params map[string]string

// window returns the parameters of a request for [from, to).
func window(from, to time.Time) params {
	return params{
		"bot_name": DefaultBotName, "per_page": "1000",
		"start_time": strconv.FormatInt(from.Unix(), 10), "end_time": strconv.FormatInt(to.Unix(), 10),
	}
}

// always is a window that holds everything.
func always() params { return window(time.Unix(0, 0), noon.AddDate(1, 0, 0)) }

func (p params) with(name, value string) params {
	q := maps.Clone(p)
	q[name] = value
	return q
}

func (p params) without(name string) params {
	q := maps.Clone(p)
	delete(q, name)
	return q
}

func request(path string, p params) *http.Request {
	q := url.Values{}
	for name, value := range p {
		q.Set(name, value)
	}
	r := httptest.NewRequest(http.MethodGet, path+"?"+q.Encode(), nil)
	r.Header.Set("x-api-key", DefaultAPIKey)
	return r
}

func serve(s *Simulator, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

type page struct {
	Data   []json.RawMessage `json:"data"`
	Cursor *string           `json:"cursor"`
}

// get returns one page.
func get(t testing.TB, s *Simulator, path string, p params) page {
	t.Helper()
	w := serve(s, request(path, p))
	if w.Code != http.StatusOK {
		t.Fatalf("%s %v: %d %s", path, p, w.Code, w.Body)
	}
	var got page
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Data == nil {
		t.Fatalf("%s %v: no list: %s", path, p, w.Body)
	}
	return got
}

// walk returns the records of all pages of a window, calling between after each
// page but the last.
func walk(t testing.TB, s *Simulator, path string, p params, between func()) (records []string) {
	t.Helper()
	for {
		got := get(t, s, path, p)
		for _, r := range got.Data {
			records = append(records, string(r))
		}
		if got.Cursor == nil {
			return records
		}
		p = p.with("cursor", *got.Cursor)
		if between != nil {
			between()
		}
	}
}

func all(t testing.TB, s *Simulator, path string) []string {
	t.Helper()
	return walk(t, s, path, always(), nil)
}

// ids returns the ids of records.
func ids(t testing.TB, records []string) []string {
	t.Helper()
	found := make([]string, len(records))
	for i, r := range records {
		var fields struct {
			ID string `json:"_id"`
		}
		if err := json.Unmarshal([]byte(r), &fields); err != nil {
			t.Fatalf("%v: %s", err, r)
		}
		found[i] = fields.ID
	}
	return found
}
