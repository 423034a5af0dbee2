package netcore

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

// Whatever an answer holds: it is an error, or each element comes out once, in
// order and with its bytes, as a record whose data are what the catalogue
// promises and which can be told from others, or as a dead letter. A list that is
// well formed is no error, and one that is cut is.
func FuzzPage(f *testing.F) {
	rows := func(list string) string { return `{"users":[` + list + `],"transcripts":[` + list + `]}` }
	var all []string
	for i, c := range textCases {
		row := `{"from":"Bot","type":"` + c.kind + `","` + c.kind + `":` + c.payload + `,"createdAt":"2026-03-04T12:00:00Z","updatedAt":1}`
		all = append(all, row)
		f.Add([]byte(rows(row)), uint16(i))
	}
	for i, c := range userCases {
		all = append(all, c.raw)
		f.Add([]byte(rows(c.raw)), uint16(i))
	}
	f.Add([]byte(rows(strings.Join(all, ",")+",5")), uint16(9))
	for _, seed := range []string{
		"null", "[]", "{}", "<html>", `{"users":null,"transcripts":null}`, rows(`{"a":1,"a":2},"\ud800",nul`), rows(`{"type":"a","a":{"text":1e999999999}}`),
		`{"users":[{}],"transcripts":[{}],"pages":"2","hasNextPage":1,"paginationDetails":{"pages":2}}`, rows("1,"), rows(`{"updatedAt":{},"":{}}`),
	} {
		f.Add([]byte(seed), uint16(1))
	}
	validate := eventtest.Schemas(f)
	f.Fuzz(func(t *testing.T, body []byte, cut uint16) {
		for name, member := range map[string]string{users: "users", transcripts: "transcripts"} {
			list, whole := listIn(body, member)
			n, err := readBody(t, name, body, func(i int, r events.Record) {
				if !bytes.Contains(body, r.Raw) || whole && string(list[i]) != string(r.Raw) {
					t.Fatalf("element %d of %q is %q", i, body, r.Raw)
				}
				value := jsontext.Value(r.Raw)
				if alive := value.IsValid() && value.Kind() == '{' && events.Depth(value) <= events.MaxDepth; alive != (r.Dead == nil) {
					t.Fatalf("%q: %+v", r.Raw, r.Dead)
				}
				if r.Dead != nil {
					return
				}
				validate(t, &events.Event{Type: r.Type, Members: r.Members, Raw: r.Raw})
				if canonical, err := events.Canonical(r.Basis); r.Basis != nil && (err != nil || len(canonical) == 0) {
					t.Fatalf("%q is told by %q: %v", r.Raw, r.Basis, err)
				}
				if name == transcripts && r.Basis == nil || name == users && r.ID == "1014/" {
					t.Fatalf("%q has no identity", r.Raw)
				}
			})
			if whole && (err != nil || n != len(list)) {
				t.Fatalf("%q has %d elements, %d were given, %v", body, len(list), n, err)
			}
			if text := bytes.TrimSpace(body); whole {
				part := text[:int(cut)%len(text)]
				if _, err := readBody(t, name, part, func(int, events.Record) {}); err == nil {
					t.Fatalf("%q is cut, and no error", part)
				}
			}
		}
	})
}

// listIn returns the elements of a list, and whether the body is one JSON object
// that has it once, as encoding/json reads it.
func listIn(body []byte, name string) (list []json.RawMessage, whole bool) {
	if !json.Valid(body) {
		return nil, false
	}
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return nil, false
	}
	found := 0
	for d.PeekKind() != '}' {
		key, err := d.ReadToken()
		if err != nil {
			return nil, false
		}
		named := key.String() == name
		value, err := d.ReadValue()
		if err != nil {
			return nil, false
		}
		if !named {
			continue
		}
		if found++; value.Kind() != '[' && value.Kind() != 'n' || json.Unmarshal(value, &list) != nil {
			return nil, false
		}
	}
	return list, found == 1
}

// readBody reads one answer to one user's transcripts, or to a list of users.
func readBody(t testing.TB, name string, body []byte, each func(int, events.Record)) (n int, failed error) {
	t.Helper()
	s := streamOf(t, &fakeAPI{answer: says(200, string(body))}, name, map[string]any{"max_record": "1MiB"})
	now := time.Now()
	r := connectors.Request{From: now.Add(-3 * time.Second), To: now, Parts: []string{"1014"}}
	if name == transcripts {
		r.Key.ID = "1014/a/b"
	}
	page, err := s.Pager.Page(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	for record, err := range page.Records {
		if err != nil {
			return n, err
		}
		each(n, record)
		n++
	}
	_, err = page.Next()
	return n, err
}
