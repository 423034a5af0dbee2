package simulator

import (
	"container/heap"
	"time"
)

// conversation is one telling of a dialogue.
type conversation struct {
	number   uint64 // from 0, in the order in which they began to be made
	bits     uint64 // its own random bits, which choose the variants of its form
	dialogue *dialogue
	start    int64 // when it began, in UNIX milliseconds
	last     int64 // its last activity
	said     int   // how many of the dialogue's turns were said
	closed   bool  // somebody drew a line under it: tags and metadata change
	waiting  bool  // for some seconds, see Options.ChangeBack
}

// over reports whether there is nothing left to say.
func (c *conversation) over() bool { return c.said == len(c.dialogue.Turns) }

// message is one turn of a conversation as it was said.
type message struct {
	conversation *conversation
	turn         int // its place, from 0
	at           int64
	seq          uint64 // orders what was said at the same time
}

func (m message) content() *turn { return &m.conversation.dialogue.Turns[m.turn] }

// observer is told what happens in the world. A vendor keeps what it shows.
type observer interface {
	// said tells of a message, which may be older than others told before.
	said(message)
	// changed tells that a conversation began or is no longer as it was.
	changed(*conversation)
	// settled tells that the past is complete; it was told in no order of time.
	settled()
}

// world makes up conversations and tells its observers.
type world struct {
	options   *Options
	dialogues []dialogue
	observers []observer
	dice      dice
	begun     uint64 // conversations so far
	seq       uint64 // messages so far

	active  bool // time goes on
	origin  time.Time
	ticks   uint64          // messages produced since origin
	ongoing []*conversation // nil where the next one begins
	pending pendingHeap
}

// begin starts a conversation at a time in UNIX milliseconds.
func (w *world) begin(d *dialogue, at int64) *conversation {
	c := &conversation{number: w.begun, bits: w.dice.next(), dialogue: d, start: at, last: at}
	w.begun++
	return c
}

// say says the next turn of a conversation.
func (w *world) say(c *conversation, at int64) message {
	m := message{conversation: c, turn: c.said, at: at, seq: w.seq}
	w.seq++
	c.said++
	c.last = at
	return m
}

// makePast makes up the backlog, which ends before now.
func (w *world) makePast(now time.Time) {
	type plan struct {
		dialogue *dialogue
		turns    int
	}
	var plans []plan
	for left := w.options.Backlog; left > 0; {
		d := &w.dialogues[w.dice.below(len(w.dialogues))]
		p := plan{d, min(left, len(d.Turns))}
		plans = append(plans, p)
		left -= p.turns
	}
	// A conversation begins in its own part of the span and is over before now.
	length := w.options.Span.Milliseconds()
	longest := min(length/4, (15 * time.Minute).Milliseconds())
	from := now.UnixMilli() - length
	step := float64(length-longest) / float64(len(plans))
	for i, p := range plans {
		c := w.begin(p.dialogue, from+int64(step*(float64(i)+w.dice.share())))
		for _, at := range w.pace(c, p.turns, longest) {
			w.tell(w.say(c, at))
		}
		c.closed = c.over()
		w.tellChanged(c)
	}
	for _, o := range w.observers {
		o.settled()
	}
}

// pace returns when the turns of a past conversation are said: all within less
// than longest milliseconds, answers sometimes in the same instant.
func (w *world) pace(c *conversation, turns int, longest int64) []int64 {
	times := make([]int64, turns)
	var at int64
	for i := range times {
		switch {
		case i == 0:
		case c.dialogue.Turns[i].Speaker == "user":
			at += 2000 + int64(w.dice.below(40_000))
		case !w.dice.oneIn(4):
			at += int64(w.dice.below(3000))
		}
		times[i] = at
	}
	scale := min(1, float64(longest-1)/float64(max(at, 1)))
	for i := range times {
		times[i] = c.start + int64(float64(times[i])*scale)
	}
	return times
}

// setActive lets time go on from now, or stops it.
func (w *world) setActive(active bool, now time.Time) {
	w.advance(now)
	if active && !w.active {
		w.origin, w.ticks = now, 0
	}
	w.active = active
}

// advance lets happen what is due by now. What happens does not depend on how
// often it is called.
func (w *world) advance(now time.Time) {
	if !w.active {
		return
	}
	for {
		due, live := w.nextDue()
		if len(w.pending) > 0 && (!live || !w.pending[0].at.After(due)) {
			if w.pending[0].at.After(now) {
				return
			}
			w.happen(heap.Pop(&w.pending).(pending))
			continue
		}
		if !live || due.After(now) {
			return
		}
		w.ticks++
		w.speak(due)
	}
}

// nextDue returns when the next message is due, if one ever is.
func (w *world) nextDue() (time.Time, bool) {
	if w.options.Rate == 0 {
		return time.Time{}, false
	}
	const never = 1 << 62 // nanoseconds, 146 years
	since := min(float64(w.ticks+1)/w.options.Rate*float64(time.Second), never)
	return w.origin.Add(time.Duration(since)), true
}

// speak lets one of the ongoing conversations go on, or a new one begin.
func (w *world) speak(due time.Time) {
	i := w.dice.below(len(w.ongoing))
	at := due.UnixMilli()
	c := w.ongoing[i]
	if c == nil {
		c = w.begin(&w.dialogues[w.dice.below(len(w.dialogues))], at)
		w.ongoing[i] = c
	}
	m := w.say(c, at)
	if w.dice.share() < w.options.LateShare {
		delay := w.options.LateBy * time.Duration(1+w.dice.below(100)) / 100
		w.later(pending{at: due.Add(delay), late: &m})
	} else {
		w.tell(m)
	}
	w.tellChanged(c)
	if c.over() {
		w.ongoing[i] = nil
		closing := due.Add(time.Duration(5+w.dice.below(60)) * time.Second)
		w.later(pending{at: closing, closes: c})
		w.planChangeBack(c, due, closing)
	}
}

// happen lets something pending happen.
func (w *world) happen(p pending) {
	if p.late != nil {
		w.tell(*p.late)
		return
	}
	if p.flips != nil {
		w.flip(p.flips)
		return
	}
	p.closes.closed = true
	if p.closes.bits&1 == 0 { // for some vendors' customers closing is an activity
		p.closes.last = max(p.at.UnixMilli(), w.origin.UnixMilli())
	}
	w.tellChanged(p.closes)
}

func (w *world) tell(m message) {
	for _, o := range w.observers {
		o.said(m)
	}
}

func (w *world) tellChanged(c *conversation) {
	for _, o := range w.observers {
		o.changed(c)
	}
}

func (w *world) later(p pending) {
	p.order = w.seq
	heap.Push(&w.pending, p)
}

// slotsFor returns how many conversations go on at once at a rate, so that one
// has something new about every ten seconds.
func slotsFor(rate float64) int { return int(min(max(rate*10, 4), 4096)) }

// pending is something that happens later: a late message comes to light, a
// conversation is closed, or it begins or ends to wait.
type pending struct {
	at     time.Time
	order  uint64 // among those of the same time
	late   *message
	closes *conversation
	flips  *conversation
}

// pendingHeap has the earliest first.
type pendingHeap []pending

func (h pendingHeap) Len() int { return len(h) }
func (h pendingHeap) Less(i, j int) bool {
	if c := h[i].at.Compare(h[j].at); c != 0 {
		return c < 0
	}
	return h[i].order < h[j].order
}
func (h pendingHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *pendingHeap) Push(p any)   { *h = append(*h, p.(pending)) }
func (h *pendingHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	*h = old[:len(old)-1]
	return p
}
