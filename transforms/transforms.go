// Package transforms is what happens to events on their way from a connector to
// a topic: each may be dropped, passed on, changed or split.
package transforms

import (
	"context"

	"github.com/millrace-io/millrace/events"
)

// Func is one step. It returns what becomes of the event: nothing (dropped), the
// event as it was or changed, or several. It may be called concurrently, and
// neither keeps nor changes the bytes of the event it was given.
type Func func(ctx context.Context, e events.Event) ([]events.Event, error)

// Chain are the steps in their order. An empty chain passes everything on.
type Chain []Func

// Apply sends each event through all steps, keeping their order. It fails with
// the first step that does.
func (c Chain) Apply(ctx context.Context, in []events.Event) ([]events.Event, error) {
	for _, step := range c {
		var out []events.Event
		for _, e := range in {
			made, err := step(ctx, e)
			if err != nil {
				return nil, err
			}
			out = append(out, made...)
		}
		in = out
	}
	return in, nil
}
