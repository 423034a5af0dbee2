package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func userIDs(t *testing.T, rows []string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, text := range rows {
		var row struct{ UserID string }
		if err := json.Unmarshal([]byte(text), &row); err != nil || row.UserID == "" {
			t.Fatalf("%v: %s", err, text)
		}
		if found[row.UserID] != "" {
			t.Fatalf("user %s is there twice", row.UserID)
		}
		found[row.UserID] = text
	}
	return found
}

func TestAUserWhoActsAgainLeavesTheWindow(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Backlog: 500, Rate: 5, Now: c.Now})
	c.add(30 * time.Second)
	past := exported(noon.Add(-DefaultSpan), c.Now().Add(time.Second))
	before := userIDs(t, export(t, s, "userData", past))
	c.add(5 * time.Minute)
	inPast := userIDs(t, export(t, s, "userData", past))
	now := userIDs(t, export(t, s, "userData", past.without("toTimestamp")))
	moved := 0
	for id, row := range before {
		if now[id] == "" {
			t.Errorf("user %s is gone", id)
		}
		if inPast[id] == "" {
			moved++
		} else if inPast[id] != row {
			t.Errorf("user %s changed and stayed: %s", id, row)
		}
	}
	if moved == 0 || len(now) <= len(before) {
		t.Errorf("%d of %d users moved, %d now", moved, len(before), len(now))
	}
	for _, r := range accounted(s, "userData") {
		if string(r.Raw) != now[r.ID] || r.Versions[len(r.Versions)-1] != r.SHA256 {
			t.Errorf("the account has %+v of %s", r, now[r.ID])
		}
		if slices.Sort(r.Versions); len(slices.Compact(r.Versions)) != len(r.Versions) {
			t.Errorf("user %s has a version twice", r.ID)
		}
	}
}

func TestEachVisibleMessageMakesAVersionOfItsUser(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Rate: 20, Now: c.Now})
	c.add(10 * time.Minute)
	versions, most := 0, 0
	for _, r := range accounted(s, "userData") {
		versions += len(r.Versions)
		most = max(most, len(r.Versions))
	}
	longest := 0
	for _, d := range s.world.dialogues {
		longest = max(longest, len(d.Turns))
	}
	if versions != 20*600 || most <= longest {
		t.Errorf("%d versions of %d messages, %d at most of dialogues of %d turns", versions, 20*600, most, longest)
	}
}

func TestLateMessagesMakeLateRows(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 5, Rate: 20, LateShare: 0.5, LateBy: 10 * time.Second, Now: c.Now})
	c.add(30 * time.Second)
	produced := exported(noon, c.Now().Add(-time.Second))
	before := map[string]int{}
	for _, stream := range feedyouNames {
		before[stream] = len(export(t, s, stream, produced))
	}
	c.add(10 * time.Second)
	for _, stream := range feedyouNames[1:] {
		if after := len(export(t, s, stream, produced)); after <= before[stream] {
			t.Errorf("%s: of the first 29 s, %d rows could be seen at once and %d later", stream, before[stream], after)
		}
	}
}

func TestASnapshotIsAVersionOfTheUserThatComesLater(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Rate: 5, Now: c.Now})
	versions := map[string][]string{}
	late, seen := 0, map[string]bool{}
	for range 90 {
		c.add(5 * time.Second)
		for _, r := range accounted(s, "userData") {
			versions[r.ID] = r.Versions
		}
		for _, r := range accounted(s, "userDataSnapshot") {
			if seen[r.SHA256] {
				continue
			}
			seen[r.SHA256] = true
			if !slices.Contains(versions[r.Key], r.SHA256) {
				t.Fatalf("a snapshot that the user %s never was", r.Key)
			}
			if c.Now().Sub(r.Time) > 5*time.Second+time.Second {
				late++
			}
		}
	}
	if late < 50 {
		t.Errorf("%d of %d snapshots bear an older time", late, len(seen))
	}
}

func TestUserFilters(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 4000})
	filled := func(row map[string]any, name string) bool {
		list, isList := row[name].([]any)
		return row[name] != nil && row[name] != "" && (!isList || len(list) > 0)
	}
	for name, c := range map[string]struct {
		params params
		keep   func(map[string]any) bool
	}{
		"one":               {params{"notEmpty": "phone"}, func(r map[string]any) bool { return filled(r, "phone") }},
		"two":               {params{"notEmpty": "phone,email"}, func(r map[string]any) bool { return filled(r, "phone") && filled(r, "email") }},
		"a list":            {params{"notEmpty": "basket"}, func(map[string]any) bool { return false }},
		"gender":            {params{"whereGender": "male"}, func(r map[string]any) bool { return r["gender"] == "male" }},
		"a number and text": {params{"whereAge": "42"}, func(r map[string]any) bool { return r["age"] == "42" || r["age"] == 42.0 }},
		"null":              {params{"whereGender": "null"}, func(map[string]any) bool { return false }},
		"empty":             {params{"whereGender": ""}, func(r map[string]any) bool { return r["gender"] == "" }},
		"both": {params{"whereGender": "female", "notEmpty": "name"}, func(r map[string]any) bool {
			return r["gender"] == "female" && filled(r, "name")
		}},
	} {
		for _, stream := range []string{"userData", "userDataSnapshot"} {
			all := export(t, s, stream, nil)
			var want []string
			for _, text := range all {
				var row map[string]any
				if err := json.Unmarshal([]byte(text), &row); err != nil {
					t.Fatal(err)
				}
				if c.keep(row) {
					want = append(want, text)
				}
			}
			got := export(t, s, stream, c.params)
			if !slices.Equal(got, want) || len(got) == len(all) || len(got) == 0 && name != "a list" && name != "null" {
				t.Errorf("%s, %s: %d of %d rows, want %d", stream, name, len(got), len(all), len(want))
			}
		}
	}
	if got, all := export(t, s, "urlTracker", params{"whereGender": "male", "notEmpty": "x"}), export(t, s, "urlTracker", nil); !slices.Equal(got, all) {
		t.Error("clicks are filtered by what users have")
	}
}

// Credentials, by the rule: names that hold one of these words.
const credentialName = `[A-Za-z_-]*(?i:authorization|cookie|key|token|secret|password|session)[A-Za-z_-]*`

var (
	urlPart      = regexp.MustCompile(`"url":"[^"]*"`)
	userInfo     = regexp.MustCompile(`//[^/"@]*@`)
	urlParameter = regexp.MustCompile(`([?&]` + credentialName + `=)[^&"#]*`)
	headersPart  = regexp.MustCompile(`"requestHeaders":.*"responseStatus"`)
	headerQuoted = regexp.MustCompile(`("` + credentialName + `\\?"[:,]\\?")[^"\\]*`)
	headerLine   = regexp.MustCompile(`((?:"|\\n)` + credentialName + `: )[^"\\]*`)
)

// masked returns a row of integrationLog with its credentials masked.
func masked(row string) string {
	row = urlPart.ReplaceAllStringFunc(row, func(part string) string {
		return urlParameter.ReplaceAllString(userInfo.ReplaceAllString(part, "//***@"), "${1}***")
	})
	return headersPart.ReplaceAllStringFunc(row, func(part string) string {
		return headerLine.ReplaceAllString(headerQuoted.ReplaceAllString(part, "${1}***"), "${1}***")
	})
}

func TestTheAccountKnowsTheSecrets(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 2000})
	rows := export(t, s, "integrationLog", nil)
	often, secrets := map[string]int{}, 0
	for i, r := range accounted(s, "integrationLog") {
		hidden := masked(rows[i])
		if (hidden != rows[i]) != (len(r.Secrets) > 0) {
			t.Fatalf("%d secrets in %s", len(r.Secrets), rows[i])
		}
		for _, secret := range r.Secrets {
			secrets++
			often[secret]++
			if !strings.Contains(rows[i], secret) || strings.Contains(hidden, secret) || len(secret) < 10 {
				t.Fatalf("the secret %q of %s, masked %s", secret, rows[i], hidden)
			}
		}
		if r.SHA256 != hashes("integrationLog", rows[i:i+1])[0] {
			t.Fatalf("the hash is not that of %s", hidden)
		}
	}
	if secrets < len(rows)/2 || len(often) < secrets/4 || len(often) == secrets {
		t.Errorf("%d secrets in %d rows, %d different", secrets, len(rows), len(often))
	}
	everything := strings.Builder{}
	for _, stream := range feedyouNames {
		if stream != "integrationLog" {
			everything.WriteString(strings.Join(export(t, s, stream, nil), "\n"))
		}
	}
	for _, row := range rows {
		everything.WriteString(masked(row))
	}
	text := everything.String()
	for secret := range maps.Keys(often) {
		if strings.Contains(text, secret) {
			t.Fatalf("the secret %s is elsewhere too", secret)
		}
	}
}

func TestTheAccountOfFeedyouComesOverHTTP(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 6, Backlog: 500, Rate: 20, LateShare: 0.1, Identical: 0.1, Now: c.Now})
	c.add(time.Minute)
	server := httptest.NewServer(s)
	defer server.Close()
	account, err := ReadAccount(t.Context(), server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	want := s.Account()
	for _, stream := range feedyouNames {
		name := "feedyou/" + stream
		got := account.Endpoints[name].Records
		for i, r := range want.Endpoints[name].Records {
			if !reflect.DeepEqual(got[i], r) {
				t.Fatalf("%s: %+v %q over HTTP, %+v %q in the account", name, got[i], got[i].Raw, r, r.Raw)
			}
		}
		if len(got) == 0 {
			t.Errorf("%s: %d records over HTTP are not the %d of the account", stream, len(got), len(want.Endpoints[name].Records))
		}
		if !slices.Equal(hashesOf(got), hashes(stream, export(t, s, stream, nil))) {
			t.Errorf("%s: the account is not what is served", stream)
		}
	}
}

// shown returns a time as a row shows it.
func shown(t *testing.T, value any) time.Time {
	t.Helper()
	text := strings.Trim(fmt.Sprint(value), `"`)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if len(text) > 11 {
			return time.UnixMilli(n).UTC()
		}
		return time.Unix(n, 0).UTC()
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC()
		}
	}
	t.Fatalf("no time: %s", text)
	return time.Time{}
}

func TestWindowsFilterByTheTimeThatIsShown(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Backlog: 1000, Rate: 5, LateShare: 0.1, Timestamped: true, Now: c.Now})
	c.add(2 * time.Minute)
	for _, stream := range feedyouNames {
		records, fine := accounted(s, stream), 0
		for i, text := range export(t, s, stream, nil) {
			var row struct{ Timestamp json.RawMessage }
			if err := json.Unmarshal([]byte(text), &row); err != nil {
				t.Fatal(err)
			}
			if at := shown(t, string(row.Timestamp)); !records[i].Time.Equal(at) {
				t.Fatalf("%s: the account has %v of %s", stream, records[i].Time, text)
			}
			if records[i].Time.Nanosecond() != 0 {
				fine++
			}
		}
		if fine == 0 || fine > len(records)*3/4 {
			t.Errorf("%s: %d of %d rows show milliseconds", stream, fine, len(records))
		}
	}
}
