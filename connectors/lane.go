package connectors

import (
	"context"
	"errors"
	"time"

	"github.com/millrace-io/millrace/events"
)

const (
	firstWindow = time.Minute // until an answer told how much a minute holds
	growth      = 4           // how much larger the next window may be
	maxWindow   = 30 * 24 * time.Hour
	// quietWindow is as long as windows grow on emptiness alone, which tells
	// nothing of what follows it.
	quietWindow = 12 * time.Hour
	readAheadBy = 16 << 20 // bytes read and not yet committed
	// pageAheadBy is how much of one page is read ahead, in bytes: that its next
	// batch waits costs no request.
	pageAheadBy = 2 << 20
	// leastWindow is as short as windows are made for a busy stream: each is
	// asked for with two seconds more, which for shorter ones would be most of it.
	leastWindow = 20 * time.Second
	// aimedRecords is how many records a window should hold: a page, but for
	// some room, as a page with a few records more would be two requests.
	aimedRecords = MaxBatchRecords * 8 / 10
	// aimedBytes is how many bytes it should hold at most.
	aimedBytes = MaxBatchBytes / 2
	// slowAnswer is how long an API may think before what it is asked for is halved.
	slowAnswer = 10 * time.Second
)

// lane reads windows side by side and delivers their batches in order.
type lane struct {
	name           Lane
	sub            *Subscriber
	slots          []chan struct{} // requests under way, its own and the stream's
	buffer         *readAhead
	parts          []string      // of the stream, that are read; nil: all
	size           time.Duration // of the next window
	slow           slowness
	walked, toWalk int                     // keys of the walk that is under way: done, and all
	walkedBefore   int                     // of them, before walkBegan
	walkBegan      time.Time               // when this read of the walk did
	listed         int                     // requests made to list them, not yet told
	warm           bool                    // a window was read: its size and the API's clock are known
	nacks          int                     // in a row
	cancel         context.CancelCauseFunc // ends the read
}

func newLane(name Lane, sub *Subscriber, slots ...chan struct{}) *lane {
	return &lane{name: name, sub: sub, slots: slots, buffer: newReadAhead(readAheadBy), size: firstWindow}
}

// slot is the right to have one request under way.
type slot struct {
	lane  *lane
	taken int
}

func (s *slot) take(ctx context.Context) error {
	for _, slots := range s.lane.slots[s.taken:] {
		select {
		case slots <- struct{}{}:
			s.taken++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// release gives the slot back; it may be called more than once.
func (s *slot) release() {
	for ; s.taken > 0; s.taken-- {
		<-s.lane.slots[s.taken-1]
	}
}

// course is what a lane reads, window after window.
type course struct {
	*lane
	from       time.Time
	unfinished Position // of a read before this one; no Window: none
	end        func(ago time.Duration) time.Time
	until      time.Time // end when the read began: what comes then is for the next one, which begins an overlap before
	walking    *walk     // of a stream that is walked; nil: none
}

// next returns the next read; nil when there is none any more, or, of a walk,
// while the one before is not over (idle).
func (c *course) next(ctx context.Context, idle bool) (*windowRead, error) {
	if c.walking != nil {
		if r := c.walking.next(c.lane); r != nil || !idle {
			return r, nil
		}
	}
	w, cursor, open := c.unfinished.Window, c.unfinished.Cursor, false
	c.unfinished = Position{}
	if w.To.IsZero() {
		present := earlier(c.end(0), c.until)
		if !c.from.Before(present) {
			return nil, nil
		}
		w = Window{c.from, earlier(c.lane.next(c.from, present), present)}
		open = c.opens(w.To, present)
	}
	if cursor != nil && c.name == Live { // a part of it was read before, maybe long ago
		c.from = later(c.from, w.To.Add(-c.sub.stream.Options.Overlap))
	} else {
		c.from = w.To
	}
	if c.sub.stream.Walk != nil {
		var err error
		if c.walking, err = c.walk(ctx, w, cursor); err != nil {
			return nil, err
		}
		return c.walking.next(c.lane), nil
	}
	r := &windowRead{lane: c.lane, window: w, cursor: cursor, open: open, out: make(chan *Batch, 64)}
	// More cells than one may hold nothing that needs a cell: that takes one
	// request to find out.
	r.cells = c.sub.current().Cells && w.To.Sub(w.From.Truncate(events.Quarter)) <= events.Quarter
	return r, nil
}

// next is where a window ends that begins at a time. Where there are cells it
// ends with one, so that no two windows read the same.
func (l *lane) next(from, present time.Time) time.Time {
	if s := l.sub.stream; s.Whole || s.Walk != nil {
		return present
	}
	to := from.Add(l.size)
	if l.sub.current().Cells {
		to = later(to, from.Truncate(events.Quarter).Add(events.Quarter)).Truncate(events.Quarter)
	}
	return to
}

// opens says whether a window is asked for without an end: the live one that
// ends at the present, of a stream whose records move on.
func (l *lane) opens(to, present time.Time) bool {
	return l.name == Live && l.sub.stream.OpenEnd && to.Equal(present)
}

// ahead is how many windows may be open, once the first has told their size:
// twice as many as requests may be under way, so that these never wait for the
// slowest window. Not many more: behind a quiet time, where windows have grown,
// all that are open may turn out to be many pages long.
func (l *lane) ahead() int {
	if !l.warm && l.sub.stream.Walk == nil {
		return 1
	}
	return 2 * l.sub.stream.Options.Requests
}

// gaveUp ends the read where the API lets nobody ask for longer than anybody
// waits (Once). After other errors what was read before is still delivered.
func (l *lane) gaveUp(err error) {
	var e *Error
	if errors.As(err, &e) && e.After > 0 {
		l.cancel(err)
	}
}

// learn sizes the next windows so that each is about one page: shorter where
// answers were large or slow, longer where they were small.
func (l *lane) learn(r *windowRead) {
	l.warm = true
	if r.behind != nil { // windows of a walk are as long as can be
		if r.key != nil {
			l.walked++
			l.tell()
		}
		return
	}
	length := r.window.To.Sub(r.window.From)
	least := leastWindow
	full := max(float64(r.records)/aimedRecords, float64(r.bytes)/aimedBytes, 1./aimedRecords)
	switch aimed := time.Duration(float64(length) / full); {
	case r.shortest > 0:
		l.size, least = min(l.size, r.shortest), time.Second
	case l.slow.shrinks(length, r.slowest):
		l.size, least = min(l.size, length/2), time.Second
	case r.timeless > 0:
		l.size = events.Quarter
	case aimed < length:
		l.size = min(l.size, aimed)
	case length >= l.size: // a shorter one tells little
		l.size = min(aimed, growth*l.size)
		if r.records == 0 {
			l.size = min(l.size, max(length, quietWindow))
		}
	}
	if most := l.slow.most(); most > 0 {
		l.size = min(l.size, most)
	}
	l.size = min(max(l.size.Truncate(time.Second), least), maxWindow)
}

// slowness remembers for how long a window the API was slow.
type slowness struct {
	length time.Duration // 0: none
	took   time.Duration
	anyway bool // it is slow for shorter ones too
}

// shrinks says whether a shorter window is to be tried, after an answer for one
// of a length took so long. Where half of it takes as long, it is not the length.
func (s *slowness) shrinks(length, took time.Duration) bool {
	switch {
	case took <= slowAnswer:
		s.anyway = false
		return false
	case s.anyway:
		return false
	case s.length > 0 && length <= s.length*3/4 && took > s.took*3/4:
		*s = slowness{anyway: true}
		return false
	}
	s.length, s.took = length, took
	return true
}

// most is how long a window may be; 0: as long as it likes. What was too long
// once is tried again, but not soon.
func (s *slowness) most() time.Duration {
	s.length += s.length / 64
	s.took += s.took / 64
	return s.length / 2
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
