package transforms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/events"
)

// Shown tells what one step did to one event.
type Shown struct {
	Step    string // its name
	Skipped bool   // it is not for this event
	In      events.Event
	Out     []events.Event // nil: it was dropped, or Err tells why there is none
	Err     error
}

// Trace applies the chain to one event and tells what each step made of it, for
// each event that was left when the step's turn came. After an error nothing
// follows. What the catalogue does not take of the events that come out is an error
// at the end, of the step that wrote it.
func (c *Chain) Trace(_ context.Context, e events.Event) []Shown {
	if c == nil || e.Type == events.TypeDeadLetter {
		return nil
	}
	r := c.take()
	defer c.runs.Put(r)
	var all []Shown
	left := []*item{newItem(&e)}
	for _, s := range c.steps {
		var next []*item
		for _, it := range left {
			shown := Shown{Step: s.name, In: it.event(), Skipped: !s.chosen(r, it)}
			out, err := s.all(r, []*item{it})
			if err != nil {
				shown.Err = err
				return append(all, shown)
			}
			for _, it := range out {
				shown.Out = append(shown.Out, it.event())
			}
			all, next = append(all, shown), append(next, out...)
		}
		left = next
	}
	for _, it := range left {
		var failed *StepError
		if errors.As(it.check(), &failed) {
			return append(all, Shown{Step: failed.Step, In: it.event(), Err: failed})
		}
	}
	return all
}

// chosen says whether the step is for an event, its condition included.
func (s *step) chosen(r *run, it *item) bool {
	if !s.isFor(&it.Event) {
		return false
	}
	if s.when == nil {
		return true
	}
	yes, err := s.when.condition(r, it)
	return yes || err != nil
}

// WriteTrace writes for people what steps did: for each what it changed, by path.
func WriteTrace(w io.Writer, steps []Shown) error {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.Step + ":")
		switch {
		case s.Err != nil:
			fmt.Fprintf(&b, " FAILED, the record becomes a dead letter: %s\n", s.Err)
		case s.Skipped:
			b.WriteString(" not for this event\n")
		case len(s.Out) == 0:
			b.WriteString(" dropped\n")
		case len(s.Out) > 1:
			fmt.Fprintf(&b, " split into %d events\n", len(s.Out))
			for n := range s.Out {
				fmt.Fprintf(&b, "  event %d, %s\n", n+1, s.Out[n].ID)
				writeChanges(&b, "    ", &s.In, &s.Out[n])
			}
		default:
			changes := Changes(&s.In, &s.Out[0])
			if changes == nil {
				b.WriteString(" nothing changed\n")
				continue
			}
			b.WriteByte('\n')
			writeChanges(&b, "  ", &s.In, &s.Out[0])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeChanges(b *strings.Builder, indent string, before, after *events.Event) {
	for _, line := range Changes(before, after) {
		fmt.Fprintf(b, "%s%s\n", indent, line)
	}
}

// maxShown is how many characters of a value are shown.
const maxShown = 200

// Changes tells what of an event differs from another: lines that begin with - for
// what was there and + for what is, by path.
func Changes(before, after *events.Event) []string {
	var lines []string
	add := func(sign, path, value string) {
		if value != "" {
			lines = append(lines, fmt.Sprintf("%s %s: %s", sign, path, printed(value)))
		}
	}
	old, now := facts(before), facts(after)
	were, are := map[string]string{}, map[string]string{}
	for _, f := range old {
		were[f.path] = f.value
	}
	for _, f := range now {
		are[f.path] = f.value
	}
	for _, f := range old {
		if value, there := are[f.path]; !there || value != f.value {
			add("-", f.path, f.value)
			add("+", f.path, value)
		}
	}
	for _, f := range now {
		if _, there := were[f.path]; !there {
			add("+", f.path, f.value)
		}
	}
	return lines
}

// fact is one thing that an event holds: a value, as JSON of one form, and where it
// stands.
type fact struct{ path, value string }

func facts(e *events.Event) []fact {
	all := []fact{
		{"event.topic", e.Topic}, {"event.key", e.Key}, {"event.record_id", e.RecordID},
	}
	all = appendFacts(all, "", append(append([]byte{'{'}, e.Members...), '}'))
	if e.Raw != nil {
		all = appendFacts(all, rawName, e.Raw)
	}
	return all
}

// appendFacts appends what a value holds: of an object each member, however deep.
func appendFacts(all []fact, path string, value []byte) []fact {
	if kindOf(value) != '{' {
		return append(all, fact{path, plainForm(value)})
	}
	empty := true
	for i := 1; ; {
		name, v, end, ok := nextMember(value, i)
		if !ok {
			break
		}
		i, empty = end, false
		inner := printed(string(unquoted(name)))
		if strings.ContainsAny(inner, ".\"*[] ") { // as paths have it
			inner = `"` + inner + `"`
		}
		if path != "" {
			inner = path + "." + inner
		}
		all = appendFacts(all, inner, v)
	}
	if empty && path != "" {
		all = append(all, fact{path, "{}"})
	}
	return all
}

// plainForm writes a value without white space, and its texts without escapes that
// need not be, so that equal ones are equal; numbers stay as they are.
func plainForm(value []byte) string {
	form := jsontext.Value(bytes.Clone(value))
	if err := form.Format(jsontext.PreserveRawStrings(false), jsontext.AllowDuplicateNames(true)); err != nil {
		return string(value)
	}
	return string(form)
}

// printed makes a text safe for a terminal, and cuts it.
func printed(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown-1]) + "…"
	}
	return text
}
