package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
)

// count adds what was seen of a batch to what all lanes have seen, and to what
// the backfill has.
func (t *tenure) count(batch *connectors.Batch, counts ledger.Counts, seen, filled *ledger.Counts) {
	seen.Add(counts)
	if batch.Lane == connectors.Backfill {
		filled.Add(counts)
	}
}

// backfillAdvance is how long an advance of a backfill without events stays in
// memory: somebody may be watching it.
const backfillAdvance = 2 * time.Second

// mayWait is how long an advance without events may stay in memory. That a
// backfill is over is committed at once.
func (t *tenure) mayWait(batch *connectors.Batch, progress connectors.Progress) time.Duration {
	b := t.checkpoint.Backfilling()
	filling := b != nil && batch.Lane == connectors.Backfill
	switch {
	case filling && progress.Backfill.Over():
		return 0
	case batch.Key != "":
		return walkAdvance
	case filling:
		return backfillAdvance
	}
	return emptyAdvance
}

// setBackfill puts the backfill that is carried out to where it stands. Seen is
// what it has seen since the last commit.
func (t *tenure) setBackfill(c *ledger.Checkpoint, seen ledger.Counts, p *connectors.BackfillPosition) {
	b := c.Backfilling()
	if b == nil || p == nil || p.Number != b.Number {
		return
	}
	if b.Parts == nil {
		c.Cover(ledger.Range{From: b.At, To: p.At})
	}
	t.putBackfill(c, *b, seen, p)
}

// putBackfill is setBackfill without a word on what was read.
func (t *tenure) putBackfill(c *ledger.Checkpoint, b ledger.Backfill, seen ledger.Counts, p *connectors.BackfillPosition) {
	b.Lane = laneOf(p.Position)
	b.Counts.Add(seen)
	if p.Over() {
		b.Done = t.opts.Now().UTC()
	}
	c.SetBackfill(b)
}

// endBackfill is called when a checkpoint was committed: it tells of a backfill
// that has ended with it, and has the next one begin.
func (t *tenure) endBackfill(next *ledger.Checkpoint) {
	old := t.checkpoint.Backfilling()
	if old == nil {
		return
	}
	b := next.BackfillOf(old.Number)
	if b == nil {
		return
	}
	now := next.Backfilling()
	t.measureBackfill(b.Counts.Records-old.Counts.Records, b.At.Sub(old.At), now != nil && now.Number == old.Number)
	if b.Done.IsZero() || b.Cancelled {
		return
	}
	t.log.Info("the backfill is over", "number", b.Number, "from", b.From, "to", b.To, "records", b.Counts.Records, "events", b.Counts.Events, "duplicates", b.Counts.Duplicates)
	if now != nil {
		t.fail(errMoved)
	}
}

// measureBackfill notes how fast a backfill is, for as long as it goes on: the
// next one may be slower.
func (i *Ingest) measureBackfill(records int64, passed time.Duration, goesOn bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !goesOn {
		i.filled, i.passed = meter{}, meter{}
		return
	}
	now := time.Now()
	i.filled.add(records, now)
	i.passed.add(int64(passed/time.Second), now)
}

// backfillReplay is the replay that a backfill is; nil where it is none.
func backfillReplay(b *ledger.Backfill) *ledger.Replay {
	if b == nil || !b.Replay {
		return nil
	}
	return &ledger.Replay{From: b.From, To: b.To, Number: b.Number, Unknown: b.Unknown}
}

// maybeOut says whether a record that a backfill has found, and that is not known,
// may be published nevertheless. Some APIs give more than the range: who was active
// since, or what began in it and goes on. That was read by others, and its ids may
// be forgotten, or so far away that they are not looked up.
func (t *tenure) maybeOut(r *connectors.Prepared, batch *connectors.Batch) bool {
	b := t.checkpoint.Backfilling()
	if batch.Lane != connectors.Backfill || b == nil {
		return false
	}
	if r.Time.IsZero() { // a state may have been read at any time
		return t.stream.Versioned && !t.checkpoint.Forgotten.IsZero()
	}
	around := ledger.Range{From: r.Time.Add(-slack), To: r.Time.Add(slack)}
	if around.Overlaps(ledger.Range{From: b.From, To: b.To}) {
		return false
	}
	known := t.stream.Versioned && !t.stream.Fixed // all ids are loaded
	if !known && (r.Time.Before(batch.Window.From.Add(-t.opts.Horizon)) || r.Time.After(batch.Window.To.Add(t.opts.Horizon))) {
		return len(t.checkpoint.CoveredIn(around)) > 0
	}
	return len(lostIn(t.checkpoint, around)) > 0
}

// jump commits that a lane goes on further on, because the API cannot be asked
// for what lies before any more: that was not read.
func (t *tenure) jump(ctx context.Context, batch *connectors.Batch) error {
	next := t.next(t.uncounted, t.filled, t.ahead)
	setProgress(next, batch.Progress)
	if b := next.Backfilling(); b != nil && batch.Lane == connectors.Backfill {
		t.putBackfill(next, *b, ledger.Counts{}, batch.Progress.Backfill)
	}
	if err := t.store(ctx, next); err != nil {
		return err
	}
	t.ahead = batch.Progress
	t.log.Warn("the API cannot be asked so far back: this range was not read", "lane", batch.Lane, "from", batch.Window.From, "to", batch.Window.To)
	return nil
}

// warnSince tells once who has moved since back that this changes nothing, and
// whose stream begins in the future.
func (t *tenure) warnSince() {
	c, since, now := t.checkpoint, t.stream.Options.Since, t.opts.Now()
	name := t.stream.Connector + "/" + t.stream.Key.Stream
	if t.tenures > 1 || since.IsZero() {
		return
	}
	if since.After(now) {
		t.log.Warn("since lies in the future: nothing is read before it", "since", since)
		return
	}
	if c.Commits == 0 {
		return
	}
	if c.Since.After(now) {
		t.log.Warn("the stream was begun with a since in the future: nothing is read before it; moving since back changes nothing", "begins", c.Since, "since", since,
			"command", fmt.Sprintf("millrace cursor set %s --to %s", name, text(since)))
		return
	}
	if t.stream.Oldest != nil {
		if oldest := connectors.CeilQuarter(t.stream.Oldest(t.opts.Now())); since.Before(oldest) {
			since = oldest
		}
	}
	missing := ledger.Range{From: since.UTC().Truncate(time.Second), To: c.Since}
	if !missing.From.Before(missing.To) || c.Covers(missing) {
		return
	}
	for _, b := range c.OpenBackfills() {
		if b.Parts == nil && !b.From.After(missing.From) && !b.To.Before(missing.To) {
			return
		}
	}
	command := fmt.Sprintf("millrace backfill %s --from %s --to %s", name, text(missing.From), text(missing.To))
	t.log.Warn("since was moved back, which changes nothing for a stream that has begun; a backfill reads what lies before", "begins", c.Since, "since", since, "command", command)
}

// What can be done with backfills.
const (
	BackfillBegin  = "begin" // or go on with a paused one
	BackfillPause  = "pause"
	BackfillResume = "resume"
	BackfillCancel = "cancel"
)

// BackfillRequest asks for something to be done with a stream's backfills.
type BackfillRequest struct {
	Do string `json:"do"` // one of the words above
	// From and To are the range of one that is to begin; a zero To is as far as
	// live reads have come.
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Replay bool      `json:"replay,omitempty"` // publish again what is published, marked
	// Number is the one to pause, resume or cancel; 0: all that have not ended.
	Number uint64 `json:"number,omitempty"`
}

// BackfillPlan is what came of it.
type BackfillPlan struct {
	Stream  string   `json:"stream"`
	Numbers []uint64 `json:"numbers"` // of the backfills that it is about
	// From and To are the range of the one that begins, or goes on (Resumed).
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	Replay  bool      `json:"replay,omitempty"`
	Resumed bool      `json:"resumed,omitempty"`
	// Oldest is how far back the API can be asked, where more was wanted.
	Oldest time.Time `json:"oldest,omitzero"`
	Before int       `json:"before,omitempty"` // others that are carried out first
}

// Backfill begins, pauses, resumes or cancels backfills. What is read changes at once.
func (i *Ingest) Backfill(ctx context.Context, r BackfillRequest) (p *BackfillPlan, err error) {
	err = i.operate(ctx, func(ctx context.Context, t *tenure) error {
		p, err = t.backfill(ctx, r)
		return err
	})
	return p, err
}

func (t *tenure) backfill(ctx context.Context, r BackfillRequest) (p *BackfillPlan, err error) {
	if t.checkpoint.Commits == 0 {
		return nil, errNotRead()
	}
	next := t.next(t.uncounted, t.filled, t.ahead)
	var oldest time.Time
	if t.stream.Oldest != nil {
		oldest = connectors.CeilQuarter(t.stream.Oldest(t.opts.Now()))
	}
	switch r.Do {
	case BackfillBegin:
		p, err = beginBackfill(next, r, t.opts.Now(), oldest)
	case BackfillPause, BackfillResume, BackfillCancel:
		p, err = stopBackfills(next, r, t.opts.Now())
	default:
		err = refuse("this millrace does not know how to %s a backfill", r.Do)
	}
	if err != nil {
		return nil, err
	}
	if r.Do == BackfillBegin && !p.Resumed {
		for _, again := range next.CoveredIn(ledger.Range{From: p.From, To: p.To}) {
			t.noteReplay(next, again)
		}
	}
	before := t.checkpoint.Backfilling()
	if err := t.store(ctx, next); err != nil {
		return nil, fmt.Errorf("changing the backfills of %s: %w", t.stream.Key, err)
	}
	t.logBackfill(r.Do, p)
	if now := next.Backfilling(); (now == nil) != (before == nil) || now != nil && now.Number != before.Number {
		t.ahead = progressOf(next)
		t.fail(errMoved)
	}
	return p, nil
}

func (t *tenure) logBackfill(do string, p *BackfillPlan) {
	switch {
	case do == BackfillPause:
		t.log.Info("backfills are paused", "numbers", p.Numbers)
	case do == BackfillResume:
		t.log.Info("backfills are resumed", "numbers", p.Numbers)
	case do == BackfillCancel:
		t.log.Info("backfills are cancelled", "numbers", p.Numbers)
	case p.Resumed:
		t.log.Info("the backfill goes on", "number", p.Numbers[0], "from", p.From, "to", p.To, "replay", p.Replay)
	default:
		t.log.Info("the backfill begins", "number", p.Numbers[0], "from", p.From, "to", p.To, "replay", p.Replay)
	}
}

func errNotRead() error {
	return refuse("the stream has not been read yet: millrace run reads it, from since on; a backfill reads what lies before, or again")
}
