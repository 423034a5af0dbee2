package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// Resolved is what became of dead letters.
type Resolved struct {
	Replayed  int `json:"replayed"`
	Known     int `json:"known"`     // their records were events already
	Dropped   int `json:"dropped"`   // by transforms
	Discarded int `json:"discarded"` //
	Already   int `json:"already"`   // they were dealt with before
	// Dead counts those that are still dead, by why.
	Dead map[string]int `json:"dead,omitempty"`
}

// Add adds other to r.
func (r *Resolved) Add(other *Resolved) {
	r.Replayed += other.Replayed
	r.Known += other.Known
	r.Dropped += other.Dropped
	r.Discarded += other.Discarded
	r.Already += other.Already
	for why, n := range other.Dead {
		r.dead(why, n)
	}
}

func (r *Resolved) dead(why string, n int) {
	if r.Dead == nil {
		r.Dead = map[string]int{}
	}
	r.Dead[why] += n
}

func (r *Resolved) count(resolution *ledger.Resolution) {
	for _, what := range resolution.Letters {
		switch what {
		case ledger.Replayed:
			r.Replayed++
		case ledger.Known:
			r.Known++
		case ledger.Dropped:
			r.Dropped++
		default:
			r.Discarded++
		}
	}
}

// MaxLetters and MaxLetterBytes are how much one Resolve should be given: the
// stream waits meanwhile.
const (
	MaxLetters     = 500
	MaxLetterBytes = 8 << 20
)

// Resolve discards dead letters of the stream, or sends them through the flow
// once more. What it has done is committed with the events that came of it, so
// that each letter is dealt with once, whoever asks how often. Letters that do not
// count any more ([LettersSince]) are left as they are.
func (i *Ingest) Resolve(ctx context.Context, letters []*Letter, discard bool) (out *Resolved, err error) {
	err = i.operate(ctx, func(ctx context.Context, t *tenure) error {
		out, err = t.resolve(ctx, letters, discard)
		return err
	})
	return out, err
}

func (t *tenure) resolve(ctx context.Context, letters []*Letter, discard bool) (*Resolved, error) {
	if err := t.loadResolutions(ctx); err != nil {
		return nil, err
	}
	out := &Resolved{}
	var todo []*Letter
	given := map[events.ID]*Letter{}
	since := LettersSince(t.opts.Retention, t.opts.Now())
	for _, l := range letters {
		if l.Stored.Before(since) {
			continue
		}
		if same := given[l.ID]; same != nil && l.Stored.After(same.Stored) {
			same.Stored = l.Stored
		}
		if t.resolved.Of(l.ID, l.Stored) != "" || given[l.ID] != nil {
			out.Already++
			continue
		}
		one := *l
		given[l.ID] = &one
		todo = append(todo, &one)
	}
	for size := t.opts.Broker.Limits().Messages - 3; len(todo) > 0; { // two entries and the checkpoint
		part := todo[:min(len(todo), max(size, 1))]
		done, err := t.resolvePart(ctx, part, discard)
		var tooLarge *topics.TooLargeError
		if errors.As(err, &tooLarge) && len(part) > 1 {
			size = len(part) / 2
			continue
		}
		if err != nil {
			return out, fmt.Errorf("dead letters of %s: %w", t.stream.Key, err)
		}
		out.Add(done)
		todo = todo[len(part):]
	}
	return out, nil
}

// loadResolutions reads what became of the stream's dead letters.
func (t *tenure) loadResolutions(ctx context.Context) error {
	if t.resolved != nil {
		return nil
	}
	resolved, err := ReadResolutions(ctx, t.held, t.resolutions)
	if err != nil {
		return fmt.Errorf("%s: %w", t.stream.Key, err)
	}
	t.resolved = resolved
	return nil
}

// ReadResolutions reads from a stream's ledger what became of its dead letters;
// names may be those of all its entries.
func ReadResolutions(ctx context.Context, l topics.Ledger, names []string) (ledger.Resolutions, error) {
	resolved := ledger.Resolutions{}
	for _, name := range names {
		if !ledger.IsResolution(name) {
			continue
		}
		data, err := l.Entry(ctx, name)
		if errors.Is(err, topics.ErrNoEntry) {
			continue // its letters are gone, and so is it
		}
		if err != nil {
			return nil, err
		}
		resolution, err := ledger.DecodeResolution(data)
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", name, err)
		}
		resolved.Add(resolution)
	}
	return resolved, nil
}

// revived is a dead letter that can be dealt with.
type revived struct {
	letter *Letter
	record connectors.Prepared
	out    []events.Event // what the transforms made of it
	known  bool           // the record is an event already
}

// resolvePart deals with letters in one commit.
func (t *tenure) resolvePart(ctx context.Context, letters []*Letter, discard bool) (*Resolved, error) {
	done := &Resolved{}
	resolution := &ledger.Resolution{At: t.opts.Now().UTC()}
	draft := t.book.Draft()
	reach := []ledger.Range{letters[0].Window}
	var out []events.Event
	made := 0
	for _, l := range letters {
		if discard {
			resolution.Add(l.ID, ledger.Discarded, l.Stored)
			continue
		}
		around := t.reach(&connectors.Batch{Window: connectors.Window(l.Window)})
		r, why, err := t.revive(ctx, l, &around)
		switch {
		case err != nil:
			return nil, err
		case why != "":
			done.dead(why, 1)
			continue
		}
		reach = append(reach, around...)
		switch {
		case r.known || !t.isNew(draft, r):
			resolution.Add(l.ID, ledger.Known, l.Stored)
		case len(r.out) == 0:
			resolution.Add(l.ID, ledger.Dropped, l.Stored)
		default:
			resolution.Add(l.ID, ledger.Replayed, l.Stored)
			out = append(out, r.out...)
			if made += madeOf(r.out); made > maxMade && len(letters) > 1 {
				return nil, &topics.TooLargeError{Limits: t.opts.Broker.Limits()}
			}
		}
	}
	if len(resolution.Letters) == 0 {
		return done, nil
	}
	done.count(resolution)
	t.encoder.begin()
	for n := range out {
		t.encoder.add(&out[n], t.opts.Raw, topics.Limits{Bytes: math.MaxInt}) // looked at already
	}
	counts := ledger.Counts{Events: int64(len(out)), Dropped: int64(done.Dropped), Resolved: int64(len(resolution.Letters))}
	if err := t.commitLetters(ctx, draft, hull(reach), resolution, counts); err != nil {
		return nil, err
	}
	return done, nil
}

// commitLetters commits what became of letters with the events that came of them,
// which are encoded.
func (t *tenure) commitLetters(ctx context.Context, draft *ledger.Draft, window ledger.Range, resolution *ledger.Resolution, counts ledger.Counts) error {
	seen := t.uncounted
	seen.Add(counts)
	next := t.next(seen, t.filled, t.ahead)
	commit := &topics.Commit{ID: next.Commit, Messages: t.encoder.messages}
	if !draft.Empty() {
		entry := draft.Entry()
		entry.Window, entry.Commit, entry.Lane, entry.Counts = window, next.Commits, "dead_letters", counts
		stored, err := entry.Encode()
		if err != nil {
			return err
		}
		commit.Entries = append(commit.Entries, topics.Entry{Name: entry.Name(), Data: stored})
	}
	resolution.Commit = next.Commits
	stored, err := resolution.Encode()
	if err != nil {
		return err
	}
	commit.Entries = append(commit.Entries, topics.Entry{Name: resolution.Name(), Data: stored})
	if commit.Checkpoint, err = next.Encode(); err != nil {
		return err
	}
	if err := t.write(ctx, next, func(ctx context.Context) error { return t.held.Commit(ctx, commit) }); err != nil {
		return err
	}
	draft.Mark()
	t.resolutions = append(t.resolutions, resolution.Name())
	t.resolved.Add(resolution)
	t.metrics.count(counts, nil)
	return nil
}

// isNew says whether the record of a letter is still to be published. Of one whose
// event has an id of its own the ledger knows that id, though the letter stands for
// it: a mark tells that it was published since.
func (t *tenure) isNew(draft *ledger.Draft, r *revived) bool {
	switch {
	case r.letter.Event != (events.ID{}):
		return draft.Record(events.PublishedMark(r.letter.Event))
	case t.stream.Versioned:
		_, isNew := draft.Version(r.record.Identity, r.record.Content, r.letter.Recorded, r.letter.Recorded)
		return isNew
	}
	return draft.Record(r.record.Identity.Event())
}

// prepare makes a record of a letter's bytes, or says why it is still dead.
func prepare(s *connectors.Stream, l *Letter) (record connectors.Prepared, why string) {
	record, ok := s.Prepare(l.Raw, l.Number, connectors.Window(l.Window), l.Key)
	switch {
	case record.Dead != nil:
		why = record.Dead.Reason + ": " + record.Dead.Detail
	case !ok:
		why = "it has neither an id nor a time, and its window is longer than a quarter of an hour: nothing tells it from others like it"
	}
	return record, why
}

// StillDead says why a letter cannot be replayed, as far as its bytes and what the
// broker takes tell; "" where it may be. Raw says that events carry their records.
func StillDead(s *connectors.Stream, l *Letter, raw bool, limits topics.Limits) (why string) {
	record, why := prepare(s, l)
	if why != "" {
		return why
	}
	return new(encoder).stillTooLarge([]events.Event{eventOf(s, l, &record, record.Identity.Event())}, raw, limits)
}

// revive makes events of a dead letter's record, or says why it is still dead.
// It adds to reach where the record may have been seen before.
func (t *tenure) revive(ctx context.Context, l *Letter, reach *[]ledger.Range) (r *revived, why string, err error) {
	record, why := prepare(t.stream, l)
	if why != "" {
		return nil, why, nil
	}
	batch := &connectors.Batch{Window: connectors.Window(l.Window), Records: []connectors.Prepared{record}}
	*reach = t.reach(batch)
	if err := t.load(ctx, *reach...); err != nil {
		return nil, "", err
	}
	r = &revived{letter: l, record: record}
	id, trial := l.Event, t.book.Draft()
	others := trial.Versions(record.Identity)
	if id != (events.ID{}) {
		// The letter of an event that was too large may be there again, from a replay of
		// the stream, when the mark is forgotten.
		if r.known = t.resolved.Published(l.ID) || !trial.Record(events.PublishedMark(id)); r.known {
			return r, "", nil
		}
		if latest, ok := trial.Latest(record.Identity); ok && t.stream.Versioned && latest != id {
			return nil, "a newer version of the record is known", nil
		}
	} else {
		id = record.Identity.Event()
		if t.stream.Versioned {
			var isNew bool
			id, isNew = trial.Version(record.Identity, record.Content, l.Recorded, l.Recorded)
			if r.known = !isNew; isNew && others > 0 {
				return nil, "another version of the record is published, which may be newer", nil
			}
		} else {
			// With an id in them, equal bytes are the same record.
			r.known = record.ID != "" && t.resolved.Published(l.ID) || !trial.Record(id)
		}
		if r.known {
			return r, "", nil
		}
	}
	// What was published since, by a replay of the stream for one, may be forgotten.
	lost := slices.ContainsFunc(*reach, func(r ledger.Range) bool { return len(lostIn(t.checkpoint, r)) > 0 })
	if lost && t.stream.Versioned && others == 0 {
		return nil, "what was published of the record is forgotten, and may be newer", nil
	}
	if lost && slices.ContainsFunc(*reach, func(r ledger.Range) bool { return t.checkpoint.ReplayedSince(r, l.Stored) }) {
		return nil, "its time was read again since, and what that has published is forgotten: it may be an event already", nil
	}
	e := eventOf(t.stream, l, &record, id)
	e.Replay = lost || l.Replay
	r.out = []events.Event{e}
	if t.opts.Transforms != nil {
		if r.out, err = t.opts.Transforms(ctx, e); err != nil && ctx.Err() != nil {
			return nil, "", err
		} else if err != nil {
			return nil, err.Error(), nil
		}
	}
	return r, t.encoder.stillTooLarge(r.out, t.opts.Raw, t.opts.Broker.Limits()), nil
}

// stillTooLarge says that the broker does not take the events of a letter; "" where
// it does.
func (c *encoder) stillTooLarge(out []events.Event, raw bool, limits topics.Limits) (why string) {
	if len(out) > limits.Messages-3 { // beside two entries and the checkpoint
		return fmt.Sprintf("it is split into more events than the broker takes at once, which are %d", limits.Messages-3)
	}
	if madeOf(out) > maxMade {
		return tooMuch(len(out)).Detail
	}
	for n := range out {
		c.begin()
		if c.add(&out[n], raw, limits) != nil {
			return fmt.Sprintf("its event is larger than the %d bytes that the broker takes", limits.Bytes)
		}
	}
	return ""
}

func eventOf(s *connectors.Stream, l *Letter, record *connectors.Prepared, id events.ID) events.Event {
	e := events.Event{
		ID: id, Source: s.Key, Connector: s.Connector,
		Type: record.Type, Key: record.Key, RecordID: record.ID,
		Time: record.Time, Recorded: l.Recorded,
		Members: record.Members, Raw: record.Raw,
	}
	if e.RecordID == "" {
		if e.RecordID = l.RecordID; l.Event == (events.ID{}) {
			e.RecordID = record.Identity.String()
		}
	}
	if e.Key == "" {
		e.Key = e.RecordID
	}
	return e
}
