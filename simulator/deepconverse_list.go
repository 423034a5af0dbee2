package simulator

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// How many records a page of DeepConverse holds.
const (
	deepConversePage    = 100 // where per_page is not given
	deepConverseMaxPage = 1000
)

// basicPlanKey is a key that is right, of a customer whose plan has no export.
const basicPlanKey = "basic-plan"

func (d *deepConverse) authorize(r *http.Request) *answer {
	var a answer
	switch r.Header.Get("x-api-key") {
	case d.options.APIKey:
		return nil
	case basicPlanKey:
		a = refuse(http.StatusForbidden, "The export API is part of the Enterprise plan")
	case "":
		a = refuse(http.StatusUnauthorized, "Missing x-api-key header")
	default:
		a = refuse(http.StatusUnauthorized, "Invalid API key")
	}
	return &a
}

// listing is what a request asks for.
type listing struct {
	endpoint     string
	start, end   int64 // UNIX seconds
	conversation string
	limit        int
	cursor       string
}

// list answers a request for a page of an endpoint. source returns what to list,
// given a conversation's id or "".
func (d *deepConverse) list(r *http.Request, now time.Time, name string, source func(conversation string) *index) answer {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "Malformed query string")
	}
	l, err := parseListing(name, q)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if q.Get("bot_name") != d.options.BotName {
		return refuse(http.StatusNotFound, "Bot not found")
	}
	within := d.options.Bounds.span(l.start, l.end)
	after := position{time: within.from - 1}
	if l.cursor != "" {
		var issued time.Time
		if after, issued, err = d.openCursor(l); err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		if life := d.options.CursorLife; life > 0 && now.Sub(issued) > life {
			// Which of the two it is, is not documented.
			status := [...]int{http.StatusGone, http.StatusBadRequest}[after.seq%2]
			return refuse(status, "Cursor expired")
		}
	}
	records, more := source(l.conversation).page(within, after, l.limit)
	cursor := "null"
	if more {
		cursor = `"` + d.makeCursor(l, records[len(records)-1].at, now) + `"`
	}
	a := answer{head: []byte(`{"data":[`), tail: []byte(`],"cursor":` + cursor + `}`), records: records, list: true}
	if l.fingerprint()%2 == 1 { // both orders of the fields are JSON
		a.head, a.tail = []byte(`{"cursor":`+cursor+`,"data":[`), []byte(`]}`)
	}
	return a
}

// messagesOf returns the messages of a conversation, or all for "".
func (d *deepConverse) messagesOf(conversation string) *index {
	if conversation == "" {
		return &d.messages
	}
	if t := d.byID[conversation]; t != nil {
		return &t.messages
	}
	return &index{}
}

func parseListing(endpoint string, q url.Values) (listing, error) {
	l := listing{endpoint: endpoint, limit: deepConversePage, cursor: q.Get("cursor")}
	if endpoint == "messages" {
		l.conversation = q.Get("conversation_id")
	}
	var err error
	if l.start, err = seconds(q, "start_time"); err != nil {
		return l, err
	}
	if l.end, err = seconds(q, "end_time"); err != nil {
		return l, err
	}
	if l.start > l.end {
		return l, errors.New("start_time must not be after end_time")
	}
	if !q.Has("bot_name") {
		return l, errors.New("bot_name is required")
	}
	if q.Has("per_page") {
		l.limit, err = strconv.Atoi(q.Get("per_page"))
		if err != nil || l.limit < 1 || l.limit > deepConverseMaxPage {
			return l, fmt.Errorf("per_page must be a number from 1 to %d", deepConverseMaxPage)
		}
	}
	return l, nil
}

// seconds returns a required parameter that is a time in UNIX seconds. A time in
// milliseconds is a mistake.
func seconds(q url.Values, name string) (int64, error) {
	if !q.Has(name) {
		return 0, fmt.Errorf("%s is required", name)
	}
	n, err := strconv.ParseInt(q.Get(name), 10, 64)
	if err != nil || n < 0 || n > 99_999_999_999 {
		return 0, fmt.Errorf("%s must be a UNIX time in seconds", name)
	}
	return n, nil
}

// fingerprint identifies the listing that a cursor belongs to; the size of the
// pages may change on the way.
func (l listing) fingerprint() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d %d %s", l.endpoint, l.start, l.end, l.conversation)
	return h.Sum64()
}

// A cursor is, in base64url, the listing's fingerprint, the position of the last
// record before it, when it was issued, and a checksum that holds the seed.
const cursorSize = 4*8 + 4

func (d *deepConverse) makeCursor(l listing, last position, now time.Time) string {
	b := make([]byte, 0, cursorSize)
	b = binary.BigEndian.AppendUint64(b, l.fingerprint())
	b = binary.BigEndian.AppendUint64(b, uint64(last.time))
	b = binary.BigEndian.AppendUint64(b, last.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, d.checksum(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

func (d *deepConverse) openCursor(l listing) (last position, issued time.Time, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(l.cursor)
	if err != nil || len(b) != cursorSize || binary.BigEndian.Uint32(b[32:]) != d.checksum(b[:32]) {
		return last, issued, errors.New("invalid cursor")
	}
	if binary.BigEndian.Uint64(b) != l.fingerprint() {
		return last, issued, errors.New("cursor belongs to another query")
	}
	last = position{int64(binary.BigEndian.Uint64(b[8:])), binary.BigEndian.Uint64(b[16:])}
	return last, time.UnixMilli(int64(binary.BigEndian.Uint64(b[24:]))), nil
}

func (d *deepConverse) checksum(b []byte) uint32 {
	return crc32.ChecksumIEEE(b) ^ uint32(mix(d.options.Seed))
}
