// Package ledger is what was read and published: the checkpoint of a stream, the
// entries that name what each commit published, and the book that tells a new
// record from one that is out. It knows formats and rules, and no broker.
package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Version is the version of every format in this package. State of a newer one
// is refused: an older binary would misread it. What was added with 2: cells,
// lateness, replays and resolved dead letters; with 3: backfills, and the ids
// that are kept where what was covered begins. What nothing hangs on needs no new
// one: the pages of an entry.
const Version = 3

// NewerError says that state was written by a newer millrace.
type NewerError struct {
	What    string
	Version int
	Known   int // the newest that this one knows; 0: [Version]
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has format %d, written by a newer millrace; this one knows formats up to %d: run the newer version again", e.What, e.Version, cmp.Or(e.Known, Version))
}

// Checkpoint is the committed state of a stream.
type Checkpoint struct {
	Version int              `json:"version"`
	Stream  events.StreamKey `json:"stream"`
	// Owner is the process that wrote it, Commit names the write: together they
	// tell a late success of one's own from another's.
	Owner  string `json:"owner"`
	Commit string `json:"commit"`
	// Commits counts the writes; entries are named by it.
	Commits uint64    `json:"commits"`
	Since   time.Time `json:"since"`
	Live    Lane      `json:"live"`
	Sweep   Sweep     `json:"sweep"`
	// Covered are the ranges that were read, sorted, apart from each other.
	Covered []Range `json:"covered,omitempty"`
	// Forgotten: the ids of windows that ended before it may be gone; zero: none are.
	Forgotten time.Time `json:"forgotten,omitzero"`
	// Replay is the replay that is under way; nil when none is.
	Replay *Replay `json:"replay,omitempty"`
	// Replayed are the ranges that began to be read again, the oldest first: what that
	// publishes may be forgotten before the dead letters of the same records are gone.
	Replayed []PastReplay `json:"replayed,omitempty"`
	// Skipped is the end of what was skipped by hand: overlap and sweeps reach no
	// further back. Zero: nothing was.
	Skipped time.Time `json:"skipped,omitzero"`
	// Cells: records with neither an id nor a time were met, and are told apart by
	// the quarter of an hour that they fell into.
	Cells bool `json:"cells,omitempty"`
	// Backfills are the ranges that are read on demand, in the order in which they
	// are carried out, and the latest that have ended.
	Backfills []Backfill `json:"backfills,omitempty"`
	// Parts are all parts that the stream was ever made of; nil: it is one whole.
	Parts []string `json:"parts,omitempty"`
	// LeftOut are those of Parts that the stream is not made of at present, and what
	// was covered when they were left out.
	LeftOut map[string][]Range `json:"left_out,omitempty"`
	// StartsLost are the beginnings of covered ranges whose ids an older version
	// has forgotten; nil: those of all are kept.
	StartsLost []time.Time `json:"starts_lost,omitempty"`
	// Finding is what the sweep under way has found late, Late what the latest
	// found that found any.
	Finding Late   `json:"finding,omitzero"`
	Late    Late   `json:"late,omitzero"`
	Counts  Counts `json:"counts"`
	// Imported is the ID of the archive that the state was last imported from; ""
	// where it never was.
	Imported string `json:"imported,omitempty"`
}

// Replay says that what live reads and sweeps find in a range is published once
// more, known or not.
type Replay struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"` // the replay ends when the live cursor has come there
	// Number tells one replay of a stream from another: what it has published is
	// marked with it ([events.ReplayMark]).
	Number uint64 `json:"number"`
	// Unknown are the parts that were read before, and whose ids were forgotten
	// when the replay began: nothing found there is known to be new.
	Unknown []Range `json:"unknown,omitempty"`
}

// Lane is where one of a stream's reads stands.
type Lane struct {
	At     time.Time       `json:"at,omitzero"` // everything before it was read
	Window Range           `json:"window,omitzero"`
	Cursor json.RawMessage `json:"cursor,omitempty"` // inside Window; none: its beginning
}

// Sweep is where the sweep lane stands.
type Sweep struct {
	Lane
	Due   time.Time `json:"due,omitzero"`   // when the next one begins
	Until time.Time `json:"until,omitzero"` // end of the one under way; zero when none is
}

// Range is a range of time, its end not included.
type Range struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Overlaps says whether two ranges have a moment in common.
func (r Range) Overlaps(other Range) bool { return r.From.Before(other.To) && other.From.Before(r.To) }

// Counts are what a stream or a commit has seen.
type Counts struct {
	Requests    int64 `json:"requests"`
	Records     int64 `json:"records"`
	Events      int64 `json:"events"`
	Duplicates  int64 `json:"duplicates"`
	DeadLetters int64 `json:"dead_letters"`
	// Dropped are the records of which transforms left no event. Of one that they
	// split there are several events.
	Dropped int64 `json:"dropped,omitempty"`
	// Resolved are the dead letters that were replayed or discarded.
	Resolved int64 `json:"resolved,omitempty"`
	// Late are the events that only a sweep found, Overlap is what would have
	// caught all of them.
	Late    int64   `json:"late,omitempty"`
	Overlap Seconds `json:"late_overlap_seconds,omitempty"`
	// Lateness is how late records were first seen. What was read of the past
	// does not count: it is we who were late then.
	Lateness Histogram `json:"lateness,omitzero"`
}

// Add adds other to c.
func (c *Counts) Add(other Counts) {
	c.Requests += other.Requests
	c.Records += other.Records
	c.Events += other.Events
	c.Duplicates += other.Duplicates
	c.DeadLetters += other.DeadLetters
	c.Dropped += other.Dropped
	c.Resolved += other.Resolved
	c.Late += other.Late
	c.Overlap = max(c.Overlap, other.Overlap)
	for class, n := range other.Lateness {
		c.Lateness[class] += n
	}
}

// Encode returns the checkpoint as it is stored.
func (c *Checkpoint) Encode() ([]byte, error) {
	c.Version = Version
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding the checkpoint of %s: %w", c.Stream, err)
	}
	return data, nil
}

// DecodeCheckpoint reads a stored checkpoint. One of a newer version is a
// *NewerError, an import that has not come to its end an *ImportError.
func DecodeCheckpoint(data []byte) (*Checkpoint, error) {
	var version struct{ Version int }
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("the stored checkpoint cannot be read: %w", err)
	}
	if version.Version == importVersion {
		return nil, decodeImport(data)
	}
	if version.Version > Version {
		return nil, &NewerError{What: "the stored checkpoint", Version: version.Version}
	}
	c := new(Checkpoint)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("the stored checkpoint cannot be read: %w", err)
	}
	if c.Version < 3 && !c.Forgotten.IsZero() {
		for _, r := range c.Covered {
			if r.From.Before(c.Forgotten) {
				c.StartsLost = append(c.StartsLost, r.From)
			}
		}
	}
	return c, nil
}

// Cover notes that a range was read.
func (c *Checkpoint) Cover(r Range) {
	if !r.From.Before(r.To) {
		return
	}
	var out []Range
	for _, old := range c.Covered {
		if old.To.Before(r.From) || r.To.Before(old.From) {
			out = append(out, old)
			continue
		}
		if old.From.Before(r.From) {
			r.From = old.From
		}
		if old.To.After(r.To) {
			r.To = old.To
		}
	}
	out = append(out, r)
	slices.SortFunc(out, func(a, b Range) int { return a.From.Compare(b.From) })
	c.Covered = out
}

// CoveredIn returns the parts of a range that were read.
func (c *Checkpoint) CoveredIn(r Range) []Range {
	var parts []Range
	for _, covered := range c.Covered {
		if covered.From.Before(r.From) {
			covered.From = r.From
		}
		if covered.To.After(r.To) {
			covered.To = r.To
		}
		if covered.From.Before(covered.To) {
			parts = append(parts, covered)
		}
	}
	return parts
}

// Covers says whether all of a range was read.
func (c *Checkpoint) Covers(r Range) bool {
	parts := c.CoveredIn(r)
	return len(parts) == 1 && parts[0].From.Equal(r.From) && parts[0].To.Equal(r.To)
}
