package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// tenure is the time in which this process holds a stream: the one committer.
type tenure struct {
	*Ingest
	held     topics.Stream
	stopping context.Context // ends when the tenure is to end
	fail     context.CancelCauseFunc

	mu         turn // held by the handler that is at work, by flush and by a command
	operating  bool // a command is at work: it does not wait for room
	failed     bool // what is in memory may not be what the broker holds
	number     int  // of this process's tenures of the stream
	made       int  // checkpoints: with the number no commit id comes twice
	book       *ledger.Book
	checkpoint *ledger.Checkpoint // committed
	ahead      connectors.Progress
	uncounted  ledger.Counts // seen since the last commit
	swept      bool          // the batch at work ends a sweep: it makes the next one due
	filled     ledger.Counts // of it, by the backfill
	lastCommit time.Time
	tidied     time.Time
	encoder    encoder
	told       map[string]bool // steps of transforms that fail, as the log knows

	resolutions []string           // entries that name dead letters which were dealt with
	resolved    ledger.Resolutions // what became of them; nil until it is needed
	lateness    []time.Duration    // of the batch that is being committed
}

// open reads the state, and makes it ours: from here on a stale owner's commit
// is refused (invariant 4). A stream that begins now has its beginning committed
// before its first request.
func (t *tenure) open(ctx context.Context) error {
	if err := t.read(ctx); err != nil {
		return err
	}
	t.addParts()
	t.warnSince()
	return t.advance(ctx)
}

// read reads the state.
func (t *tenure) read(ctx context.Context) error {
	data, err := t.held.Checkpoint(ctx)
	if err != nil {
		return fmt.Errorf("reading the checkpoint of %s: %w", t.stream.Key, err)
	}
	t.checkpoint = &ledger.Checkpoint{Stream: t.stream.Key}
	if data != nil {
		if t.checkpoint, err = ledger.DecodeCheckpoint(data); err != nil {
			return fmt.Errorf("%s: %w", t.stream.Key, err)
		}
	}
	names, err := t.held.Entries(ctx)
	if err != nil {
		return fmt.Errorf("listing the ledger of %s: %w", t.stream.Key, err)
	}
	if t.book, err = ledger.NewBook(t.stream.Versioned && !t.stream.Fixed, names); err != nil {
		return fmt.Errorf("%s: %w", t.stream.Key, err)
	}
	t.ahead = connectors.Begin(progressOf(t.checkpoint), t.stream.Options, t.opts.Now())
	t.ahead.Floor = floor(t.checkpoint)
	t.resolutions = slices.DeleteFunc(names, func(name string) bool { return !ledger.IsResolution(name) })
	return nil
}

// Load is the subscriber's question where to begin.
func (t *tenure) Load(context.Context) (connectors.Progress, error) { return t.ahead, nil }

// Save has nothing to do: where the stream stands was committed with the batch.
func (t *tenure) Save(context.Context, connectors.Progress) error { return nil }

// handle is the Watermill handler: it ends the tenure with the first error. A
// stop lets the batch in flight finish.
func (t *tenure) handle(msg *message.Message) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			t.log.Error("a panic: this is a mistake in millrace", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("a panic, which is a mistake in millrace: %v", r)
		}
		if err != nil {
			t.failed = true
			t.fail(err)
		}
	}()
	if err := context.Cause(t.stopping); err != nil {
		return err // what failed before has left state that nothing may build on
	}
	batch, ok := connectors.BatchOf(msg.Context())
	if !ok {
		return errors.New("the message is not a batch of a connector")
	}
	ctx, done := t.finishing(msg.Context())
	defer done()
	return t.ingest(ctx, batch)
}

// finishing is the context of work that a stop lets finish, within limits.
func (t *tenure) finishing(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(t.stopping, func() {
		timer := time.AfterFunc(finishWithin-time.Second, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// advance writes the checkpoint alone.
func (t *tenure) advance(ctx context.Context) error {
	next := t.next(t.uncounted, t.filled, t.ahead)
	return t.store(ctx, next)
}

// store writes a checkpoint alone.
func (t *tenure) store(ctx context.Context, next *ledger.Checkpoint) error {
	checkpoint, err := next.Encode()
	if err != nil {
		return err
	}
	return t.write(ctx, next, func(ctx context.Context) error { return t.held.Advance(ctx, next.Commit, checkpoint) })
}

// write commits, waiting as long as the broker has no room.
func (t *tenure) write(ctx context.Context, next *ledger.Checkpoint, write func(context.Context) error) error {
	for full := 0; ; full++ {
		began := time.Now()
		err := write(ctx)
		if !errors.Is(context.Cause(t.stopping), context.Canceled) { // a stop breaks off what takes too long
			t.metrics.failed(err)
		}
		switch {
		case err == nil:
			t.metrics.commitTime.Observe(time.Since(began).Seconds())
			if full > 0 {
				t.log.Info("the broker has room again")
				t.set(StateReading, "")
			}
			over := t.checkpoint.Replay != nil && next.Replay == nil
			t.warnLate(next)
			t.endBackfill(next)
			t.checkpoint, t.lastCommit, t.uncounted, t.filled = next, t.opts.Now(), ledger.Counts{}, ledger.Counts{}
			t.committed(next)
			if over {
				t.log.Info("the replay is over", "cursor", next.Live.At)
				t.fail(errMoved) // what it might read again is out of reach from now on
			}
			return nil
		case !errors.Is(err, topics.ErrFull) || t.opts.Once || t.operating:
			return err
		case full == 0:
			t.log.Error("nothing can be committed; waiting for room", "cause", err)
			t.set(StateFull, err.Error())
		}
		timer := time.NewTimer(time.Second/2 + rand.N(time.Second))
		select {
		case <-timer.C:
		case <-t.stopping.Done():
			timer.Stop()
			return err
		}
	}
}

// next is the checkpoint that follows the committed one.
func (t *tenure) next(seen, filled ledger.Counts, progress connectors.Progress) *ledger.Checkpoint {
	c := *t.checkpoint
	c.Owner = t.opts.Owner
	c.Commits++
	t.made++ // also where no room was found: what was not to be may have been written
	c.Commit = fmt.Sprintf("%s-%d-%d", t.opts.Owner, t.number, t.made)
	c.Counts.Add(seen)
	if from := c.Live.At; !from.IsZero() {
		c.Cover(ledger.Range{From: from, To: progress.Live.At})
	}
	c.Finding.Records += seen.Late
	c.Finding.Overlap = max(c.Finding.Overlap, seen.Overlap)
	if c.Finding.Records > 0 && t.swept {
		c.Finding.At = t.opts.Now().UTC()
		c.Late, c.Finding = c.Finding, ledger.Late{}
	}
	setProgress(&c, progress)
	t.setBackfill(&c, filled, progress.Backfill)
	if c.Replay != nil && !c.Live.At.Before(c.Replay.To) {
		c.Replay = nil
		c.Sweep, c.Finding = ledger.Sweep{Due: c.Sweep.Due}, ledger.Late{} // one that is under way may be behind what is remembered
	}
	if cutoff := t.cutoff(&c); cutoff.After(c.Forgotten) && len(t.book.Before(cutoff)) > 0 {
		c.Forgotten = cutoff
	}
	return &c
}

// warnLate tells of a sweep that found what live reads had missed.
func (t *tenure) warnLate(next *ledger.Checkpoint) {
	if next.Late == t.checkpoint.Late {
		return
	}
	args := []any{"records", next.Late.Records, "overlap", t.stream.Options.Overlap, "overlap_that_would_have_caught_them", next.Late.Overlap.Duration()}
	if t.stream.LateByNature {
		t.log.Info("a sweep found records that turned up late, as this stream's do", args...)
		return
	}
	t.log.Warn("a sweep found records that turned up later than the overlap reads back; a longer overlap would find them sooner", args...)
}

// flush commits what is in memory only, at the end, when no handler works.
func (t *tenure) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	unwritten := progressOf(t.checkpoint)
	if t.failed || t.uncounted == (ledger.Counts{}) && samePlace(unwritten, t.ahead) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.stopping), finishWithin/2)
	defer cancel()
	return t.advance(ctx)
}

func samePlace(a, b connectors.Progress) bool {
	for _, p := range []*connectors.Progress{&a, &b} {
		if p.Backfill.Over() { // one that has ended is none
			p.Backfill = nil
		}
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}
