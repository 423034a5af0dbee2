package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Entry is what one commit published of one window: what it counted, and the
// ids. It is stored as one line of JSON and, behind it, the ids in binary.
type Entry struct {
	Version int    `json:"version"`
	Window  Range  `json:"window"`
	Commit  uint64 `json:"commit"`
	Lane    string `json:"lane"`
	Counts  Counts `json:"counts"`
	// Pages are what is remembered of the pages that the commit is of, each a [Page];
	// nil: nothing. It is read when somebody asks ([Entry.PageOf]).
	Pages json.RawMessage `json:"pages,omitempty"`
	// IDs are the events of records that never change, and dead letters.
	IDs []events.ID `json:"-"`
	// Versions are the events of records that change.
	Versions []RecordVersion `json:"-"`

	NumIDs      int `json:"ids"`
	NumVersions int `json:"versions,omitempty"`
}

// RecordVersion is one published version of a record that changes.
type RecordVersion struct {
	Record  events.Identity
	Content events.Hash
	Number  uint32 // how often the same content was published before

	// ended is when the answer that gave it had come. It is not stored: no
	// answer of another process, or of before a restart, can come after it.
	ended time.Time
}

const versionBytes = 16 + 16 + 4

// Name names the entry in its stream's ledger: its window and its commit.
func (e *Entry) Name() string {
	return fmt.Sprintf("%d.%d.%d", e.Window.From.Unix(), e.Window.To.Unix(), e.Commit)
}

// ParseName is the inverse of [Entry.Name].
func ParseName(name string) (window Range, commit uint64, err error) {
	parts := strings.Split(name, ".")
	if len(parts) == 3 {
		from, err1 := strconv.ParseInt(parts[0], 10, 64)
		to, err2 := strconv.ParseInt(parts[1], 10, 64)
		n, err3 := strconv.ParseUint(parts[2], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil {
			return Range{time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()}, n, nil
		}
	}
	return Range{}, 0, fmt.Errorf("ledger entry %q: the name is not <from>.<to>.<commit>", name)
}

// Encode returns the entry as it is stored.
func (e *Entry) Encode() ([]byte, error) {
	e.Version, e.NumIDs, e.NumVersions = Version, len(e.IDs), len(e.Versions)
	head, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding a ledger entry: %w", err)
	}
	out := make([]byte, 0, len(head)+1+16*len(e.IDs)+versionBytes*len(e.Versions))
	out = append(append(out, head...), '\n')
	for i := range e.IDs {
		out = append(out, e.IDs[i][:]...)
	}
	for i := range e.Versions {
		v := &e.Versions[i]
		out = append(out, v.Record[:]...)
		out = append(out, v.Content[:]...)
		out = binary.BigEndian.AppendUint32(out, v.Number)
	}
	return out, nil
}

// DecodeEntry reads a stored entry. One of a newer version is a *NewerError.
func DecodeEntry(data []byte) (*Entry, error) {
	head, body, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("a ledger entry cannot be read: it has no first line")
	}
	e := new(Entry)
	if err := json.Unmarshal(head, e); err != nil {
		return nil, fmt.Errorf("a ledger entry cannot be read: %w", err)
	}
	if e.Version > Version {
		return nil, &NewerError{What: "a ledger entry", Version: e.Version}
	}
	if e.NumIDs < 0 || e.NumVersions < 0 || e.NumIDs > len(body)/16 || e.NumVersions > len(body)/versionBytes || len(body) != 16*e.NumIDs+versionBytes*e.NumVersions {
		return nil, fmt.Errorf("a ledger entry cannot be read: %d bytes of ids where %d ids and %d versions should be", len(body), e.NumIDs, e.NumVersions)
	}
	e.IDs = make([]events.ID, e.NumIDs)
	for i := range e.IDs {
		body = body[copy(e.IDs[i][:], body):]
	}
	e.Versions = make([]RecordVersion, e.NumVersions)
	for i := range e.Versions {
		v := &e.Versions[i]
		copy(v.Record[:], body)
		copy(v.Content[:], body[16:])
		v.Number = binary.BigEndian.Uint32(body[32:])
		body = body[versionBytes:]
	}
	return e, nil
}
