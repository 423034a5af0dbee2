package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// Origin is a commit that the ledger names for an event.
type Origin struct {
	How    string       `json:"how"` // one of the words below
	Commit uint64       `json:"commit"`
	Lane   string       `json:"lane"`   // live, sweep, backfill or dead_letters
	Window ledger.Range `json:"window"` // that the whole commit counts for
	// Dropped is how many records of the commit the transforms dropped: those have ids
	// in the ledger too.
	Dropped int64 `json:"dropped,omitempty"`
	// Page is where in the commit it came from; nil where that is not remembered.
	Page *OriginPage `json:"page,omitempty"`

	event events.ID // that the ledger has, of OriginOfRecord
}

// How a commit has to do with an event. It has the id of each record that it has read
// first, also where that became a dead letter, or a transform dropped its event.
const (
	OriginRead     = "read"        // it read the record, and published the event where one came of it
	OriginReplayed = "replayed"    // it published it once more, on demand
	OriginLetter   = "dead_letter" // it published it, from a dead letter
	OriginMet      = "met_again"   // a later read met it again and wrote its id down once more
	OriginOfRecord = "record"      // it read the record, of which transforms made several events
)

// OriginPage is the page that an event came from.
type OriginPage struct {
	Window ledger.Range `json:"window"`           // that was read
	Asked  *AskedBounds `json:"asked,omitempty"`  // nil: no request gave the record
	Sent   time.Time    `json:"sent"`             // the request
	Number int          `json:"number,omitempty"` // in the window, from 1; 0: not known
	Cursor string       `json:"cursor,omitempty"` // asked with
	Key    string       `json:"key,omitempty"`    // the user or conversation that was read, or what the page has
	Cell   bool         `json:"cell,omitempty"`   // the record is what two answers differ by
}

// AskedBounds are those of a request. A zero To is no end.
type AskedBounds struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"`
}

// lookup is what is looked for in a ledger.
type lookup struct {
	key        events.StreamKey
	ids        []events.ID
	recordID   string
	at         time.Time // when the record occurred; zero: unknown
	recorded   time.Time // when it was first seen
	replay     bool      // the event says that it is published once more
	anyVersion bool      // all versions of the record count
}

// ledgerReader reads a stream's ledger; its names are listed once.
type ledgerReader struct {
	from   topics.Ledger
	all    []string
	listed bool
}

func (e *explainer) ledger(key events.StreamKey) *ledgerReader {
	if e.ledgers[key] == nil {
		e.ledgers[key] = &ledgerReader{from: e.broker.Ledger(key)}
	}
	return e.ledgers[key]
}

func (l *ledgerReader) names(ctx context.Context) (_ []string, err error) {
	if !l.listed {
		l.all, err = l.from.Entries(ctx)
		l.listed = err == nil
	}
	return l.all, err
}

// origins finds the commits that an event is of. Where it is found in windows about
// its time it is not looked for in the others, but for one that is published once more.
func (e *explainer) origins(ctx context.Context, wanted *lookup) ([]Origin, error) {
	l := e.ledger(wanted.key)
	names, err := l.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the ledger of %s: %w", wanted.key, err)
	}
	var near, far []string
	at, around := wanted.at, time.Minute
	if at.IsZero() { // most are read soon
		at, around = wanted.recorded, time.Hour
	}
	for _, name := range names {
		window, _, err := ledger.ParseName(name)
		switch {
		case err != nil: // a resolution of dead letters
		case !at.Before(window.From.Add(-around)) && !at.After(window.To.Add(around)):
			near = append(near, name)
		default:
			far = append(far, name)
		}
	}
	marks := e.marks(wanted)
	all, err := l.search(ctx, near, wanted, marks)
	if err == nil && (len(all) == 0 || wanted.replay) {
		var more []Origin
		more, err = l.search(ctx, far, wanted, marks)
		all = append(all, more...)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", wanted.key, err)
	}
	if slices.ContainsFunc(all, func(o Origin) bool { return o.How != OriginOfRecord }) {
		all = slices.DeleteFunc(all, func(o Origin) bool { return o.How == OriginOfRecord })
	}
	slices.SortFunc(all, func(a, b Origin) int { return int(int64(a.Commit) - int64(b.Commit)) })
	return all, nil
}

// maxMarks is how many numbers of replays are tried.
const maxMarks = 1 << 20

// marks are what replays leave in the ledger of an event. A replay is numbered by
// the commits that there were when it began.
func (e *explainer) marks(wanted *lookup) map[events.ID]string {
	marks := map[events.ID]string{}
	for _, id := range wanted.ids {
		if id == (events.ID{}) {
			continue
		}
		marks[events.PublishedMark(id)] = OriginLetter
		if c := e.checkpoints[wanted.key]; c != nil && wanted.replay {
			for n := range min(c.Commits, maxMarks) {
				marks[events.ReplayMark(id, n)] = OriginReplayed
			}
		}
	}
	return marks
}

func (l *ledgerReader) search(ctx context.Context, names []string, wanted *lookup, marks map[events.ID]string) ([]Origin, error) {
	var all []Origin
	for _, name := range names {
		data, err := l.from.Entry(ctx, name)
		if errors.Is(err, topics.ErrNoEntry) {
			continue // it was forgotten since it was listed
		}
		if err != nil {
			return nil, err
		}
		entry, err := ledger.DecodeEntry(data)
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", name, err)
		}
		if o := wanted.in(entry, marks); o != nil {
			all = append(all, *o)
		}
	}
	return all, nil
}

// in looks for the event in an entry; nil where it is not there.
func (w *lookup) in(entry *ledger.Entry, marks map[events.ID]string) *Origin {
	o := &Origin{Commit: entry.Commit, Lane: entry.Lane, Window: entry.Window, Dropped: entry.Counts.Dropped}
	page := func(n int, version bool) {
		if p := entry.PageOf(n, version); p != nil {
			o.Page = pageOf(p)
		}
	}
	identity := events.RecordIdentity(w.key, w.recordID)
	own, content := events.ParseID(w.recordID)
	for n, id := range entry.IDs {
		how := marks[id]
		switch {
		case slices.Contains(w.ids, id) || w.anyVersion && (id == identity.Event() || content && id == own):
			how = OriginRead
		case how == "" && (id == identity.Event() || content && id == own):
			how = OriginOfRecord
		case how == "":
			continue
		}
		if o.How == "" || how == OriginReplayed || o.How == OriginOfRecord {
			o.How, o.event = how, id
			page(n, false)
		}
	}
	for n, v := range entry.Versions {
		if o.How != "" {
			break
		}
		ofRecord := v.Record == identity || content && events.ID(v.Record) == own
		switch id := v.Record.Version(v.Content, int(v.Number)); {
		case w.anyVersion && ofRecord || slices.Contains(w.ids, id):
			o.How, o.event = OriginRead, id
			page(n, true)
		case ofRecord && w.splitOff(id):
			o.How, o.event = OriginOfRecord, id
			page(n, true)
		}
	}
	switch {
	case o.How == "":
		return nil
	case entry.Lane == laneLetters:
		o.How = OriginLetter
	case o.How == OriginLetter:
		o.How = OriginReplayed
	case o.How == OriginRead && o.Page != nil && !w.recorded.IsZero() && o.Page.Sent.After(w.recorded.Add(time.Second)):
		o.How = OriginMet
	}
	return o
}

// maxSplit is how many events are tried that may have been made of one.
const maxSplit = 1000

// splitOff says whether one of the ids that are looked for is that of an event which
// a transform has made of the one with an id.
func (w *lookup) splitOff(id events.ID) bool {
	for n := range maxSplit {
		if slices.Contains(w.ids, events.SplitID(id, n)) {
			return true
		}
	}
	return false
}

// laneLetters is what entries have as the lane of dead letters that were replayed.
const laneLetters = "dead_letters"

func pageOf(p *ledger.Page) *OriginPage {
	out := &OriginPage{Window: p.Read(), Sent: p.SentAt(), Number: p.Number, Cursor: p.Cursor, Key: p.Key, Cell: p.Cell}
	if asked, ok := p.Bounds(); ok {
		out.Asked = &AskedBounds{asked.From, asked.To}
	}
	return out
}
