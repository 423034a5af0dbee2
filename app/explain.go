package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
)

// Explained is all that is known of one record of one stream, and of the event of it
// that was asked for.
type Explained struct {
	Connector string `json:"connector"`
	Stream    string `json:"stream"` // its key
	RecordID  string `json:"record_id"`
	// Event is the one that was asked for; of a record the latest. Nil where there
	// are dead letters only.
	Event *ExplainedEvent `json:"event,omitempty"`
	// Origins are the commits that the ledger names for the event, or for the dead
	// letter, in their order.
	Origins []Origin `json:"origins"`
	// Forgotten: the ids of that time are forgotten, so that no commit is named. From
	// is where those begin that are kept.
	Forgotten bool      `json:"forgotten,omitempty"`
	IDsSince  time.Time `json:"ids_since,omitzero"`
	// Raw is the record as the API returned it, credentials masked; nil where the
	// event carries none.
	Raw json.RawMessage `json:"raw,omitempty"`
	// Transforms are what the transforms make of the record, as they are configured now,
	// and Untold is why that cannot be shown.
	Transforms *Traced `json:"transforms,omitempty"`
	Untold     string  `json:"transforms_untold,omitempty"`
	// Versions are all events of the record, in the order of publication; More is how
	// many there are before them, which are too much to be shown.
	Versions []ExplainedVersion `json:"versions"`
	More     int                `json:"more,omitempty"`
	Letters  []Letter           `json:"dead_letters"`
}

// ExplainedEvent is an event as its topic has it.
type ExplainedEvent struct {
	Attributes map[string]string `json:"attributes"`
	Place
	Data json.RawMessage `json:"data"`
}

// ExplainedVersion is one event of a record.
type ExplainedVersion struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Time     time.Time `json:"time,omitzero"`
	Recorded time.Time `json:"recorded"`
	Replay   bool      `json:"replay,omitempty"`
	Place
	// Again: it is the event before it once more. Changed are the top-level members of
	// the data, and as raw.NAME of the record, that differ from the event before.
	Again   bool     `json:"again,omitempty"`
	Changed []string `json:"changed,omitempty"`
}

// Place is where a message lies: of Partition and Offset, on Kafka, and Sequence, on
// NATS, one is there.
type Place struct {
	Topic     string    `json:"topic"`
	Partition *int      `json:"partition,omitempty"`
	Offset    *uint64   `json:"offset,omitempty"`
	Sequence  *uint64   `json:"sequence,omitempty"`
	Stored    time.Time `json:"stored"`
}

// ExplainOptions say what is asked for.
type ExplainOptions struct {
	// ID of an event or a dead letter, or of a record: as its API has it, also where
	// the transforms hash it with the keys that they have now, or as events have it.
	ID string
	// Stream narrows it to the stream with this name, CONNECTOR/STREAM or key; "": all.
	Stream string
}

// Explain tells where an event came from, or all events of a record: one for each
// stream that has the record. That nothing is found is a [UsageError] which says
// what to do.
func Explain(ctx context.Context, file *config.File, what ExplainOptions, log *slog.Logger) ([]Explained, error) {
	o, err := openOperator(ctx, file, toOperate, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	return o.explain(ctx, what)
}

func (o *operator) explain(ctx context.Context, what ExplainOptions) ([]Explained, error) {
	f := newFinder(o, what)
	if err := f.find(ctx); err != nil {
		return nil, err
	}
	checkpoints, err := o.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	e := explainer{operator: o, finder: f, checkpoints: checkpoints, ledgers: map[events.StreamKey]*ledgerReader{}}
	groups := f.groups()
	if len(groups) == 0 {
		return nil, e.nothing(ctx)
	}
	var all []Explained
	for _, g := range groups {
		one, err := e.explain(ctx, g)
		if err != nil {
			return nil, err
		}
		all = append(all, *one)
	}
	return all, nil
}

// explainer puts together what was found, in the topics and in the ledger.
type explainer struct {
	*operator
	*finder
	checkpoints map[events.StreamKey]*ledger.Checkpoint
	ledgers     map[events.StreamKey]*ledgerReader
}

func (e *explainer) explain(ctx context.Context, g *group) (*Explained, error) {
	out := &Explained{
		Connector: g.connector, Stream: g.source.String(), RecordID: g.recordID,
		Origins: []Origin{}, Versions: []ExplainedVersion{}, Letters: []Letter{}, More: g.more,
	}
	for n := range g.events {
		out.Versions = append(out.Versions, versionOf(g.events, n))
	}
	if err := e.letters(ctx, g, out); err != nil {
		return nil, err
	}
	wanted := lookup{key: g.source, recordID: g.recordID}
	event := g.asked(e.id)
	switch {
	case event != nil:
		out.Event = event.explained()
		out.Raw = event.raw()
		wanted.ids, wanted.at, wanted.recorded, wanted.replay = []events.ID{event.ID}, event.Time, event.Recorded, event.Replay
	case len(g.letters) > 0:
		l := g.letter(e.id)
		wanted.ids, wanted.at, wanted.recorded = []events.ID{l.ID, l.Event}, l.Window.From, l.Recorded
	}
	var err error
	if out.Origins, err = e.origins(ctx, &wanted); err != nil {
		return nil, err
	}
	if c := e.checkpoints[g.source]; c != nil && len(out.Origins) == 0 {
		out.IDsSince = c.Forgotten
		out.Forgotten = !c.Forgotten.IsZero() && (wanted.at.IsZero() || wanted.at.Before(c.Forgotten))
	}
	if event != nil {
		out.Transforms, out.Untold = e.transforms(ctx, event, out)
	}
	return out, nil
}

// letters adds the dead letters of the record, and what became of them.
func (e *explainer) letters(ctx context.Context, g *group, out *Explained) error {
	if len(g.letters) == 0 {
		return nil
	}
	l := e.ledger(g.source)
	names, err := l.names(ctx)
	if err != nil {
		return err
	}
	resolved, err := pipeline.ReadResolutions(ctx, l.from, names)
	if err != nil {
		return fmt.Errorf("%s: %w", g.source, err)
	}
	for _, one := range g.letters {
		out.Letters = append(out.Letters, letterOf(one, resolved.Of(one.ID, one.Stored), e.incomplete[one]))
	}
	return nil
}

// nothing says that nothing was found, and whether the ledger knows of it.
func (e *explainer) nothing(ctx context.Context) error {
	var known []string
	for key := range e.checkpoints {
		if !e.ofStream(e.connectorOf(key), key) {
			continue
		}
		wanted := lookup{key: key, recordID: e.text, anyVersion: true}
		if e.id != (events.ID{}) {
			wanted.ids = []events.ID{e.id}
		}
		origins, err := e.origins(ctx, &wanted)
		if err != nil {
			return err
		}
		for _, o := range origins {
			line := fmt.Sprintf("\n  %s: event %s, commit %d (%s) of the window %s/%s", e.name(key), o.event, o.Commit, o.Lane, when(o.Window.From), when(o.Window.To))
			if o.Dropped > 0 {
				line += fmt.Sprintf(", of which transforms dropped %s", counted(o.Dropped, "record", "records"))
			}
			known = append(known, line)
		}
	}
	unlooked := ""
	kept := "the broker keeps events for ever (topics.retention)"
	if r := e.file.Topics.Retention; r > 0 {
		kept = "the broker keeps events for " + brief(r) + " (topics.retention)"
	}
	what := "the topics hold no event and no record with the id " + printable(e.text, 100)
	if e.only != "" {
		what += " of " + printable(e.only, 100)
	}
	if why := e.untold(); why != "" {
		unlooked = "\nwhere transforms hash ids of records it was not looked for by what its API has: " + why
	}
	if len(known) > 0 {
		slices.Sort(known)
		return &UsageError{errors.New(what + " any more, but it was read, and published unless a transform dropped it: the ledger names" + strings.Join(known, "") + "\n" + kept + "; the API may still have the record" + unlooked)}
	}
	return &UsageError{errors.New(what + ", and no ledger names it: " + kept + ", and ids for dedup_horizon; see that the id is whole, and that -c names the configuration of the service which published it" + unlooked)}
}
