package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/transforms"
)

// Traced is what the transforms, as they are configured now, make of a record.
type Traced struct {
	Steps []TracedStep `json:"steps"`

	shown []transforms.Shown
}

// TracedStep is what one step made of one event.
type TracedStep struct {
	Step    string        `json:"step"`
	Skipped bool          `json:"skipped,omitempty"` // it is not for this event
	Error   string        `json:"error,omitempty"`   // the record becomes a dead letter
	Out     []TracedEvent `json:"out"`               // none: the event was dropped, or Error
}

// TracedEvent is what became of an event: lines that begin with - for what was there
// and + for what is.
type TracedEvent struct {
	ID      string   `json:"id"`
	Changes []string `json:"changes"`
}

// untold says why the transforms cannot be made as the service makes them; "" where
// they can.
func (o *operator) untold() string {
	switch {
	case slices.ContainsFunc(o.file.Transforms, func(t config.Transform) bool { return HasUnset(t.Raw) }):
		return "a step of them needs a variable that is not set here: set it as for the service"
	case o.unchained != nil:
		return "they cannot be made here: " + o.unchained.Error()
	}
	return ""
}

// transforms maps the record of an event again and sends it through the transforms,
// or says why it cannot.
func (e *explainer) transforms(ctx context.Context, event *foundEvent, out *Explained) (*Traced, string) {
	s := e.stream(event.Source)
	why := e.untold()
	switch {
	case why != "":
		return nil, why
	case e.chain == nil:
		return &Traced{Steps: []TracedStep{}}, ""
	case out.Raw == nil:
		return nil, "the event carries no record (topics.raw: false, or a transform has left it out), so it cannot be sent through them again"
	case s == nil:
		return nil, "no connector of the configuration reads " + event.Source.String()
	}
	var window ledger.Range
	key := ""
	for _, o := range out.Origins {
		if o.Page != nil {
			window, key = o.Page.Window, o.Page.Key
		}
	}
	if s.Walk != nil && key == "" {
		return nil, "for whom the record was read is forgotten, or was never written down because a transform hides such ids, and without that it cannot be mapped again"
	}
	var again events.Event
	again, why = pipeline.Remade(s, e.parent(event, out), out.Raw, window, key)
	if why != "" {
		return nil, "its record cannot be mapped again: " + why
	}
	return traced(e.chain.Trace(ctx, again)), ""
}

// parent is the event as it was before the transforms, as far as that is known: one
// that was split off has another id than the ledger.
func (e *explainer) parent(event *foundEvent, out *Explained) *events.Event {
	whole := event.Event
	for _, o := range out.Origins {
		if o.How == OriginOfRecord {
			whole.ID = o.event
		}
	}
	return &whole
}

func traced(shown []transforms.Shown) *Traced {
	t := &Traced{Steps: []TracedStep{}, shown: shown}
	for n := range shown {
		s := &shown[n]
		step := TracedStep{Step: s.Step, Skipped: s.Skipped, Out: []TracedEvent{}}
		if s.Err != nil {
			step.Error = s.Err.Error()
		}
		for i := range s.Out {
			changes := transforms.Changes(&s.In, &s.Out[i])
			if changes == nil {
				changes = []string{}
			}
			step.Out = append(step.Out, TracedEvent{s.Out[i].ID.String(), changes})
		}
		t.Steps = append(t.Steps, step)
	}
	return t
}

// write writes what each step has made of the event, for people.
func (t *Traced) write(w io.Writer) error {
	if len(t.shown) == 0 {
		_, err := fmt.Fprintln(w, "  none are configured")
		return err
	}
	var text bytes.Buffer
	if err := transforms.WriteTrace(&text, t.shown); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := io.WriteString(w, "  "+line); err != nil {
			return err
		}
	}
	return nil
}
