package pipeline

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// Letter is a dead letter as the topic holds it, its parts put together.
type Letter struct {
	ID        events.ID
	Stream    events.StreamKey
	Connector string
	Dead      events.Dead
	Event     events.ID // that the record's event would have had; zero when unknown
	RecordID  string
	Recorded  time.Time // when the record was first seen
	Replay    bool      // its event was to be published once more, on demand
	Window    ledger.Range
	SHA256    string
	Number    int       // among equal ones of the pass
	Key       string    // of the walk that found it; "" for none
	Stored    time.Time // when the broker stored it, or its first part
	Raw       []byte    // the record's bytes
	Size      int       // of the record

	Parts int // 0 for a letter that is whole
	have  int
}

// Letterbox puts dead letters together. The zero value is ready.
type Letterbox struct {
	// Bytes: letters come with their records' bytes.
	Bytes bool
	// Wanted says which letters matter, before their bytes are looked at; nil: all.
	Wanted func(*Letter) bool

	parts map[events.ID]*Letter
}

// letterData is a dead letter's data.
type letterData struct {
	Reason, Detail, Stage string
	Window                string
	SHA256                string
	EventID               string `json:"event_id"`
	LetterID              string `json:"letter_id"`
	Number, Part, Parts   int
	ReadFor               string `json:"read_for"`
	Record                string
	Base64                string `json:"record_base64"`
}

// Add takes a message of the topic, and returns the letter that is complete with
// it; nil when parts are missing, or it does not matter. Parts of a letter come
// in their order, which their key gives them; letters come in any.
func (b *Letterbox) Add(m *topics.Received) (*Letter, error) {
	e, err := events.FromAttributes(m.Attributes)
	if err != nil {
		return nil, fmt.Errorf("a dead letter (message %d of %s, stored at %s) cannot be read: %w", m.Sequence, m.FullTopic, text(m.Stored), err)
	}
	var d letterData
	if err := json.Unmarshal(m.Data, &d); err != nil {
		return nil, fmt.Errorf("dead letter %s cannot be read: %w", e.ID, err)
	}
	l := &Letter{
		ID: e.ID, Stream: e.Source, Connector: e.Connector, Dead: events.Dead{Reason: d.Reason, Detail: d.Detail, Stage: d.Stage},
		RecordID: e.RecordID, Recorded: e.Recorded, Replay: e.Replay, SHA256: d.SHA256, Number: d.Number, Key: d.ReadFor, Parts: d.Parts, Stored: m.Stored, have: 1,
	}
	l.Event, _ = events.ParseID(d.EventID)
	if from, to, ok := strings.Cut(d.Window, "/"); ok {
		l.Window.From, _ = time.Parse(time.RFC3339, from)
		l.Window.To, _ = time.Parse(time.RFC3339, to)
	}
	if whole, ok := events.ParseID(d.LetterID); ok && d.Parts > 0 {
		l.ID = whole
	}
	if b.Wanted != nil && !b.Wanted(l) {
		return nil, nil
	}
	raw := []byte(d.Record)
	if d.Base64 != "" {
		if raw, err = base64.StdEncoding.DecodeString(d.Base64); err != nil {
			return nil, fmt.Errorf("dead letter %s cannot be read: %w", e.ID, err)
		}
	}
	l.Size = len(raw)
	if b.Bytes {
		l.Raw = raw
	}
	if d.Parts == 0 {
		return l, nil
	}
	return b.join(l, d.Part), nil
}

// join puts a part to those that came before it.
func (b *Letterbox) join(l *Letter, part int) *Letter {
	whole := b.parts[l.ID]
	switch {
	case part == 1:
		if b.parts == nil {
			b.parts = map[events.ID]*Letter{}
		}
		b.parts[l.ID] = l
		return nil
	case whole == nil || part != whole.have+1: // the first ones are gone already
		return nil
	}
	whole.have = part
	whole.Size += l.Size
	whole.Raw = append(whole.Raw, l.Raw...)
	if part < whole.Parts {
		return nil
	}
	delete(b.parts, l.ID)
	return whole
}

// Incomplete returns the letters of which parts are missing.
func (b *Letterbox) Incomplete() []*Letter {
	var letters []*Letter
	for _, l := range b.parts {
		letters = append(letters, l)
	}
	slices.SortFunc(letters, func(x, y *Letter) int { return x.Stored.Compare(y.Stored) })
	return letters
}

// LettersSince returns when the oldest dead letter was stored that counts; zero: all
// count. Some brokers keep letters for longer than they were told to, and what
// became of such a one is not known any more.
func LettersSince(retention time.Duration, now time.Time) time.Time {
	if retention == 0 {
		return time.Time{}
	}
	return now.Add(-retention)
}

// Intact says whether the record's bytes are those that were kept.
func (l *Letter) Intact() bool {
	sum := sha256.Sum256(l.Raw)
	return hex.EncodeToString(sum[:]) == l.SHA256
}
