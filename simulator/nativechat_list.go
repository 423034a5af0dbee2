package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// How many documents a page of NativeChat holds.
const (
	nativePage    = 100 // where limit is not given
	nativeMaxPage = 1000
)

func (n *nativeChat) authorize(r *http.Request) *answer {
	var a answer
	switch r.Header.Get("Authorization") {
	case "Bot-Server-Access-Token " + n.options.APIKey:
		return nil
	case "":
		a = refuse(http.StatusUnauthorized, "Missing Authorization header")
	default:
		a = refuse(http.StatusUnauthorized, "Invalid access token")
	}
	return &a
}

// finding is what a request asks for.
type finding struct {
	query       []clause
	sort        []sortKey
	limit, skip int
}

// sortKey is one field to sort by.
type sortKey struct {
	path string
	down bool
}

// open returns what a request asks for, or a refusal.
func (n *nativeChat) open(r *http.Request) (finding, *answer) {
	var f finding
	if r.PathValue("botId") != n.options.BotName {
		a := refuse(http.StatusNotFound, "Bot not found")
		return f, &a
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil {
		f, err = parseFinding(q)
	}
	if err != nil {
		a := refuse(http.StatusBadRequest, err.Error())
		return f, &a
	}
	return f, nil
}

// list answers a request for documents.
func (n *nativeChat) list(r *http.Request, c *collection) answer {
	f, refusal := n.open(r)
	if refusal != nil {
		return *refusal
	}
	if c == &n.messages && !n.options.NativeChatAllMessages && !constrains(f.query, "Conversation", "User", c.timeField) {
		return refuse(http.StatusBadRequest, "query must constrain Conversation, User or "+c.timeField)
	}
	if n.options.NativeChatWrapper == "" {
		found := c.find(f.query, f.sort, f.skip+f.limit)
		return answer{head: []byte("["), tail: []byte("]"), records: f.page(found), list: true}
	}
	found := c.find(f.query, f.sort, 0) // all, for the total
	w := jsonWriter{}
	w.text(n.options.NativeChatWrapper)
	return answer{
		head:    fmt.Appendf(nil, "{%s:[", w.buf),
		tail:    fmt.Appendf(nil, `],"Total":%d}`, len(found)),
		records: f.page(found), list: true,
	}
}

// count answers a request for the number of documents, the turn-th of them. The
// form of the answer is not documented.
func (n *nativeChat) count(r *http.Request, c *collection, turn uint64) answer {
	f, refusal := n.open(r)
	if refusal != nil {
		return *refusal
	}
	found := len(c.find(f.query, nil, 0))
	if turn%2 == 1 {
		return answer{head: fmt.Append(nil, found)}
	}
	return answer{head: fmt.Appendf(nil, `{"count":%d}`, found)}
}

// page returns a copy of the page of what was found.
func (f *finding) page(found []*record) []*record {
	first := min(f.skip, len(found))
	return append([]*record{}, found[first:min(first+f.limit, len(found))]...)
}

func parseFinding(q url.Values) (f finding, err error) {
	f.limit = nativePage
	if q.Has("limit") {
		if f.limit, err = strconv.Atoi(q.Get("limit")); err != nil || f.limit < 1 || f.limit > nativeMaxPage {
			return f, fmt.Errorf("limit must be a number from 1 to %d", nativeMaxPage)
		}
	}
	if q.Has("skip") {
		if f.skip, err = strconv.Atoi(q.Get("skip")); err != nil || f.skip < 0 || f.skip > 1<<30 {
			return f, errors.New("skip must be a number, 0 or more")
		}
	}
	if q.Has("query") {
		if f.query, err = parseQuery(q.Get("query")); err != nil {
			return f, err
		}
	}
	if q.Has("sort") {
		f.sort, err = parseSort(q.Get("sort"))
	}
	return f, err
}

// parseSort returns the fields to sort by: the name of one, or JSON like
// {"StartedAt":1,"Data.user.LastName":-1}, in the order in which they are given.
func parseSort(text string) (keys []sortKey, err error) {
	if text == "" {
		return nil, errors.New("sort must not be empty")
	}
	if !strings.HasPrefix(text, "{") {
		return []sortKey{{path: text}}, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, errors.New("sort is not valid JSON")
	}
	fields := json.NewDecoder(bytes.NewReader([]byte(text)))
	fields.Token() // the bracket: it is valid JSON
	for fields.More() {
		name, _ := fields.Token()
		var direction any
		if err := fields.Decode(&direction); err != nil || direction != 1.0 && direction != -1.0 {
			return nil, fmt.Errorf("sort: the direction of %q must be 1 or -1", name)
		}
		keys = append(keys, sortKey{name.(string), direction == -1.0})
	}
	return keys, nil
}
