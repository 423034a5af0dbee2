package ledger

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Resolution names dead letters that were dealt with, in one commit with what
// was done: it lies in the ledger beside the entries of windows, until the
// letters themselves are gone.
type Resolution struct {
	Version int               `json:"version"`
	At      time.Time         `json:"at"`
	Commit  uint64            `json:"commit"`
	Letters map[string]string `json:"letters"` // by id: one of the words below
	// Stored is, by id, when the broker had stored the letter. Equal bytes make the
	// same id: one that was stored later tells of something new.
	Stored map[string]time.Time `json:"stored,omitempty"`
}

// What became of a dead letter.
const (
	Replayed  = "replayed"  // it is an event now
	Known     = "known"     // the record was an event already
	Dropped   = "dropped"   // the transforms dropped its event
	Discarded = "discarded" // nobody needs it
)

const resolutionPrefix = "resolved."

// IsResolution says whether a ledger entry's name is that of a resolution.
func IsResolution(name string) bool { return strings.HasPrefix(name, resolutionPrefix) }

// Name names the resolution in its stream's ledger: its time and its commit.
func (r *Resolution) Name() string {
	return fmt.Sprintf("%s%d.%d", resolutionPrefix, r.At.Unix(), r.Commit)
}

// ResolvedAt returns the time that is in a resolution's name.
func ResolvedAt(name string) (time.Time, bool) {
	unix, _, ok := strings.Cut(strings.TrimPrefix(name, resolutionPrefix), ".")
	n, err := strconv.ParseInt(unix, 10, 64)
	if !IsResolution(name) || !ok || err != nil {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// Add notes what became of a letter that the broker has stored at a time.
func (r *Resolution) Add(letter events.ID, what string, stored time.Time) {
	if r.Letters == nil {
		r.Letters, r.Stored = map[string]string{}, map[string]time.Time{}
	}
	r.Letters[letter.String()], r.Stored[letter.String()] = what, stored
}

// Resolutions are what became of a stream's dead letters, by their ids.
type Resolutions map[events.ID]resolved

type resolved struct {
	what   string
	stored time.Time
}

// Add adds those of one resolution.
func (all Resolutions) Add(r *Resolution) {
	for text, what := range r.Letters {
		stored, ok := r.Stored[text]
		if !ok {
			stored = r.At
		}
		if id, ok := events.ParseID(text); ok && !stored.Before(all[id].stored) {
			all[id] = resolved{what, stored}
		}
	}
}

// Of returns what became of a letter that the broker has stored at a time; ""
// where it is still to be dealt with.
func (all Resolutions) Of(letter events.ID, stored time.Time) string {
	if r := all[letter]; !stored.After(r.stored) {
		return r.what
	}
	return ""
}

// Published says whether a letter with this id became an event, or was one already,
// whenever it was stored.
func (all Resolutions) Published(letter events.ID) bool {
	what := all[letter].what
	return what == Replayed || what == Known
}

// Encode returns the resolution as it is stored.
func (r *Resolution) Encode() ([]byte, error) {
	r.Version = Version
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a resolution of dead letters: %w", err)
	}
	return data, nil
}

// DecodeResolution reads a stored resolution. One of a newer version is a
// *NewerError.
func DecodeResolution(data []byte) (*Resolution, error) {
	r := new(Resolution)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("a resolution of dead letters cannot be read: %w", err)
	}
	if r.Version > Version {
		return nil, &NewerError{What: "a resolution of dead letters", Version: r.Version}
	}
	return r, nil
}
