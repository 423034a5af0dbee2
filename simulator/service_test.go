package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheFourthRequestOfAnySecondIsRefused(t *testing.T) {
	c := newClock()
	s := build(t, Options{Seed: 1, Backlog: 10, Limit: DefaultLimit, Now: c.Now})
	for i, step := range []struct {
		wait time.Duration
		want int
	}{
		{0, 200}, {400 * time.Millisecond, 200}, {500 * time.Millisecond, 200},
		{99 * time.Millisecond, 429}, // 999 ms after the first
		{time.Millisecond, 200},      // the first is a second ago
		{399 * time.Millisecond, 429}, {time.Millisecond, 200}, {0, 429},
	} {
		c.add(step.wait)
		w := serve(s, request(messagesPath, always()))
		if w.Code != step.want {
			t.Errorf("request %d: %d, want %d", i, w.Code, step.want)
		}
		if w.Code == 429 && w.Header().Get("Retry-After") != "1" {
			t.Errorf("request %d: Retry-After is %q", i, w.Header().Get("Retry-After"))
		}
	}
	if w := serve(s, request(conversationsPath, always())); w.Code != 200 {
		t.Errorf("another endpoint: %d", w.Code)
	}
	wrong := request(messagesPath, always())
	wrong.Header.Set("x-api-key", "wrong")
	if w := serve(s, wrong); w.Code != 401 {
		t.Errorf("a wrong key beyond the limit: %d", w.Code)
	}
	got := s.Summary().Endpoints["deepconverse/messages"].Counts
	if got.Requests != 9 || got.Answered != 5 || got.Refused != 3 || got.Rejected != 1 {
		t.Errorf("counts are %+v", got)
	}
}

func TestLatencyAndConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := build(t, Options{Seed: 1, Backlog: 10, Latency: 3 * time.Second, Now: time.Now})
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { serve(s, request(messagesPath, always())) })
		}
		wg.Wait()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("four answers at once took %v", took)
		}
		if a := s.Summary(); a.MaxConcurrent != 4 || a.Endpoints["deepconverse/messages"].MaxConcurrent != 4 {
			t.Errorf("%d requests at once", a.MaxConcurrent)
		}
	})
}

func TestParseFaults(t *testing.T) {
	got, err := ParseFaults(" 429=0.05, slow=0.5,reset=0 ")
	if err != nil || got[TooMany] != 0.05 || got[Slow] != 0.5 || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
	if again, err := ParseFaults(got.String()); err != nil || again.String() != got.String() {
		t.Errorf("%v, %v", again, err)
	}
	for text, says := range map[string]string{
		"404=0.5": `valid are ["429" "500" "reset" "truncate" "slow" "html" "redirect" "poison"]`, "429": "KIND=PROBABILITY",
		"429=often": "KIND=PROBABILITY", "429=2": "0 to 1", "429=-1": "0 to 1", "429=NaN": "0 to 1",
		"429=0.6,500=0.6": "must not exceed 1", "429=0.1,429=0.2": "twice",
	} {
		if _, err := ParseFaults(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// faulty returns a served simulator whose every request has a fault, and a
// client that does not try again by itself.
func faulty(t *testing.T, fault Fault) (*Simulator, func() (*http.Response, []byte, error)) {
	s := build(t, Options{Seed: 1, Backlog: 1000, Faults: Faults{fault: 1}})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableKeepAlives: true}
	return s, func() (*http.Response, []byte, error) {
		r := request(messagesPath, always())
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+r.URL.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("x-api-key", DefaultAPIKey)
		response, err := transport.RoundTrip(r)
		if err != nil {
			return nil, nil, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response, body, err
	}
}

func TestFaultTooMany(t *testing.T) {
	_, ask := faulty(t, TooMany)
	for _, want := range []string{"1", noon.Add(2 * time.Second).Format(http.TimeFormat)} {
		response, _, err := ask()
		if err != nil || response.StatusCode != 429 || response.Header.Get("Retry-After") != want {
			t.Errorf("%+v, %v", response, err)
		}
	}
}

func TestFaultBroken(t *testing.T) {
	_, ask := faulty(t, Broken)
	for _, want := range []int{500, 502, 503} {
		response, body, err := ask()
		if err != nil || response.StatusCode != want || response.Header.Get("Content-Type") != "text/html" || !bytes.HasPrefix(body, []byte("<html>")) {
			t.Errorf("%+v, %v", response, err)
		}
	}
}

func TestFaultReset(t *testing.T) {
	_, ask := faulty(t, Reset)
	for i := range 6 {
		response, body, err := ask()
		if err == nil {
			t.Errorf("request %d: %d with %d bytes, want an error", i, response.StatusCode, len(body))
		}
		if i%2 == 0 && response != nil {
			t.Errorf("request %d: an answer before the reset", i)
		}
	}
}

func TestFaultTruncated(t *testing.T) {
	_, ask := faulty(t, Truncated)
	for range 6 {
		response, body, err := ask()
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("%+v, %v", response, err)
		}
		if json.Valid(body) || len(body) > 0 && body[0] != '{' {
			t.Errorf("%d bytes that are JSON, or none at all", len(body))
		}
	}
}

func TestFaultSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := build(t, Options{Seed: 1, Backlog: 1000, Faults: Faults{Slow: 1}, Now: time.Now})
		start := time.Now()
		w := serve(s, request(messagesPath, always().with("end_time", "9999999999")))
		if took := time.Since(start); took != dribblePieces*dribblePause {
			t.Errorf("it took %v", took)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Error("a slow answer is not whole")
		}
	})
}

// A client that tries again until it has an answer finds everything, whatever
// happens on the way, and the account says what happened.
func TestFaultsLoseNothing(t *testing.T) {
	s := build(t, Options{Seed: 9, Backlog: 2000})
	want := all(t, s, messagesPath)
	if err := s.SetFaults(Faults{TooMany: 0.2, Broken: 0.2, Truncated: 0.2, Reset: 0.2}); err != nil {
		t.Fatal(err)
	}
	var got []string
	failed := 0
	p := always().with("per_page", "20")
	for {
		next, ok := try(s, request(messagesPath, p))
		if !ok {
			failed++
			continue
		}
		for _, r := range next.Data {
			got = append(got, string(r))
		}
		if next.Cursor == nil {
			break
		}
		p = p.with("cursor", *next.Cursor)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	counts := s.Summary().Endpoints["deepconverse/messages"]
	sum := 0
	for _, n := range counts.Faults {
		sum += n
	}
	if len(counts.Faults) != 4 || sum != failed || counts.Answered != 102 || counts.Requests != 102+failed {
		t.Errorf("%d requests failed, counts are %+v", failed, counts.Counts)
	}
}

// try asks once, and takes a torn connection for a failure.
func try(s *Simulator, r *http.Request) (got page, ok bool) {
	defer func() {
		if err, _ := recover().(error); err != nil && !errors.Is(err, http.ErrAbortHandler) {
			panic(err)
		}
	}()
	w := serve(s, r)
	return got, w.Code == 200 && json.Unmarshal(w.Body.Bytes(), &got) == nil
}

func TestControl(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 1, Rate: 1, Now: c.Now})
	post := func(path, body string) *httptest.ResponseRecorder {
		return serve(s, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	}
	if w := post("/_sim/faults", "500=1"); w.Code != 200 {
		t.Errorf("faults: %d %s", w.Code, w.Body)
	}
	if w := serve(s, request(messagesPath, always())); w.Code != 500 {
		t.Errorf("after the faults were set: %d", w.Code)
	}
	if w := post("/_sim/faults", "5000=1"); w.Code != 400 || !strings.Contains(w.Body.String(), "valid are") {
		t.Errorf("an unknown fault: %d %s", w.Code, w.Body)
	}
	if err := s.SetFaults(Faults{"x": 1}); err == nil {
		t.Error("SetFaults takes an unknown fault")
	}
	post("/_sim/faults", "")
	post("/_sim/pause", "")
	c.add(time.Minute)
	if n := len(all(t, s, messagesPath)); n != 0 {
		t.Errorf("%d messages in the pause", n)
	}
	post("/_sim/resume", "")
	c.add(time.Minute)
	if n := len(all(t, s, messagesPath)); n != 60 {
		t.Errorf("%d messages a minute after the pause", n)
	}
}

func TestTheAccountIsWhatThePagesGive(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 6, Backlog: 500, Rate: 20, LateShare: 0.1, Limit: DefaultLimit, Now: c.Now})
	c.add(time.Minute)
	server := httptest.NewServer(s)
	defer server.Close()
	client := server.Client()
	account, err := ReadAccount(t.Context(), client, server.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"deepconverse/messages": messagesPath, "deepconverse/conversations": conversationsPath} {
		records := all(t, s, path)
		listed := account.Endpoints[name].Records
		if len(listed) != len(records) || account.Endpoints[name].Visible != len(records) {
			t.Fatalf("%s: %d in the account, %d in pages", name, len(listed), len(records))
		}
		for i, id := range ids(t, records) {
			r := &record{raw: []byte(records[i])}
			if listed[i].ID != id || listed[i].SHA256 != r.account().SHA256 {
				t.Fatalf("%s: record %d is %+v in the account, %s in a page", name, i, listed[i], records[i])
			}
			if name == "deepconverse/conversations" && string(listed[i].Raw) != records[i] {
				t.Fatalf("%s: the account's raw is not the page's", id)
			}
		}
	}
	summary, err := ReadSummary(t.Context(), client, server.URL)
	if err != nil || summary.Endpoints["deepconverse/messages"].Visible != 500+60*20-len(s.world.pendingLate()) {
		t.Errorf("%+v, %v", summary, err)
	}
	client.CloseIdleConnections()
}

// pendingLate returns the messages that were produced and cannot be seen yet.
func (w *world) pendingLate() (late []*message) {
	for _, p := range w.pending {
		if p.late != nil {
			late = append(late, p.late)
		}
	}
	return late
}

func TestAnAccountThatIsCutIsAnError(t *testing.T) {
	var body bytes.Buffer
	s := build(t, Options{Seed: 6, Backlog: 50})
	serve(s, httptest.NewRequest(http.MethodGet, "/_sim/account", nil)).Body.WriteTo(&body)
	for name, handler := range map[string]http.HandlerFunc{
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Write(body.Bytes()[:bytes.LastIndexByte(body.Bytes()[:body.Len()-1], '\n')+1])
		},
		"missing": http.NotFound,
	} {
		server := httptest.NewServer(handler)
		if _, err := ReadAccount(context.Background(), server.Client(), server.URL); err == nil {
			t.Errorf("%s: no error", name)
		}
		server.Close()
	}
}
