package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
)

type archived struct {
	stream int
	name   string
	data   []byte
}

// small is an archive of three streams, of which one has no entries.
func small(t testing.TB) (*Archive, []archived) {
	t.Helper()
	a := &Archive{ID: "0123", Made: time.Unix(1_700_000_000, 0).UTC()}
	var all []archived
	for n, stream := range []string{"messages", "empty", "users"} {
		key := events.StreamKey{Vendor: "v", Account: `a/"b`, Stream: stream}
		c := &Checkpoint{Stream: key, Commits: uint64(n + 1), Live: Lane{At: time.Unix(1_600_000_000, 0).UTC(), Cursor: []byte(`{"next":"<1>"}`)}}
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		s := ArchivedStream{Key: key, Checkpoint: data}
		if stream != "empty" {
			s.Entries = 3
			for i := range 2 {
				e := &Entry{Window: Range{time.Unix(int64(1_600_000_000+i), 0), time.Unix(1_600_000_100, 0)}, Commit: uint64(i), IDs: []events.ID{{1, byte(n), byte(i)}, {2}}}
				data, err := e.Encode()
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, archived{n, e.Name(), data})
			}
			r := &Resolution{At: time.Unix(1_600_000_000, 0).UTC(), Commit: 7}
			r.Add(events.ID{9}, Discarded, r.At)
			if data, err = r.Encode(); err != nil {
				t.Fatal(err)
			}
			all = append(all, archived{n, r.Name(), data})
		}
		a.Streams = append(a.Streams, s)
	}
	return a, all
}

func writeArchive(t testing.TB, a *Archive, entries []archived) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewArchiveWriter(&out, a)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Entry(e.stream, e.name, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readArchive reads all; what it returns counts only without an error.
func readArchive(r io.Reader) (*Archive, []archived, error) {
	a, err := NewArchiveReader(r)
	if err != nil {
		return nil, nil, err
	}
	var all []archived
	for {
		n, name, data, err := a.Next()
		if err == io.EOF {
			return &a.Archive, all, nil
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, archived{n, name, data})
	}
}

func TestArchiveRoundTrip(t *testing.T) {
	a, entries := small(t)
	file := writeArchive(t, a, entries)
	b, again, err := readArchive(io.MultiReader(bytes.NewReader(file[:100]), bytes.NewReader(file[100:])))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(entries, again) || b.ID != a.ID || !b.Made.Equal(a.Made) || len(b.Streams) != 3 {
		t.Errorf("read\n%+v\n%+v\nof\n%+v\n%+v", b, again, a, entries)
	}
	for n, s := range b.Streams {
		want, _ := DecodeCheckpoint(a.Streams[n].Checkpoint)
		got, err := DecodeCheckpoint(s.Checkpoint)
		if err != nil || s.Key != a.Streams[n].Key || s.Entries != a.Streams[n].Entries || !reflect.DeepEqual(got, want) {
			t.Errorf("stream %d is %+v, %v", n, s, err)
		}
	}
}

// A file that is cut anywhere, or of which one byte is another, is refused.
func TestDamagedArchivesAreRefused(t *testing.T) {
	a, entries := small(t)
	file := writeArchive(t, a, entries)
	for n := 0; n < len(file); n += 1 + n%7 { // each line is longer than that
		var damaged *ArchiveError
		if _, _, err := readArchive(bytes.NewReader(file[:n])); !errors.As(err, &damaged) || damaged.Line < 1 {
			t.Fatalf("cut at %d: %v", n, err)
		}
		other := bytes.Clone(file)
		other[n] ^= 1
		if _, _, err := readArchive(bytes.NewReader(other)); err == nil {
			t.Fatalf("with another byte at %d it is taken", n)
		}
	}
	if _, _, err := readArchive(bytes.NewReader(append(bytes.Clone(file), '\n'))); err == nil {
		t.Error("what follows the end is taken")
	}
	long := append(bytes.Clone(file[:50]), bytes.Repeat([]byte{' '}, maxArchiveLine+100)...)
	if _, _, err := readArchive(bytes.NewReader(long)); err == nil {
		t.Error("a line without an end is taken")
	}
}

// What the SHA-256 says is right is looked at all the same.
func TestArchivesThatAreNone(t *testing.T) {
	a, entries := small(t)
	whole := strings.SplitAfter(string(writeArchive(t, a, entries)), "\n")
	body := whole[:len(whole)-2]
	change := func(line int, old, replacement string) []string {
		out := append([]string(nil), body...)
		if !strings.Contains(out[line], old) {
			t.Fatalf("line %d has no %q: %s", line, old, out[line])
		}
		out[line] = strings.Replace(out[line], old, replacement, 1)
		return out
	}
	for says, lines := range map[string][]string{
		"not a file of millrace":              {"hello\n"},
		"this one knows formats up to 1":      change(0, `"millrace_state":1`, `"millrace_state":2`),
		"the header is damaged":               change(0, `"0123"`, `""`),
		"that of another stream":              change(1, `"Stream":"messages"`, `"Stream":"letters"`),
		"line 2: v/a/\"b/messages: the store": change(1, `"version":3`, fmt.Sprintf(`"version":%d`, Version+1)),
		"has not come to its end":             change(1, `"version":3`, fmt.Sprintf(`"version":%d`, importVersion)),
		"or there twice":                      append(append(append([]string{}, body[:3]...), body[2]), body[4:]...),
		"out of its place":                    append(append(append([]string{}, body[:4]...), body[5], body[4]), body[6:]...),
		"more entries than it should":         append(append([]string{}, body...), body[len(body)-1]),
		"it has 5 entries of 6":               body[:len(body)-1],
		"it cannot be read":                   change(4, `"entry":"1600000000.`, `"entry":"1600000000/`),
		"the name is not":                     change(4, `"entry":"1600000000.`, `"entry":"1600000000.1.`),
		"a ledger entry cannot be read":       change(4, `"data":"`, `"data":"AAAA`),
	} {
		_, _, err := readArchive(strings.NewReader(ended(lines)))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	if _, _, err := readArchive(strings.NewReader(ended(body))); err != nil {
		t.Errorf("unchanged it is not taken: %v", err)
	}
}

// ended puts the right end to lines.
func ended(lines []string) string {
	text := strings.Join(lines, "")
	sum := sha256.Sum256([]byte(text))
	return text + fmt.Sprintf(`{"end":true,"entries":%d,"sha256":"%s"}`+"\n", strings.Count(text, `{"of":`), hex.EncodeToString(sum[:]))
}

func TestArchiveWriterKeepsToWhatItPromised(t *testing.T) {
	a, entries := small(t)
	w, err := NewArchiveWriter(io.Discard, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Entry(2, entries[3].name, entries[3].data); err == nil {
		t.Error("an entry of a later stream is written")
	}
	if err := w.Close(); err == nil {
		t.Error("an archive without its entries is closed")
	}
	if _, err := NewArchiveWriter(full{}, a); err != nil {
		t.Fatal(err) // it is buffered
	}
	w, _ = NewArchiveWriter(full{}, &Archive{ID: "0"})
	if err := w.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk is told as %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// An import stands for no checkpoint, in this version and in older ones, which
// knew no imports.
func TestImportIsNoCheckpoint(t *testing.T) {
	i := &Import{Stream: events.StreamKey{Vendor: "v", Account: "a", Stream: "s"}, Owner: "o", Commit: "c", Commits: 7, Archive: "0123", At: time.Unix(1_700_000_000, 0).UTC()}
	data, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	_, err = DecodeCheckpoint(data)
	var half *ImportError
	if !errors.As(err, &half) || *half.Import != *i || !strings.Contains(err.Error(), "2023-11-14T22:13:20Z") {
		t.Errorf("it is told as %v", err)
	}
	if i.Version <= Version {
		t.Errorf("version %d would be read as a checkpoint by a binary that knows no imports", i.Version)
	}
}

// FuzzArchive holds any archive whose sum is right to this: it is refused, or what
// is read of it, written again, reads the same.
func FuzzArchive(f *testing.F) {
	a, entries := small(f)
	lines := strings.SplitAfter(string(writeArchive(f, a, entries)), "\n")
	f.Add(strings.Join(lines[:len(lines)-2], ""))
	f.Fuzz(func(t *testing.T, body string) {
		a, entries, err := readArchive(strings.NewReader(ended([]string{body})))
		if err != nil {
			return
		}
		b, again, err := readArchive(bytes.NewReader(writeArchive(t, a, entries)))
		if err != nil || !reflect.DeepEqual(entries, again) || len(a.Streams) != len(b.Streams) || a.ID != b.ID {
			t.Errorf("read again it is\n%+v\n%+v\nand was\n%+v\n%+v: %v", b, again, a, entries, err)
		}
	})
}
