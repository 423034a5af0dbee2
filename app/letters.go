package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// Letter is one dead letter, as dead-letters list --ids and show tell of it.
type Letter struct {
	ID        string    `json:"id"`
	Connector string    `json:"connector"`
	Stream    string    `json:"stream"`
	Stage     string    `json:"stage"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail,omitempty"`
	Window    string    `json:"window"`
	Recorded  time.Time `json:"recorded"`
	Size      int       `json:"size"`
	SHA256    string    `json:"sha256"`
	// Incomplete: parts of it are gone. Resolved is what became of it.
	Incomplete bool   `json:"incomplete,omitempty"`
	Resolved   string `json:"resolved,omitempty"`

	raw    []byte
	key    events.StreamKey
	stored time.Time
}

// Cause are open dead letters that have a cause in common.
type Cause struct {
	Connector string    `json:"connector"`
	Stream    string    `json:"stream"`
	Stage     string    `json:"stage"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail,omitempty"`
	Count     int       `json:"count"`
	First     time.Time `json:"first"` // when they were first seen
	Last      time.Time `json:"last"`
	Example   string    `json:"example"` // one's id
}

// letterReader reads dead letters, and what became of them.
type letterReader struct {
	broker   topics.Broker
	wanted   Selection
	raw      bool      // with their records
	limit    int       // of messages that are read; 0: none
	since    time.Time // letters that were stored before are gone
	all      []Letter
	known    map[string]bool
	resolved map[events.StreamKey]ledger.Resolutions
}

// read reads the topic; more says that it ended at the limit.
func (r *letterReader) read(ctx context.Context) (more bool, err error) {
	r.known, r.resolved = map[string]bool{}, map[events.StreamKey]ledger.Resolutions{}
	box := pipeline.Letterbox{Bytes: r.raw, Wanted: r.wanted.has}
	n := 0
	err = r.broker.Tail(ctx, topics.TailOptions{Topics: []string{events.TypeDeadLetter}, Beginning: true, Stop: true}, func(m topics.Received) error {
		if n++; r.limit > 0 && n > r.limit {
			return errEnough
		}
		l, err := box.Add(&m)
		if l == nil || err != nil {
			return err
		}
		return r.add(ctx, l, false)
	})
	if errors.Is(err, errEnough) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, l := range box.Incomplete() {
		if err := r.add(ctx, l, true); err != nil {
			return false, err
		}
	}
	return false, nil
}

// add takes a letter in, where it is as wanted.
func (r *letterReader) add(ctx context.Context, l *pipeline.Letter, incomplete bool) error {
	if r.resolved[l.Stream] == nil {
		entries := r.broker.Ledger(l.Stream)
		names, err := entries.Entries(ctx)
		if err != nil {
			return err
		}
		if r.resolved[l.Stream], err = pipeline.ReadResolutions(ctx, entries, names); err != nil {
			return fmt.Errorf("%s: %w", l.Stream, err)
		}
	}
	what, id := r.resolved[l.Stream].Of(l.ID, l.Stored), l.ID.String()
	if l.Stored.Before(r.since) || r.wanted.Resolved != (what != "") || r.known[id] {
		return nil
	}
	r.known[id] = true
	r.all = append(r.all, letterOf(l, what, incomplete))
	return nil
}

// letterOf is what commands tell of a letter, of which became what was resolved.
func letterOf(l *pipeline.Letter, resolved string, incomplete bool) Letter {
	return Letter{
		ID: l.ID.String(), Connector: l.Connector, Stream: l.Stream.String(), Stage: l.Dead.Stage, Reason: l.Dead.Reason, Detail: l.Dead.Detail,
		Window: when(l.Window.From) + "/" + when(l.Window.To), Recorded: l.Recorded, Size: l.Size, SHA256: l.SHA256,
		Incomplete: incomplete, Resolved: resolved, raw: l.Raw, key: l.Stream, stored: l.Stored,
	}
}

// letters reads the dead letters of a selection, with their records or without.
func (o *operator) letters(ctx context.Context, s Selection, raw bool) ([]Letter, error) {
	r := letterReader{broker: o.broker, wanted: s, raw: raw, since: pipeline.LettersSince(o.file.Topics.Retention, time.Now())}
	if _, err := r.read(ctx); err != nil {
		return nil, err
	}
	if len(r.all) == 0 {
		return nil, o.mistyped(s)
	}
	slices.SortFunc(r.all, older) // partitions come in no order
	return r.all, nil
}

// older orders dead letters by when they were seen, those of one moment by their ids.
func older(a, b Letter) int {
	return cmp.Or(a.Recorded.Compare(b.Recorded), strings.Compare(a.ID, b.ID))
}

// DeadLetters lists the dead letters of a selection. With raw they bring their
// records' bytes, for WriteLetter.
func DeadLetters(ctx context.Context, file *config.File, s Selection, raw bool, log *slog.Logger) ([]Letter, error) {
	o, err := openOperator(ctx, file, toOperate, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	return o.letters(ctx, s, raw)
}

// Causes groups dead letters by their cause, the most frequent first. The oldest of
// a group is its example.
func Causes(letters []Letter) []Cause {
	groups := map[Cause]*Cause{}
	for _, l := range slices.SortedFunc(slices.Values(letters), older) {
		c := Cause{Connector: l.Connector, Stream: l.Stream, Stage: l.Stage, Reason: l.Reason, Detail: l.Detail}
		g := groups[c]
		if g == nil {
			g = new(Cause)
			*g = c
			g.First, g.Example = l.Recorded, l.ID
			groups[c] = g
		}
		g.Count++
		g.Last = l.Recorded
	}
	all := make([]Cause, 0, len(groups))
	for _, g := range groups {
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b Cause) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Stream+a.Reason+a.Detail, b.Stream+b.Reason+b.Detail)
	})
	return all
}

// Resolution is what came of replaying or discarding the dead letters of one
// stream, or would come of it.
type Resolution struct {
	Stream   string `json:"stream"` // its key
	Name     string `json:"-"`      // what commands call it
	Selected int    `json:"selected"`
	DryRun   bool   `json:"dry_run,omitempty"`
	pipeline.Resolved
}

// ResolveLetters replays or discards the open dead letters of a selection. It
// returns what was done beside an error.
func ResolveLetters(ctx context.Context, file *config.File, s Selection, discard, dryRun bool, log *slog.Logger) ([]Resolution, error) {
	o, err := openOperator(ctx, file, toOperate, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	letters, err := o.letters(ctx, s, false)
	if err != nil {
		return nil, err
	}
	if missing := missingIDs(s.IDs, letters); len(missing) > 0 {
		return nil, &UsageError{fmt.Errorf("no open dead letter has the id %s: it was dealt with already (dead-letters list --resolved), or is gone", strings.Join(missing, ", "))}
	}
	byStream := map[events.StreamKey][]Letter{}
	var keys []events.StreamKey
	for _, l := range letters {
		if byStream[l.key] == nil {
			keys = append(keys, l.key)
		}
		byStream[l.key] = append(byStream[l.key], l)
	}
	var attempted map[events.StreamKey]*pipeline.Resolved
	if dryRun && !discard {
		if attempted, err = o.attempt(ctx, letters); err != nil {
			return nil, err
		}
	}
	var all []Resolution
	var errs []error
	for _, key := range keys {
		r := Resolution{Stream: key.String(), Name: key.String(), Selected: len(byStream[key]), DryRun: dryRun}
		stream := o.stream(key)
		if stream != nil {
			r.Name = called(stream)
		}
		switch {
		case stream == nil:
			err = &UsageError{fmt.Errorf("no connector of the configuration reads %s: its %d dead letters are left as they are", key, r.Selected)}
		case dryRun && discard:
			r.Discarded, err = r.Selected, nil
		case dryRun:
			if err = o.settled(stream, "no service replays its dead letters", false); err == nil {
				r.Resolved = *attempted[key]
			}
		default:
			selection := s
			selection.Stream = key.String()
			var a *answer
			if a, err = o.carryOut(ctx, stream, request{Ask: askLetter, Letters: &selection, Discard: discard}); a != nil && a.Resolved != nil {
				r.Resolved = *a.Resolved
				// Most of these were not open when they were selected.
				still := 0
				for _, n := range r.Dead {
					still += n
				}
				r.Already = max(0, r.Selected-r.Replayed-r.Known-r.Dropped-r.Discarded-still)
			}
		}
		errs = append(errs, err)
		all = append(all, r)
	}
	return all, errors.Join(errs...)
}

func missingIDs(ids []string, letters []Letter) []string {
	var missing []string
	for _, id := range ids {
		if !slices.ContainsFunc(letters, func(l Letter) bool { return l.ID == id }) {
			missing = append(missing, id)
		}
	}
	return missing
}

// stream returns the configured stream of a key; nil for none.
func (o *operator) stream(key events.StreamKey) *connectors.Stream {
	for _, c := range o.connectors {
		for _, s := range c.Streams {
			if s.Key == key {
				return s
			}
		}
	}
	return nil
}

// attempt says what could be done with open letters, as far as it can be known
// without doing it: nothing is compared with the ledger, nor transformed. It reads
// them again, with their records, one at a time.
func (o *operator) attempt(ctx context.Context, letters []Letter) (map[events.StreamKey]*pipeline.Resolved, error) {
	all := map[events.StreamKey]*pipeline.Resolved{}
	streams := map[events.StreamKey]*connectors.Stream{}
	open := map[events.ID]bool{}
	for _, l := range letters {
		if all[l.key] == nil {
			all[l.key], streams[l.key] = &pipeline.Resolved{Dead: map[string]int{}}, o.stream(l.key)
		}
		if id, _ := events.ParseID(l.ID); l.Incomplete {
			all[l.key].Dead[partsGone]++
		} else {
			open[id] = true
		}
	}
	box := pipeline.Letterbox{Bytes: true, Wanted: func(l *pipeline.Letter) bool { return open[l.ID] && streams[l.Stream] != nil }}
	err := o.broker.Tail(ctx, topics.TailOptions{Topics: []string{events.TypeDeadLetter}, Beginning: true, Stop: true}, func(m topics.Received) error {
		l, err := box.Add(&m)
		if l == nil || err != nil {
			return err
		}
		delete(open, l.ID)
		if why := pipeline.StillDead(streams[l.Stream], l, o.file.Topics.Raw, o.broker.Limits()); why != "" {
			all[l.Stream].Dead[why]++
		} else {
			all[l.Stream].Replayed++
		}
		return nil
	})
	return all, err
}

// partsGone is why a letter cannot be replayed of which not all is there.
const partsGone = "parts of it are gone"

// resolveLetters replays or discards the stream's letters of a selection, in
// pieces: the stream goes on in between.
func resolveLetters(ctx context.Context, broker topics.Broker, i *pipeline.Ingest, s *Selection, discard bool) (*pipeline.Resolved, error) {
	done := &pipeline.Resolved{}
	key := i.Status().Stream
	var chunk []*pipeline.Letter
	size, begun := 0, false
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		r, err := i.Resolve(ctx, chunk, discard)
		if r != nil {
			done.Add(r)
			begun = true
		}
		chunk, size = nil, 0
		return err
	}
	box := pipeline.Letterbox{Bytes: !discard, Wanted: func(l *pipeline.Letter) bool { return l.Stream == key && s.has(l) }}
	err := broker.Tail(ctx, topics.TailOptions{Topics: []string{events.TypeDeadLetter}, Beginning: true, Stop: true}, func(m topics.Received) error {
		l, err := box.Add(&m)
		if l == nil || err != nil {
			return err
		}
		if len(chunk) > 0 && (len(chunk) >= pipeline.MaxLetters || size+l.Size > pipeline.MaxLetterBytes) {
			if err := flush(); err != nil {
				return err
			}
		}
		chunk, size = append(chunk, l), size+l.Size
		return nil
	})
	if err == nil && discard {
		chunk = append(chunk, box.Incomplete()...)
	}
	if err == nil {
		err = flush()
	}
	if n := len(box.Incomplete()); n > 0 && !discard {
		done.Add(&pipeline.Resolved{Dead: map[string]int{partsGone: n}})
	}
	var notHeld *pipeline.NotHeldError
	if errors.As(err, &notHeld) && begun {
		err = fmt.Errorf("the stream was given up in between: %s: ask again for the rest", notHeld.Error())
	}
	return done, err
}
