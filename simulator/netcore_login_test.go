package simulator

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestNetcoreLoginsDiffer(t *testing.T) {
	c := newClock()
	s := build(t, Options{Seed: 1, TokenLife: 10 * time.Minute, Now: c.Now})
	until, names, forms := noon.Add(10*time.Minute), map[string]int{}, map[string]bool{}
	tokens := map[string]bool{}
	for range 30 {
		got, token := login(t, s)
		tokens[token] = true
		for _, name := range []string{"expiresAt", "expireAt"} {
			if value := got[name]; value != nil {
				names[name]++
				forms[string(value)] = true
				if at := shown(t, string(value)); !at.Equal(until) {
					t.Errorf("%s is %v, want %v", name, at, until)
				}
			}
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("the token is %s", token)
		}
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		var claim struct{ Exp int64 }
		if err != nil || json.Unmarshal(claims, &claim) != nil || claim.Exp != until.Unix() {
			t.Errorf("the token says %s, %v", claims, err)
		}
	}
	if names["expiresAt"] != 10 || names["expireAt"] != 10 || len(forms) < 4 || len(tokens) != 30 {
		t.Errorf("%v, %d forms, %d tokens", names, len(forms), len(tokens))
	}
}

func TestNetcoreRefusesLogins(t *testing.T) {
	s := build(t, Options{Seed: 1, AppID: "shop", APIKey: "s"})
	for body, want := range map[string]int{
		`{"appId":"shop","appSecret":"s"}`: 200, `{"appId":"shop","appSecret":"x"}`: 409, `{"appId":"x","appSecret":"s"}`: 409,
		`{"appId":"shop"}`: 400, `{"appId":1,"appSecret":"s"}`: 400, `appId=shop`: 400, ``: 400, `[]`: 400,
		`{"appId":"` + strings.Repeat("x", maxBody) + `"}`: 400,
	} {
		if w := serve(s, loginRequest(body)); w.Code != want {
			t.Errorf("%.60s: %d, want %d", body, w.Code, want)
		}
	}
	if c := s.Summary().Endpoints["netcore/login"].Counts; c.Requests != 9 || c.Answered != 1 || c.Rejected != 8 {
		t.Errorf("%+v", c)
	}
}

func TestNetcoreTokensEnd(t *testing.T) {
	c := newClock()
	s := build(t, Options{Seed: 1, TokenLife: time.Minute, Now: c.Now})
	status := func(authorization string) int {
		return serve(s, netcoreRequest(authorization, http.MethodGet, "/botUsage?monthDate=2026-03-01&channelId=1014", nil)).Code
	}
	_, first := login(t, s)
	c.add(30 * time.Second)
	_, second := login(t, s)
	for authorization, want := range map[string]int{
		first: 200, second: 200, "Bearer " + first: 401, "": 401, first + "x": 401, DefaultAPIKey: 401,
	} {
		if got := status(authorization); got != want {
			t.Errorf("%s: %d, want %d", authorization, got, want)
		}
	}
	c.add(30*time.Second - time.Millisecond)
	if got := status(first); got != 200 {
		t.Errorf("at its last moment: %d", got)
	}
	c.add(time.Millisecond)
	if one, two := status(first), status(second); one != 401 || two != 200 {
		t.Errorf("after a minute: %d, the later one %d", one, two)
	}
	s.EndTokens()
	if got := status(second); got != 401 {
		t.Errorf("after the end of all: %d", got)
	}
	_, third := login(t, s)
	if w := serve(s, httptest.NewRequest(http.MethodPost, "/_sim/logout", nil)); w.Code != 200 || status(third) != 401 {
		t.Errorf("%d, then %d", w.Code, status(third))
	}
	for _, r := range []*http.Request{
		netcoreRequest("x", http.MethodPost, "/users", everything(nil)),
		netcoreRequest("x", http.MethodPost, "/transcripts", everything(nil)),
		netcoreRequest("x", http.MethodGet, "/userData/1", nil),
	} {
		if w := serve(s, r); w.Code != 401 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %s", r.URL, w.Code, w.Body)
		}
	}
}

func TestNetcoreRefusesRequests(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 100})
	small := build(t, Options{Seed: 1, NetcoreSmallPages: true})
	_, token := login(t, s)
	_, other := login(t, small)
	channels, one := fields{"channelIds": allChannels}, fields{"channelId": whatsapp}
	for _, c := range []struct {
		small  bool
		target string
		body   any
		want   int
		says   string
	}{
		{false, "/users", everything(channels), 200, ""}, {false, "/users?limit=25&page=9", everything(channels), 200, ""},
		{false, "/users?limit=1000", channels, 200, ""}, {false, "/users?page=0", everything(channels), 400, "page"},
		{false, "/users?page=x", everything(channels), 400, "page"}, {false, "/users?limit=24", everything(channels), 400, "limit"},
		{false, "/users?limit=1001", everything(channels), 400, "limit"}, {true, "/users?limit=51", everything(channels), 400, "limit"},
		{true, "/users?limit=50", everything(channels), 200, ""}, {true, "/transcripts?limit=1000", one, 200, ""},
		{false, "/users", everything(nil), 500, "Cannot read properties of undefined (reading 'forEach')"},
		{false, "/users", fields{"channelIds": nil}, 500, "properties of null"}, {false, "/users", fields{"channelIds": "1014"}, 400, "channelIds"},
		{false, "/users", everything(fields{"channelIds": allChannels, "startDate": "yesterday"}), 400, "startDate"},
		{false, "/users", everything(fields{"channelIds": allChannels, "endDate": "2020-01-01T00:00:00Z"}), 400, "after"},
		{false, "/users", []int{}, 400, "body"}, {false, "/transcripts", everything(one), 200, ""}, {false, "/transcripts", one, 200, ""},
		{false, "/transcripts", everything(nil), 400, "channelId"}, {false, "/transcripts?limit=24", one, 400, "limit"},
		{false, "/transcripts?page=-1", one, 400, "page"}, {false, "/transcripts", everything(fields{"channelId": "1014"}), 400, "body"},
		{false, "/transcripts", fields{"channelId": whatsapp, "startDate": noon.AddDate(0, 0, -92)}, 200, ""},
		{false, "/transcripts", fields{"channelId": whatsapp, "startDate": noon.AddDate(0, 0, -92).Add(-time.Millisecond)}, 400, "3 months"},
	} {
		s, token := s, token
		if c.small {
			s, token = small, other
		}
		w := serve(s, netcoreRequest(token, http.MethodPost, c.target, c.body))
		if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %v: %d %.200s, want %d", c.target, c.body, w.Code, w.Body, c.want)
		}
	}
	for target, want := range map[string]int{
		"/botUsage?monthDate=2026-03-01&channelId=1014": 200, "/botUsage?monthDate=2026-03&channelId=1014": 400,
		"/botUsage?monthDate=2026-03-01": 400, "/botUsage?monthDate=2026-03-01&channelId=9": 400, "/userData/nobody": 404,
	} {
		if w := serve(s, netcoreRequest(token, http.MethodGet, target, nil)); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
}
