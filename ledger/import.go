package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/millrace-io/millrace/events"
)

// importVersion is the format of an [Import]: larger than that of any checkpoint,
// so that a binary which knows no imports refuses it as well.
const importVersion = 1 << 30

// Import stands in the place of a stream's checkpoint while its state is brought
// in from an archive. Nothing may be read from there: of the ledger only a part
// may be there, and the rest would be published again.
type Import struct {
	Version int              `json:"version"`
	Stream  events.StreamKey `json:"stream"`
	// Owner and Commit are as in a [Checkpoint].
	Owner  string `json:"owner"`
	Commit string `json:"commit"`
	// Commits are those of the state that is replaced; 0: there was none.
	Commits uint64 `json:"commits"`
	// Archive is the ID of the archive.
	Archive string    `json:"archive"`
	At      time.Time `json:"at"`
}

// Encode returns the import as it is stored.
func (i *Import) Encode() ([]byte, error) {
	i.Version = importVersion
	data, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encoding the import of %s: %w", i.Stream, err)
	}
	return data, nil
}

// ImportError says that a stream's state has been imported in part only.
type ImportError struct{ Import *Import }

func (e *ImportError) Error() string {
	return fmt.Sprintf("an import of the state, begun at %s, has not come to its end: repeat millrace state import with the same file", e.Import.At.UTC().Format(time.RFC3339))
}

// decodeImport returns what stands in the place of a checkpoint as an error.
func decodeImport(data []byte) error {
	i := new(Import)
	if err := json.Unmarshal(data, i); err != nil {
		return fmt.Errorf("the stored checkpoint cannot be read: %w", err)
	}
	return &ImportError{i}
}
