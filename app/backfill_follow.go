package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/pipeline"
)

// follower follows backfills to their end.
type follower struct {
	operator *operator
	show     *Bar
	all      []*followed
	reads    []*pipeline.Ingest // that carry out some of them in this process
	asked    time.Time          // when the services were asked last
	silent   time.Time          // since when nobody answers; zero when somebody does
}

// followed is one backfill that is followed.
type followed struct {
	stream *connectors.Stream
	plan   *pipeline.BackfillPlan
	ingest *pipeline.Ingest // what carries it out in this process, with others of the stream; nil where a service does
	status StreamStatus     // as it was last seen
	seen   BackfillStatus
	ended  bool  // the ingest has, with err
	err    error // why it ended too early
}

func (f *followed) number() uint64 { return f.plan.Numbers[0] }

func (f *followed) name() string { return called(f.stream) }

// over says whether there is nothing more to wait for.
func (f *followed) over() bool {
	if f.ingest != nil {
		return f.ended
	}
	return slices.Contains(atEnd, f.seen.State)
}

// atEnd are the states in which a backfill is not read on.
var atEnd = []string{BackfillDone, BackfillCancelled, BackfillPaused}

// look takes over how the stream stands.
func (f *followed) look(s StreamStatus) {
	f.status = s
	n := slices.IndexFunc(s.Backfills, func(b BackfillStatus) bool { return b.Number == f.number() })
	switch {
	case n >= 0:
		before := f.seen.Percent
		f.seen = s.Backfills[n]
		// How far a walk is only who reads it knows, while it does.
		f.seen.Percent = max(f.seen.Percent, before)
		if f.plan.From.IsZero() { // of what is resumed only the number is known
			f.plan.From, f.plan.To, f.plan.Replay = f.seen.From, f.seen.To, f.seen.Replay
		}
	case !s.Cursor.IsZero(): // others have ended since
		f.seen.State, f.seen.Percent = BackfillDone, 100
	}
}

// follow has the backfills of one stream followed.
func (f *follower) follow(s *connectors.Stream, a *answer) {
	var ingest *pipeline.Ingest
	if a.own {
		o := f.operator.ingestOptions()
		o.Only = connectors.Backfill
		ingest = pipeline.New(s, o)
		f.reads = append(f.reads, ingest)
	}
	for _, number := range a.Backfill.Numbers {
		plan := *a.Backfill
		plan.Numbers = []uint64{number}
		f.all = append(f.all, &followed{stream: s, plan: &plan, ingest: ingest})
	}
}

// end follows all to their end, or, with detach, says who does without that.
func (f *follower) end(ctx context.Context, detach bool) error {
	f.show.unserved(f.all, detach)
	if detach || len(f.all) == 0 {
		return nil
	}
	return f.run(ctx)
}

const (
	lookEvery    = time.Second // at services
	lookWait     = 5 * time.Second
	silenceLimit = 20 * time.Second
)

// run follows until all have ended, or ctx has.
func (f *follower) run(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	var reads sync.WaitGroup
	defer reads.Wait()
	defer stop()
	type ending struct {
		ingest *pipeline.Ingest
		err    error
	}
	ended := make(chan ending, len(f.reads))
	for _, ingest := range f.reads {
		reads.Go(func() { ended <- ending{ingest, ingest.Run(reading)} })
	}
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		if err := f.look(ctx); err != nil {
			return err
		}
		f.show.progress(f.all)
		if !slices.ContainsFunc(f.all, func(one *followed) bool { return !one.over() }) {
			break
		}
		select {
		case e := <-ended:
			f.lookHere()
			f.ended(e.ingest, e.err)
		case <-tick.C:
		case <-ctx.Done():
			reads.Wait()
			f.lookHere()
			return f.left()
		}
	}
	f.show.summary(f.all)
	return f.result()
}

// ended notes that the backfills of one stream are not carried out here any more. An
// error is that of those that have not come to their end.
func (f *follower) ended(ingest *pipeline.Ingest, err error) {
	for _, one := range f.all {
		if one.ingest != ingest {
			continue
		}
		one.ended = true
		if !slices.Contains(atEnd, one.seen.State) {
			one.err = err
		}
	}
}

// look sees how all stand.
func (f *follower) look(ctx context.Context) error {
	f.lookHere()
	elsewhere := slices.ContainsFunc(f.all, func(one *followed) bool { return one.ingest == nil && !one.over() })
	if !elsewhere || time.Since(f.asked) < lookEvery || ctx.Err() != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	all, err := look(limited, f.operator.broker)
	f.asked = time.Now()
	answered := err == nil
	for _, one := range f.all {
		if s, ok := all[one.stream.Key.String()]; ok && one.ingest == nil {
			one.look(s)
			answered = answered && (s.Instance != "" || one.over())
		}
	}
	switch {
	case answered || ctx.Err() != nil:
		f.silent = time.Time{}
	case f.silent.IsZero():
		f.silent = time.Now()
	case time.Since(f.silent) > silenceLimit:
		f.show.clear()
		return &answeredError{"no millrace answers any more: the backfill goes on from where it stands when the service runs again", ExitOurs}
	}
	return nil
}

// lookHere sees how those stand that this process carries out.
func (f *follower) lookHere() {
	for _, one := range f.all {
		if one.ingest != nil {
			one.look(running(one.ingest.Status(), time.Now()))
		}
	}
}

// left tells of backfills that nobody follows any more. One that was carried out
// here is an error.
func (f *follower) left() error {
	f.show.clear()
	var errs []error
	for _, one := range f.all {
		switch {
		case one.over() && one.err == nil:
		case one.ingest == nil:
			f.show.note("%s: the service goes on with backfill %d; millrace backfill list shows how it stands, backfill pause and cancel stop it\n", one.name(), one.number())
		case one.seen.State != BackfillDone:
			errs = append(errs, fmt.Errorf("%s: backfill %d was stopped at %.1f%%; the service goes on with it when it runs, or %s", one.name(), one.number(), one.seen.Percent, one.again()))
		}
	}
	return errors.Join(errs...)
}

// again is the command that goes on with a backfill.
func (f *followed) again() string {
	if f.plan.From.IsZero() {
		return fmt.Sprintf("millrace backfill resume %s %d", f.name(), f.number())
	}
	command := fmt.Sprintf("millrace backfill %s --from %s --to %s", f.name(), when(f.plan.From), when(f.plan.To))
	if f.plan.Replay {
		command += " --replay"
	}
	return command
}

// result is the error of those that were carried out here.
func (f *follower) result() error {
	var errs []error
	for _, one := range f.all {
		if one.err != nil {
			errs = append(errs, fmt.Errorf("%s: backfill %d stands at %.1f%%, and goes on from there when the service runs, or with %s: %w", one.name(), one.number(), one.seen.Percent, one.again(), one.err))
		}
	}
	return errors.Join(errs...)
}
