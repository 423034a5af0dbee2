package events

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Invariant 6: the same record gives the same event id, for ever, on every
// instance and every broker. What is hashed is a domain word and each part with
// its length in front, so that no two different identities give the same bytes.
// testdata/ids.golden.json holds ids that no release may change.

// Hash is the first half of a SHA-256, as ids are.
type Hash [16]byte

// Identity names one record of one stream: all versions of a record that
// changes share it.
type Identity Hash

// RecordIdentity is the identity of a record with an id of the vendor's.
func RecordIdentity(key StreamKey, id string) Identity {
	var buf [256]byte
	b := appendKey(append(buf[:0], "record"...), key)
	return Identity(sum(appendPart(b, id)))
}

// ContentIdentity is the identity of a record without an id: its canonical
// content ([Canonical]), and its number among identical records within one pass
// over a window, from 0.
func ContentIdentity(key StreamKey, canonical []byte, number int) Identity {
	content := sha256.Sum256(canonical)
	var buf [256]byte
	b := appendKey(append(buf[:0], "content"...), key)
	b = append(b, content[:]...)
	return Identity(sum(binary.AppendUvarint(b, uint64(number))))
}

// Quarter is the length of the cells of [CellIdentity]. They begin at multiples
// of it since the beginning of a day in UTC.
const Quarter = 15 * time.Minute

// CellIdentity is the identity of a record with neither an id nor a time: its
// canonical content, the beginning of the quarter of an hour that it fell into,
// and its number among identical records there, from 0.
func CellIdentity(key StreamKey, canonical []byte, cell time.Time, number int) Identity {
	content := sha256.Sum256(canonical)
	var buf [256]byte
	b := appendKey(append(buf[:0], "cell"...), key)
	b = append(b, content[:]...)
	b = binary.AppendVarint(b, cell.Unix())
	return Identity(sum(binary.AppendUvarint(b, uint64(number))))
}

// Event returns the id of the one event that a record which never changes becomes.
func (i Identity) Event() ID { return ID(i) }

// Version returns the id of the event of one version of a record that changes.
// Number counts how often the same content was published before (A, B, A: the
// second A is number 1).
func (i Identity) Version(content Hash, number int) ID {
	var buf [64]byte
	b := append(append(buf[:0], "version"...), i[:]...)
	b = append(b, content[:]...)
	return ID(sum(binary.AppendUvarint(b, uint64(number))))
}

// String returns the identity as 32 hex digits, the recordid of records without
// an id of the vendor's.
func (i Identity) String() string { return ID(i).String() }

// DeadLetterIdentity is the identity of bytes that could not become an event.
// Number counts equal bytes within one pass, from 0; part is 0 for a dead letter
// that is whole, else counts its parts from 1.
func DeadLetterIdentity(key StreamKey, raw []byte, number, part int) Identity {
	content := sha256.Sum256(raw)
	var buf [256]byte
	b := appendKey(append(buf[:0], "dead"...), key)
	b = append(b, content[:]...)
	b = binary.AppendUvarint(b, uint64(number))
	return Identity(sum(binary.AppendUvarint(b, uint64(part))))
}

// SplitID is the id of one of the events that a transform makes of one event: it
// hangs on that event's id and the element's number, from 0.
func SplitID(id ID, number int) ID {
	var buf [64]byte
	b := append(append(buf[:0], "split"...), id[:]...)
	return ID(sum(binary.AppendUvarint(b, uint64(number))))
}

// ReplayMark is what a replay of a stream leaves in the ledger of an event that
// it has published again: the event's own id is in there already, or not any more.
func ReplayMark(id ID, replay uint64) ID {
	var buf [64]byte
	b := append(append(buf[:0], "replay"...), id[:]...)
	return ID(sum(binary.AppendUvarint(b, replay)))
}

// PublishedMark is what is left in the ledger of an event that was published when
// its own id was in there already, or not any more: by a replay of the stream, or
// of its dead letter. The id alone does not tell an event that was too large, and
// stands in a dead letter, from one that is out.
func PublishedMark(id ID) ID {
	var buf [64]byte
	return ID(sum(append(append(buf[:0], "published"...), id[:]...)))
}

// HashOf returns the hash of a record's canonical content.
func HashOf(canonical []byte) Hash { return sum(canonical) }

func sum(b []byte) Hash {
	full := sha256.Sum256(b)
	return Hash(full[:16])
}

func appendKey(b []byte, key StreamKey) []byte {
	return appendPart(appendPart(appendPart(b, key.Vendor), key.Account), key.Stream)
}

func appendPart(b []byte, part string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}
