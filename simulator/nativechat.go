package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// How NativeChat shows and compares dates.
const (
	NativeChatISO    = "iso"    // text like 2026-01-02T03:04:05.678Z, compared as text
	NativeChatDate   = "date"   // shown as that text, but only {"$date": ...} matches
	NativeChatMillis = "millis" // numbers, UNIX milliseconds
)

// nativeChat is the Administration API of NativeChat: two collections of
// documents, each asked by a predicate, sorted, and read by skip and limit.
type nativeChat struct {
	options       *Options
	raw           slab
	scratch       jsonWriter
	conversations collection
	messages      collection
	starts, says  ties
	threads       []*nativeThread // by the conversation's number
	loading       bool            // the past is being made, in no order of time
}

// nativeThread is what NativeChat keeps of a conversation.
type nativeThread struct {
	id      string
	user    string
	form    nativeForm
	started int64   // StartedAt, in UNIX milliseconds
	last    int64   // LastActivityAt
	current *record // its latest version; nil before the first
	// What was said and went wrong in the first counted turns.
	counted, byUser, byBot, errors int
}

// checkNativeChat fills the options that are NativeChat's in, and returns what is
// wrong with them.
func (o *Options) checkNativeChat() error {
	setDefault(&o.NativeChatDates, NativeChatISO)
	dates := []string{NativeChatISO, NativeChatDate, NativeChatMillis}
	switch {
	case !(o.ChangeBack >= 0 && o.ChangeBack <= 1):
		return fmt.Errorf("ChangeBack is %v; it must be 0 to 1", o.ChangeBack)
	case o.Ties < 0:
		return fmt.Errorf("the number of Ties is %d; it must be 0 (none) or more", o.Ties)
	case !slices.Contains(dates, o.NativeChatDates):
		return fmt.Errorf("NativeChatDates is %q; valid are %q", o.NativeChatDates, dates)
	}
	return nil
}

func newNativeChat(o *Options) *nativeChat {
	n := &nativeChat{options: o, loading: true, starts: ties{size: o.Ties}, says: ties{size: o.Ties}}
	n.conversations = collection{
		dates: map[string]func(*record) int64{
			"StartedAt":      func(r *record) int64 { return r.at.time },
			"LastActivityAt": func(r *record) int64 { return n.threads[r.at.seq].last },
		},
		timeField: "StartedAt", form: o.NativeChatDates, byTime: index{loading: true},
	}
	n.messages = collection{
		dates:     map[string]func(*record) int64{"CreatedAt": func(r *record) int64 { return r.at.time }},
		timeField: "CreatedAt", form: o.NativeChatDates, byTime: index{loading: true},
		by: map[string]map[string]*index{"Conversation": {}, "User": {}},
	}
	return n
}

func (n *nativeChat) endpoints() []endpoint {
	of := func(name string, c *collection) endpoint {
		pattern := "GET /v1/bots/{botId}/" + name
		var counts atomic.Uint64 // so far
		return endpoint{
			name: "nativechat/" + name, pattern: pattern, also: pattern + countSuffix,
			authorize: n.authorize,
			answer: func(r *http.Request, _ time.Time) answer {
				if strings.HasSuffix(r.Pattern, countSuffix) {
					return n.count(r, c, counts.Add(1))
				}
				return n.list(r, c)
			},
			records: func() []*record { return c.byTime.records },
		}
	}
	messages := of("messages", &n.messages)
	messages.put = n.put
	return []endpoint{of("conversations", &n.conversations), messages}
}

// countSuffix makes the address of a list that of its count. Both are one
// endpoint: one limit, and one place in the account.
const countSuffix = "/_count"

// thread returns what is kept of a conversation, from its first mention on.
// Conversations are first mentioned in the order of their numbers.
func (n *nativeChat) thread(c *conversation) *nativeThread {
	if c.number == uint64(len(n.threads)) {
		d := dice{mix(c.bits ^ 0x4a7)}
		somebody := c.number
		if d.oneIn(3) { // who has talked to the bot before, or could have
			somebody -= d.next() % min(8, c.number+1)
		}
		n.threads = append(n.threads, &nativeThread{
			id:   n.objectID(c.start, c.number<<20),
			user: n.objectID(0x5f<<32, somebody<<20|0xfffff), form: newNativeForm(c),
			started: n.starts.shown(c.start, n.loading),
		})
	}
	return n.threads[c.number]
}

// objectID returns a unique id like MongoDB's: the seconds of its making, five
// bytes of who made it (here of the number of the conversation), and a counter.
func (n *nativeChat) objectID(at int64, serial uint64) string {
	var id [12]byte
	binary.BigEndian.PutUint32(id[:], uint32(at/1000))
	maker := (serial >> 20) * (mix(n.options.Seed^0x4a71) | 1) // by an odd factor: no two are the same
	binary.BigEndian.PutUint64(id[4:], maker<<24|serial&0xfffff)
	return hex.EncodeToString(id[:])
}

// said implements [observer].
func (n *nativeChat) said(m message) {
	t := n.thread(m.conversation)
	r := &record{
		at:           position{time: n.says.shown(m.at, n.loading)},
		conversation: t.id, turn: m.turn,
	}
	if !n.options.NativeChatNoID { // a dialogue has fewer than 1<<20 - 2 turns
		r.id = n.objectID(m.at, m.conversation.number<<20|uint64(m.turn+1))
	}
	n.scratch.buf = n.scratch.buf[:0]
	n.renderMessage(&n.scratch, t, m, r)
	r.raw = n.raw.keep(n.scratch.buf)
	n.insert(r, t.user)
}

// insert adds a message of a user, or of nobody, to its collection.
func (n *nativeChat) insert(r *record, user string) {
	c := &n.messages
	r.at.seq = uint64(len(c.order))
	c.order = append(c.order, r)
	c.byTime.insert(r)
	n.file("Conversation", r.conversation, r)
	n.file("User", user, r)
}

// file puts a message where queries for a value of a path find it.
func (n *nativeChat) file(path, value string, r *record) {
	if value == "" {
		return
	}
	of := n.messages.by[path][value]
	if of == nil {
		of = &index{loading: n.loading}
		n.messages.by[path][value] = of
	}
	of.insert(r)
}

// put adds copies of a message of anybody's making, see [Simulator.Put].
func (n *nativeChat) put(at time.Time, raw []byte, copies int) {
	raw = bytes.Clone(raw)
	var fields map[string]any
	if json.Unmarshal(raw, &fields) != nil {
		fields = nil // it can be anything; then it has no fields
	}
	text := func(name string) string {
		s, _ := fields[name].(string)
		return s
	}
	id := text("_id")
	if id == "" {
		id = text("Id")
	}
	for range copies {
		r := &record{at: position{time: at.UnixMilli()}, id: id, conversation: text("Conversation"), raw: raw}
		n.insert(r, text("User"))
	}
}

// changed implements [observer].
func (n *nativeChat) changed(c *conversation) {
	t := n.thread(c)
	t.last = c.last
	t.count(c)
	raw := n.renderConversation(t, c)
	old := t.current
	if old != nil && bytes.Equal(old.raw, raw) {
		return
	}
	r := &record{at: position{t.started, c.number}, raw: raw}
	if !n.options.NativeChatNoID {
		r.id, r.conversation = t.id, t.id
	}
	t.current = r
	l := &n.conversations
	if old == nil {
		r.versions = [][sha256.Size]byte{sha256.Sum256(raw)}
		l.order = append(l.order, r)
		l.byTime.insert(r)
		return
	}
	r.versions = append(old.versions, sha256.Sum256(raw))
	l.order[c.number] = r
	l.byTime.replace(old, r)
}

// flipped implements [flipper].
func (n *nativeChat) flipped(c *conversation) { n.changed(c) }

// settled implements [observer]. What is past was inserted in the order of time.
func (n *nativeChat) settled() {
	n.loading = false
	n.conversations.byTime.sort()
	n.messages.byTime.sort()
	n.messages.order = slices.Clone(n.messages.byTime.records)
	for i, r := range n.messages.order {
		r.at.seq = uint64(i)
	}
	for _, values := range n.messages.by {
		for _, of := range values {
			of.sort()
		}
	}
}

// ties lets consecutive records share one time.
type ties struct {
	size  int   // how many share one; 0 and 1: none does
	from  int64 // the time that is shared now, in UNIX milliseconds
	count int   // by how many
}

// tieLife is how long, in milliseconds, records that are new share one time.
const tieLife = 1000

// shown returns the time that a record of the time at shows. Times of the past
// come in no order; the shared ones never go back.
func (t *ties) shown(at int64, past bool) int64 {
	switch {
	case t.size < 2:
		return at
	case t.count > 0 && t.count < t.size && (past || at >= t.from && at-t.from < tieLife):
		t.count++
		return t.from
	case !past && at < t.from: // it comes to light late
		return at
	}
	t.from, t.count = max(at, t.from), 1
	return t.from
}
