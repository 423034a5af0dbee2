package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

const (
	// maxCommit is how many records one commit takes at most, those of batches
	// that are joined.
	maxCommit = 10_000
	// entryBytes is more than the ledger entry holds of one record.
	entryBytes = 64
	// notesBytes is how much it holds of the pages that they came on, at most.
	notesBytes = 32 << 10
)

// mostRecords is how many records a commit may have: each is an event, and the
// ledger entry that names all is one message, as is the checkpoint.
func mostRecords(limits topics.Limits) int {
	return max(1, min(maxCommit, limits.Messages-2, (limits.Bytes-mostNotes(limits))/entryBytes))
}

// mostNotes is how many bytes a ledger entry may hold of pages.
func mostNotes(limits topics.Limits) int { return min(notesBytes, limits.Bytes/8) }

// noteOf is what the ledger remembers of the page that a batch is of.
func (t *tenure) noteOf(b *connectors.Batch) ledger.Page {
	p := ledger.Page{Sent: b.Began.UnixMilli(), Window: [2]int64{b.Window.From.Unix(), b.Window.To.Unix()}, Key: b.Key}
	if o := b.Origin; o != nil {
		p.Asked = [2]int64{o.From.Unix(), 0}
		if !o.To.IsZero() {
			p.Asked[1] = o.To.Unix()
		}
		p.Number, p.Cursor, p.Cell = o.Page, o.Cursor, o.Cell
	}
	if t.opts.HideKeys {
		p.Key, p.Cursor = "", ""
	}
	return p
}

// ingest is the flow: what the API returned is checked against what is out,
// transformed, committed with the checkpoint, and only then known to be out
// (invariants 2 and 5). What the broker does not take at once is committed in
// parts; of the parts of a batch only the last moves the checkpoint.
func (t *tenure) ingest(ctx context.Context, batch *connectors.Batch) error {
	if batch.Jump {
		return t.jump(ctx, batch)
	}
	rest := batch.Batches()
	var reach []ledger.Range
	for _, b := range rest {
		reach = append(reach, t.reach(b)...)
		t.count(b, ledger.Counts{Requests: int64(b.Requests)}, &t.uncounted, &t.filled)
		t.measure(int64(b.Requests), 0)
	}
	if err := t.load(ctx, reach...); err != nil {
		return err
	}
	limits := t.opts.Broker.Limits()
	size := limits.Messages - 2
	for len(rest) > 0 {
		part, left := cut(rest, max(size, 1))
		d, err := t.draft(ctx, part, limits)
		if err == nil {
			d.window = hull(reach)
			err = t.commit(ctx, d)
		}
		var tooLarge *topics.TooLargeError
		if records := recordsOf(part); errors.As(err, &tooLarge) && (records > 1 || tooLarge.Limits != limits) {
			limits = tooLarge.Limits
			size = min(limits.Messages-2, (records+1)/2)
			continue
		}
		if err != nil {
			return err
		}
		d.Mark()
		t.metrics.count(d.counts, t.lateness)
		t.measure(0, d.counts.Events)
		t.metrics.batches.Add(float64(len(rest) - len(left)))
		rest = left
	}
	t.tidy(ctx)
	return nil
}

// recordsOf counts the records of batches.
func recordsOf(batches []*connectors.Batch) (n int) {
	for _, b := range batches {
		n += len(b.Records)
	}
	return n
}

// cut cuts batches so that those of the first part have so many records at most.
// It changes none of them.
func cut(batches []*connectors.Batch, records int) (part, rest []*connectors.Batch) {
	for n, b := range batches {
		if len(b.Records) <= records {
			records -= len(b.Records)
			continue
		}
		if part = batches[:n:n]; records == 0 {
			return part, batches[n:]
		}
		first, second := *b, *b
		first.Records, second.Records = b.Records[:records], b.Records[records:]
		first.EndsPage = false
		return append(part, &first), append([]*connectors.Batch{&second}, batches[n+1:]...)
	}
	return batches, nil
}

// draft is what is to be one commit.
type draft struct {
	*ledger.Draft
	batches  []*connectors.Batch // that it is of, one at least
	window   ledger.Range        // in which their records may be met again
	messages []topics.Message
	counts   ledger.Counts
	progress connectors.Progress
}

// draft makes events and dead letters of the records that are new; a
// *topics.TooLargeError where they are too much for one commit.
func (t *tenure) draft(ctx context.Context, batches []*connectors.Batch, limits topics.Limits) (*draft, error) {
	d := &draft{Draft: t.book.Draft(), batches: batches, progress: t.ahead}
	t.encoder.begin()
	t.lateness = t.lateness[:0]
	for _, b := range batches {
		d.Renew(b.Window.To.Add(-t.opts.Horizon / 2))
		fresh, counts := t.check(d.Draft, b, d.progress.Live.At, limits)
		if err := t.publish(ctx, d.Draft, fresh, &counts, limits, b); err != nil {
			return nil, err
		}
		d.Of(t.noteOf(b))
		d.counts.Add(counts)
		if b.EndsPage {
			d.progress = b.Progress
		}
	}
	d.messages = t.encoder.messages
	return d, d.NotePages(mostNotes(limits))
}

// commit writes what is new with the state that goes with it. Without anything
// new the state may wait a while.
func (t *tenure) commit(ctx context.Context, d *draft) error {
	batch, seen, filled := d.batches[0], t.uncounted, t.filled
	t.count(batch, d.counts, &seen, &filled)
	t.swept = !d.progress.Sweep.Due.Equal(t.ahead.Sweep.Due)
	if d.Empty() {
		t.uncounted, t.filled, t.ahead = seen, filled, d.progress
		replay := t.checkpoint.Replay
		over := replay != nil && !d.progress.Live.At.Before(replay.To)
		told := t.checkpoint.Finding.Records == 0 || !t.swept
		if !over && told && t.opts.Now().Sub(t.lastCommit) < t.mayWait(batch, d.progress) {
			return nil
		}
		return t.advance(ctx)
	}
	next := t.next(seen, filled, d.progress)
	entry := d.Entry()
	entry.Window = t.windowOf(d)
	entry.Commit, entry.Lane, entry.Counts = next.Commits, string(batch.Lane), d.counts
	stored, err := entry.Encode()
	if err != nil {
		return err
	}
	checkpoint, err := next.Encode()
	if err != nil {
		return err
	}
	commit := &topics.Commit{
		ID: next.Commit, Messages: d.messages, Checkpoint: checkpoint,
		Entries: []topics.Entry{{Name: entry.Name(), Data: stored}},
	}
	if err := t.write(ctx, next, func(ctx context.Context) error { return t.held.Commit(ctx, commit) }); err != nil {
		return err
	}
	t.ahead = d.progress
	return nil
}

// reach is where a batch's records may have been seen before: in its window,
// and, where the API gave records outside of it, around their own times. Times
// that are further away than ids are kept say nothing.
func (t *tenure) reach(batch *connectors.Batch) []ledger.Range {
	w := ledger.Range(batch.Window)
	reach := []ledger.Range{w}
	from, to := w.From.Add(-t.opts.Horizon), w.To.Add(t.opts.Horizon)
	outside := ledger.Range{From: to, To: from}
	for i := range batch.Records {
		at := batch.Records[i].Time
		if at.IsZero() || !at.Before(w.From) && !at.After(w.To) || at.Before(from) || at.After(to) {
			continue
		}
		if at.Before(outside.From) {
			outside.From = at.Truncate(time.Second)
		}
		if at.After(outside.To) {
			outside.To = at.Truncate(time.Second).Add(time.Second)
		}
	}
	if outside.From.Before(outside.To) {
		reach = append(reach, outside)
	}
	return reach
}

// windowOf is what the entry of a commit counts for. It begins where the lane
// stands: when the read of a user in a part of the window is all that there will
// be, the ids are kept for the sake of that place.
func (t *tenure) windowOf(d *draft) ledger.Range {
	w, at, lane := d.window, t.ahead.Live.At, d.batches[0].Lane
	if b := t.ahead.Backfill; lane == connectors.Backfill && b != nil {
		at = b.At
	}
	if lane != connectors.Sweep && at.Before(w.From) {
		w.From = at
	}
	return w
}

// hull is the range that holds all of them.
func hull(ranges []ledger.Range) ledger.Range {
	out := ranges[0]
	for _, r := range ranges[1:] {
		if r.From.Before(out.From) {
			out.From = r.From
		}
		if r.To.After(out.To) {
			out.To = r.To
		}
	}
	return out
}
