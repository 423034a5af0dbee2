package simulator

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

const nativePath = "/v1/bots/" + DefaultBotName + "/"

// nativeRequest asks NativeChat with the right token.
func nativeRequest(path string, p params) *http.Request {
	r := request(nativePath+path, p)
	r.Header.Set("Authorization", "Bot-Server-Access-Token "+DefaultAPIKey)
	return r
}

// native returns an answer of NativeChat that must have the status 200.
func native(t testing.TB, s *Simulator, path string, p params) *httptest.ResponseRecorder {
	t.Helper()
	w := serve(s, nativeRequest(path, p))
	if w.Code != http.StatusOK {
		t.Fatalf("%s %v: %d %s", path, p, w.Code, w.Body)
	}
	return w
}

// documents returns one page of NativeChat.
func documents(t testing.TB, s *Simulator, path string, p params) []string {
	t.Helper()
	var page []json.RawMessage
	if body := native(t, s, path, p).Body.Bytes(); json.Unmarshal(body, &page) != nil || page == nil {
		t.Fatalf("%s %v: no list: %s", path, p, body)
	}
	texts := make([]string, len(page))
	for i, d := range page {
		texts[i] = string(d)
	}
	return texts
}

// allDocuments returns all that a query finds, page by page.
func allDocuments(t testing.TB, s *Simulator, path string, p params) (texts []string) {
	t.Helper()
	pages := params{"limit": "1000"}
	maps.Copy(pages, p)
	for {
		page := documents(t, s, path, pages.with("skip", fmt.Sprint(len(texts))))
		texts = append(texts, page...)
		if len(page) < 1000 {
			return texts
		}
	}
}

// counted returns an answer of NativeChat's _count, of either form.
func counted(t testing.TB, s *Simulator, path string, p params) int {
	t.Helper()
	body := native(t, s, path+"/_count", p).Body.Bytes()
	var object struct{ Count *int }
	if json.Unmarshal(body, &object) == nil && object.Count != nil {
		return *object.Count
	}
	var n int
	if err := json.Unmarshal(body, &n); err != nil {
		t.Fatalf("no count: %s", body)
	}
	return n
}

// nativeRecords returns the account of a list of NativeChat.
func nativeRecords(s *Simulator, path string) []Record {
	return s.Account().Endpoints["nativechat/"+path].Records
}

// fieldsOf returns a decoded document.
func fieldsOf(t testing.TB, text string) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return fields
}

// at returns what is at a path of a decoded document, nil for nothing.
func at(fields any, path ...string) any {
	for _, name := range path {
		object, _ := fields.(map[string]any)
		fields = object[name]
	}
	return fields
}

// decoded are documents by their text.
type decoded map[string]map[string]any

func decodeAll(t testing.TB, texts []string) decoded {
	t.Helper()
	d := decoded{}
	for _, text := range texts {
		d[text] = fieldsOf(t, text)
	}
	return d
}

// selected returns those of the documents that are to be kept.
func (d decoded) selected(texts []string, keep func(map[string]any) bool) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return !keep(d[text]) })
}

// anyMessage is a query that finds all messages and that a listing of them may ask.
var anyMessage = params{"query": `{"$or":[{"CreatedAt":{"$gte":""}},{"CreatedAt":{"$gte":0}},{"CreatedAt":{"$gte":{"$date":0}}}]}`}

func sha256Hex(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
