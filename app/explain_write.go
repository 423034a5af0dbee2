package app

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/ledger"
)

// WriteExplained writes what is known of records, for people.
func WriteExplained(w io.Writer, all []Explained) error {
	if len(all) > 1 {
		fmt.Fprintf(w, "%d streams have such a record; --stream narrows it to one of them.\n\n", len(all))
	}
	for n := range all {
		if n > 0 {
			fmt.Fprintln(w)
		}
		if err := all[n].write(w); err != nil {
			return err
		}
	}
	return nil
}

// write writes it section by section.
func (e *Explained) write(w io.Writer) error {
	sections := []struct {
		title string
		write func(io.Writer) error
	}{
		{"event", e.writeEvent}, {"where it came from", e.writeOrigins}, {"record", e.writeRaw},
		{"transforms, as they are configured now", e.writeTransforms}, {"events of the record, in the order of publication", e.writeVersions},
		{"dead letters", e.writeLetters},
	}
	for n, s := range sections {
		if n > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, s.title)
		if err := s.write(w); err != nil {
			return err
		}
	}
	return nil
}

// lines writes names and values, one pair a line.
func lines(w io.Writer, pairs [][2]string) error {
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(t, "  %s\t%s\n", p[0], printable(p[1], shownWidth))
		}
	}
	return t.Flush()
}

// shownWidth is how many characters of a value are shown.
const shownWidth = 300

// attributeOrder is the one in which attributes are shown; others follow.
var attributeOrder = []string{"id", "type", "source", "connector", "time", "recordedtime", "recordid", "subject", "replay"}

func (e *Explained) writeEvent(w io.Writer) error {
	if e.Event == nil {
		_, err := fmt.Fprintf(w, "  none of the record %s of %s is in the topics\n", printable(e.RecordID, shownWidth), printable(shortName(e.Connector, e.Stream), shownWidth))
		return err
	}
	var names []string
	for name := range e.Event.Attributes {
		names = append(names, name)
	}
	rank := func(name string) int {
		if n := slices.Index(attributeOrder, name); n >= 0 {
			return n
		}
		return len(attributeOrder)
	}
	slices.Sort(names)
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	var pairs [][2]string
	for _, name := range names {
		pairs = append(pairs, [2]string{name, e.Event.Attributes[name]})
	}
	pairs = append(pairs, [2]string{"topic", e.Event.Topic}, [2]string{"position", e.Event.position()}, [2]string{"stored", instant(e.Event.Stored)})
	return lines(w, pairs)
}

// position is where in its topic a message lies.
func (p *Place) position() string {
	if p.Sequence != nil {
		return fmt.Sprintf("sequence %d of the JetStream stream", *p.Sequence)
	}
	return fmt.Sprintf("partition %d, offset %d", *p.Partition, *p.Offset)
}

// instant writes a time as exactly as it is known.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// whatLane says what a commit was doing.
var whatLane = map[string]string{
	"live": "live: a read of the present", "sweep": "sweep: a second read of the recent past, for what turned up late",
	"backfill": "backfill: a range that was read on demand", laneLetters: "dead letters that were replayed",
}

// whatHow says what a commit has to do with the event, where that is not that it
// published it.
var whatHow = map[string]string{
	OriginReplayed: "it was published once more, on demand (replay)", OriginLetter: "it was published from a dead letter that was replayed; the commit of the letter tells of the page",
	OriginMet:      "this later read met it again and wrote its id down once more; the commit that published it is forgotten",
	OriginOfRecord: "it read the record, of which transforms made this event",
}

func (e *Explained) writeOrigins(w io.Writer) error {
	pairs := [][2]string{{"connector", e.Connector}, {"stream", e.Stream}}
	if err := lines(w, pairs); err != nil {
		return err
	}
	for n := range e.Origins {
		if err := e.Origins[n].write(w); err != nil {
			return err
		}
	}
	if len(e.Origins) > 0 {
		return nil
	}
	text := "  The ledger names no commit of it"
	if e.Forgotten {
		text += ": ids are kept for dedup_horizon behind the cursor, and those before " + when(e.IDsSince) + " may be forgotten"
	}
	_, err := fmt.Fprintln(w, text+".")
	return err
}

func (o *Origin) write(w io.Writer) error {
	lane := whatLane[o.Lane]
	if lane == "" {
		lane = o.Lane
	}
	pairs := [][2]string{{"commit", fmt.Sprint(o.Commit)}, {"", whatHow[o.How]}, {"lane", lane}}
	p := o.Page
	switch {
	case p != nil:
		pairs = append(pairs, p.pairs()...)
	case o.Lane == laneLetters:
		pairs = append(pairs, [2]string{"window", span(o.Window)})
	default:
		pairs = append(pairs, [2]string{"windows", span(o.Window)}, [2]string{"request", "not remembered: a version before this one committed it, or the commit held more pages than are noted"})
	}
	return lines(w, pairs)
}

func (p *OriginPage) pairs() [][2]string {
	pairs := [][2]string{{"window", span(p.Window)}}
	switch {
	case p.Asked == nil:
		return append(pairs, [2]string{"request", "none: the API refuses whom it was to be read for, and it was made of what else is known"}, [2]string{"read for", p.Key})
	case p.Asked.To.IsZero():
		pairs = append(pairs, [2]string{"asked for", when(p.Asked.From) + " on, without an end"})
	default:
		pairs = append(pairs, [2]string{"asked for", span(ledger.Range{From: p.Asked.From, To: p.Asked.To})})
	}
	page := "not known: the read went on from the cursor where an earlier one had ended"
	switch {
	case p.Cell:
		page = "all of them: only what this answer has more than that to a smaller request tells the record from others like it"
	case p.Number > 0:
		page = fmt.Sprintf("%d of the window", p.Number)
	}
	return append(pairs, [2]string{"sent", instant(p.Sent)}, [2]string{"page", page}, [2]string{"cursor", p.Cursor}, [2]string{"read for", p.Key})
}

func (e *Explained) writeRaw(w io.Writer) error {
	switch {
	case e.Event == nil:
		_, err := fmt.Fprintln(w, "  the dead letter keeps it: millrace dead-letters show prints it")
		return err
	case e.Raw == nil:
		_, err := fmt.Fprintln(w, "  the event carries none (topics.raw: false, or a transform has left it out)")
		return err
	}
	return writeJSONText(w, e.Raw)
}

// writeJSONText writes a JSON value over several lines, safe for a terminal.
func writeJSONText(w io.Writer, raw json.RawMessage) error {
	text := jsontext.Value(slices.Clone(raw))
	if text.Indent(jsontext.WithIndentPrefix("  "), jsontext.WithIndent("  ")) != nil {
		text = jsontext.Value(raw)
	}
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r == '\n' || unicode.IsGraphic(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, "\\U%08x", r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	_, err := fmt.Fprintf(w, "  %s\n", b.String())
	return err
}

func (e *Explained) writeTransforms(w io.Writer) error {
	switch {
	case e.Event == nil:
		_, err := fmt.Fprintln(w, "  there is no event that they could be shown with")
		return err
	case e.Transforms == nil:
		_, err := fmt.Fprintln(w, "  "+printable(e.Untold, shownWidth))
		return err
	}
	return e.Transforms.write(w)
}

func (e *Explained) writeVersions(w io.Writer) error {
	if len(e.Versions) == 0 {
		_, err := fmt.Fprintln(w, "  none")
		return err
	}
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "  \tID\tTYPE\tTIME\tSTORED\tPOSITION\tCHANGED")
	for n := range e.Versions {
		v := &e.Versions[n]
		mark := ""
		if e.Event != nil && v.ID == e.Event.Attributes["id"] {
			mark = "*"
		}
		changed := strings.Join(v.Changed, ", ")
		switch {
		case v.Again && v.Replay:
			changed = "published again (replay)"
		case v.Again:
			changed = "published again"
		case v.Replay:
			changed = strings.TrimSuffix("replay; "+changed, "; ")
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, v.ID, printable(v.Type, shownWidth), instant(v.Time), instant(v.Stored), printable(v.shortPosition(), shownWidth), printable(changed, shownWidth))
	}
	if err := t.Flush(); err != nil || e.More == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "  and %s, which are too much to be shown\n", counted(e.More, "earlier event", "earlier events"))
	return err
}

func (p *Place) shortPosition() string {
	if p.Sequence != nil {
		return fmt.Sprintf("%s %d", p.Topic, *p.Sequence)
	}
	return fmt.Sprintf("%s/%d %d", p.Topic, *p.Partition, *p.Offset)
}

func (e *Explained) writeLetters(w io.Writer) error {
	if len(e.Letters) == 0 {
		_, err := fmt.Fprintln(w, "  none is about it")
		return err
	}
	for n := range e.Letters {
		l := &e.Letters[n]
		err := lines(w, [][2]string{
			{"id", l.ID}, {"state", l.state()}, {"stage", l.Stage}, {"reason", l.Reason}, {"detail", l.Detail},
			{"window", l.Window}, {"recorded", instant(l.Recorded)}, {"stored", instant(l.stored)}, {"size", fmt.Sprint(l.Size)},
		})
		if err != nil {
			return err
		}
	}
	return nil
}
