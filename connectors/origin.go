package connectors

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Origin is what a page was asked for with. It holds no secret: neither the URL nor
// a header of the request.
type Origin struct {
	// From and To are the bounds that were asked for. A zero To is no end.
	From, To time.Time
	// Page counts the pages of the batch's window, from 1; 0: unknown, as the read
	// went on from a cursor that an earlier one had left, or Cell.
	Page int
	// Cursor is the one that was asked with, as [shortCursor] has it; "" for none.
	Cursor string
	// Cell: the records are what this answer, of all its pages, holds more than
	// that to a smaller request, as nothing else tells them apart.
	Cell bool
}

const (
	longCursor = 128 // bytes of a cursor that are shown whole
	cursorHead = 48  // bytes that are shown of a longer one
)

// shortCursor is a cursor as text: of a long one its beginning and its hash, which
// tells it from others.
func shortCursor(cursor json.RawMessage) string {
	if len(cursor) <= longCursor {
		return strings.ToValidUTF8(string(cursor), "?")
	}
	sum := sha256.Sum256(cursor)
	return fmt.Sprintf("%s... (%d bytes, sha256 %s)", strings.ToValidUTF8(string(cursor[:cursorHead]), "?"), len(cursor), hex.EncodeToString(sum[:8]))
}
