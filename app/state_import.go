package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

const whyNotImport = "stop it first, and start it when the import is done"

// ImportState brings the state that ExportState wrote to the broker. A stream of
// which the broker knows something already is refused, before anything is written,
// or, with replace, has that forgotten.
//
// It can be broken off at any moment and asked for again: until all of a stream's
// ledger is there, something stands in the place of its checkpoint that no service
// begins from, and the checkpoints come last, when the whole file was read and was
// as it was written. A file that can be read twice is read whole before anything
// is written.
func ImportState(ctx context.Context, file *config.File, in io.Reader, replace bool, log *slog.Logger) ([]StateStream, error) {
	if again, ok := in.(io.ReadSeeker); ok {
		if err := verify(again); err != nil {
			return nil, err
		}
	}
	archive, err := ledger.NewArchiveReader(in)
	if err != nil {
		return nil, unreadable(err)
	}
	if len(archive.Streams) == 0 {
		return nil, &UsageError{errors.New("the file holds no stream")}
	}
	o, err := openOperator(ctx, file, toFill, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	return o.importState(ctx, archive, replace)
}

func (o *operator) importState(ctx context.Context, archive *ledger.ArchiveReader, replace bool) ([]StateStream, error) {
	var keys []events.StreamKey
	for _, s := range archive.Streams {
		keys = append(keys, s.Key)
	}
	held, release, err := o.holdAll(ctx, keys, whyNotImport)
	if err != nil {
		return nil, err
	}
	defer release()
	i := importer{operator: o, archive: archive, owner: newOwner(), at: time.Now().UTC().Truncate(time.Second)}
	if err := i.prepare(ctx, held, replace); err != nil {
		return nil, err
	}
	if err := i.run(ctx); err != nil {
		return nil, fmt.Errorf("the import did not come to its end, and no service begins from what is there; repeat it with the whole file: %w", err)
	}
	return i.told(), nil
}

// verify reads a file whole, and goes back to where it began. What is a pipe
// cannot be read twice, and is left alone.
func verify(in io.ReadSeeker) error {
	begin, err := in.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	archive, err := ledger.NewArchiveReader(in)
	for err == nil {
		_, _, _, err = archive.Next()
	}
	if err != io.EOF {
		return unreadable(err)
	}
	_, err = in.Seek(begin, io.SeekStart)
	return err
}

// unreadable says that what is to be imported is not as it should be.
func unreadable(err error) error {
	var damaged *ledger.ArchiveError
	if errors.As(err, &damaged) {
		return &UsageError{fmt.Errorf("the file cannot be imported: %w", err)}
	}
	return fmt.Errorf("the file cannot be imported: %w", err)
}

// importer brings the streams of an archive in.
type importer struct {
	*operator
	archive *ledger.ArchiveReader
	owner   string
	at      time.Time
	targets []*target
	commits int // made: no commit id comes twice
}

// target is one stream that is brought in.
type target struct {
	heldStream
	checkpoint *ledger.Checkpoint // of the archive
	entries    int                // of the archive
	result     string
	commits    uint64 // those of the state that was there
	guard      []byte // what stands in the checkpoint's place meanwhile

	old  map[string]bool // entries that are there, but for those of the archive; nil before the stream's turn
	next []topics.Entry  // that are not committed yet
	size int             // of next, in bytes
}

// prepare finds out what is to be done, or why it may not be. It writes nothing.
func (i *importer) prepare(ctx context.Context, held []heldStream, replace bool) error {
	var known []*target // which have the state of this archive, or what came of it
	var taken []string  // which have another
	unfinished := false
	for n, s := range held {
		archived := i.archive.Streams[n]
		checkpoint, err := ledger.DecodeCheckpoint(archived.Checkpoint)
		if err != nil {
			return err
		}
		t := &target{heldStream: s, checkpoint: checkpoint, entries: archived.Entries, result: StateImported}
		i.targets = append(i.targets, t)
		data, err := s.Checkpoint(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", i.name(s.key), err)
		}
		if data == nil {
			continue
		}
		there, err := ledger.DecodeCheckpoint(data)
		var newer *ledger.NewerError
		var half *ledger.ImportError
		switch {
		case errors.As(err, &newer):
			return fmt.Errorf("%s: %w", i.name(s.key), err)
		case errors.As(err, &half):
			t.commits = half.Import.Commits
			unfinished = unfinished || half.Import.Archive == i.archive.ID
		case err == nil && there.Imported == i.archive.ID:
			t.commits = there.Commits
			known = append(known, t)
		default:
			t.result = StateReplaced
			said := "its state there cannot be read"
			if err == nil {
				t.commits, said = there.Commits, "it was read up to "+when(there.Live.At)
			}
			taken = append(taken, fmt.Sprintf("\n  %s (%s)", i.name(s.key), said))
		}
	}
	if len(taken) > 0 && !replace {
		return &UsageError{fmt.Errorf("the broker knows of %s:%s\nNothing was imported. With --replace that is forgotten, and what was published there since is published again unless the file knows it",
			counted(len(taken), "stream already", "streams already"), strings.Join(taken, ""))}
	}
	for _, t := range known {
		t.result = StateReplaced
		// Of an import that was broken off, what came to its end may have been read on
		// from since.
		if unfinished || !replace {
			t.result = StateKnown
		}
	}
	return nil
}

// run writes: first, for every stream, that an import is under way, then the
// ledgers, and the checkpoints when all is there.
func (i *importer) run(ctx context.Context) error {
	for _, t := range i.targets {
		if t.result == StateKnown {
			continue
		}
		if err := i.begin(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", i.name(t.key), err)
		}
	}
	if err := i.ledgers(ctx); err != nil {
		return err
	}
	for _, t := range i.targets {
		if t.result == StateKnown {
			continue
		}
		if err := i.end(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", i.name(t.key), err)
		}
	}
	return nil
}

// commitID names the next commit, and with it what is written by it.
func (i *importer) commitID() string {
	i.commits++
	return fmt.Sprintf("%s-import-%d", i.owner, i.commits)
}

// begin puts something in the checkpoint's place that no service begins from.
func (i *importer) begin(ctx context.Context, t *target) (err error) {
	id := i.commitID()
	guard := &ledger.Import{Stream: t.key, Owner: i.owner, Commit: id, Commits: t.commits, Archive: i.archive.ID, At: i.at}
	if t.guard, err = guard.Encode(); err != nil {
		return err
	}
	return t.Advance(ctx, id, t.guard)
}

// ledgers writes the entries of the archive.
func (i *importer) ledgers(ctx context.Context) error {
	var current *target
	for {
		n, name, data, err := i.archive.Next()
		if err == io.EOF {
			return i.flush(ctx, current)
		}
		if err != nil {
			return unreadable(err)
		}
		t := i.targets[n]
		if t != current {
			if err := i.flush(ctx, current); err != nil {
				return err
			}
			current = t
		}
		if t.result == StateKnown {
			continue
		}
		if err := i.add(ctx, t, topics.Entry{Name: name, Data: data}); err != nil {
			return fmt.Errorf("%s: %w", i.name(t.key), err)
		}
	}
}

// How much of a ledger one commit brings in.
const (
	importEntries = 500
	importBytes   = 4 << 20
)

// add has an entry committed, unless it is there already.
func (i *importer) add(ctx context.Context, t *target, entry topics.Entry) error {
	if err := t.load(ctx); err != nil {
		return err
	}
	if t.old[entry.Name] {
		delete(t.old, entry.Name)
		there, err := t.Entry(ctx, entry.Name)
		switch {
		case err == nil && bytes.Equal(there, entry.Data):
			return nil
		case err != nil && !errors.Is(err, topics.ErrNoEntry):
			return err
		}
		if err := t.Forget(ctx, []string{entry.Name}); err != nil {
			return err
		}
	}
	t.next, t.size = append(t.next, entry), t.size+len(entry.Data)
	if len(t.next) < min(importEntries, i.broker.Limits().Messages-1) && t.size < importBytes {
		return nil
	}
	return i.flush(ctx, t)
}

// load learns which entries are there.
func (t *target) load(ctx context.Context) error {
	if t.old != nil {
		return nil
	}
	names, err := t.Entries(ctx)
	if err != nil {
		return err
	}
	t.old = make(map[string]bool, len(names))
	for _, name := range names {
		t.old[name] = true
	}
	return nil
}

// flush commits what is not committed of a stream's entries; of nil there is nothing.
func (i *importer) flush(ctx context.Context, t *target) error {
	for t != nil && len(t.next) > 0 {
		part := t.next
		for {
			err := t.Commit(ctx, &topics.Commit{ID: i.commitID(), Entries: part, Checkpoint: t.guard})
			var tooLarge *topics.TooLargeError
			if errors.As(err, &tooLarge) && len(part) > 1 {
				part = part[:len(part)/2]
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", i.name(t.key), err)
			}
			break
		}
		t.next = t.next[len(part):]
	}
	if t != nil {
		t.next, t.size = nil, 0
	}
	return nil
}

// end forgets what the archive does not have and writes the checkpoint: from here
// on services may read the stream.
func (i *importer) end(ctx context.Context, t *target) error {
	if err := t.load(ctx); err != nil { // the archive may have no entry of it
		return err
	}
	var old []string
	for name := range t.old {
		old = append(old, name)
	}
	slices.Sort(old)
	if err := t.Forget(ctx, old); err != nil {
		return err
	}
	c := t.checkpoint
	c.Owner, c.Commit, c.Imported = i.owner, i.commitID(), i.archive.ID
	// Entries are named by it, and no name comes twice.
	c.Commits = max(c.Commits, t.commits) + 1
	data, err := c.Encode()
	if err != nil {
		return err
	}
	return t.Advance(ctx, c.Commit, data)
}

func (i *importer) told() []StateStream {
	var all []StateStream
	for _, t := range i.targets {
		all = append(all, StateStream{
			Connector: i.connectorOf(t.key), Stream: t.key.String(), Cursor: t.checkpoint.Live.At, Entries: t.entries, Result: t.result,
		})
	}
	return all
}
