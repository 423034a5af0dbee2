package feedyou

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
)

// api is a transport that answers all requests alike and keeps them.
type api struct {
	status int
	body   string
	header http.Header
	err    error
	asked  []*http.Request
}

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked = append(a.asked, r)
	if a.err != nil {
		return nil, a.err
	}
	header := a.header
	if header == nil {
		header = http.Header{}
	}
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

const secret = "k3y/with+odd=="

func connect(a *api, keys map[string]any, own map[string]map[string]any) (*connectors.Connector, error) {
	raw := map[string]any{"function_key": secret, "bot_id": "acme", "rate": "1000000000/s"}
	maps.Copy(raw, keys)
	for key, value := range raw {
		if value == nil {
			delete(raw, key)
		}
	}
	return Type.New(connectors.Section{Name: "c", Raw: raw, Streams: own}, connectors.Env{Budgets: connectors.NewBudgets(), Transport: a})
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		keys    map[string]any
		own     map[string]map[string]any
		account string // or
		wrong   string // words of the error, separated by |
	}{
		{account: "acme"},
		{keys: map[string]any{"bot_id": nil}, wrong: "bot_id|base_url"},
		{keys: map[string]any{"function_key": nil}, wrong: "function_key"},
		{keys: map[string]any{"bot_id": "a.b/c"}, wrong: "bot_id"},
		{keys: map[string]any{"bot_id": "-a"}, wrong: "bot_id"},
		{keys: map[string]any{"bot_id": strings.Repeat("a", 56)}, wrong: "bot_id"},
		{keys: map[string]any{"bot_id": strings.Repeat("a", 55)}, account: strings.Repeat("a", 55)},
		{keys: map[string]any{"auth": "cookie"}, wrong: "auth|header|query"},
		{keys: map[string]any{"base_url": "https://x.cz"}, account: "acme"},
		{keys: map[string]any{"bot_id": nil, "base_url": "HTTPS://Bots.X.cz:443/One/"}, account: "bots.x.cz/one"},
		{keys: map[string]any{"bot_id": nil, "base_url": "http://x.cz:80"}, account: "x.cz"},
		{keys: map[string]any{"bot_id": nil, "base_url": "http://x.cz:443"}, account: "x.cz:443"},
		{keys: map[string]any{"bot_id": nil, "base_url": "http://[::1]:8080/a"}, account: "[::1]:8080/a"},
		{keys: map[string]any{"bot_id": nil, "base_url": "https://[::1]:443"}, account: "[::1]"},
		{keys: map[string]any{"bot_id": nil, "base_url": "x.cz"}, wrong: "base_url"},
		{keys: map[string]any{"account": "other"}, account: "other"},
		{own: map[string]map[string]any{userData: {"not_empty": []string{"a,b"}}}, wrong: "streams.userData.not_empty"},
		{own: map[string]map[string]any{snapshots: {"where": map[string]string{"": "x"}}}, wrong: "streams.userDataSnapshot.where"},
		{own: map[string]map[string]any{userData: {"where": map[string]string{"a": "x", "A": "x"}}}, wrong: "streams.userData.where"},
		{own: map[string]map[string]any{"nlpLog": {"where": map[string]string{"a": "x"}}}, wrong: "streams.nlpLog"},
	} {
		connector, err := connect(&api{}, c.keys, c.own)
		if c.wrong == "" {
			if err != nil || connector.Account != c.account {
				t.Errorf("%v: %+v, %v", c.keys, connector, err)
			}
			continue
		}
		for word := range strings.SplitSeq(c.wrong, "|") {
			if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), secret) {
				t.Errorf("%v, %v: %v", c.keys, c.own, err)
			}
		}
	}
}

func TestStreams(t *testing.T) {
	c, err := connect(&api{}, map[string]any{"rate": nil}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range c.Streams {
		users, late := s.Key.Stream == userData, s.Key.Stream == snapshots
		back := 24 * time.Hour
		if late {
			back = 720 * time.Hour
		}
		rate, _ := s.Budget()
		if s.Key.Stream != streams[i] || s.Versioned != users || s.OpenEnd != users || s.LateByNature != late ||
			s.Options.SweepBack != back || s.Options.SweepEvery != 24*time.Hour || rate != defaultRate ||
			s.Options.BaseURL != "https://feedbot-acme.azurewebsites.net" {
			t.Errorf("%+v", s)
		}
	}
	if len(c.Streams) != len(streams) {
		t.Errorf("%d streams", len(c.Streams))
	}
}

func TestRequests(t *testing.T) {
	from, to := time.Unix(1772625600, 0), time.Unix(1772629200, 0)
	filters := map[string]any{"not_empty": []string{"phone", "email"}, "where": map[string]string{"gender": "male", "čas": "a&b"}}
	for _, c := range []struct {
		auth, stream string
		own          map[string]any
		to           time.Time
		query        string
	}{
		{authHeader, "nlpLog", nil, to, "fromTimestamp=1772625600&toTimestamp=1772629200"},
		{authHeader, userData, nil, time.Time{}, "fromTimestamp=1772625600"},
		{authHeader, userData, filters, to, "fromTimestamp=1772625600&notEmpty=phone%2Cemail&toTimestamp=1772629200&whereGender=male&where%C4%8Cas=a%26b"},
		{authQuery, snapshots, filters, to, "code=k3y%2Fwith%2Bodd%3D%3D&fromTimestamp=1772625600&notEmpty=phone%2Cemail&toTimestamp=1772629200&whereGender=male&where%C4%8Cas=a%26b"},
	} {
		a := &api{body: "[]"}
		connector, err := connect(a, map[string]any{"auth": c.auth}, map[string]map[string]any{c.stream: c.own})
		if err != nil {
			t.Fatal(err)
		}
		page, err := connector.Streams[0].Pager.Page(t.Context(), connectors.Request{From: from, To: c.to})
		if err != nil {
			t.Fatal(err)
		}
		for record, err := range page.Records {
			t.Error(record, err)
		}
		if next, err := page.Next(); next != nil || err != nil {
			t.Error(next, err)
		}
		page.Close()
		want, key := "https://feedbot-acme.azurewebsites.net/api/management/export/"+c.stream+"?"+c.query, secret
		if c.auth == authQuery {
			key = ""
		}
		if got := a.asked[0]; got.URL.String() != want || got.Method != http.MethodGet || got.Header.Get("x-functions-key") != key {
			t.Errorf("%s %s %s\nwant %s", got.Method, got.URL, got.Header, want)
		}
	}
}

// Invariant 10: where the key stands in the address, no error repeats it.
func TestTheKeyIsInNoError(t *testing.T) {
	escaped := url.QueryEscape(secret)
	for _, auth := range []string{authHeader, authQuery} {
		for _, a := range []*api{
			{status: 401}, {status: 403, body: secret}, {status: 404}, {status: 500, body: escaped}, {body: secret}, {body: `["` + secret},
			{err: errors.New("dialing ?code=" + escaped)}, {err: errors.New("dialing ?code=" + secret)},
			{status: 302, header: http.Header{"Location": {"https://elsewhere/?code=" + escaped}}},
			{status: 302, header: http.Header{"Location": {"https://" + escaped + ".elsewhere/"}}},
			{status: 302, header: http.Header{"Location": {"::" + escaped}}},
			{status: 307, header: http.Header{"Location": {"/again?code=" + escaped}}},
		} {
			c, err := connect(a, map[string]any{"auth": auth}, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Probe(t.Context())
			if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), escaped) {
				t.Errorf("%s, %+v: %v", auth, a, err)
			}
		}
	}
}

func TestProbe(t *testing.T) {
	// Every bot has userData, whatever streams were chosen.
	a := &api{body: `[{"userId":"a"}]`}
	c, err := connect(a, nil, map[string]map[string]any{"urlTracker": nil})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	q := a.asked[0].URL.Query()
	if len(a.asked) != 1 || a.asked[0].URL.Path != pathOf(userData) || q.Get("fromTimestamp") == "" || q.Get("toTimestamp") == "" {
		t.Error(a.asked[0].URL)
	}
}
