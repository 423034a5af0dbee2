package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const exportPath = "/api/management/export/"

// exported returns the parameters of a request for the seconds from and to.
func exported(from, to time.Time) params {
	return params{"fromTimestamp": strconv.FormatInt(from.Unix(), 10), "toTimestamp": strconv.FormatInt(to.Unix(), 10)}
}

func exportRequest(stream string, p params) *http.Request {
	r := request(exportPath+stream, p)
	r.Header.Del("x-api-key")
	r.Header.Set("x-functions-key", DefaultAPIKey)
	return r
}

// export returns the rows that a request gets.
func export(t testing.TB, s *Simulator, stream string, p params) []string {
	t.Helper()
	w := serve(s, exportRequest(stream, p))
	var rows []json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &rows); w.Code != 200 || err != nil || rows == nil {
		t.Fatalf("%s %v: %d, %v: %.200s", stream, p, w.Code, err, w.Body)
	}
	texts := make([]string, len(rows))
	for i, r := range rows {
		texts[i] = string(r)
	}
	return texts
}

// accounted returns the records of a stream by the account.
func accounted(s *Simulator, stream string) []Record {
	return s.Account().Endpoints["feedyou/"+stream].Records
}

// hashes returns what the account should have of rows.
func hashes(stream string, rows []string) []string {
	found := make([]string, len(rows))
	for i, r := range rows {
		if stream == "integrationLog" {
			r = masked(r)
		}
		sum := sha256.Sum256([]byte(r))
		found[i] = hex.EncodeToString(sum[:])
	}
	return found
}

func hashesOf(records []Record) []string {
	found := make([]string, len(records))
	for i, r := range records {
		found[i] = r.SHA256
	}
	return found
}

// belongs says by the definition whether a time is inside bounds.
func belongs(b Bounds, at, from, to time.Time) bool {
	inside := at.After(from) && at.Before(to)
	switch b {
	case HalfOpen:
		return inside || at.Equal(from) && from.Before(to)
	case OpenStart:
		return inside || at.Equal(to) && from.Before(to)
	case Inclusive:
		return inside || at.Equal(from) || at.Equal(to)
	default:
		return inside
	}
}

func TestFeedyouWindowsHoldWhatTheAccountSays(t *testing.T) {
	for _, bounds := range allBounds {
		s := build(t, Options{Seed: 2, Backlog: 700, Span: 10 * time.Minute, Identical: 0.1, Bounds: bounds})
		for _, stream := range feedyouNames {
			if stream != "userData" {
				for _, at := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
					if err := s.Put("feedyou/"+stream, noon.Add(-415*time.Second+at), []byte(`{"put":1}`), 2); err != nil {
						t.Fatal(err)
					}
				}
			}
			records := accounted(s, stream)
			if all := export(t, s, stream, nil); !slices.Equal(hashes(stream, all), hashesOf(records)) {
				t.Errorf("%s: %d rows without bounds, %d in the account", stream, len(all), len(records))
			}
			edges, overlapped := 0, map[string]int{}
			for from := noon.Add(-11 * time.Minute); from.Before(noon.Add(time.Minute)); from = from.Add(7 * time.Second) {
				to := from.Add(7 * time.Second)
				var want []string
				for _, r := range records {
					if belongs(bounds, r.Time, from, to) {
						want = append(want, r.SHA256)
					}
					if r.Time.Equal(from) {
						edges++
					}
				}
				if got := hashes(stream, export(t, s, stream, exported(from, to))); !slices.Equal(got, want) {
					t.Fatalf("%s %s: %d rows from %v, want %d", bounds, stream, len(got), from, len(want))
				}
				for _, h := range hashes(stream, export(t, s, stream, exported(from.Add(-time.Second), to.Add(time.Second)))) {
					overlapped[h]++
				}
			}
			if edges == 0 {
				t.Errorf("%s: no row at the edge of a window: the test shows nothing", stream)
			}
			for _, r := range records {
				if overlapped[r.SHA256] == 0 {
					t.Errorf("%s %s: windows that overlap by a second have no %+v", bounds, stream, r)
				}
			}
		}
	}
}

func TestOneBoundOfFeedyouIsEnough(t *testing.T) {
	s := build(t, Options{Seed: 2, Backlog: 500})
	middle := noon.Add(-DefaultSpan / 2)
	for _, stream := range feedyouNames {
		all := export(t, s, stream, nil)
		before := export(t, s, stream, exported(middle, middle).without("fromTimestamp"))
		after := export(t, s, stream, exported(middle, middle).without("toTimestamp"))
		if len(before) == 0 || len(after) == 0 || !slices.Equal(append(before, after...), all) {
			t.Errorf("%s: %d rows before, %d after, %d in all", stream, len(before), len(after), len(all))
		}
	}
}

func TestFeedyouRefusals(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 100})
	for name, c := range map[string]struct {
		header, code string
		params       params
		want         int
		says         string
	}{
		"right header":    {DefaultAPIKey, "", nil, 200, "["},
		"right code":      {"", DefaultAPIKey, nil, 200, "["},
		"no key":          {"", "", nil, 401, ""},
		"wrong header":    {"demo", "", nil, 401, ""},
		"wrong code":      {"", "demo", nil, 401, ""},
		"other vendor's":  {"basic-plan", "", nil, 401, ""},
		"text for a time": {DefaultAPIKey, "", params{"fromTimestamp": "2026-03-04"}, 400, "fromTimestamp must be"},
		"milliseconds":    {DefaultAPIKey, "", params{"toTimestamp": "1772625600000"}, 400, "toTimestamp must be"},
		"a fraction":      {DefaultAPIKey, "", params{"toTimestamp": "1772625600.5"}, 400, "toTimestamp must be"},
		"nothing":         {DefaultAPIKey, "", params{"fromTimestamp": ""}, 400, "fromTimestamp must be"},
		"backwards":       {DefaultAPIKey, "", params{"fromTimestamp": "2", "toTimestamp": "1"}, 400, "after"},
	} {
		for _, stream := range feedyouNames {
			p := params{}
			maps.Copy(p, c.params)
			if c.code != "" {
				p["code"] = c.code
			}
			r := exportRequest(stream, p)
			r.Header.Set("x-functions-key", c.header)
			w := serve(s, r)
			if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) || c.want == 401 && w.Body.Len() > 0 {
				t.Errorf("%s, %s: %d %.100s, want %d with %q", name, stream, w.Code, w.Body, c.want, c.says)
			}
		}
	}
}

func TestAnOldBotHasUserDataOnly(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 100, OldBot: true})
	for _, stream := range feedyouNames {
		want := 404
		if stream == "userData" {
			want = 200
		}
		if w := serve(s, exportRequest(stream, nil)); w.Code != want {
			t.Errorf("%s: %d, want %d", stream, w.Code, want)
		}
	}
}

func TestFeedyouHasAboutARecordForEachMessage(t *testing.T) {
	const messages = 20_000
	s := build(t, Options{Seed: 1, Backlog: messages})
	sum := 0
	for _, stream := range feedyouNames {
		n := s.Summary().Endpoints["feedyou/"+stream].Visible
		if n < messages/20 {
			t.Errorf("%s has %d records", stream, n)
		}
		sum += n
	}
	if sum < messages*8/10 || sum > messages*13/10 {
		t.Errorf("%d records of %d messages", sum, messages)
	}
}

func TestFeedyouRowsHaveTheDocumentedFields(t *testing.T) {
	documented := map[string][]string{
		"userData":               {"userId", "timestamp"},
		"userDataSnapshot":       {"userId", "timestamp"},
		"nlpLog":                 {"result", "processed"},
		"outgoingEmail":          {"userId", "timestamp", "body", "from", "recipients", "replyTo", "stepId", "subject"},
		"outgoingSms":            {"channel", "link", "message", "provider", "recipients"},
		"fuzzyQuestionAnswerLog": {"userId", "timestamp", "intent", "score", "text", "stepId", "dialogId", "matched", "otherClassifications"},
		"integrationLog":         {"userId", "timestamp", "url", "method", "requestBody", "requestHeaders", "responseStatus", "responseBody", "duration"},
		"urlTracker":             {"domain", "url"},
	}
	for _, timestamped := range []bool{false, true} {
		s := build(t, Options{Seed: 1, Backlog: 3000, Timestamped: timestamped})
		for _, stream := range feedyouNames {
			untimed := slices.Contains([]string{"nlpLog", "outgoingSms", "urlTracker"}, stream)
			records := accounted(s, stream)
			for i, text := range export(t, s, stream, nil) {
				var row map[string]any
				if err := json.Unmarshal([]byte(text), &row); err != nil {
					t.Fatalf("%v: %s", err, text)
				}
				for _, field := range documented[stream] {
					if _, ok := row[field]; !ok {
						t.Fatalf("%s: no %s: %s", stream, field, text)
					}
				}
				user, _ := row["userId"].(string)
				if untimed && !timestamped && len(row) != len(documented[stream]) {
					t.Fatalf("%s: more than is documented: %s", stream, text)
				}
				if _, ok := row["timestamp"]; ok != (!untimed || timestamped) || ok != (user != "") {
					t.Fatalf("%s: a time and a user, or none: %s", stream, text)
				}
				if r := records[i]; r.Key != user || (r.ID != "") != (stream == "userData") || (r.Raw != nil) != (r.ID != "") {
					t.Fatalf("%s: the account has %+v of %s", stream, r, text)
				}
			}
		}
	}
}

func TestFeedyouRowsComeInAllForms(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 3000})
	for stream, samples := range map[string][]string{
		"outgoingEmail": {`"timestamp":177`, `"timestamp":"177`, `Z","body"`, `000Z","body"`, `+01:00","body"`, `"recipients":["`,
			`net, team@`, `net;team@`, `net","team@`, `"replyTo":null`, `"subject":null`, `"experiments":`, `\u`},
		"integrationLog": {`"requestHeaders":{"`, `"requestHeaders":[["`, `"requestHeaders":"{\"`, `"requestHeaders":"[[`,
			`json\n`, `json\r\n`, `"requestBody":{`, `"requestBody":"{\"`, `"requestBody":null`, `"requestBody":"OK`,
			`"responseBody":[`, `"responseBody":"`, `"responseBody":null`, `"responseStatus":"200"`, `00417-B`, `svc-bot:`,
			`"Authorization":"Bearer s3`, `api_key=s3`, `&session_token=s3`},
		"userData":    {`"gender":"male"`, `"gender":null`, `"phone":""`, `"address":{`, `"orders":[{`, `"lastText":`},
		"outgoingSms": {`"recipients":["+420`, `"link":null`},
		"nlpLog":      {`"result":{`, `"result":"none"`, `"result":null`},
	} {
		text := strings.Join(export(t, s, stream, nil), "\n")
		for _, sample := range samples {
			if !strings.Contains(text, sample) {
				t.Errorf("no row of %s has %s", stream, sample)
			}
		}
	}
}

func TestRowsWithoutATimeRepeatHoursApart(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 3000})
	for _, stream := range []string{"nlpLog", "outgoingSms", "urlTracker"} {
		first, apart := map[string]time.Time{}, 0
		for _, r := range accounted(s, stream) {
			if at, ok := first[r.SHA256]; !ok {
				first[r.SHA256] = r.Time
			} else if r.Time.Sub(at) > 2*time.Hour {
				apart++
			}
		}
		if apart == 0 {
			t.Errorf("%s: no row comes again hours later", stream)
		}
	}
}

func TestIdenticalRowsComeInCopies(t *testing.T) {
	o := Options{Seed: 3, Backlog: 2000, Timestamped: true}
	single := build(t, o)
	o.Identical = 0.25
	s := build(t, o)
	for _, stream := range feedyouNames {
		times := map[string]map[time.Time]int{} // how often a row is there
		counts := map[int]int{}
		for _, r := range accounted(s, stream) {
			if times[r.SHA256] == nil {
				times[r.SHA256] = map[time.Time]int{}
			}
			times[r.SHA256][r.Time]++
		}
		for _, at := range times {
			for _, n := range at {
				counts[n]++
			}
		}
		if stream == "userData" {
			if len(counts) != 1 {
				t.Errorf("users are there twice: %v", counts)
			}
			continue
		}
		repeated := counts[2] + counts[3] + counts[4]
		share := float64(repeated) / float64(repeated+counts[1])
		if counts[2] == 0 || counts[3] == 0 || counts[4] == 0 || share < 0.15 || share > 0.35 {
			t.Errorf("%s: %v", stream, counts)
		}
		if want := len(slices.Compact(hashesOf(accounted(single, stream)))); len(times) > want {
			t.Errorf("%s: %d different rows with copies, %d without", stream, len(times), want)
		}
	}
}

func TestUnsortedAnswersAreInAnOrderOfTheirOwn(t *testing.T) {
	o := Options{Seed: 3, Backlog: 1000}
	sorted := build(t, o)
	o.Unsorted = true
	a, b := build(t, o), build(t, o)
	for _, stream := range feedyouNames {
		rows := export(t, a, stream, nil)
		if !slices.Equal(rows, export(t, b, stream, nil)) {
			t.Errorf("%s: one request, two orders", stream)
		}
		other := export(t, a, stream, params{"fromTimestamp": "0"})
		in := export(t, sorted, stream, nil)
		if slices.Equal(rows, in) || slices.Equal(rows, other) {
			t.Errorf("%s: the order is the same for all", stream)
		}
		for _, rows := range [][]string{rows, other, in} {
			slices.Sort(rows)
		}
		if !slices.Equal(rows, in) || !slices.Equal(other, in) {
			t.Errorf("%s: %d rows, %d in order", stream, len(rows), len(in))
		}
		if !slices.IsSortedFunc(accounted(a, stream), func(x, y Record) int { return x.Time.Compare(y.Time) }) {
			t.Errorf("%s: the account is in no order", stream)
		}
	}
}

func TestFeedyouDependsOnTheSeedOnly(t *testing.T) {
	grow := func(seed uint64, steps ...time.Duration) string {
		c := newClock()
		s := live(t, Options{Seed: seed, Backlog: 200, Rate: 40, LateShare: 0.2, LateBy: 3 * time.Second, Identical: 0.1, Now: c.Now})
		for _, step := range steps {
			c.add(step)
			s.catchUp(c.Now())
		}
		text := ""
		for _, stream := range feedyouNames {
			text += fmt.Sprintln(stream, export(t, s, stream, nil), accounted(s, stream))
		}
		return text
	}
	one := grow(3, time.Minute)
	if one != grow(3, slices.Repeat([]time.Duration{100 * time.Millisecond}, 600)...) {
		t.Error("one step and many small steps give different worlds")
	}
	if one == grow(4, time.Minute) {
		t.Error("two seeds give one world")
	}
}

func TestFeedyouOptionsAreChecked(t *testing.T) {
	for says, o := range map[string]Options{
		"Identical": {Identical: 1.5}, `"open-start"`: {Bounds: "closed"}, "poison": {Faults: Faults{"poisson": 0.1}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", o, err, says)
		}
	}
}
