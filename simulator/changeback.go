package simulator

import "time"

// flipper is an [observer] that shows when a conversation waits. To the others
// such a conversation is as it was.
type flipper interface {
	// flipped tells that a conversation began or ended to wait.
	flipped(*conversation)
}

// planChangeBack lets some conversations wait for a while: between their last
// message, said at spoken, and their closing, or after it. It throws no dice of
// the world, which is the same with and without.
func (w *world) planChangeBack(c *conversation, spoken, closing time.Time) {
	d := dice{mix(c.bits ^ 0xbac4)}
	if d.share() >= w.options.ChangeBack {
		return
	}
	// The closing is 5 seconds or more after the last message: both are before it.
	from := spoken.Add(time.Second + time.Duration(d.below(1000))*time.Millisecond)
	if d.oneIn(2) {
		from = from.Add(closing.Sub(spoken))
	}
	w.later(pending{at: from, flips: c})
	w.later(pending{at: from.Add(time.Second + time.Duration(d.below(1000))*time.Millisecond), flips: c})
}

// flip begins or ends the waiting of a conversation.
func (w *world) flip(c *conversation) {
	c.waiting = !c.waiting
	for _, o := range w.observers {
		if f, ok := o.(flipper); ok {
			f.flipped(c)
		}
	}
}
