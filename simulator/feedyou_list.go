package simulator

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// authorize refuses like Azure Functions does: with nothing in the answer.
func (f *feedyou) authorize(r *http.Request) *answer {
	key := f.options.APIKey
	if r.Header.Get("x-functions-key") == key || r.URL.Query().Get("code") == key {
		return nil
	}
	return &answer{status: http.StatusUnauthorized}
}

// list answers a request for a stream.
func (f *feedyou) list(r *http.Request, s feedyouStream) answer {
	if f.options.OldBot && s != userData {
		return answer{status: http.StatusNotFound}
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "Malformed query string")
	}
	within, err := f.window(q)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	records := slices.Clone(f.lists[s].within(within))
	if s == userData || s == userDataSnapshot {
		records = slices.DeleteFunc(records, userFilter(q).refuses)
	}
	if f.options.Unsorted {
		shuffle(records, f.options.Seed, r.URL.Path+"?"+q.Encode())
	}
	return answer{head: []byte("["), tail: []byte("]"), records: records, list: true}
}

// window returns the milliseconds that a request asks for. A bound that is absent
// is none.
func (f *feedyou) window(q url.Values) (span, error) {
	var start, end int64
	var err error
	if q.Has("fromTimestamp") {
		if start, err = seconds(q, "fromTimestamp"); err != nil {
			return span{}, err
		}
	}
	if q.Has("toTimestamp") {
		if end, err = seconds(q, "toTimestamp"); err != nil {
			return span{}, err
		}
		if q.Has("fromTimestamp") && start > end {
			return span{}, errors.New("fromTimestamp must not be after toTimestamp")
		}
	}
	within := f.options.Bounds.span(start, end)
	if !q.Has("fromTimestamp") {
		within.from = math.MinInt64
	}
	if !q.Has("toTimestamp") {
		within.to = math.MaxInt64
	}
	return within, nil
}

// shuffle puts records in an order that depends on a seed and a request only.
func shuffle(records []*record, seed uint64, request string) {
	d := dice{mix(seed)}
	for _, b := range []byte(request) {
		d.state = mix(d.state ^ uint64(b))
	}
	for i := len(records) - 1; i > 0; i-- {
		j := d.below(i + 1)
		records[i], records[j] = records[j], records[i]
	}
}

// userFields are the conditions that a user's row has to meet.
type userFields struct {
	present []string          // must be there and not be empty
	equal   map[string]string // by the field's name
}

// userFilter reads notEmpty=phone,email and whereGender=male.
func userFilter(q url.Values) userFields {
	fields := userFields{equal: map[string]string{}}
	for _, list := range q["notEmpty"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" {
				fields.present = append(fields.present, name)
			}
		}
	}
	for name := range q {
		if name, ok := strings.CutPrefix(name, "where"); ok && name != "" {
			first, size := utf8.DecodeRuneInString(name)
			fields.equal[string(unicode.ToLower(first))+name[size:]] = q.Get("where" + name)
		}
	}
	return fields
}

// refuses reports whether a row does not meet the conditions. What is no JSON
// object meets none.
func (f userFields) refuses(r *record) bool {
	if len(f.present) == 0 && len(f.equal) == 0 {
		return false
	}
	var row map[string]json.RawMessage
	if json.Unmarshal(r.raw, &row) != nil {
		return true
	}
	for _, name := range f.present {
		if slices.Contains([]string{"", "null", `""`, "[]", "{}"}, string(row[name])) {
			return true
		}
	}
	for name, want := range f.equal {
		got := string(row[name])
		if text := ""; json.Unmarshal(row[name], &text) == nil {
			got = text
		}
		if row[name] == nil || string(row[name]) == "null" || got != want {
			return true
		}
	}
	return false
}
