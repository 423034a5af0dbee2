package ledger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"time"

	"github.com/millrace-io/millrace/events"
)

// An archive is the state of some streams in one file, to be brought from one
// broker to another. It is JSON Lines: a header, a line for each stream with its
// checkpoint, a line for each ledger entry, stream by stream in the same order and
// sorted by name, and an end line with the SHA-256 of all before it. Neither
// writer nor reader holds more of it than the streams' lines and one entry's.

// archiveVersion is the version of the format. One that is newer is refused.
const archiveVersion = 1

// maxArchiveLine bounds a line, in bytes: a broker's largest message in base64
// has less.
const maxArchiveLine = 64 << 20

// Archive is the header of an archive, and its streams.
type Archive struct {
	// ID tells it from all others.
	ID string
	// Made is when it was made.
	Made    time.Time
	Streams []ArchivedStream
}

// ArchivedStream is one stream in an archive, without its entries.
type ArchivedStream struct {
	Key     events.StreamKey `json:"stream"`
	Entries int              `json:"entries"` // how many there are
	// Checkpoint is as the broker held it.
	Checkpoint json.RawMessage `json:"checkpoint"`
}

// The other lines.
type (
	archiveHead struct {
		Version int       `json:"millrace_state"`
		ID      string    `json:"id"`
		Made    time.Time `json:"made"`
		Streams int       `json:"streams"`
	}
	archiveEntry struct {
		Stream int    `json:"of"` // its number in the archive, from 1
		Name   string `json:"entry"`
		Data   []byte `json:"data"`
	}
	archiveEnd struct {
		End     bool   `json:"end"`
		Entries int    `json:"entries"`
		SHA256  string `json:"sha256"`
	}
)

// ArchiveWriter writes an archive. It is not for concurrent use.
type ArchiveWriter struct {
	out     *bufio.Writer
	sum     hash.Hash
	head    *Archive
	place   archivePlace
	failure error
}

// archivePlace is where in an archive one stands.
type archivePlace struct {
	stream  int // number of the stream whose entries come, from 1
	left    int // entries of it that are still to come
	last    string
	entries int // so far, of all
}

// NewArchiveWriter writes what comes before the entries.
func NewArchiveWriter(w io.Writer, a *Archive) (*ArchiveWriter, error) {
	out := &ArchiveWriter{out: bufio.NewWriter(w), sum: sha256.New(), head: a}
	out.line(archiveHead{archiveVersion, a.ID, a.Made, len(a.Streams)})
	for n := range a.Streams {
		out.line(&a.Streams[n])
	}
	return out, out.failure
}

func (w *ArchiveWriter) line(value any) {
	data, err := json.Marshal(value)
	if err != nil {
		w.failure = errors.Join(w.failure, err)
		return
	}
	data = append(data, '\n')
	w.sum.Write(data)
	if _, err := w.out.Write(data); err != nil {
		w.failure = err
	}
}

// Entry writes the next entry of a stream, which is told by its number from 0.
func (w *ArchiveWriter) Entry(stream int, name string, data []byte) error {
	if err := w.place.entry(w.head.Streams, stream+1, name); err != nil {
		return err
	}
	w.line(archiveEntry{stream + 1, name, data})
	return w.failure
}

// Close writes the end. Without it the archive is none.
func (w *ArchiveWriter) Close() error {
	if err := w.place.end(w.head.Streams); err != nil {
		return err
	}
	w.line(archiveEnd{true, w.place.entries, hex.EncodeToString(w.sum.Sum(nil))})
	if w.failure != nil {
		return w.failure
	}
	return w.out.Flush()
}

// entry goes on to an entry.
func (p *archivePlace) entry(streams []ArchivedStream, number int, name string) error {
	for p.left == 0 && p.stream < len(streams) {
		p.left, p.last = streams[p.stream].Entries, ""
		p.stream++
	}
	switch {
	case p.left == 0:
		return errors.New("it has more entries than it should")
	case p.stream != number || name <= p.last:
		return fmt.Errorf("the entry %q of stream %d is out of its place", name, number)
	}
	p.left, p.last, p.entries = p.left-1, name, p.entries+1
	return nil
}

// end says whether all entries have been.
func (p *archivePlace) end(streams []ArchivedStream) error {
	want := 0
	for _, s := range streams {
		want += s.Entries
	}
	if p.entries != want {
		return fmt.Errorf("it has %d entries of %d", p.entries, want)
	}
	return nil
}

// ArchiveError says that something is no archive, or a damaged one.
type ArchiveError struct {
	Line    int // from 1
	Problem string
}

func (e *ArchiveError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Problem) }

// ArchiveReader reads an archive. It is not for concurrent use.
type ArchiveReader struct {
	Archive
	in    *bufio.Reader
	sum   hash.Hash
	line  int
	place archivePlace
}

// NewArchiveReader reads what comes before the entries. What is no archive is an
// *ArchiveError, one of a newer format a *NewerError.
func NewArchiveReader(r io.Reader) (*ArchiveReader, error) {
	a := &ArchiveReader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	var head archiveHead
	var damaged *ArchiveError
	if err := a.decode(&head); err != nil && !errors.As(err, &damaged) {
		return nil, err
	}
	if head.Version < 1 {
		return nil, a.wrong("this is not a file of millrace state export")
	}
	if head.Version > archiveVersion {
		return nil, &NewerError{What: "the file", Version: head.Version, Known: archiveVersion}
	}
	if head.ID == "" || head.Streams < 0 {
		return nil, a.wrong("the header is damaged")
	}
	a.ID, a.Made = head.ID, head.Made
	known := map[events.StreamKey]bool{}
	for range head.Streams {
		var s ArchivedStream
		if err := a.decode(&s); err != nil {
			return nil, err
		}
		if s.Entries < 0 || known[s.Key] {
			return nil, a.wrong("the stream is damaged, or there twice")
		}
		c, err := DecodeCheckpoint(s.Checkpoint)
		if err != nil {
			return nil, a.at(s.Key.String(), err)
		}
		if c.Stream != s.Key {
			return nil, a.wrong("the checkpoint is that of another stream")
		}
		known[s.Key] = true
		a.Streams = append(a.Streams, s)
	}
	return a, nil
}

// next returns the next line, valid until the call after it.
func (a *ArchiveReader) next() ([]byte, error) {
	a.line++
	var whole []byte
	for {
		part, err := a.in.ReadSlice('\n')
		if err == nil && whole == nil {
			return part, nil
		}
		whole = append(whole, part...)
		switch {
		case err == nil:
			return whole, nil
		case len(whole) > maxArchiveLine:
			return nil, a.wrong("the line is longer than any that was exported")
		case err == io.EOF:
			return nil, a.wrong("the file ends here, and is not whole: export it once more, or copy it again")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("line %d: %w", a.line, err)
		}
	}
}

// decode reads the next line, which counts for the sum, into a value.
func (a *ArchiveReader) decode(into any) error {
	line, err := a.next()
	if err != nil {
		return err
	}
	a.sum.Write(line)
	if json.Unmarshal(line, into) != nil {
		return a.wrong("it cannot be read")
	}
	return nil
}

func (a *ArchiveReader) wrong(problem string) error { return &ArchiveError{a.line, problem} }

// at says where something cannot be read, because it is damaged or newer.
func (a *ArchiveReader) at(what string, err error) error {
	var newer *NewerError
	if errors.As(err, &newer) {
		return fmt.Errorf("line %d: %s: %w", a.line, what, err)
	}
	return a.wrong(what + ": " + err.Error())
}

var entryName = regexp.MustCompile(`^[a-z0-9.-]+$`)

// Next returns the next entry, with the number of its stream from 0. The data is
// the caller's. After the last, when the end is as it was written, it is io.EOF:
// until then nothing that was read counts.
func (a *ArchiveReader) Next() (stream int, name string, data []byte, err error) {
	line, err := a.next()
	if err != nil {
		return 0, "", nil, err
	}
	if bytes.HasPrefix(line, []byte(`{"end":`)) {
		return 0, "", nil, a.end(line)
	}
	a.sum.Write(line)
	var e archiveEntry
	if json.Unmarshal(line, &e) != nil || !entryName.MatchString(e.Name) {
		return 0, "", nil, a.wrong("it cannot be read")
	}
	if err := a.place.entry(a.Streams, e.Stream, e.Name); err != nil {
		return 0, "", nil, a.wrong(err.Error())
	}
	if err := checkEntry(e.Name, e.Data); err != nil {
		return 0, "", nil, a.at("entry "+e.Name, err)
	}
	return e.Stream - 1, e.Name, e.Data, nil
}

// end compares what was read with the end line.
func (a *ArchiveReader) end(line []byte) error {
	var end archiveEnd
	if json.Unmarshal(line, &end) != nil || !end.End {
		return a.wrong("it cannot be read")
	}
	if err := a.place.end(a.Streams); err != nil {
		return a.wrong(err.Error())
	}
	if end.Entries != a.place.entries || end.SHA256 != hex.EncodeToString(a.sum.Sum(nil)) {
		return a.wrong("the file is damaged: its SHA-256 is another than when it was written")
	}
	if _, err := a.in.ReadByte(); err != io.EOF {
		return a.wrong("something follows the end")
	}
	return io.EOF
}

// checkEntry wants an entry that this version can read.
func checkEntry(name string, data []byte) error {
	if IsResolution(name) {
		_, err := DecodeResolution(data)
		return err
	}
	if _, _, err := ParseName(name); err != nil {
		return err
	}
	_, err := DecodeEntry(data)
	return err
}
