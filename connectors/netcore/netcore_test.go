package netcore

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret   = "s3cr3t/with+odd=="
	loggedIn = `{"authToken":"token-1","expiresAt":"2999-01-01T00:00:00.000Z"}`
)

// fakeAPI is a transport that answers by path, and keeps what it was asked.
type fakeAPI struct {
	// answer answers what is no login: a status and a body.
	answer func(r *http.Request, body string) (int, string)
	login  func() (int, string) // nil: a good one
	now    func() time.Time     // the connector's clock; nil: time.Now
	header http.Header

	mu     sync.Mutex
	asked  []string // method, address without host, body
	tokens []string // Authorization of each
	logins int
}

func (a *fakeAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	status, text := http.StatusOK, loggedIn
	if r.URL.Path == loginPath {
		a.logins++
		if a.login != nil {
			status, text = a.login()
		}
	} else {
		status, text = a.answer(r, body)
	}
	a.asked = append(a.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+body))
	a.tokens = append(a.tokens, r.Header.Get("Authorization"))
	header := a.header
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

// says makes an answer that is always the same.
func says(status int, body string) func(*http.Request, string) (int, string) {
	return func(*http.Request, string) (int, string) { return status, body }
}

func connect(a *fakeAPI, keys map[string]any, own map[string]map[string]any) (*connectors.Connector, error) {
	raw := map[string]any{"app_id": "app", "app_secret": secret, "channels": []int{1010, 1014}, "rate": "1000000000/s"}
	maps.Copy(raw, keys)
	for key, value := range raw {
		if value == nil {
			delete(raw, key)
		}
	}
	return Type.New(connectors.Section{Name: "c", Raw: raw, Streams: own}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: a, Now: a.now})
}

// streamOf returns one stream of a connector.
func streamOf(t testing.TB, a *fakeAPI, name string, keys map[string]any) *connectors.Stream {
	t.Helper()
	c, err := connect(a, keys, map[string]map[string]any{name: nil})
	if err != nil {
		t.Fatal(err)
	}
	return c.Streams[0]
}

// ask reads one page.
func ask(t testing.TB, s *connectors.Stream, r connectors.Request) (records []events.Record, next json.RawMessage, key string, err error) {
	t.Helper()
	page, err := s.Pager.Page(t.Context(), r)
	if err != nil {
		return nil, nil, "", err
	}
	defer page.Close()
	for record, err := range page.Records {
		if err != nil {
			return records, nil, page.Key, err
		}
		record.Raw, record.Members = slices.Clone(record.Raw), slices.Clone(record.Members)
		record.Basis, record.State = slices.Clone(record.Basis), slices.Clone(record.State)
		records = append(records, record)
	}
	next, err = page.Next()
	return records, next, page.Key, err
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		keys    map[string]any
		account string // or
		wrong   string // words of the error, separated by |
	}{
		{account: "app"},
		{keys: map[string]any{"account": "other"}, account: "other"},
		{keys: map[string]any{"app_id": nil}, wrong: "app_id"},
		{keys: map[string]any{"app_secret": ""}, wrong: "app_secret"},
		{keys: map[string]any{"transcripts": "all"}, wrong: "transcripts|by_user|by_channel"},
		{keys: map[string]any{"channels": []int{}}, wrong: "channels"},
		{keys: map[string]any{"channels": []int{1010, 1014, 1010}}, wrong: "channels|twice"},
		{keys: map[string]any{"channels": []int{-1}}, wrong: "channels"},
		{keys: map[string]any{"base_url": "x.cz"}, wrong: "base_url"},
	} {
		connector, err := connect(&fakeAPI{}, c.keys, nil)
		if c.wrong == "" {
			if err != nil || connector.Account != c.account {
				t.Errorf("%v: %+v, %v", c.keys, connector, err)
			}
			continue
		}
		for word := range strings.SplitSeq(c.wrong, "|") {
			if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), secret) {
				t.Errorf("%v: %v", c.keys, err)
			}
		}
	}
}

func TestStreams(t *testing.T) {
	c, err := connect(&fakeAPI{}, map[string]any{"rate": nil, "channels": nil}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range c.Streams {
		names = append(names, s.Key.Stream)
		rate, _ := s.Budget()
		if rate != defaultRate || s.Options.BaseURL != defaultBaseURL || !s.Versioned || !slices.Equal(s.Parts, []string{"1010", "1014", "1016", "1017"}) {
			t.Errorf("%+v", s)
		}
	}
	if !slices.Equal(names, []string{"usage", "users", "transcripts"}) {
		t.Fatal(names)
	}
	usage, users, transcripts := c.Streams[0], c.Streams[1], c.Streams[2]
	if o := usage.Options; !usage.Whole || o.Poll != 15*time.Minute || o.Overlap != 0 || o.SweepBack != 0 {
		t.Errorf("%+v", usage)
	}
	if !users.Whole || !users.OpenEnd || users.Walk != nil {
		t.Errorf("%+v", users)
	}
	if o := transcripts.Options; !transcripts.Fixed || transcripts.Walk == nil || o.SweepEvery != 6*time.Hour || o.SweepBack != 24*time.Hour {
		t.Errorf("%+v", transcripts)
	}
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	if got, want := transcripts.Oldest(now), time.Date(2026, 8, 21, 11, 0, 0, 0, time.UTC); got != want || users.Oldest != nil {
		t.Errorf("%s, want %s", got, want)
	}
	if len(c.Notes) > 0 {
		t.Errorf("of what nobody has written it tells %q", c.Notes)
	}
	if c, err := connect(&fakeAPI{}, map[string]any{"channels": []int{1010, 1041}}, nil); err != nil || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "no channel 1041") {
		t.Errorf("%+v, %v", c, err)
	}
	for way, walked := range map[string]bool{byUser: true, byChannel: false} {
		c, err := connect(&fakeAPI{}, map[string]any{"enrich_users": true, "transcripts": way}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (c.Streams[2].Walk != nil) != walked || c.Streams[1].Walk == nil {
			t.Errorf("%s: %+v", way, c.Streams)
		}
		if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], byUser) || !strings.Contains(c.Notes[0], byChannel) {
			t.Errorf("%s: %q", way, c.Notes)
		}
	}
}

// What each stream sends: method, address, body and the bare token.
func TestRequests(t *testing.T) {
	from, to := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		stream string
		keys   map[string]any
		key    connectors.Key
		parts  []string
		want   string // END stands for a little behind the present
	}{
		{usage, nil, connectors.Key{}, nil, "GET /botUsage?channelId=1010&monthDate=2026-11-01"},
		{usage, nil, connectors.Key{}, []string{"1014"}, "GET /botUsage?channelId=1014&monthDate=2026-11-01"},
		{users, nil, connectors.Key{}, []string{"1014"}, `POST /users?limit=1000&page=1 {"channelIds":[1014],"endDate":"END","startDate":"2026-11-20T10:00:00.000Z"}`},
		{users, map[string]any{"enrich_users": true}, connectors.Key{ID: "1014/u", Data: []byte(`{"userId":"u","botUserId":"a/b ?+č"}`)}, nil, "GET /userData/a%2Fb%20%3F+%C4%8D"},
		{
			transcripts, nil, connectors.Key{ID: key{1014, "+91/x", "u/1"}.id()}, nil,
			`POST /transcripts?limit=1000&page=1 {"botUserId":"+91/x","channelId":1014,"endDate":"2026-11-20T11:00:00.000Z","startDate":"2026-11-20T10:00:00.000Z"}`,
		},
		{
			transcripts, map[string]any{"transcripts": byChannel}, connectors.Key{}, []string{"1014"},
			`POST /transcripts?limit=1000&page=1 {"channelId":1014,"endDate":"2026-11-20T11:00:00.000Z","startDate":"2026-11-20T10:00:00.000Z"}`,
		},
	} {
		a := &fakeAPI{answer: says(200, `{"totalUsers":1,"users":[],"transcripts":[],"tags":[]}`)}
		a.now = func() time.Time { return to }
		s := streamOf(t, a, c.stream, c.keys)
		if _, _, _, err := ask(t, s, connectors.Request{From: from, To: to, Key: c.key, Parts: c.parts}); err != nil {
			t.Fatal(err)
		}
		got, want := a.asked[1], strings.Replace(c.want, "END", "2026-11-20T11:00:02.000Z", 1)
		if len(a.asked) != 2 || got != want || a.tokens[1] != "token-1" || a.tokens[0] != "" {
			t.Errorf("%s with %q\nwant %s", got, a.tokens, want)
		}
		if login := `POST /login {"appId":"app","appSecret":"` + secret + `"}`; a.asked[0] != login {
			t.Errorf("%s, want %s", a.asked[0], login)
		}
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		body string
		good bool
	}{{`{"users":[{"userId":"u"}]}`, true}, {`{"users":[]}`, true}, {`{}`, false}, {`<html>`, false}, {`{"users":[`, false}} {
		a := &fakeAPI{answer: says(200, c.body)}
		connector, err := connect(a, nil, map[string]map[string]any{usage: nil})
		if err != nil {
			t.Fatal(err)
		}
		if err := connector.Probe(t.Context()); (err == nil) != c.good {
			t.Errorf("%s: %v", c.body, err)
		}
		if len(a.asked) != 2 || !strings.HasPrefix(a.asked[1], `POST /users?limit=50&page=1 {"channelIds":[1010],`) {
			t.Error(a.asked)
		}
	}
}

// Invariant 10: no error repeats the secret.
func TestTheSecretIsInNoError(t *testing.T) {
	for _, a := range []*fakeAPI{
		{answer: says(401, secret)}, {answer: says(400, secret)}, {answer: says(500, secret)}, {answer: says(200, secret)},
		{login: func() (int, string) { return 409, secret }}, {login: func() (int, string) { return 200, secret }},
		{login: func() (int, string) { return 200, `{"authToken":"` + secret + `\n"}` }},
		{login: func() (int, string) { return 302, "" }, header: http.Header{"Location": {"https://elsewhere/?" + secret}}},
	} {
		connector, err := connect(a, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = connector.Probe(t.Context())
		var e *connectors.Error
		if !errors.As(err, &e) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
	}
}
