// Package transforms is what happens to events on their way from a connector to
// a topic: each may be dropped, passed on, changed, sent to another topic or
// split.
//
// A [Chain] is made of the steps of the configuration ([New]). It works on the
// text of an event's data: only what a step looks at is taken apart, and a number
// that nobody changes stays as the API wrote it. Expressions are those of
// expr-lang, checked against the catalogue's schemas when the chain is made.
package transforms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms/detect"
)

// Func makes of one event what is published of it: nothing (dropped), the event
// as it was or changed, or several. It may be called concurrently, and neither
// keeps nor changes the bytes of the event it was given. An error that is a
// [*StepError] names the step that failed.
type Func func(ctx context.Context, e events.Event) ([]events.Event, error)

// StepError says which step failed on an event, and why. It holds no text of the
// event: it is shown where the event must not be.
type StepError struct {
	Step string // its name
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("the transform %s failed: %v", e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// Chain are steps in their order. A nil chain passes everything on. It may be
// used concurrently, and never changes.
type Chain struct {
	steps  []*step
	topics []string
	routed map[string][]string // event types by the topic that steps route them to
	notes  []string
	leaves scope     // what expressions may name behind the last step
	runs   sync.Pool // of *run
}

// step is one entry of the list.
type step struct {
	name       string
	index      int
	types      []string // event types that it is for; nil: all
	connectors []string // connectors' names; nil: all
	streams    []string // STREAM or CONNECTOR/STREAM; nil: all
	when       *expression
	does       operation
}

// operation is what a step does. It changes the item, and returns what becomes of
// it.
type operation interface {
	apply(r *run, it *item) (outcome, error)
}

// maxParts is how many events one event may become.
const maxParts = 10_000

// maxPartsBytes is how many bytes their data may have but for raw, which they share.
const maxPartsBytes = 32 << 20

// outcome says what becomes of an item.
type outcome int

const (
	pass  outcome = iota
	drop          // it is published nowhere
	split         // the items in run.parts take its place
)

// run is what one call works with; runs are used again.
type run struct {
	expressions evaluator
	names       map[string]string // of members, so that they are made once
	parts       []*item
	matches     []detect.Match
}

// Apply is the chain's [Func]. Dead letters pass as they are.
func (c *Chain) Apply(_ context.Context, e events.Event) ([]events.Event, error) {
	if !c.concerns(&e) {
		return []events.Event{e}, nil
	}
	r := c.take()
	defer c.runs.Put(r)
	items := []*item{newItem(&e)}
	for _, s := range c.steps {
		var err error
		if items, err = s.all(r, items); err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return nil, nil
		}
	}
	out := make([]events.Event, len(items))
	for n, it := range items {
		if err := it.check(); err != nil {
			return nil, err
		}
		out[n] = it.event()
	}
	return out, nil
}

// Func returns Apply; nil for a nil chain.
func (c *Chain) Func() Func {
	if c == nil {
		return nil
	}
	return c.Apply
}

// concerns says whether any step may be for the event.
func (c *Chain) concerns(e *events.Event) bool {
	return c != nil && e.Type != events.TypeDeadLetter && slices.ContainsFunc(c.steps, func(s *step) bool { return s.isFor(e) })
}

func (c *Chain) take() *run {
	if r, ok := c.runs.Get().(*run); ok {
		return r
	}
	return &run{names: map[string]string{}}
}

// all applies the step to items, keeping their order.
func (s *step) all(r *run, items []*item) ([]*item, error) {
	out, changed, size := items[:0:0], false, 0
	for n, it := range items {
		what, err := s.one(r, it)
		if other := (*StepError)(nil); errors.As(err, &other) {
			return nil, other // validate has found what a step before it did
		}
		if err != nil {
			return nil, &StepError{Step: s.name, Err: err}
		}
		if what == split && len(out)+len(r.parts) > maxParts {
			return nil, &StepError{Step: s.name, Err: failure("it is split into more than 10000 events")}
		}
		several := len(items) > 1 || what == split && len(r.parts) > 1
		if size += r.made(what, it); several && size > maxPartsBytes {
			return nil, &StepError{Step: s.name, Err: failure("it is split into events that have more than 32 MiB together")}
		}
		if what == pass && !changed {
			continue
		}
		if !changed {
			out, changed = append(out, items[:n]...), true
		}
		switch what {
		case pass:
			out = append(out, it)
		case split:
			out, r.parts = append(out, r.parts...), nil
		}
	}
	if !changed {
		return items, nil
	}
	return out, nil
}

// made is how many bytes of members a step has left of an item.
func (r *run) made(what outcome, it *item) (size int) {
	switch what {
	case pass:
		return it.size()
	case split:
		for _, part := range r.parts {
			size += part.size()
		}
	}
	return size
}

// one applies the step to one item, where it is for it. A mistake of this package
// is an error of the step: one event is dead then, and the stream goes on.
func (s *step) one(r *run, it *item) (what outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = failure("a panic, which is a mistake in millrace: please report it with the step's configuration")
		}
	}()
	if !s.isFor(&it.Event) {
		return pass, nil
	}
	if !it.measured {
		if it.measured = true; tooDeep(it.Members) || tooDeep(it.Raw) {
			return drop, failure("the event has objects and lists in each other more than 128 levels deep")
		}
	}
	if s.when != nil {
		if yes, err := s.when.condition(r, it); !yes || err != nil {
			return pass, err
		}
	}
	it.step = s
	return s.does.apply(r, it)
}

// isFor says whether the step is for an event, but for its condition.
func (s *step) isFor(e *events.Event) bool {
	return (s.types == nil || slices.Contains(s.types, e.Type)) && s.isForStreamOf(e)
}

func (s *step) isForStreamOf(e *events.Event) bool {
	return (s.connectors == nil || slices.Contains(s.connectors, e.Connector)) &&
		(s.streams == nil || slices.ContainsFunc(s.streams, func(name string) bool { return ofStream(name, e) }))
}

// ofStream says whether STREAM or CONNECTOR/STREAM names the event's stream.
func ofStream(name string, e *events.Event) bool {
	connector, stream := len(e.Connector), e.Source.Stream
	return name == stream || len(name) == connector+1+len(stream) && name[:connector] == e.Connector && name[connector] == '/' && name[connector+1:] == stream
}

// Topics are those that steps route events to, each once, in the order of the
// steps. Nil for a nil chain.
func (c *Chain) Topics() []string {
	if c == nil {
		return nil
	}
	return slices.Clone(c.topics)
}

// Types are the event types that are on some of the topics, sorted, as far as the
// steps tell: what others routed there before is not known. Nil of no topic.
func (c *Chain) Types(topics []string) []string {
	var all []string
	for _, name := range topics {
		if events.KnownType(name) {
			all = append(all, name)
		} else if c != nil {
			all = append(all, c.routed[name]...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// HidesIDs says whether a step hides the vendor's ids of users, conversations or
// records, so that nothing else should write them down.
func (c *Chain) HidesIDs() bool {
	return c != nil && slices.ContainsFunc(c.steps, func(s *step) bool {
		red, ok := s.does.(*redacting)
		return ok && red.hidesIDs()
	})
}

// maxRecordIDs bounds RecordIDs: each step may be for some events alone, and double
// them.
const maxRecordIDs = 1024

// RecordIDs are what the steps may make of a record's id by hashing, with the keys
// that they have now, in events of the stream and the connector of e: each step alone,
// and each after others. Nil where it is left as it is; of more than 1,023, which is
// what ten steps make, the first.
func (c *Chain) RecordIDs(e *events.Event, id string) []string {
	if c == nil {
		return nil
	}
	r := c.take()
	defer c.runs.Put(r)
	all := []string{id}
	for _, s := range c.steps {
		red, ok := s.does.(*redacting)
		if !ok || red.with != withHash || !s.isForStreamOf(e) {
			continue
		}
		for _, before := range all {
			if after := red.identifier(r, recordAttribute, before); len(all) < maxRecordIDs && !slices.Contains(all, after) {
				all = append(all, after)
			}
		}
	}
	return all[1:]
}

// Notes are what a person should know of the steps, a sentence each; nil: nothing.
func (c *Chain) Notes() []string {
	if c == nil {
		return nil
	}
	return c.notes
}

// Steps are the names of the steps, in their order.
func (c *Chain) Steps() []string {
	if c == nil {
		return nil
	}
	names := make([]string, len(c.steps))
	for n, s := range c.steps {
		names[n] = s.name
	}
	return names
}
