package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"time"
)

// deepConverse is the export API of DeepConverse: two lists, each read by a
// cursor inside a window of time.
type deepConverse struct {
	options       *Options
	raw           slab
	scratch       jsonWriter
	conversations index
	messages      index
	threads       []*thread // by the conversation's number
	byID          map[string]*thread
}

// thread is what DeepConverse keeps of a conversation.
type thread struct {
	id       string
	form     form
	current  *record // its latest version
	messages index
	calls    jsonWriter // the calls of services so far, an array that is still open
	called   int        // the turns that calls covers
}

func newDeepConverse(o *Options) *deepConverse {
	return &deepConverse{
		options: o, byID: map[string]*thread{},
		conversations: index{loading: true}, messages: index{loading: true},
	}
}

func (d *deepConverse) endpoints() []endpoint {
	const prefix = "/conversations/export/v1/"
	return []endpoint{
		{
			name: "deepconverse/conversations", pattern: "GET " + prefix + "conversations",
			authorize: d.authorize,
			answer: func(r *http.Request, now time.Time) answer {
				return d.list(r, now, "conversations", func(string) *index { return &d.conversations })
			},
			records: func() []*record { return d.conversations.records },
		},
		{
			name: "deepconverse/messages", pattern: "GET " + prefix + "messages",
			authorize: d.authorize,
			answer: func(r *http.Request, now time.Time) answer {
				return d.list(r, now, "messages", d.messagesOf)
			},
			records: func() []*record { return d.messages.records },
		},
	}
}

// thread returns what is kept of a conversation, from its first mention on.
func (d *deepConverse) thread(c *conversation) *thread {
	for uint64(len(d.threads)) <= c.number {
		d.threads = append(d.threads, nil)
	}
	t := d.threads[c.number]
	if t == nil {
		t = &thread{id: d.objectID(c, c.start, 0), form: newForm(c)}
		d.threads[c.number] = t
		d.byID[t.id] = t
	}
	return t
}

// objectID returns a unique id: like MongoDB's, the seconds of its making, then
// eight bytes of which no two are the same.
func (d *deepConverse) objectID(c *conversation, at int64, n int) string {
	var id [12]byte
	binary.BigEndian.PutUint32(id[:], uint32(at/1000))
	// A dialogue has fewer than 1<<20 turns.
	binary.BigEndian.PutUint64(id[4:], mix(c.number<<20|uint64(n)^mix(d.options.Seed+1)))
	return hex.EncodeToString(id[:])
}

// said implements [observer].
func (d *deepConverse) said(m message) {
	t := d.thread(m.conversation)
	id := d.objectID(m.conversation, m.at, m.turn+1)
	r := &record{
		at: position{t.form.messageTime.visible(m.at), m.seq},
		id: id, conversation: t.id, turn: m.turn,
	}
	d.scratch.buf = d.scratch.buf[:0]
	renderMessage(&d.scratch, d.options, t, m, id)
	r.raw = d.raw.keep(d.scratch.buf)
	d.messages.insert(r)
	t.messages.insert(r)
}

// changed implements [observer].
func (d *deepConverse) changed(c *conversation) {
	t := d.thread(c)
	raw := renderConversation(t, c)
	r := &record{at: position{t.form.startTime.visible(c.start), c.number}, id: t.id, conversation: t.id, raw: raw}
	if d.options.ConversationsBy == ByActivity {
		r.at.time = t.form.activityTime.visible(c.last)
	}
	old := t.current
	t.current = r
	if old == nil {
		r.versions = [][sha256.Size]byte{sha256.Sum256(raw)}
		d.conversations.insert(r)
		return
	}
	r.versions = append(old.versions, sha256.Sum256(raw))
	d.conversations.replace(old, r)
}

// settled implements [observer].
func (d *deepConverse) settled() {
	d.conversations.sort()
	d.messages.sort()
}
