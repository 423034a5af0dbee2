package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// publish sends events through the transforms and encodes what comes of them. What
// the transforms fail on, or the broker does not take, becomes dead letters: of the
// record whole, so that all that is made of one record is published together.
func (t *tenure) publish(ctx context.Context, draft *ledger.Draft, fresh []events.Event, counts *ledger.Counts, limits topics.Limits, batch *connectors.Batch) error {
	t.encoder.grow(fresh)
	for n := range fresh {
		e := &fresh[n]
		if e.Type == events.TypeDeadLetter {
			t.encoder.messages = append(t.encoder.messages, t.encoder.message(e))
			continue
		}
		before := len(t.encoder.data)
		made, dead, err := t.make(ctx, e, limits)
		if err != nil {
			return err
		}
		if before > 0 && len(t.encoder.data) > maxMade {
			return &topics.TooLargeError{Limits: limits}
		}
		if dead != nil {
			counts.DeadLetters++
			counts.Events--
			t.tell(dead)
			for _, l := range lettersOf(e, dead, limits.Bytes, batch) {
				t.encoder.messages = append(t.encoder.messages, t.encoder.message(&l))
			}
			continue
		}
		if made == 0 {
			counts.Dropped++
		} else if e.Replay {
			// It may have been dead before, and its letter is not to publish it again.
			draft.Record(events.PublishedMark(e.ID))
		}
		counts.Events += int64(made - 1)
	}
	return nil
}

// tell tells of a step that fails, the first time since the stream was taken: most
// often it fails on all that is like it.
func (t *tenure) tell(dead *letter) {
	if dead.step == "" || t.told[dead.step] {
		return
	}
	if t.told == nil {
		t.told = map[string]bool{}
	}
	t.told[dead.step] = true
	t.log.Warn("a transform fails: records become dead letters, which can be replayed when it is mended", "step", dead.step, "cause", dead.Detail)
}

// make transforms one event and encodes what comes of it: so many events, or why
// its record is dead.
func (t *tenure) make(ctx context.Context, e *events.Event, limits topics.Limits) (made int, dead *letter, err error) {
	if t.opts.Transforms == nil {
		dead = t.encoder.add(e, t.opts.Raw, limits)
		return 1, dead, nil
	}
	out, err := t.opts.Transforms(ctx, *e)
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, nil, err
	case err != nil:
		return 0, failedIn(err), nil
	case len(out) > limits.Messages-2:
		return 0, tooMany(len(out), limits), nil
	case madeOf(out) > maxMade:
		return 0, tooMuch(len(out)), nil
	}
	before := t.encoder.mark()
	for n := range out {
		if dead := t.encoder.add(&out[n], t.opts.Raw, limits); dead != nil {
			t.encoder.back(before)
			return 0, dead, nil
		}
	}
	return len(out), nil, nil
}

// failedIn is why a record is dead that a transform failed on.
func failedIn(err error) *letter {
	l := &letter{Dead: events.Dead{Reason: events.ReasonTransform, Detail: err.Error(), Stage: events.StageTransform}}
	if failed := (*transforms.StepError)(nil); errors.As(err, &failed) {
		l.step = failed.Step
	}
	return l
}

// tooMany is why a record is dead of which transforms make more events than the
// broker takes in one commit.
func tooMany(n int, limits topics.Limits) *letter {
	return &letter{Dead: events.Dead{
		Reason: events.ReasonTooLarge, Stage: events.StageCommit,
		Detail: fmt.Sprintf("it is split into %d events, the broker takes %d at once", n, limits.Messages-2),
	}}
}

// maxMade is how many bytes of data the events may have that transforms make of one
// record, and so those of one commit: each part of a record may carry all of it
// (invariant 11).
const maxMade = 32 << 20

// madeOf returns how many bytes of data events have; of a single one 0, as the broker
// looks at that.
func madeOf(out []events.Event) (size int) {
	for n := range out {
		size += out[n].DataLen()
	}
	if len(out) < 2 {
		return 0
	}
	return size
}

func tooMuch(n int) *letter {
	return &letter{Dead: events.Dead{
		Reason: events.ReasonTooLarge, Stage: events.StageCommit,
		Detail: fmt.Sprintf("it is split into %d events that have more than %d MiB together: split what carries less, as without raw", n, maxMade>>20),
	}}
}
