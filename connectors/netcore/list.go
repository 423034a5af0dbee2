package netcore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	usersPath    = "/users"
	listingUsers = "listing users"
	largePage    = 1000 // the most that is documented for transcripts
	smallPage    = 50   // what the API's examples ask for
)

// pageSize is how much an endpoint gives at once. The limits of its pages are not
// well documented, so a large one is tried first.
type pageSize struct{ small atomic.Bool }

func (s *pageSize) get() int {
	if s.small.Load() {
		return smallPage
	}
	return largePage
}

// ask asks for one page of a list with limit rows, 0: as many as can be had. The
// page returns with the limit that was good. Where the first large page is
// refused and a small one is not, all are small from then on.
func (s *pageSize) ask(ctx context.Context, client *connectors.Client, call connectors.Call, page, limit int) (*connectors.Answer, int, error) {
	try := func(limit int) (*connectors.Answer, error) {
		call.Method = http.MethodPost
		call.Query = url.Values{"page": {strconv.Itoa(page)}, "limit": {strconv.Itoa(limit)}}
		return client.Do(ctx, call)
	}
	first := limit
	if first == 0 {
		first = s.get()
	}
	answer, err := try(first)
	var e *connectors.Error
	if err == nil || !errors.As(err, &e) || e.Status != http.StatusBadRequest {
		return answer, first, err
	}
	if page > 1 { // the list is another by now, or the limit
		return nil, first, &connectors.Error{Kind: connectors.Restart, Op: e.Op, Status: e.Status, Err: e.Err}
	}
	if first <= smallPage {
		return nil, first, err
	}
	if answer, err = try(smallPage); err == nil {
		s.small.Store(true)
	}
	return answer, smallPage, err
}

// listing lists the users of one channel after the other, so that it is certain
// whose channel it is. The API's pages move while they are read: a user who acts
// goes to one end of the list, and all behind move up by one. All users move in
// one direction only, but for those who act, so a list of several pages is read
// forward and then backward: whom one way misses the other cannot. And who acts
// meanwhile is listed again by the next poll. Both ways show the same users, whose
// ids tell; what has no id may become two events or dead letters.
type listing struct {
	*api
	client    *connectors.Client
	maxRecord int
}

// place is a page of a listing, and the cursor that leads to it.
type place struct {
	Channel int  `json:"channel"`
	Page    int  `json:"page"`
	Limit   int  `json:"limit,omitempty"` // 0: not known yet
	Back    bool `json:"back,omitempty"`  // the page is read on the way back
	// Seen is the hash of the page before; "": there is none, or it was empty.
	Seen string `json:"seen,omitempty"`
}

// shown is what a page has shown so far.
type shown struct {
	rows  int
	hash  hash.Hash
	first []byte // row
	alike bool   // all rows are like the first
}

// count makes a mapper that notes what it maps.
func (s *shown) count(m connectors.Mapper) connectors.Mapper {
	s.hash, s.alike = sha256.New(), true
	return func(raw []byte, f *connectors.Fields) events.Record {
		if s.rows++; s.rows == 1 {
			s.first = bytes.Clone(raw)
		}
		s.alike = s.alike && bytes.Equal(raw, s.first)
		_, _ = s.hash.Write(raw)
		return m(raw, f)
	}
}

// see notes what the page has shown. An API that does not look at the parameter
// page gives the one before again, and would be followed for ever. Equal messages
// of one second make equal pages too: these are followed where the API tells how
// many there are.
func (at *place) see(s *shown, n counts, op string) error {
	seen := ""
	if s.rows > 0 {
		seen = hex.EncodeToString(s.hash.Sum(nil)[:16])
	}
	ends := s.alike && (n.pages > 0 || n.total > 0)
	if seen != "" && seen == at.Seen && !ends {
		return &connectors.Error{Kind: connectors.Retry, Op: op, Err: fmt.Errorf(
			"page %d holds the rows of the page before: the API seems to ignore the parameter page, and cannot be read page by page", at.Page)}
	}
	at.Seen = seen
	return nil
}

// placeOf reads a cursor; nil is the first page of the first channel.
func placeOf(cursor json.RawMessage, channels []int, op string) (place, error) {
	if cursor == nil {
		return place{Channel: channels[0], Page: 1}, nil
	}
	var at place
	if json.Unmarshal(cursor, &at) != nil || at.Page < 1 || at.Limit < 0 || at.Limit > largePage || !slices.Contains(channels, at.Channel) {
		return place{}, badCursor(op)
	}
	return at, nil
}

// after returns the page that follows.
func (at place) after(channels []int, more bool) (json.RawMessage, error) {
	switch {
	case !at.Back && more:
		at.Page++
	case at.Page > 1: // on the way back, or about to turn
		at.Back = true
		at.Page--
	default:
		return at.nextChannel(channels)
	}
	return json.Marshal(at)
}

// nextChannel returns the first page of the next channel; nil when there is none.
func (at place) nextChannel(channels []int) (json.RawMessage, error) {
	i := slices.Index(channels, at.Channel) + 1
	if i == len(channels) {
		return nil, nil
	}
	return json.Marshal(place{Channel: channels[i], Page: 1, Limit: at.Limit})
}

// longAgo is before anybody acted.
var longAgo = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// page asks for a page of the users who were active since a time. What the dates
// filter by is not documented, and the last interaction is the likeliest. So the
// end is always the present: whoever was active and is again is listed.
func (l *listing) page(ctx context.Context, at place, channels []int, since time.Time, mapper connectors.Mapper) (*connectors.Page, error) {
	call := connectors.Call{Op: listingUsers + key{channel: at.Channel}.of(), Path: usersPath, Body: map[string]any{
		// Seen of the live API: without channelIds it answers 500.
		"channelIds": []int{at.Channel},
		"startDate":  date(since),
		// Our idea of the API's clock may be a second behind.
		"endDate": date(l.client.Now().Add(clockDoubt)),
	}}
	answer, limit, err := l.userPages.ask(ctx, l.client, call, at.Page, at.Limit)
	if err != nil {
		return nil, err
	}
	at.Limit = limit
	var rows shown
	return connectors.NewPage(answer, connectors.Key{ID: channelText(at.Channel)}, l.maxRecord, []string{"users"}, rows.count(mapper), func(a *connectors.Array) (json.RawMessage, error) {
		n, err := countsOf(a)
		if err != nil {
			return nil, err
		}
		if err := at.see(&rows, n, call.Op); err != nil {
			return nil, err
		}
		return at.after(channels, n.more(at.Page, limit, rows.rows))
	}), nil
}

const clockDoubt = 2 * time.Second

// counts is what an answer tells of its pages; 0: nothing.
type counts struct {
	pages, total, limit int64
	next                bool // it says that there is a next one
}

// countsOf reads the members beside a list, whose numbers may be texts.
func countsOf(a *connectors.Array) (n counts, err error) {
	for name, field := range map[string]*int64{"pages": &n.pages, "total": &n.total, "limit": &n.limit} {
		value, err := a.Member(name)
		if err != nil {
			return n, &connectors.Error{Kind: connectors.Fail, Op: listingUsers, Err: err}
		}
		*field, _ = whole(value)
	}
	value, err := a.Member("hasNextPage")
	if err != nil {
		return n, &connectors.Error{Kind: connectors.Fail, Op: listingUsers, Err: err}
	}
	n.next = truth(value)
	return n, nil
}

// truth reads a boolean, a number or a text of one: hasNextPage is documented as
// a number.
func truth(value []byte) bool {
	if string(value) == "true" || connectors.Text(value) == "true" {
		return true
	}
	number, ok := whole(value)
	return ok && number != 0
}

// more says whether another page follows one of so many rows. Whatever says so
// counts, as a page too many costs a request and one too few loses rows; but the
// pages end behind the last that was announced, and with an empty one where that
// was not.
func (n counts) more(page, limit, rows int) bool {
	if n.limit > 0 {
		limit = int(n.limit)
	}
	switch {
	case n.pages > int64(page):
		return true
	case rows == 0, n.pages > 0 && int64(page) > n.pages:
		return false
	case n.next:
		return true
	case n.total > 0:
		return n.total > int64(page-1)*int64(limit)+int64(rows)
	}
	return n.pages == 0 && rows >= limit
}
