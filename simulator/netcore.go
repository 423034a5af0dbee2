package simulator

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"time"
)

// netcore is the export API of Netcore: users by the pages of a list, transcripts
// by the pages of a user's, and counts of each month and channel. It is asked
// with a token that a login gives for a while.
type netcore struct {
	options  *Options
	tokens   tokens // has a lock of its own
	raw      slab
	scratch  jsonWriter                 // for what the world tells, not for answers
	users    map[uint64]*netcoreUser    // by their number
	put      uint64                     // users that were put
	known    map[netcoreID]*netcoreUser // by each of the ids that their rows show
	list     index                      // the users' rows
	channels map[int]*index             // the transcripts of each channel
	rows     uint64                     // transcripts so far, which orders them
	usage    map[netcoreMonth]*netcoreUsage
	usages   index
	updates  updateHeap
	loading  bool // the past is being made, in no order of time
}

// Shares of the transcripts that change, and how much later they do.
const (
	updatedShare  = 0.05
	longestUpdate = 30 // seconds
)

func newNetcore(o *Options) *netcore {
	return &netcore{
		options: o, loading: true, list: index{loading: true}, usages: index{loading: true},
		tokens: tokens{until: map[string]time.Time{}},
		users:  map[uint64]*netcoreUser{}, known: map[netcoreID]*netcoreUser{},
		channels: map[int]*index{}, usage: map[netcoreMonth]*netcoreUsage{},
	}
}

func (n *netcore) endpoints() []endpoint {
	return []endpoint{
		{
			name: "netcore/login", pattern: "POST /login",
			authorize: bufferBody, // the credentials are in the body
			answer:    n.login,
		},
		{
			name: "netcore/usage", pattern: "GET /botUsage",
			authorize: n.authorize,
			answer:    func(r *http.Request, _ time.Time) answer { return n.answerUsage(r) },
			records:   func() []*record { return n.usages.records },
		},
		{
			name: "netcore/users", pattern: "POST /users",
			authorize: n.authorize,
			answer:    func(r *http.Request, _ time.Time) answer { return n.answerUsers(r) },
			records:   func() []*record { return n.list.records },
		},
		{
			name: "netcore/userData", pattern: "GET /userData/{botUserId}",
			authorize: n.authorize,
			answer:    func(r *http.Request, _ time.Time) answer { return n.answerUserData(r) },
		},
		{
			name: "netcore/transcripts", pattern: "POST /transcripts",
			authorize: n.authorize,
			answer:    n.answerTranscripts,
			records:   n.transcripts,
		},
	}
}

// transcripts returns all of them, one channel after the other.
func (n *netcore) transcripts() (all []*record) {
	for _, id := range slices.Sorted(maps.Keys(n.channels)) {
		all = append(all, n.channels[id].records...)
	}
	return all
}

// channel returns the transcripts of a channel, to add to them.
func (n *netcore) channel(id int) *index {
	x := n.channels[id]
	if x == nil {
		x = &index{loading: n.loading}
		n.channels[id] = x
	}
	return x
}

// said implements [observer].
func (n *netcore) said(m message) {
	n.update(m.at)
	u := n.user(m.conversation)
	d := dice{mix(m.conversation.bits ^ mix(uint64(m.turn)^0x7e7c))}
	row := netcoreRow{w: &n.scratch, message: m, updated: m.at}
	change := update{due: m.at + 1000*int64(1+d.below(longestUpdate)), order: m.seq, user: u}
	if row.changes = d.share() < updatedShare; row.changes && n.loading && change.due < n.options.Now().UnixMilli() {
		row.updated = change.due // it has happened already
		row.changes = false
	}
	copies := 1
	if d.share() < n.options.Identical {
		copies = 2 + d.below(3)
	}
	row.bits = d.next()
	row.write()
	r := record{
		at:           position{time: row.form.visible(m.at)},
		conversation: u.id, turn: m.turn, raw: n.raw.keep(n.scratch.buf),
	}
	added := n.add(u, r, copies)
	if row.changes {
		change.row, change.records = row, added
		heap.Push(&n.updates, change)
	}
	u.talked(m.at)
	n.count(u, m.at, copies)
	if !n.loading {
		n.renew(u)
	}
}

// changed implements [observer]: Netcore shows nothing of a conversation.
func (n *netcore) changed(*conversation) {}

// settled implements [observer].
func (n *netcore) settled() {
	n.loading = false
	for _, u := range n.users {
		u.transcripts.sort()
		n.renew(u)
	}
	for _, x := range n.channels {
		x.sort()
	}
	for month, u := range n.usage {
		n.renewUsage(month, u)
	}
	n.list.sort()
	n.usages.sort()
}

// add adds copies of a transcript and returns them.
func (n *netcore) add(u *netcoreUser, row record, copies int) []*record {
	added := make([]*record, copies)
	for i := range added {
		r := row
		r.at.seq = n.rows
		n.rows++
		added[i] = &r
		u.transcripts.insert(&r)
		n.channel(u.channel).insert(&r)
	}
	return added
}

// update is a transcript, with its copies, whose updatedAt will be another.
type update struct {
	due     int64 // UNIX milliseconds
	order   uint64
	user    *netcoreUser
	row     netcoreRow
	records []*record
}

// update lets change what is due. Changes come to light with the next message,
// so that time that stands still shows none.
func (n *netcore) update(now int64) {
	for len(n.updates) > 0 && n.updates[0].due <= now {
		u := heap.Pop(&n.updates).(update)
		u.row.updated = u.due
		u.row.write()
		raw := n.raw.keep(n.scratch.buf)
		for _, old := range u.records {
			next := *old
			next.raw = raw
			next.versions = [][sha256.Size]byte{sha256.Sum256(old.raw), sha256.Sum256(raw)}
			u.user.transcripts.replace(old, &next)
			n.channel(u.user.channel).replace(old, &next)
		}
	}
}

// updateHeap has the earliest first.
type updateHeap []update

func (h updateHeap) Len() int { return len(h) }
func (h updateHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].due, h[j].due), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h updateHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *updateHeap) Push(x any)   { *h = append(*h, x.(update)) }
func (h *updateHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = update{}
	*h = old[:len(old)-1]
	return last
}

// netcoreMonth is a calendar month in UTC of a channel.
type netcoreMonth struct {
	start   int64 // UNIX milliseconds
	channel int
}

func monthOf(at time.Time) int64 {
	at = at.UTC()
	return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC).UnixMilli()
}

// netcoreUsage are the counts of a month and channel.
type netcoreUsage struct {
	messages, users int64
	row             *record // nil: there is none yet
}

// count counts rows of a user.
func (n *netcore) count(u *netcoreUser, at int64, rows int) {
	month := netcoreMonth{monthOf(time.UnixMilli(at)), u.channel}
	usage := n.usage[month]
	if usage == nil {
		usage = &netcoreUsage{}
		n.usage[month] = usage
	}
	usage.messages += int64(rows)
	if !slices.Contains(u.months, month.start) {
		u.months = append(u.months, month.start)
		usage.users++
	}
	if !n.loading {
		n.renewUsage(month, usage)
	}
}

// renewUsage makes the next version of a month's counts.
func (n *netcore) renewUsage(month netcoreMonth, u *netcoreUsage) {
	raw := renderUsage(u.messages, u.users)
	id := time.UnixMilli(month.start).UTC().Format("2006-01/") + channelText(month.channel)
	n.usages.renew(&u.row, record{
		at: position{month.start, uint64(month.channel)}, id: id, conversation: id, raw: raw,
	})
}

func renderUsage(messages, users int64) []byte {
	w := jsonWriter{}
	w.open('{')
	w.memberNumber("totalMessages", messages)
	w.memberNumber("totalUsers", users)
	w.close('}')
	return w.buf
}

// renew puts the next version of a record, which is not there yet where *current
// is nil. What does not differ is no version.
func (x *index) renew(current **record, next record) {
	old := *current
	hash := sha256.Sum256(next.raw)
	if old == nil {
		next.versions = [][sha256.Size]byte{hash}
		x.insert(&next)
	} else {
		if hash == old.versions[len(old.versions)-1] {
			return
		}
		next.versions = append(old.versions, hash)
		x.replace(old, &next)
	}
	*current = &next
}
