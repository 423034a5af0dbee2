package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// netcoreShapes are the fields of each type's payload that are always there: {} is
// an object, [] a list, "" text and 0 anything. A list's element is in brackets.
var netcoreShapes = map[string]string{
	"text":       `{"message":"","buttons":[{"type":"","title":"","payload":""}]}`,
	"attachment": `{"contentType":"","contentUrl":""}`,
	"card":       `{"title":"","type":"","subtitle":"","image_url":{"url":""},"buttons":[{"title":""}]}`,
	"audio":      `{"url":""}`, "video": `{"url":""}`, "image": `{"url":""}`, "pdf": `{"url":""}`,
	"doc": `{"url":""}`, "xls": `{"url":""}`, "ppt": `{"url":""}`,
	"location":      `{"longitude":0,"latitude":0,"label":"","address":0}`,
	"contact":       `{"phoneNumber":"","firstName":"","lastName":"","vcard":""}`,
	"form":          `{"botId":"","name":"","isArchived":0,"title":"","description":"","formElements":[{"type":"","label":"","required":0,"inputMapping":"","answerMapping":""}],"createdBy":""}`,
	"formResponse":  `{"formTranscriptId":"","answerMapping":{}}`,
	"carousel":      `[{"title":"","subtitle":"","image_url":"","buttons":[{"title":""}]}]`,
	"list":          `{"header":{"type":"","text":""},"body":"","footer":"","actions":{"button_text":"","sections":[{"title":"","row":[{"title":""}]}]}}`,
	"dynamicList":   `{"header":{"type":"","text":""},"body":"","footer":"","actions":{"button_text":"","sections":[{"title":"","row":[{"title":""}]}]}}`,
	"reply":         `{"header":{"type":""},"body":"","footer":"","action":{"buttons":[{"type":"","title":"","id":""}]}}`,
	"dynamicReply":  `{"header":{"type":"","text":""},"body":"","footer":"","actions":{"buttons":[{"type":"","title":""}]}}`,
	"order":         `{"catalogId":"","text":"","items":[{"retailerId":"","quantity":0,"price":0,"currency":"","title":"","subTitle":"","image":""}]}`,
	"template":      `{"name":"","header":{"type":""},"body":"","footer":"","buttons":[{"type":"","text":""}],"campaignId":0}`,
	"productSingle": `{"isDynamicProduct":0,"body":"","footer":"","action":{"catalogId":"","retailerId":"","title":"","subTitle":"","image":"","price":0}}`,
	"productMulti":  `{"isDynamicProduct":0,"header":{"type":"","text":""},"body":"","footer":"","action":{"catalogId":"","sections":[{"title":"","items":[{"retailerId":"","title":"","subTitle":"","image":"","price":0}]}]}}`,
}

// misfit says what a value has not of a shape, "" for nothing.
func misfit(value, shape any) string {
	switch shape := shape.(type) {
	case map[string]any:
		object, ok := value.(map[string]any)
		if !ok {
			return fmt.Sprintf("%v is no object", value)
		}
		for name, inner := range shape {
			if _, ok := object[name]; !ok {
				return name + " is missing"
			}
			if what := misfit(object[name], inner); what != "" {
				return name + ": " + what
			}
		}
	case []any:
		list, ok := value.([]any)
		if !ok {
			return fmt.Sprintf("%v is no list", value)
		}
		for _, element := range list {
			if what := misfit(element, shape[0]); what != "" {
				return what
			}
		}
	case string:
		if _, ok := value.(string); !ok {
			return fmt.Sprintf("%v is no text", value)
		}
	}
	return ""
}

func channelRows(t *testing.T, s *Simulator) (rows []string) {
	t.Helper()
	for _, channel := range allChannels {
		rows = append(rows, walkNetcore(t, s, "transcripts", 1000, everything(fields{"channelId": channel}), nil)...)
	}
	return rows
}

func TestNetcoreHasAllTypes(t *testing.T) {
	s := build(t, Options{Seed: 5, Backlog: 5000})
	rows := channelRows(t, s)
	types, seen := map[string]int{}, map[string]bool{}
	for _, text := range rows {
		var row map[string]any
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			t.Fatal(err)
		}
		kind, _ := row["type"].(string)
		types[kind]++
		var shape any
		if err := json.Unmarshal([]byte(netcoreShapes[kind]), &shape); err != nil {
			t.Fatalf("a row of type %q", kind)
		}
		if what := misfit(row[kind], shape); what != "" {
			t.Fatalf("%s: %s in %s", kind, what, text)
		}
		for name := range row {
			if strings.Contains(strings.ToLower(name), "id") && name != "video" {
				t.Fatalf("a row has the id %s: %s", name, text)
			}
			seen[name] = true
		}
		seen[fmt.Sprint("from ", row["from"])] = true
		for _, what := range []string{`"isPreviewUser":true`, `"isConfigMessage":true`, `" description":`, `"description":`, `"updatedAt":null`} {
			seen[what] = seen[what] || strings.Contains(text, what)
		}
	}
	if len(types) != 23 || len(netcoreShapes) != 23 || types["text"] < len(rows)/3 || slices.Min(slices.Collect(maps.Values(types))) < 10 {
		t.Errorf("%d types, %d text of %d: %v", len(types), types["text"], len(rows), types)
	}
	for _, what := range []string{
		"createdAt", "updatedAt", "from User", "from Bot", "from Agent", `"isPreviewUser":true`, `"isConfigMessage":true`,
		`" description":`, `"description":`, `"updatedAt":null`,
	} {
		if !seen[what] {
			t.Errorf("no row has %s", what)
		}
	}
}

func TestNetcoreWindowsHoldWhatTheAccountSays(t *testing.T) {
	for _, bounds := range allBounds {
		s := build(t, Options{Seed: 2, Backlog: 700, Span: 10 * time.Minute, Identical: 0.1, Bounds: bounds})
		edges := 0
		for _, list := range []string{"users", "transcripts"} {
			records := netcoreRecords(s, list)
			for i := 0; i < len(records); i += 7 { // from and to are times of records
				from, to := records[i].Time, records[i].Time.Add(20*time.Second)
				body := fields{"channelIds": allChannels, "channelId": whatsapp, "startDate": from, "endDate": to}
				var want []string
				for _, r := range records {
					if belongs(bounds, r.Time, from, to) && (list == "users" || isWhatsapp(s, r.Key)) {
						want = append(want, r.SHA256)
					}
				}
				got := hashes("", walkNetcore(t, s, list, 1000, body, nil))
				if !slices.Equal(got, want) {
					t.Fatalf("%s, %s: %d rows from %v to %v, want %d", bounds, list, len(got), from, to, len(want))
				}
				edges += len(want)
			}
		}
		if edges == 0 {
			t.Errorf("%s: all windows are empty", bounds)
		}
	}
}

func isWhatsapp(s *Simulator, userID string) bool {
	return s.netcore().known[netcoreID{whatsapp, userID}] != nil
}

func TestNetcoreRowsShowTheTimeOfTheAccount(t *testing.T) {
	s := build(t, Options{Seed: 4, Backlog: 2000})
	fine := 0
	rows, records := channelRows(t, s), netcoreRecords(s, "transcripts")
	for i, text := range rows {
		if at := shown(t, string(fieldsOf(t, text)["createdAt"])); !at.Equal(records[i].Time) {
			t.Fatalf("the account has %v of %s", records[i].Time, text)
		}
		if records[i].Time.Nanosecond() != 0 {
			fine++
		}
	}
	if fine == 0 || fine == len(rows) {
		t.Errorf("%d of %d rows show milliseconds", fine, len(rows))
	}
	for _, r := range netcoreRecords(s, "users") {
		row := fieldsOf(t, string(r.Raw))
		if at := shown(t, string(row["last interacted date"])); !at.Equal(r.Time) {
			t.Fatalf("the account has %v of %s", r.Time, r.Raw)
		}
		if shown(t, string(row["first interacted date"])).After(r.Time) || row["createdDate"] == nil || row["channelName"] == nil {
			t.Fatalf("%s", r.Raw)
		}
	}
}

// Some rows change later: only updatedAt does, and each version is accounted for.
func TestNetcoreRowsAreUpdated(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 4, Rate: 8, Identical: .1, Now: c.Now})
	was := map[string]string{} // by hash
	for range 60 {
		c.add(5 * time.Second)
		for _, row := range channelRows(t, s) {
			was[hashes("", []string{row})[0]] = row
		}
	}
	changed, seen := 0, 0
	rows, records := channelRows(t, s), netcoreRecords(s, "transcripts")
	for i, r := range records {
		if r.Versions == nil {
			continue
		}
		changed++
		if len(r.Versions) != 2 || r.Versions[1] != r.SHA256 || rows[i] != string(r.Raw) {
			t.Fatalf("%+v of %s", r, rows[i])
		}
		if old := was[r.Versions[0]]; old != "" { // else it changed within 5 s
			seen++
			if old == rows[i] || withoutUpdate(t, old) != withoutUpdate(t, rows[i]) {
				t.Fatalf("%s became %s", old, rows[i])
			}
		}
	}
	if share := float64(changed) / float64(len(records)); share < .03 || share > .07 || seen < changed/2 {
		t.Errorf("%d of %d rows changed, %d were seen before", changed, len(records), seen)
	}
	for _, r := range netcoreRecords(build(t, Options{Seed: 4, Backlog: 1000}), "transcripts") {
		if r.Versions != nil {
			t.Fatalf("a version from before the start: %+v", r)
		}
	}
}

func withoutUpdate(t *testing.T, row string) string {
	t.Helper()
	got := fieldsOf(t, row)
	delete(got, "updatedAt")
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNetcoreCopies(t *testing.T) {
	o := Options{Seed: 3, Backlog: 2000}
	single := len(netcoreRecords(build(t, o), "transcripts"))
	o.Identical = .25
	s := build(t, o)
	counts := map[string]int{}
	for _, r := range netcoreRecords(s, "transcripts") {
		counts[r.Key+r.Time.String()+r.SHA256]++
	}
	numbers := map[int]int{}
	for _, n := range counts {
		numbers[n]++
	}
	if single != o.Backlog || numbers[2] == 0 || numbers[3] == 0 || numbers[4] == 0 || len(counts) < o.Backlog-5 || numbers[1] < o.Backlog/2 {
		t.Errorf("%d rows without copies; copies are %v", single, numbers)
	}
}

// What goes wrong for all vendors goes wrong here too.
func TestNetcorePoison(t *testing.T) {
	s := build(t, Options{Seed: 1, Backlog: 500})
	_, token := login(t, s)
	if err := s.SetFaults(Faults{Poison: 1}); err != nil {
		t.Fatal(err)
	}
	for list, body := range map[string]any{"users": fields{"channelIds": allChannels}, "transcripts": fields{"channelId": whatsapp}} {
		w := serve(s, netcoreRequest(token, http.MethodPost, "/"+list+"?limit=1000", body))
		e := s.Account().Endpoints["netcore/"+list]
		if n := len(elements(w.Body.Bytes())); w.Code != 200 || len(e.Poison) == 0 || int64(n) != e.Served+int64(len(e.Poison)) {
			t.Errorf("%s: %d, %d elements, %d records served, %d poison", list, w.Code, n, e.Served, len(e.Poison))
		}
	}
}
