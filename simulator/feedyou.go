package simulator

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// feedyouStream is one of the eight lists of the Feedyou API.
type feedyouStream int

const (
	userData feedyouStream = iota
	userDataSnapshot
	nlpLog
	outgoingEmail
	outgoingSms
	fuzzyQuestionAnswerLog
	integrationLog
	urlTracker
	feedyouStreams = iota
)

var feedyouNames = [feedyouStreams]string{
	"userData", "userDataSnapshot", "nlpLog", "outgoingEmail",
	"outgoingSms", "fuzzyQuestionAnswerLog", "integrationLog", "urlTracker",
}

// timed reports whether the rows of a stream are documented to have a user and a
// time.
func (s feedyouStream) timed() bool { return s != nlpLog && s != outgoingSms && s != urlTracker }

// feedyou is the export API of Feedyou: eight lists, each asked for by time only
// and answered whole.
type feedyou struct {
	options *Options
	raw     slab
	scratch jsonWriter
	lists   [feedyouStreams]index
	rows    [feedyouStreams]uint64 // made so far
	users   map[uint64]*feedyouUser
	loading bool // the past is being made, in no order of time
}

// feedyouUser is somebody who talks to the bot, in one conversation or several.
type feedyouUser struct {
	number uint64 // of the conversation that could have been the first
	id     string
	bits   uint64
	form   timeForm
	last   int64 // the last message that can be seen, in UNIX milliseconds
	text   string
	said   int     // messages by and to the user
	row    *record // nil: there is none yet
}

func newFeedyou(o *Options) *feedyou {
	f := &feedyou{options: o, users: map[uint64]*feedyouUser{}, loading: true}
	for i := range f.lists {
		f.lists[i].loading = true
	}
	return f
}

func (f *feedyou) endpoints() []endpoint {
	endpoints := make([]endpoint, feedyouStreams)
	for i := range endpoints {
		s := feedyouStream(i)
		e := endpoint{
			name: "feedyou/" + feedyouNames[s], pattern: "GET /api/management/export/" + feedyouNames[s],
			authorize: f.authorize,
			answer:    func(r *http.Request, _ time.Time) answer { return f.list(r, s) },
			records:   func() []*record { return f.lists[s].records },
		}
		if s != userData {
			e.put = func(at time.Time, raw []byte, copies int) {
				f.insert(s, record{at: position{time: at.UnixMilli()}, raw: bytes.Clone(raw)}, copies)
			}
		}
		endpoints[s] = e
	}
	return endpoints
}

// user returns who talks in a conversation: in one of three somebody new, in the
// others somebody from a recent one or from any, who may be new as well.
func (f *feedyou) user(c *conversation) *feedyouUser {
	d := dice{mix(c.bits ^ 0xfeed)}
	n := c.number
	switch d.below(3) {
	case 1:
		n -= d.next() % min(8, c.number+1)
	case 2:
		n = d.next() % (c.number + 1)
	}
	u := f.users[n]
	if u == nil {
		bits := mix(n ^ mix(f.options.Seed^0xfeed))
		d := dice{bits}
		u = &feedyouUser{number: n, id: "u-" + strconv.FormatUint(bits, 16), bits: bits, form: pick(&d, feedyouTimes)}
		if d.oneIn(5) { // a user of a messenger
			u.id = strconv.FormatUint(bits, 10)
		}
		f.users[n] = u
	}
	return u
}

// said implements [observer].
func (f *feedyou) said(m message) {
	u := f.user(m.conversation)
	u.said++
	if m.at >= u.last {
		u.last, u.text = m.at, m.content().Text
	}
	d := dice{mix(m.conversation.bits ^ mix(uint64(m.turn)^0xfeed))}
	draw := func(s feedyouStream, shares, of int) {
		if d.below(of) < shares {
			f.make(s, m, u, nil, d.next())
		}
	}
	if m.content().Speaker == "user" {
		draw(nlpLog, 1, 4)
		draw(fuzzyQuestionAnswerLog, 2, 5)
		draw(urlTracker, 1, 4)
	} else {
		draw(outgoingEmail, 1, 5)
		draw(outgoingSms, 1, 5)
		draw(integrationLog, 1, 4)
		for i := range m.content().Actions {
			f.make(integrationLog, m, u, &m.content().Actions[i], d.next())
		}
	}
	if !f.loading {
		f.renew(u)
	}
}

// changed implements [observer]: of some conversations that are over, the user's
// data is kept before somebody clears it.
func (f *feedyou) changed(c *conversation) {
	d := dice{mix(c.bits ^ 0x5a95)}
	if !c.closed || d.below(5) > 2 {
		return
	}
	u := f.user(c)
	if u.said == 0 {
		return // all that was said is late
	}
	raw := f.raw.keep(f.renderUser(u))
	at := position{time: u.form.visible(u.last)}
	f.insert(userDataSnapshot, record{at: at, conversation: u.id, raw: raw}, f.copies(&d))
}

// renew makes the next version of a user's row.
func (f *feedyou) renew(u *feedyouUser) {
	raw := bytes.Clone(f.renderUser(u))
	old := u.row
	u.row = &record{
		at: position{u.form.visible(u.last), u.number},
		id: u.id, conversation: u.id, raw: raw,
	}
	if old == nil {
		u.row.versions = [][sha256.Size]byte{sha256.Sum256(raw)}
		f.lists[userData].insert(u.row)
		return
	}
	u.row.versions = append(old.versions, sha256.Sum256(raw))
	f.lists[userData].replace(old, u.row)
}

// settled implements [observer].
func (f *feedyou) settled() {
	f.loading = false
	for _, u := range f.users {
		f.renew(u)
	}
	for i := range f.lists {
		f.lists[i].sort()
	}
}

// make adds a row that a message gives rise to, in one or more copies. of is the
// call of the dialogue that an integration was, nil for one that is made up.
func (f *feedyou) make(s feedyouStream, m message, u *feedyouUser, of *call, bits uint64) {
	row := feedyouRow{w: &f.scratch, dice: dice{bits}, seed: f.options.Seed, user: u, message: m, call: of}
	r := record{at: position{time: m.at}}
	if s.timed() || f.options.Timestamped {
		r.conversation = u.id
		row.timed = true
	}
	plain := row // a copy: both draw the same numbers
	plain.write(s)
	r.raw = f.raw.keep(f.scratch.buf)
	if row.timed {
		r.at.time = plain.form.visible(m.at)
	}
	if len(plain.secrets) > 0 {
		row.masked = true
		row.write(s)
		slices.Sort(plain.secrets)
		r.hidden = &hidden{sha256.Sum256(f.scratch.buf), slices.Compact(plain.secrets)}
	}
	d := dice{mix(bits)}
	f.insert(s, r, f.copies(&d))
}

// copies returns how many exact copies there are of a row.
func (f *feedyou) copies(d *dice) int {
	if d.share() < f.options.Identical {
		return 2 + d.below(3)
	}
	return 1
}

// insert adds copies of a row.
func (f *feedyou) insert(s feedyouStream, row record, copies int) {
	for range copies {
		r := row
		r.at.seq = f.rows[s]
		f.rows[s]++
		f.lists[s].insert(&r)
	}
}
