package connectors

import (
	"context"
	"time"

	"github.com/millrace-io/millrace/events"
)

// BackfillPosition is where the backfill lane stands.
type BackfillPosition struct {
	Number   uint64    // tells one backfill of a stream from another
	From, To time.Time // the range
	Parts    []string  // of the stream, that are read; nil: all
	Position           // the backfill has ended when At is not before To
}

// Over says whether there is nothing left to read.
func (b *BackfillPosition) Over() bool { return b == nil || !b.At.Before(b.To) }

// moved is where the lane stands behind a page.
func (b BackfillPosition) moved(after Position) *BackfillPosition {
	b.Position = Position{At: later(b.At, earlier(after.At, b.To)), Window: after.Window, Cursor: after.Cursor}
	return &b
}

// backfillAheadBy is how much a backfill reads ahead of the commit, in bytes: it
// comes on top of what live reads and sweeps hold.
const backfillAheadBy = readAheadBy / 2

// backfillLane is the lane of a backfill. It takes half of the slots, so that it
// never keeps live reads waiting; all of them where nothing else is read.
func (s *Subscriber) backfillLane(slots chan struct{}) *lane {
	most := max(1, s.stream.Options.Requests/2)
	if s.opts.Only == Backfill {
		most = s.stream.Options.Requests
	}
	l := newLane(Backfill, s, make(chan struct{}, most), slots)
	l.buffer = newReadAhead(backfillAheadBy)
	return l
}

// backfill carries out the backfill that the progress names, to its end.
func (s *Subscriber) backfill(ctx context.Context, l *lane) error {
	if b := s.current().Backfill; !b.Over() {
		l.parts = b.Parts
		s.count(withLane(ctx, Backfill), b)
	}
	for {
		b := s.current().Backfill
		if b.Over() {
			return nil
		}
		end := func(time.Duration) time.Time { return b.To }
		err := s.jump(ctx, l, &b.Position, end)
		if err == nil {
			b = s.current().Backfill // it may have jumped
			err = l.read(ctx, b.At, b.Position, end)
		}
		if _, err := l.again(ctx, err); err != nil {
			return err
		}
	}
}

// jump moves a lane on to where the API can still be asked, if it stands before.
func (s *Subscriber) jump(ctx context.Context, l *lane, p *Position, end func(time.Duration) time.Time) error {
	now := s.stream.client.Now()
	to := earlier(s.stream.oldest(now), end(0))
	if !p.At.Before(to) {
		return nil
	}
	b := &Batch{Stream: s.stream, Lane: l.name, Window: Window{p.At, to}, Jump: true, EndsPage: true, after: Position{At: to}}
	if l.name == Backfill && to.Before(p.Window.To) { // the walk goes on with those who are not done
		b.after.Window, b.after.Cursor = p.Window, p.Cursor
	}
	b.Began, b.Ended = s.stream.client.now(), s.stream.client.now()
	return s.deliver(ctx, l, b, end)
}

// oldest is where the API can be asked from, at the beginning of a quarter of an
// hour; the zero time is long ago.
func (s *Stream) oldest(now time.Time) time.Time {
	if s.Oldest == nil {
		return time.Time{}
	}
	return CeilQuarter(s.Oldest(now))
}

// CeilQuarter returns the first beginning of a quarter of an hour (UTC) that is
// not before a time.
func CeilQuarter(t time.Time) time.Time {
	t = t.UTC()
	if start := t.Truncate(events.Quarter); start.Before(t) {
		return start.Add(events.Quarter)
	}
	return t
}

// begins is where the lane's stream begins: before it no cell is read.
func (l *lane) begins() time.Time {
	p := l.sub.current()
	if l.name == Backfill && p.Backfill != nil {
		return p.Backfill.From
	}
	return p.Since
}

// BackfillProgress is what is known of a backfill beside where it stands.
type BackfillProgress struct {
	Expected int64  // records in its whole range, about; 0: unknown
	Walked   Walked // how far it is in its window, of a stream that is walked
	Cause    string // why its requests fail, and what to do; empty when all is well
}

// Backfill tells how the backfill fares that is carried out. It may be called
// concurrently.
func (s *Subscriber) Backfill() BackfillProgress {
	p := BackfillProgress{Expected: s.expected.Load(), Walked: s.Walked(Backfill)}
	if cause := s.trouble.Load(); cause != nil {
		p.Cause = *cause
	}
	return p
}

// count asks the API how many records there are. That it does not tell matters
// to nobody.
func (s *Subscriber) count(ctx context.Context, b *BackfillPosition) {
	if s.stream.Count == nil {
		return
	}
	if n, err := s.stream.Count(ctx, b.From, b.To); err == nil {
		s.expected.Store(n)
	}
}
