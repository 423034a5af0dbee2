package connectors

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Some APIs give their records user by user or conversation by conversation
// only. A stream of such an API is walked: for a window, all that may have
// something in it are listed and sorted, and each is asked for the window's
// records, several side by side, committed in order. The cursor names the last
// one that is done, so that a walk which is interrupted goes on behind it.

// Walker lists what a stream is read by. Keys is called as [Pager] is.
type Walker interface {
	Keys(ctx context.Context, r KeysRequest) (*Keys, error)
}

// KeysRequest says which keys to list.
type KeysRequest struct {
	// From and To are the window that they are to be read for.
	From, To time.Time
	// All asks for all that may have something in the window, not only for those
	// that the API shows to have been active since From.
	All bool
	// Parts are those of the stream whose keys are wanted; nil: all.
	Parts []string
	// Cursor is the one that the page before returned; nil for the first page.
	Cursor json.RawMessage
}

// Keys is one page of keys, and the cursor of the next; nil behind the last.
type Keys struct {
	Keys []Key
	Next json.RawMessage
}

// Key is what a stream is read by.
type Key struct {
	// ID orders the keys and names one in cursors and dead letters. With it alone
	// a record of the key can be mapped.
	ID string
	// Data is what the connector wants to know besides, when it asks.
	Data []byte
}

// walk is one window of a stream that is walked.
type walk struct {
	window Window
	keys   []Key // that are still to be read
	last   string
	asked  time.Time // when they were asked for
	begun  bool
}

// walked is the cursor inside of a window: the ID of the last key that is done.
type walked struct {
	Behind string `json:"behind"`
}

func (w walked) cursor() json.RawMessage {
	text, _ := json.Marshal(w) // a string can always be written
	return text
}

// walk begins the walk of a window: behind the keys that are done.
func (l *lane) walk(ctx context.Context, w Window, cursor json.RawMessage) (*walk, error) {
	var done walked
	if cursor != nil && json.Unmarshal(cursor, &done) != nil {
		done = walked{} // it is not ours: the window begins again
	}
	asked := l.sub.stream.client.now()
	keys, err := l.list(ctx, w)
	if err != nil {
		return nil, err
	}
	todo := slices.IndexFunc(keys, func(k Key) bool { return k.ID > done.Behind })
	if todo < 0 {
		todo = len(keys)
	}
	l.walked, l.toWalk = todo, len(keys)
	l.walkedBefore, l.walkBegan = todo, time.Now()
	l.tell()
	return &walk{window: w, keys: keys[todo:], last: done.Behind, asked: asked}, nil
}

// tell makes known how far the walk has come.
func (l *lane) tell() {
	w := Walked{Keys: l.walked, Of: l.toWalk}
	if n := l.walked - l.walkedBefore; n > 0 {
		w.Left = time.Since(l.walkBegan) / time.Duration(n) * time.Duration(l.toWalk-l.walked)
	}
	l.sub.walks.Store(l.name, w)
}

// Walked is how far a walk has come: how many of its keys are done, and how many
// there are. Left is about how long the others take; 0: unknown.
type Walked struct {
	Keys, Of int
	Left     time.Duration
}

// Walked tells how far a lane has come in the window that it walks; zero for one
// that does not.
func (s *Subscriber) Walked(lane Lane) Walked {
	if w, ok := s.walks.Load(lane); ok {
		return w.(Walked)
	}
	return Walked{}
}

// list returns the keys of a window, sorted. Who acts while they are listed may move
// past all pages. The next live window lists them, but begins an overlap before the
// end of this one: where that leaves something of this one out, those who were
// active since the listing began are listed behind it.
func (l *lane) list(ctx context.Context, w Window) ([]Key, error) {
	r := &windowRead{lane: l, window: w} // for its failures
	client := l.sub.stream.client
	began := client.now()
	all, err := r.list(ctx, KeysRequest{From: w.From.Add(-time.Second), To: w.To.Add(time.Second), All: l.name != Live, Parts: l.parts})
	if err != nil {
		return nil, err
	}
	if l.name != Live || w.To.Sub(l.sub.current().Live.At) > l.sub.stream.Options.Overlap {
		now := client.Now()
		since := now.Add(-client.now().Sub(began))
		active, err := r.list(ctx, KeysRequest{From: since.Add(-time.Second), To: now.Add(time.Second), Parts: l.parts})
		if err != nil {
			return nil, err
		}
		all = append(all, active...)
	}
	l.listed = r.requests
	slices.SortStableFunc(all, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b Key) bool { return a.ID == b.ID }), nil
}

// list asks for all pages of keys, and returns each key once. It holds a slot for
// one request at a time.
func (r *windowRead) list(ctx context.Context, ask KeysRequest) ([]Key, error) {
	r.follow(nil)
	var all []Key
	listed := map[string]bool{}
	for {
		page, err := r.keys(ctx, ask)
		switch {
		case err == nil:
			for _, k := range page.Keys {
				if !listed[k.ID] {
					listed[k.ID] = true
					all = append(all, k)
				}
			}
			// A listing that had to begin again is good when it has come to its end.
			if r.stuck = r.stuck && page.Next != nil; !r.stuck {
				r.succeeded()
			}
			if ask.Cursor = page.Next; ask.Cursor == nil {
				return all, nil
			}
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case KindOf(err) == Restart && ask.Cursor != nil:
			ask.Cursor, all, r.stuck = nil, nil, true
			clear(listed)
			r.follow(nil)
		}
		if err := r.failed(ctx, err); err != nil {
			return nil, err
		}
	}
}

// keys asks for one page of keys.
func (r *windowRead) keys(ctx context.Context, ask KeysRequest) (*Keys, error) {
	slot := &slot{lane: r.lane}
	if err := slot.take(ctx); err != nil {
		return nil, err
	}
	defer slot.release()
	stream := r.lane.sub.stream
	r.requests++
	page, err := stream.Walk.Keys(ctx, ask)
	if err == nil && page.Next != nil {
		page.Next, err = r.follows(page.Next)
	}
	if err == nil && slices.ContainsFunc(page.Keys, func(k Key) bool { return k.ID == "" || len(k.ID) > maxKey }) {
		err = &Error{Kind: Fail, Op: "listing what is to be read", Err: fmt.Errorf("the API names one with an id that is empty, or longer than %d bytes", maxKey)}
	}
	if err != nil {
		return nil, r.counted(asError("listing what is to be read", err))
	}
	stream.metrics.requests("ok").Inc()
	return page, nil
}

// next returns the read of the next key; nil when all are begun. A walk without
// keys is one read that asks for nothing, and moves the lane behind the window.
func (w *walk) next(l *lane) *windowRead {
	if w.begun && len(w.keys) == 0 {
		return nil
	}
	r := &windowRead{lane: l, window: w.window, asked: w.asked, out: make(chan *Batch, 64)}
	if !w.begun {
		r.requests, l.listed = l.listed, 0
	}
	w.begun = true
	r.behind = &Position{At: w.window.To}
	if len(w.keys) == 0 {
		return r
	}
	r.before = &Position{Window: w.window}
	if w.last != "" {
		r.before.Cursor = walked{w.last}.cursor()
	}
	r.key, w.keys = &w.keys[0], w.keys[1:]
	w.last = r.key.ID
	if len(w.keys) > 0 {
		r.behind = &Position{Window: w.window, Cursor: walked{w.last}.cursor()}
	}
	return r
}

// walkPosition is where the lane stands behind a page of a key.
func (r *windowRead) walkPosition(w Window, next json.RawMessage) *Position {
	if next == nil && w.To.Equal(r.window.To) {
		return r.behind
	}
	return r.before
}

// maxKey is how long the ID of a key may be, in bytes: cursors hold it.
const maxKey = MaxCursor / 8
