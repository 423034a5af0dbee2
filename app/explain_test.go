package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

var (
	explainedKey = events.StreamKey{Vendor: "feedyou", Account: "acme", Stream: "nlpLog"}
	otherKey     = events.StreamKey{Vendor: "feedyou", Account: "acme", Stream: "userData"}
	explainedAt  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
)

// archive is a broker that holds what a test has put into it.
type archive struct {
	topics.Broker
	messages []topics.Received
	entries  map[events.StreamKey]map[string][]byte
	chain    *transforms.Chain
	forgot   time.Time // how far the ids of all streams are forgotten
}

func newArchive() *archive {
	return &archive{entries: map[events.StreamKey]map[string][]byte{explainedKey: {}, otherKey: {}}}
}

func (a *archive) Tail(_ context.Context, _ topics.TailOptions, fn func(topics.Received) error) error {
	for _, m := range a.messages {
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) Checkpoints(context.Context) (all []topics.Stored, err error) {
	for key := range a.entries {
		c := ledger.Checkpoint{Stream: key, Commits: 50, Forgotten: a.forgot}
		data, err := c.Encode()
		if err != nil {
			return nil, err
		}
		all = append(all, topics.Stored{Key: key, Checkpoint: data})
	}
	return all, nil
}

func (a *archive) Ledger(key events.StreamKey) topics.Ledger { return entriesOf(a.entries[key]) }

type entriesOf map[string][]byte

func (e entriesOf) Entries(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(e)), nil
}

func (e entriesOf) Entry(_ context.Context, name string) ([]byte, error) { return e[name], nil }

// put publishes an event, a minute after the one before.
func (a *archive) put(t *testing.T, e events.Event, data string) events.Event {
	t.Helper()
	if e.Type == "" {
		e.Type = events.TypeUnhandledInput
	}
	if e.Source == (events.StreamKey{}) {
		e.Source = explainedKey
	}
	if e.Recorded.IsZero() {
		e.Recorded = explainedAt.Add(time.Minute)
	}
	e.Connector, e.Key = "demo", e.RecordID
	var encoder events.Encoder
	n := len(a.messages)
	a.messages = append(a.messages, topics.Received{
		Message:   topics.Message{Topic: e.Type, Connector: e.Connector, Key: e.Key, Attributes: encoder.AppendAttributes(nil, &e), Data: []byte(data)},
		FullTopic: "millrace." + e.Type, Partition: n % 2, Sequence: uint64(100 + n), Stored: explainedAt.Add(time.Duration(n) * time.Minute),
	})
	return e
}

// commit writes an entry of ids to the ledger, each from a page of its own that was
// asked for at a time; without one nothing is noted.
func (a *archive) commit(t *testing.T, commit uint64, lane string, sent time.Time, ids ...events.ID) {
	t.Helper()
	book, err := ledger.NewBook(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := book.Draft()
	for n, id := range ids {
		d.Record(id)
		if !sent.IsZero() {
			d.Of(ledger.Page{Sent: sent.Add(time.Duration(n) * time.Second).UnixMilli(), Window: [2]int64{explainedAt.Unix(), explainedAt.Unix() + 60}, Asked: [2]int64{explainedAt.Unix() - 1, 0}})
		}
	}
	if err := d.NotePages(1 << 10); err != nil {
		t.Fatal(err)
	}
	e := d.Entry()
	e.Window, e.Commit, e.Lane = ledger.Range{From: explainedAt, To: explainedAt.Add(time.Minute)}, commit, lane
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	a.entries[explainedKey][e.Name()] = data
}

func (a *archive) explain(t *testing.T, id, stream string) ([]Explained, error) {
	t.Helper()
	o := &operator{file: &config.File{}, broker: a, chain: a.chain}
	o.file.Topics.Retention = 24 * time.Hour
	return o.explain(t.Context(), ExplainOptions{ID: id, Stream: stream})
}

func (a *archive) mustExplain(t *testing.T, id string) (*Explained, string) {
	t.Helper()
	all, err := a.explain(t, id, "")
	if err != nil || len(all) != 1 {
		t.Fatalf("%d records: %v", len(all), err)
	}
	var b bytes.Buffer
	if err := WriteExplained(&b, all); err != nil {
		t.Fatal(err)
	}
	return &all[0], b.String()
}

func idOf(record string) events.ID { return events.RecordIdentity(explainedKey, record).Event() }

func TestExplainWhatIsNotThere(t *testing.T) {
	a := newArchive()
	a.put(t, events.Event{ID: idOf("r1"), RecordID: "r1"}, `{}`)
	a.commit(t, 7, "sweep", explainedAt, idOf("r2"))
	for id, says := range map[string][]string{
		idOf("r2").String(): {"commit 7 (sweep) of the window 2026-11-01T12:00:00Z/2026-11-01T12:01:00Z", "keeps events for 1d", "was read"},
		"r2":                {"commit 7 (sweep)", "feedyou/acme/nlpLog"},
		"r3\x1b[2J":         {"no ledger names it", "dedup_horizon", "r3[2J"},
	} {
		all, err := a.explain(t, id, "")
		if len(all) > 0 || ExitCode(err) != ExitUsage {
			t.Fatalf("%q: exit code %d, %+v", id, ExitCode(err), all)
		}
		for _, what := range says {
			if !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("of %q it does not say %q: %q", id, what, err)
			}
		}
	}
}

func TestExplainOneIDInTwoStreams(t *testing.T) {
	a := newArchive()
	a.put(t, events.Event{ID: idOf("r1"), RecordID: "r1"}, `{}`)
	other := a.put(t, events.Event{ID: events.ID{1}, RecordID: "r1", Source: otherKey, Type: events.TypeUser}, `{}`)
	all, err := a.explain(t, "r1", "")
	if err != nil || len(all) != 2 || all[0].Stream != explainedKey.String() || all[1].Stream != otherKey.String() {
		t.Fatalf("%+v, %v", all, err)
	}
	var b bytes.Buffer
	if err := WriteExplained(&b, all); err != nil || !strings.HasPrefix(b.String(), "2 streams have such a record; --stream") {
		t.Errorf("it says (%v)\n%s", err, b.String())
	}
	for _, stream := range []string{"userData", "demo/userData", otherKey.String()} {
		if all, err := a.explain(t, "r1", stream); err != nil || len(all) != 1 || all[0].Event.Attributes["id"] != other.ID.String() {
			t.Errorf("--stream %s: %+v, %v", stream, all, err)
		}
	}
	if all, err := a.explain(t, other.ID.String(), "nlpLog"); ExitCode(err) != ExitUsage {
		t.Errorf("an event of another stream: %+v, %v", all, err)
	}
}

// What changed is told of each version, also in the record; the same JSON written in
// another way is no change. The order is that of publication, not of reading.
func TestExplainVersions(t *testing.T) {
	a := newArchive()
	first := a.put(t, events.Event{ID: events.ID{1}, RecordID: "u"}, `{"name":"a","tags":[1,2],"raw":{"n":"a","x":1.0}}`)
	a.put(t, events.Event{ID: events.ID{2}, RecordID: "u"}, `{"name":"b","tags":[1, 2],"more":true,"raw":{"n":"b","x":1}}`)
	a.put(t, events.Event{ID: events.ID{2}, RecordID: "u", Replay: true}, `{"name":"b","tags":[1,2],"more":true,"raw":{"n":"b","x":1}}`)
	slices.Reverse(a.messages)
	x, text := a.mustExplain(t, first.ID.String())
	if x.Event.Attributes["id"] != first.ID.String() || *x.Event.Partition != 0 || *x.Event.Offset != 100 || string(x.Raw) != `{"n":"a","x":1.0}` {
		t.Errorf("it is explained as %+v", x.Event)
	}
	if len(x.Versions) != 3 || !slices.Equal(x.Versions[1].Changed, []string{"more", "name", "raw.n"}) || !x.Versions[2].Again || len(x.Versions[2].Changed) > 0 {
		t.Errorf("the versions are %+v", x.Versions)
	}
	for _, want := range []string{"partition 0, offset 100", "more, name, raw.n", "published again (replay)", "  *  01000000", `    "n": "a"`} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}

// How each commit has to do with the event.
func TestExplainOrigins(t *testing.T) {
	id, mark := idOf("r1"), events.ReplayMark(idOf("r1"), 31)
	before, behind := explainedAt, explainedAt.Add(time.Hour)
	for name, test := range map[string]struct {
		fill   func(*archive)
		replay bool
		want   []string
		says   string
	}{
		"published": {func(a *archive) { a.commit(t, 3, "live", before, idOf("r0"), id) }, false, []string{OriginRead}, "sent       2026-11-01T12:00:01Z"},
		"old entry": {func(a *archive) { a.commit(t, 3, "live", time.Time{}, id) }, false, []string{OriginRead}, "not remembered"},
		"met again": {func(a *archive) { a.commit(t, 3, "sweep", behind, id) }, false, []string{OriginMet}, "the commit that published it is forgotten"},
		"replayed": {func(a *archive) {
			a.commit(t, 3, "live", before, id)
			a.commit(t, 40, "backfill", before, mark)
		}, true, []string{OriginRead, OriginReplayed}, "published once more"},
		"letter":    {func(a *archive) { a.commit(t, 9, "dead_letters", time.Time{}, id) }, false, []string{OriginLetter}, "from a dead letter"},
		"marked":    {func(a *archive) { a.commit(t, 9, "dead_letters", time.Time{}, events.PublishedMark(id)) }, false, []string{OriginLetter}, "from a dead letter"},
		"none":      {func(*archive) {}, false, nil, "names no commit of it.\n"},
		"forgotten": {func(a *archive) { a.forgot = behind }, false, nil, "those before 2026-11-01T13:00:00Z may be forgotten"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArchive()
			a.put(t, events.Event{ID: id, RecordID: "r1", Time: explainedAt, Replay: test.replay}, `{}`)
			test.fill(a)
			x, text := a.mustExplain(t, id.String())
			var how []string
			for _, o := range x.Origins {
				how = append(how, o.How)
			}
			if !slices.Equal(how, test.want) || !strings.Contains(text, test.says) {
				t.Errorf("origins %q, want %q; it says\n%s", how, test.want, text)
			}
		})
	}
}

// An event that was split off bears an id that no ledger has: its record's is there.
func TestExplainAnEventThatTransformsMade(t *testing.T) {
	a := newArchive()
	a.put(t, events.Event{ID: events.ID{9}, RecordID: "r1", Time: explainedAt}, `{}`)
	a.commit(t, 3, "live", explainedAt, idOf("r0"), idOf("r1"))
	x, text := a.mustExplain(t, events.ID{9}.String())
	if len(x.Origins) != 1 || x.Origins[0].How != OriginOfRecord || !strings.Contains(text, "of which transforms made this event") {
		t.Errorf("it says\n%s", text)
	}
}

// Of an event that was too large the dead letter has the id.
func TestExplainADeadLetter(t *testing.T) {
	a := newArchive()
	data := fmt.Sprintf(`{"reason":"too_large","stage":"commit","window":"2026-11-01T12:00:00Z/2026-11-01T12:01:00Z","event_id":%q,"record":"{}"}`, idOf("r1"))
	letter := a.put(t, events.Event{ID: events.ID{7}, RecordID: "r1", Type: events.TypeDeadLetter}, data)
	a.commit(t, 3, "live", explainedAt, idOf("r1"))
	resolution := ledger.Resolution{At: explainedAt.Add(time.Hour), Commit: 9}
	resolution.Add(letter.ID, ledger.Replayed, a.messages[0].Stored)
	stored, err := resolution.Encode()
	if err != nil {
		t.Fatal(err)
	}
	a.entries[explainedKey][resolution.Name()] = stored
	for _, id := range []string{letter.ID.String(), idOf("r1").String(), "r1"} {
		x, text := a.mustExplain(t, id)
		if len(x.Letters) != 1 || x.Letters[0].Resolved != ledger.Replayed || len(x.Origins) != 1 || x.Origins[0].Commit != 3 || !strings.Contains(text, "too_large") {
			t.Errorf("of %s it says\n%s", id, text)
		}
	}
	event := a.put(t, events.Event{ID: idOf("r1"), RecordID: "r1"}, `{}`)
	if x, _ := a.mustExplain(t, event.ID.String()); x.Event == nil || len(x.Letters) != 1 {
		t.Errorf("once it is published it tells %+v", x)
	}
	if x, _ := a.mustExplain(t, letter.ID.String()); x.Event != nil || len(x.Versions) != 1 {
		t.Errorf("of the letter it tells then %+v", x)
	}
}

// What others wrote is safe for the terminal, and what is too much is counted.
func TestExplainWhatIsOddOrMuch(t *testing.T) {
	a := newArchive()
	odd := a.put(t, events.Event{ID: events.ID{1}, RecordID: "r\u202e1"}, "{\"raw\":{\"a\u202e\":\"\u009b2J\x7f \\u001b\U000e0041\"}}")
	_, text := a.mustExplain(t, odd.ID.String())
	for _, r := range "\u202e\u009b\x7f\x1b\U000e0041" {
		if strings.ContainsRune(text, r) {
			t.Errorf("it prints %q", r)
		}
	}
	if !strings.Contains(text, `"a\u202e": "\u009b2J\u007f \u001b\U000e0041"`) {
		t.Errorf("it says\n%s", text)
	}
	a.put(t, events.Event{ID: events.ID{3}, RecordID: "strange"}, `{}`)
	for n := range a.messages[1].Attributes {
		if m := &a.messages[1]; m.Attributes[n].Name == "type" {
			m.Attributes[n].Value, m.FullTopic = "io.millrace.x\x1b[2J.v1", "millrace.x\x1b[2J"
		}
	}
	if _, text := a.mustExplain(t, "strange"); strings.Contains(text, "\x1b") {
		t.Errorf("it prints %q", text)
	}
	for n := range mostFound + 5 {
		a.put(t, events.Event{ID: events.ID{2, byte(n >> 8), byte(n)}, RecordID: "much"}, `{}`)
	}
	first, last := events.ID{2}, events.ID{2, byte((mostFound + 4) >> 8), byte((mostFound + 4) & 0xff)}
	x, text := a.mustExplain(t, "much")
	if len(x.Versions) != mostFound || x.More != 5 || !strings.Contains(text, "and 5 earlier events") || !strings.Contains(text, "carries none") {
		t.Errorf("%d events are shown, %d more", len(x.Versions), x.More)
	}
	if id := x.Event.Attributes["id"]; id != last.String() || x.Versions[mostFound-1].ID != id {
		t.Errorf("the latest is told to be %s, want %s", id, last)
	}
	if x, _ := a.mustExplain(t, first.String()); x.Event.Attributes["id"] != first.String() {
		t.Errorf("the one that is asked for is not among those that are kept: %+v", x.Event)
	}
	broken := errors.New("the broker is away")
	o := &operator{file: &config.File{}, broker: brokenBroker{err: broken}}
	if _, err := o.explain(t.Context(), ExplainOptions{ID: last.String()}); !errors.Is(err, broken) {
		t.Errorf("a broker that is away: %v", err)
	}
}

type brokenBroker struct {
	topics.Broker
	err error
}

func (b brokenBroker) Tail(context.Context, topics.TailOptions, func(topics.Received) error) error {
	return b.err
}
