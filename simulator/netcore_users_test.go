package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A user who acts between two pages moves, so that a walk by pages misses users
// or finds them twice, in either order.
func TestNetcoreUsersMoveBetweenPages(t *testing.T) {
	for _, by := range []string{UsersAscending, UsersDescending} {
		c := newClock()
		s := live(t, Options{Seed: 4, Backlog: 1000, Rate: 10, UsersBy: by, Now: c.Now})
		before := map[string]bool{}
		for _, r := range netcoreRecords(s, "users") {
			before[r.Key] = true
		}
		seen, twice := map[string]bool{}, 0
		rows := walkNetcore(t, s, "users", 25, everything(fields{"channelIds": allChannels}), func() { c.add(10 * time.Second) })
		for _, row := range rows {
			id := textOf(fieldsOf(t, row), "userId")
			if seen[id] {
				twice++
			}
			seen[id] = true
		}
		missed := 0
		for id := range before {
			if !seen[id] {
				missed++
			}
		}
		if by == UsersAscending && (missed == 0 || twice == 0) || by == UsersDescending && twice == 0 {
			t.Errorf("%s: %d users twice, %d of %d missed", by, twice, missed, len(before))
		}
	}
}

func TestNetcoreNextPageIsANumberOrABoolean(t *testing.T) {
	forms := map[string]bool{}
	for seed := range uint64(4) {
		s := build(t, Options{Seed: seed, Backlog: 2000})
		_, token := login(t, s)
		for page := 1; ; page++ {
			got := askNetcore(t, s, token, fmt.Sprintf("/users?page=%d&limit=25", page), everything(fields{"channelIds": allChannels}))
			form := string(got.HasNextPage)
			forms[form] = true
			if more := form == "1" || form == "true"; more != (page < got.Pages) || len(got.Users) == 0 {
				t.Fatalf("page %d of %d: hasNextPage is %s", page, got.Pages, form)
			}
			if page == got.Pages {
				if beyond := askNetcore(t, s, token, fmt.Sprintf("/users?page=%d&limit=25", page+1), everything(fields{"channelIds": allChannels})); len(beyond.Users) != 0 {
					t.Fatalf("%d users behind the last page", len(beyond.Users))
				}
				break
			}
		}
	}
	if len(forms) != 4 {
		t.Errorf("%v", forms)
	}
}

// One phone number in two channels is two users, and each of a user's ids leads
// to the same transcripts.
func TestNetcoreIDs(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Backlog: 2000, Rate: 20, Now: c.Now})
	phones, ways := map[string][]string{}, map[string]int{}
	_, token := login(t, s)
	had := map[string]bool{} // users without a phone number before
	for _, r := range netcoreRecords(s, "users") {
		row := fieldsOf(t, string(r.Raw))
		channel, phone := textOf(row, "channelName"), textOf(row, "phoneNumber")
		had[r.ID] = phone == ""
		if phone != "" {
			phones[phone] = append(phones[phone], channel)
		}
		var want []json.RawMessage
		for _, name := range []string{"userId", "phoneNumber", "botUserId"} {
			id := textOf(row, name)
			if id == "" {
				continue
			}
			ways[channel+" "+name]++
			got := askNetcore(t, s, token, "/transcripts?limit=1000", everything(fields{"channelId": channelOf(channel), "botUserId": id})).Transcripts
			if len(got) == 0 || want != nil && !bytes.Equal(bytes.Join(rawsOf(got), nil), bytes.Join(rawsOf(want), nil)) {
				t.Fatalf("%s by %s: %d transcripts, %d by another id", r.ID, id, len(got), len(want))
			}
			want = got
		}
	}
	shared := 0
	for phone, channels := range phones {
		if len(channels) == 2 && channels[0] != channels[1] {
			shared++
		} else if len(channels) != 1 {
			t.Errorf("%s is of %v", phone, channels)
		}
	}
	for _, way := range []string{"webchat botUserId", "whatsapp phoneNumber", "whatsapp botUserId", "telegram phoneNumber", "instagramMessaging botUserId"} {
		if ways[way] == 0 || ways[way] == ways[strings.Fields(way)[0]+" userId"] {
			t.Errorf("%s: %v", way, ways)
		}
	}
	c.add(10 * time.Minute)
	gained := 0
	for _, r := range netcoreRecords(s, "users") {
		if had[r.ID] && textOf(fieldsOf(t, string(r.Raw)), "phoneNumber") != "" {
			gained++
		}
	}
	if shared == 0 || gained == 0 {
		t.Errorf("%d numbers are in two channels, %d users gained one", shared, gained)
	}
	got := askNetcore(t, s, token, "/transcripts", everything(fields{"channelId": whatsapp, "botUserId": "nobody"}))
	if got.Transcripts == nil || len(got.Transcripts) != 0 || got.PaginationDetails.Total != 0 {
		t.Errorf("transcripts of nobody: %+v", got)
	}
}

func rawsOf(rows []json.RawMessage) [][]byte {
	raws := make([][]byte, len(rows))
	for i, r := range rows {
		raws[i] = r
	}
	return raws
}

func TestPutTranscript(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 100})
	at := noon.Add(-time.Minute)
	known := netcoreRecords(s, "users")[0]
	channel := whatsapp
	fmt.Sscan(known.ID, &channel)
	raw := []byte(`{"from":"User","type":"text"}`)
	for _, c := range []struct {
		channel int
		id      string
	}{{channel, known.Key}, {whatsapp, "+420600000001"}} {
		before := len(netcoreRecords(s, "transcripts"))
		if err := s.PutTranscript(c.channel, c.id, at, raw, 3); err != nil {
			t.Fatal(err)
		}
		body := fields{"channelId": c.channel, "botUserId": c.id, "startDate": at, "endDate": at.Add(time.Millisecond)}
		if got := walkNetcore(t, s, "transcripts", 50, body, nil); !slices.Equal(got, []string{string(raw), string(raw), string(raw)}) {
			t.Errorf("%v: %q", c, got)
		}
		users := walkNetcore(t, s, "users", 1000, fields{"channelIds": []int{c.channel}, "startDate": at.Truncate(time.Second)}, nil)
		if n := len(netcoreRecords(s, "transcripts")); n != before+3 || !strings.Contains(strings.Join(users, ""), `"userId":"`+c.id+`"`) {
			t.Errorf("%v: %d transcripts, users %q", c, n, users)
		}
	}
	for name, err := range map[string]error{
		"empty": s.PutTranscript(whatsapp, "x", at, nil, 1), "none": s.PutTranscript(whatsapp, "x", at, raw, 0),
		"no such channel": s.PutTranscript(9, "x", at, raw, 1), "nobody": s.PutTranscript(whatsapp, "", at, raw, 1),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Readers see whole rows while people talk, rows are put and tokens end.
func TestNetcoreWhileTheWorldGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t, Options{Seed: 1, Backlog: 200, Rate: 100, LateShare: 0.1, Identical: 0.1, Now: time.Now})
		var busy sync.WaitGroup
		for i := range 4 {
			busy.Go(func() {
				for range 10 {
					for list, body := range map[string]any{"users": fields{"channelIds": allChannels}, "transcripts": fields{"channelId": telegram}} {
						_, token := login(t, s)
						w := serve(s, netcoreRequest(token, http.MethodPost, "/"+list+"?limit=1000", body))
						if w.Code != 401 && (w.Code != 200 || !json.Valid(w.Body.Bytes())) {
							t.Errorf("%s: %d %.200s", list, w.Code, w.Body)
						}
					}
					if err := s.PutTranscript(telegram, fmt.Sprint("put-", i), time.Now(), []byte(`{"put":1}`), 2); err != nil {
						t.Error(err)
					}
					s.EndTokens()
					s.Account()
					<-time.After(50 * time.Millisecond)
				}
			})
		}
		busy.Wait()
		put := slices.DeleteFunc(netcoreRecords(s, "transcripts"), func(r Record) bool { return !strings.HasPrefix(r.Key, "put-") })
		if len(put) != 80 {
			t.Errorf("%d of 80 rows", len(put))
		}
	})
}

// A user's row spans the user's transcripts, however late they come, and is a new
// version only where it differs.
func TestNetcoreUsersSpanTheirTranscripts(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Rate: 20, LateShare: 0.5, LateBy: 30 * time.Second, Now: c.Now})
	c.add(5 * time.Minute)
	first, last := map[string]time.Time{}, map[string]time.Time{}
	for _, r := range netcoreRecords(s, "transcripts") {
		at := r.Time.Truncate(time.Second)
		if f, ok := first[r.Key]; !ok || at.Before(f) {
			first[r.Key] = at
		}
		if at.After(last[r.Key]) {
			last[r.Key] = at
		}
	}
	for _, r := range netcoreRecords(s, "users") {
		from := shown(t, string(fieldsOf(t, string(r.Raw))["first interacted date"]))
		if !from.Truncate(time.Second).Equal(first[r.Key]) || !r.Time.Truncate(time.Second).Equal(last[r.Key]) {
			t.Errorf("%s, transcripts from %v to %v", r.Raw, first[r.Key], last[r.Key])
		}
		if n := len(r.Versions); r.Versions[n-1] != r.SHA256 || len(slices.Compact(slices.Sorted(slices.Values(r.Versions)))) != n {
			t.Errorf("%s: a version twice", r.ID)
		}
	}
}
