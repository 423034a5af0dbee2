package nativechat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// shelf is a server with documents as odd as a test wants them. Values are
// compared as MongoDB does it: by type, texts as texts.
type shelf struct {
	most int                   // documents in an answer, whatever limit says; 0: as many as limit says
	full func(asked int) error // called before each answer; nil: nothing happens
	// What it does not understand: $or, which finds nothing, and a sort by several
	// fields, which is refused.
	noOr, plainSort bool

	mu    sync.Mutex
	docs  map[string][]string // of each collection
	asked int
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.full != nil {
		if err := s.full(s.asked); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_, path, _ := strings.Cut(r.URL.EscapedPath()[len("/v1/bots/"):], "/")
	name, counts := strings.CutSuffix(path, "/_count")
	q := r.URL.Query()
	if s.noOr && strings.Contains(q.Get("query"), "$or") {
		_, _ = w.Write([]byte(map[bool]string{true: "0", false: "[]"}[counts]))
		return
	}
	if s.plainSort && strings.HasPrefix(q.Get("sort"), "{") {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	var query map[string]any
	_ = json.Unmarshal([]byte(cmp.Or(q.Get("query"), "{}")), &query)
	var found []string
	for _, doc := range s.docs[name] {
		if meets(fieldsOf(doc), query) {
			found = append(found, doc)
		}
	}
	if counts {
		_, _ = fmt.Fprint(w, len(found))
		return
	}
	if q.Has("sort") {
		order(found, q.Get("sort"))
	}
	skip, _ := strconv.Atoi(q.Get("skip"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	if s.most > 0 {
		limit = min(limit, s.most)
	}
	found = found[min(skip, len(found)):]
	_, _ = w.Write([]byte("[" + strings.Join(found[:min(limit, len(found))], ",") + "]"))
}

var decoded sync.Map // the fields of documents, by their texts

func fieldsOf(doc string) map[string]any {
	if fields, ok := decoded.Load(doc); ok {
		return fields.(map[string]any)
	}
	var fields map[string]any
	_ = json.Unmarshal([]byte(doc), &fields)
	decoded.Store(doc, fields)
	return fields
}

// meets says whether a document meets a predicate of $or, $gte, $lte and equality.
func meets(fields, query map[string]any) bool {
	for name, want := range query {
		limits, isObject := want.(map[string]any)
		if name == "$or" {
			if !slices.ContainsFunc(want.([]any), func(q any) bool { return meets(fields, q.(map[string]any)) }) {
				return false
			}
			continue
		}
		if !isObject && fields[name] != want {
			return false
		}
		for operator, limit := range limits {
			c, ok := compare(fields[name], limit)
			if !ok || operator == "$gte" && c < 0 || operator == "$lte" && c > 0 {
				return false
			}
		}
	}
	return true
}

// compare compares two values, and says whether they are of one type that has an
// order.
func compare(a, b any) (int, bool) {
	rank := func(v any) int {
		switch v.(type) {
		case nil:
			return 0
		case float64:
			return 1
		case string:
			return 2
		}
		return 3
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y), true
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y), true
		}
	}
	return cmp.Compare(rank(a), rank(b)), false
}

// order sorts documents. Those that are equal by what they are sorted by come in
// any order, another one each time, as MongoDB says of itself.
func order(docs []string, by string) {
	rand.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
	names := []string{by}
	if strings.HasPrefix(by, "{") {
		names = nil
		for decoder := json.NewDecoder(bytes.NewReader([]byte(by))); ; {
			token, err := decoder.Token()
			if err != nil {
				break
			}
			if name, ok := token.(string); ok {
				names = append(names, name)
			}
		}
	}
	keys := map[string][]any{}
	for _, doc := range docs {
		for _, name := range names {
			keys[doc] = append(keys[doc], fieldsOf(doc)[name])
		}
	}
	slices.SortStableFunc(docs, func(a, b string) int {
		for i := range names {
			if c, _ := compare(keys[a][i], keys[b][i]); c != 0 {
				return c
			}
		}
		return 0
	})
}
