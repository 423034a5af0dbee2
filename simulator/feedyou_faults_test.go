package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// lists are a request of each vendor for all that a list holds, by its endpoint.
func lists() map[string]*http.Request {
	return map[string]*http.Request{
		"deepconverse/messages": request(messagesPath, always()),
		"feedyou/urlTracker":    exportRequest("urlTracker", params{"code": "a=b&c", "fromTimestamp": "0"}),
	}
}

func TestFaultSignIn(t *testing.T) {
	for endpoint, r := range lists() {
		s := build(t, Options{Seed: 1, Backlog: 100, Faults: Faults{SignIn: 1}})
		bodies, types := map[string]bool{}, map[string]bool{}
		for range 8 {
			w := serve(s, r)
			body := w.Body.String()
			if w.Code != 200 || json.Valid(w.Body.Bytes()) || !strings.Contains(body, "<form") || !strings.Contains(body, html.EscapeString(r.URL.RequestURI())) {
				t.Errorf("%s: %d %s", endpoint, w.Code, body)
			}
			bodies[body], types[w.Header().Get("Content-Type")] = true, true
		}
		if len(bodies) != 4 || !types["text/html"] || !types["application/json; charset=utf-8"] {
			t.Errorf("%s: %d pages of types %v", endpoint, len(bodies), types)
		}
		if c := s.Summary().Endpoints[endpoint]; c.Faults[SignIn] != 8 || c.Answered != 0 || c.Served != 0 {
			t.Errorf("%s: %+v", endpoint, c.Counts)
		}
	}
}

func TestFaultRedirect(t *testing.T) {
	for endpoint, r := range lists() {
		s := build(t, Options{Seed: 1, Backlog: 100, Faults: Faults{Redirect: 1}})
		seen := map[string]bool{}
		for range 8 {
			w := serve(s, r)
			location := w.Header().Get("Location")
			to, err := r.URL.Parse(location)
			if err != nil || to.Host != "login.example.net" || to.Path != "/signin" {
				t.Fatalf("%s: to %s, %v", endpoint, location, err)
			}
			back, err := url.QueryUnescape(to.RawQuery)
			if err != nil || !strings.Contains(to.RawQuery+" "+back, r.URL.RawQuery) {
				t.Errorf("%s: %s does not repeat the query", endpoint, location)
			}
			seen[strconv.Itoa(w.Code)+location] = true
			if w.Code != 302 && w.Code != 307 {
				t.Errorf("%s: %d", endpoint, w.Code)
			}
		}
		if len(seen) != 4 {
			t.Errorf("%s: %v", endpoint, seen)
		}
		if c := s.Summary().Endpoints[endpoint]; c.Faults[Redirect] != 8 || c.Answered != 0 || c.Rejected != 0 {
			t.Errorf("%s: %+v", endpoint, c.Counts)
		}
	}
}

// elements returns the elements of the first array in a body that has records,
// byte by byte: what is in them need not be JSON.
func elements(body []byte) (found []string) {
	start := bytes.IndexByte(body, '[') + 1
	depth, quoted := 0, false
	from := start
	for i := start; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case depth == 0 && (c == ',' || c == ']'):
			if i > from {
				found = append(found, string(body[from:i]))
			}
			from = i + 1
			if c == ']' {
				return found
			}
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// kindOf says what is wrong with a poisoned element, "" for nothing.
func kindOf(element string) string {
	deep := strings.Count(element, "[") + strings.Count(element, `"a":{`) + strings.Count(element, `"deep":{`)
	switch {
	case element[0] == '"' && json.Valid([]byte(element)):
		return "string"
	case element == "null":
		return "null"
	case element[0] == '[' && json.Valid([]byte(element)):
		return "array"
	case element[0] != '{' && json.Valid([]byte(element)):
		return "number"
	case element[0] != '{' || element[len(element)-1] != '}':
		return ""
	case !utf8.ValidString(element):
		return "broken UTF-8"
	case strings.Contains(element, `\ud`):
		return "lone surrogate"
	case deep+1 >= poisonDepth:
		return "deep"
	case strings.Count(element, `"serial":`) == 2 || strings.Count(element, `"userId":`) == 2 || strings.Contains(element, `"b":1,"\u0062":2`):
		return "duplicate key"
	}
	return ""
}

func TestFaultPoison(t *testing.T) {
	for endpoint, r := range lists() {
		o := Options{Seed: 1, Backlog: 300}
		clean := elements(serve(build(t, o), r).Body.Bytes())
		o.Faults = Faults{Poison: 1}
		s, again := build(t, o), build(t, o)
		var served []string
		kinds, places, counts := map[string]int{}, map[int]bool{}, map[int]bool{}
		for range 120 {
			w := serve(s, r)
			if !bytes.Equal(w.Body.Bytes(), serve(again, r).Body.Bytes()) {
				t.Fatalf("%s: one seed, two poisons", endpoint)
			}
			left := clean
			n := 0
			for i, e := range elements(w.Body.Bytes()) {
				if len(left) > 0 && e == left[0] {
					left = left[1:]
					continue
				}
				kinds[kindOf(e)]++
				served = append(served, e)
				places[i] = true
				n++
			}
			counts[n] = true
			if len(left) > 0 || w.Code != 200 {
				t.Fatalf("%s: %d, %d records of %d are missing", endpoint, w.Code, len(left), len(clean))
			}
		}
		if len(kinds) != 8 || kinds[""] > 0 || len(places) < 30 || len(counts) != 3 || counts[0] || counts[4] {
			t.Errorf("%s: poison of kinds %v in %d places, %v in an answer", endpoint, kinds, len(places), counts)
		}
		checkPoisonAccount(t, s, endpoint, served)
		if c := s.Summary().Endpoints[endpoint]; c.Answered != 120 || c.Served != int64(120*len(clean)) || c.Faults[Poison] != 120 {
			t.Errorf("%s: %+v", endpoint, c.Counts)
		}
		slices.Sort(served)
		if unique := len(slices.Compact(served)); unique != len(served)-kinds["null"]+1 {
			t.Errorf("%s: %d different elements", endpoint, unique)
		}
	}
}

// checkPoisonAccount compares what was served with the account, here and over HTTP.
func checkPoisonAccount(t *testing.T, s *Simulator, endpoint string, served []string) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	account, err := ReadAccount(t.Context(), server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for from, a := range map[string]Account{"HTTP": account, "Account": s.Account()} {
		var got []string
		for _, p := range a.Endpoints[endpoint].Poison {
			got = append(got, string(p))
		}
		if !slices.Equal(got, served) {
			t.Errorf("%s: %d elements by %s, %d were served", endpoint, len(got), from, len(served))
		}
	}
	summary, err := ReadSummary(t.Context(), server.Client(), server.URL)
	if err != nil || summary.Endpoints[endpoint].Poison != nil || s.Summary().Endpoints[endpoint].Poison != nil {
		t.Errorf("%s: a summary with poison, %v", endpoint, err)
	}
}

func TestPoisonIsInEmptyListsAndNotInRefusals(t *testing.T) {
	s := build(t, Options{Seed: 1, Faults: Faults{Poison: 1}})
	for endpoint, r := range lists() {
		w := serve(s, r)
		if n := len(elements(w.Body.Bytes())); n == 0 || n != len(s.Account().Endpoints[endpoint].Poison) {
			t.Errorf("%s: %d elements in an empty list", endpoint, n)
		}
	}
	for endpoint, r := range map[string]*http.Request{
		"deepconverse/conversations": request(conversationsPath, always().without("bot_name")),
		"feedyou/nlpLog":             exportRequest("nlpLog", params{"fromTimestamp": "x"}),
	} {
		w := serve(s, r)
		if e := s.Account().Endpoints[endpoint]; w.Code != 400 || !json.Valid(w.Body.Bytes()) || e.Poison != nil || e.Rejected != 1 {
			t.Errorf("%s: %d %.100s", endpoint, w.Code, w.Body)
		}
	}
}

func TestPoisonThatWasNotReadIsNotInTheAccount(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 300, Faults: Faults{Poison: 1}})
	for range 20 {
		s.ServeHTTP(broken{}, exportRequest("urlTracker", nil))
	}
	if e := s.Account().Endpoints["feedyou/urlTracker"]; len(e.Poison) != 0 || e.Answered != 0 || e.Faults[Poison] != 20 {
		t.Errorf("%d elements, %+v", len(e.Poison), e.Counts)
	}
}

// broken is a response whose client is gone.
type broken struct{}

func (broken) Header() http.Header       { return http.Header{} }
func (broken) WriteHeader(int)           {}
func (broken) Write([]byte) (int, error) { return 0, http.ErrHandlerTimeout }

func TestPut(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 200})
	at := noon.Add(-24*time.Hour + 500*time.Millisecond)
	edge := exported(at, at.Add(time.Second))
	for _, stream := range feedyouNames[1:] {
		before := len(export(t, s, stream, nil))
		raw := `{"url":"https://x.example/","put":"` + stream + "\u2028\"}"
		if err := s.Put("feedyou/"+stream, at, []byte(raw), 3); err != nil {
			t.Fatal(err)
		}
		rows := export(t, s, stream, edge)
		rows = slices.DeleteFunc(rows, func(r string) bool { return r != raw })
		var found []Record
		for _, r := range accounted(s, stream) {
			if r.Time.Equal(at) {
				found = append(found, r)
			}
		}
		want := Record{Time: at, SHA256: hashes("", []string{raw})[0]}
		if len(rows) != 3 || len(export(t, s, stream, nil)) != before+3 || fmt.Sprint(found) != fmt.Sprint([]Record{want, want, want}) {
			t.Errorf("%s: %d rows, the account has %+v", stream, len(rows), found)
		}
	}
	if err := s.Put("feedyou/nlpLog", at, []byte("\xff"), 1); err != nil {
		t.Error(err)
	}
	if w := serve(s, exportRequest("nlpLog", edge)); !strings.Contains(w.Body.String(), ",\xff]") {
		t.Errorf("bytes that are no JSON: %s", w.Body)
	}
	for name, c := range map[string]struct {
		endpoint, raw string
		copies        int
	}{
		"no such": {"feedyou/nothing", "{}", 1}, "users": {"feedyou/userData", "{}", 1},
		"another vendor": {"deepconverse/messages", "{}", 1}, "empty": {"feedyou/nlpLog", "", 1}, "none": {"feedyou/nlpLog", "{}", 0},
	} {
		if err := s.Put(c.endpoint, at, []byte(c.raw), c.copies); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPutOverHTTP(t *testing.T) {
	s := build(t, Options{Seed: 1})
	at := noon.Add(-time.Hour)
	put := func(query, body string) *httptest.ResponseRecorder {
		return serve(s, httptest.NewRequest(http.MethodPost, "/_sim/put?"+query, strings.NewReader(body)))
	}
	good := fmt.Sprintf("endpoint=feedyou/urlTracker&at=%d", at.UnixMilli())
	for query, want := range map[string]int{
		good: 200, good + "&copies=3": 200, good + "&copies=x": 400, good + "&copies=0": 400,
		"endpoint=feedyou/urlTracker": 400, "endpoint=feedyou/userData&at=1": 400, "at=1": 400,
	} {
		if w := put(query, `{"url":"x"}`); w.Code != want || want == 400 && w.Body.Len() == 0 {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	if got := export(t, s, "urlTracker", exported(at, at.Add(time.Second))); len(got) != 4 || got[0] != `{"url":"x"}` {
		t.Errorf("%q", got)
	}
}

// What is put while others read and the world goes on tears nothing.
func TestPutWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := build(t, Options{Seed: 1, Backlog: 200, Rate: 100, Identical: 0.2, Faults: Faults{Poison: 0.2}, Now: time.Now})
		s.start()
		var busy sync.WaitGroup
		for i := range 4 {
			busy.Go(func() {
				for n := range 25 {
					if err := s.Put("feedyou/nlpLog", time.Now().Add(-time.Duration(n)*time.Minute), []byte(`{"put":`+strconv.Itoa(i*25+n)+`}`), 2); err != nil {
						t.Error(err)
					}
					rows := elements(serve(s, exportRequest("nlpLog", nil)).Body.Bytes())
					if n := strings.Count(strings.Join(rows, ""), `{"put":`); n%2 != 0 || n == 0 {
						t.Errorf("%d rows that come in pairs", n)
					}
					s.Account()
					<-time.After(50 * time.Millisecond)
				}
			})
		}
		busy.Wait()
		if n := strings.Count(strings.Join(elements(serve(s, exportRequest("nlpLog", nil)).Body.Bytes()), ""), `{"put":`); n != 200 {
			t.Errorf("%d of 200 rows", n)
		}
	})
}
