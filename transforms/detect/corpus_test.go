package detect_test

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/simulator"
)

// truth tells real phone numbers in messages from false alarms. It is made of what
// the dialogues are annotated with, and knows nothing of how numbers are found.
type truth map[string]bool

// aNumber is how the annotation and the messages write phone numbers: for want of
// any other the digits decide.
var aNumber = regexp.MustCompile(`(?:（\d+）)?\d[\d-]*\d`)

// add takes the numbers of one annotated value.
func (t truth) add(value string) {
	for _, number := range aNumber.FindAllString(value, -1) {
		if d := onlyDigits(number); len(d) >= 7 {
			t[d] = true
		}
	}
}

// readByEye are numbers that the annotation has not and that a reader takes for
// phone numbers: the beginnings of the SHA-256 of their digits. All that was found
// in the whole corpus and is not annotated was looked at.
var readByEye = []string{"f0d33909c90c0e0f", "fc1bba7c8d10501c"}

// holds says whether text is one of the numbers, with its area code or without.
func (t truth) holds(text string) bool {
	d := onlyDigits(text)
	return t[d] || slices.Contains(readByEye, fmt.Sprintf("%x", sha256.Sum256([]byte(d)))[:16]) || len(d) == 8 && t["010"+d] || len(d) == 11 && strings.HasPrefix(d, "010") && t[d[3:]]
}

func onlyDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, text)
}

// readCorpus returns all messages of a file of dialogues that are not blank, and
// the phone numbers that their calls of services returned.
func readCorpus(t *testing.T, path string) ([]string, truth) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 16<<20)
	var texts []string
	real := truth{}
	for lines.Scan() {
		var d struct {
			Turns []struct {
				Text    string
				Actions []struct{ Results []json.RawMessage }
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		for _, turn := range d.Turns {
			if strings.TrimSpace(turn.Text) != "" {
				texts = append(texts, turn.Text)
			}
			for _, action := range turn.Actions {
				for _, result := range action.Results {
					var place struct {
						Phone string `json:"电话"`
					}
					if json.Unmarshal(result, &place) == nil { // others are no places
						real.add(place.Phone)
					}
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return texts, real
}

// ownMessages returns messages of the simulator, with its own text.
func ownMessages(t *testing.T) []string {
	noon := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	sim, err := simulator.New(simulator.Options{Seed: 1, Backlog: 1000, Span: time.Hour, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	query := url.Values{"bot_name": {simulator.DefaultBotName}, "start_time": {"0"}, "end_time": {strconv.FormatInt(noon.Unix(), 10)}}
	for {
		r := httptest.NewRequest("GET", "/conversations/export/v1/messages?"+query.Encode(), nil)
		r.Header.Set("x-api-key", simulator.DefaultAPIKey)
		w := httptest.NewRecorder()
		sim.ServeHTTP(w, r)
		var list struct {
			Data   []any
			Cursor string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Data) == 0 {
			t.Fatalf("the simulator answered %d: %v", w.Code, err)
		}
		for _, message := range list.Data {
			texts = said(texts, message)
		}
		if list.Cursor == "" {
			return texts
		}
		query.Set("cursor", list.Cursor)
	}
}

// said appends what somebody says in a message: of its members the first that is
// text, wherever it is.
func said(texts []string, value any) []string {
	switch value := value.(type) {
	case []any:
		if len(value) > 0 {
			return said(texts, value[0])
		}
	case map[string]any:
		for _, name := range []string{"message", "userInput", "outMsg", "text", "title"} {
			if text, ok := value[name].(string); ok && strings.TrimSpace(text) != "" {
				return append(texts, text)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if more := said(texts, value[name]); len(more) > len(texts) {
				return more
			}
		}
	}
	return texts
}
