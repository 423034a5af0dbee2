package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

const importConfig = `
broker: {nats: {dir: %q, listen: ""}}
connectors:
  support: {type: deepconverse, account: acme, api_key: k, bot_name: b}
`

// emptyBroker opens a new embedded broker as commands do.
func emptyBroker(t *testing.T) *operator {
	t.Helper()
	o, err := openOperator(t.Context(), parse(t, fmt.Sprintf(importConfig, t.TempDir())), toFill, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	return o
}

func stateKey(stream string) events.StreamKey {
	return events.StreamKey{Vendor: "deepconverse", Account: "acme", Stream: stream}
}

// fill gives a stream state: a checkpoint, and as many ledger entries as there are
// texts, of which the ids are made.
func fill(t *testing.T, b topics.Broker, stream string, at time.Time, texts ...string) {
	t.Helper()
	s := holdStream(t, b, stream)
	defer s.Release()
	c := &ledger.Checkpoint{Stream: stateKey(stream), Live: ledger.Lane{At: at}, Commit: "fill"}
	commit := &topics.Commit{ID: c.Commit}
	for n, text := range texts {
		c.Commits++
		e := &ledger.Entry{Window: ledger.Range{From: time.Unix(int64(n), 0), To: time.Unix(int64(n+1), 0)}, Commit: c.Commits}
		for _, r := range text {
			e.IDs = append(e.IDs, events.ID{byte(r)})
		}
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		commit.Entries = append(commit.Entries, topics.Entry{Name: e.Name(), Data: data})
	}
	var err error
	if commit.Checkpoint, err = c.Encode(); err == nil {
		err = s.Commit(t.Context(), commit)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func holdStream(t *testing.T, b topics.Broker, stream string) topics.Stream {
	t.Helper()
	s, err := b.Acquire(t.Context(), stateKey(stream), "test", nil)
	if err == nil {
		_, err = s.Checkpoint(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stands is what a broker knows of a stream: where it stands and its ledger; the
// error is that of who would read it.
func stands(t *testing.T, b topics.Broker, stream string) (known map[string]string, c *ledger.Checkpoint, err error) {
	t.Helper()
	s := holdStream(t, b, stream)
	defer s.Release()
	data, err := s.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if data == nil {
		return nil, nil, nil
	}
	if c, err = ledger.DecodeCheckpoint(data); err != nil {
		return nil, nil, err
	}
	known = map[string]string{"at": when(c.Live.At)}
	names, err := s.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		entry, err := s.Entry(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		known[name] = string(entry)
	}
	return known, c, nil
}

// manyEntries is how many the largest stream of archiveOf has.
const manyEntries = 17

// archiveOf is the archive of three streams: one with many entries, one with few,
// one without.
func archiveOf(t *testing.T) (archive []byte, want map[string]map[string]string) {
	t.Helper()
	o := emptyBroker(t)
	texts := make([]string, manyEntries)
	for n := range texts {
		texts[n] = fmt.Sprint("of the archive ", n)
	}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	fill(t, o.broker, "conversations", at, texts[:3]...)
	fill(t, o.broker, "empty", at)
	fill(t, o.broker, "messages", at.Add(time.Hour), texts...)
	keys := []events.StreamKey{stateKey("conversations"), stateKey("empty"), stateKey("messages")}
	held, release, err := o.holdAll(t.Context(), keys, "")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := exporter{operator: o, held: held}
	if err := e.write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	release()
	want = map[string]map[string]string{}
	for _, k := range keys {
		if want[k.Stream], _, err = stands(t, o.broker, k.Stream); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes(), want
}

// failing is a broker whose writes fail from a number on: before they take effect
// or, which nobody can tell, after.
type failing struct {
	topics.Broker
	left  int // writes that succeed
	after bool
}

var errCrash = errors.New("crashed")

func (f *failing) Offline() bool { return true }

// Limits make many commits of few entries.
func (f *failing) Limits() topics.Limits { return topics.Limits{Messages: 8, Bytes: 1 << 20} }

func (f *failing) write(do func() error) error {
	f.left--
	switch {
	case f.left < 0 && !(f.after && f.left == -1):
		return errCrash
	case f.left < 0:
		return errors.Join(do(), errCrash)
	}
	return do()
}

func (f *failing) Acquire(ctx context.Context, key events.StreamKey, owner string, onWait func(string)) (topics.Stream, error) {
	s, err := f.Broker.Acquire(ctx, key, owner, onWait)
	return &failingStream{s, f}, err
}

type failingStream struct {
	topics.Stream
	f *failing
}

func (s *failingStream) Commit(ctx context.Context, c *topics.Commit) error {
	return s.f.write(func() error { return s.Stream.Commit(ctx, c) })
}

func (s *failingStream) Advance(ctx context.Context, id string, checkpoint []byte) error {
	return s.f.write(func() error { return s.Stream.Advance(ctx, id, checkpoint) })
}

func (s *failingStream) Forget(ctx context.Context, names []string) error {
	return s.f.write(func() error { return s.Stream.Forget(ctx, names) })
}

// importInto imports with a broker of which so many writes succeed.
func importInto(t *testing.T, o *operator, archive []byte, replace bool, f failing) ([]StateStream, error) {
	t.Helper()
	r, err := ledger.NewArchiveReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	f.Broker = o.broker
	other := *o
	other.broker = &f
	return other.importState(t.Context(), r, replace)
}

// An import that dies at any write leaves each stream as it was, or whole, or such
// that nobody begins to read it; and repeating it ends well. A stream that came to
// its end and was read on from is left as it is then.
func TestImportDiesAtAnyWrite(t *testing.T) {
	archive, want := archiveOf(t)
	for _, replace := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("replace=%v,after=%v", replace, after), func(t *testing.T) {
				t.Parallel()
				for n := 0; ; n++ {
					if diesAt(t, archive, want, replace, failing{left: n, after: after}) {
						if n < 10 {
							t.Errorf("all was done in %d writes: the test shows little", n)
						}
						return
					}
				}
			})
		}
	}
}

// diesAt reports whether the import came to its end nevertheless.
func diesAt(t *testing.T, archive []byte, want map[string]map[string]string, replace bool, f failing) bool {
	t.Helper()
	o := emptyBroker(t)
	defer o.close()
	was := map[string]map[string]string{}
	if replace {
		// Of the entries one is the same, one has the name of another, one is to go.
		fill(t, o.broker, "conversations", time.Unix(0, 0), "of the archive 0", "another", "of the archive 2", "old")
		fill(t, o.broker, "empty", time.Unix(0, 0), "old")
		for name := range want {
			was[name], _, _ = stands(t, o.broker, name)
		}
	}
	_, err := importInto(t, o, archive, replace, f)
	if err != nil && !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	readOn := map[string]uint64{}
	for name := range want {
		known, c, half := stands(t, o.broker, name)
		var unfinished *ledger.ImportError
		switch {
		case half != nil && !errors.As(half, &unfinished):
			t.Fatal(half)
		case half == nil && reflect.DeepEqual(known, want[name]):
			if c.Commits++; err != nil { // a service reads on
				s := holdStream(t, o.broker, name)
				data, _ := c.Encode()
				if err := s.Advance(t.Context(), "later", data); err != nil {
					t.Fatal(err)
				}
				s.Release()
				readOn[name] = c.Commits
			}
		case half == nil && (err == nil || !reflect.DeepEqual(known, was[name])):
			t.Errorf("after %d writes %s is neither as it was, nor whole, nor refused: %d entries, of %d before, and %d in the archive", f.left, name, len(known), len(was[name]), len(want[name]))
		}
	}
	if err == nil {
		return true
	}
	if len(readOn) == len(want) { // only the last answer was lost
		return false
	}
	told, err := importInto(t, o, archive, replace, failing{left: 1 << 30})
	if err != nil {
		t.Fatalf("after %d writes it cannot be repeated: %v", f.left, err)
	}
	for _, s := range told {
		name := s.Stream[len("deepconverse/acme/"):]
		known, c, err := stands(t, o.broker, name)
		if err != nil || !reflect.DeepEqual(known, want[name]) {
			t.Errorf("after %d writes and a repetition %s has %d entries, want %d: %v", f.left, name, len(known), len(want[name]), err)
		}
		if commits, on := readOn[name]; on && (s.Result != StateKnown || c.Commits != commits) {
			t.Errorf("%s was read on from, and is %s: commit %d, before %d", name, s.Result, c.Commits, commits)
		}
	}
	return false
}

// Names of entries count on from both histories, so that none comes twice.
func TestImportCountsCommitsOn(t *testing.T) {
	archive, _ := archiveOf(t)
	o := emptyBroker(t)
	fill(t, o.broker, "conversations", time.Unix(0, 0), slices.Repeat([]string{"old"}, 40)...)
	if _, err := importInto(t, o, archive, true, failing{left: 3}); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	for range 2 { // the second time it is asked to replace what it has brought itself
		if _, err := importInto(t, o, archive, true, failing{left: 1 << 30}); err != nil {
			t.Fatal(err)
		}
	}
	for name, least := range map[string]uint64{"conversations": 41, "messages": manyEntries + 1} {
		if _, c, err := stands(t, o.broker, name); err != nil || c.Commits < least || c.Owner == "" || c.Imported == "" {
			t.Errorf("%s stands at %+v, %v; want at least %d commits", name, c, err, least)
		}
	}
}

// Of a pipe nothing counts before its end was seen.
func TestCutPipeLeavesNothingToReadFrom(t *testing.T) {
	archive, want := archiveOf(t)
	o := emptyBroker(t)
	file := *o.file
	o.close()
	cut := archive[:len(archive)-20]
	if _, err := ImportState(t.Context(), &file, bytes.NewReader(cut), false, slog.New(slog.DiscardHandler)); err == nil || ExitCode(err) != ExitUsage {
		t.Errorf("a cut file: %v", err)
	}
	look := func(do func(b topics.Broker)) {
		o, err := openOperator(t.Context(), &file, toOperate, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer o.close()
		do(o.broker)
	}
	look(func(b topics.Broker) {
		if all, err := b.Checkpoints(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("a cut file left %d checkpoints, %v", len(all), err)
		}
	})
	if _, err := ImportState(t.Context(), &file, io.MultiReader(bytes.NewReader(cut)), false, slog.New(slog.DiscardHandler)); err == nil || ExitCode(err) != ExitUsage {
		t.Errorf("a cut pipe: %v", err)
	}
	look(func(b topics.Broker) {
		for name := range want {
			var half *ledger.ImportError
			if _, _, err := stands(t, b, name); !errors.As(err, &half) {
				t.Errorf("after a cut pipe %s is %v", name, err)
			}
		}
	})
	if _, err := ImportState(t.Context(), &file, io.MultiReader(bytes.NewReader(archive)), false, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	look(func(b topics.Broker) {
		for name := range want {
			if known, _, err := stands(t, b, name); err != nil || !reflect.DeepEqual(known, want[name]) {
				t.Errorf("%s has %d entries, want %d: %v", name, len(known), len(want[name]), err)
			}
		}
	})
}

// What a stream's broker does not take at once is cut smaller.
func TestImportIsCutToTheBrokersLimit(t *testing.T) {
	archive, want := archiveOf(t)
	o := emptyBroker(t)
	other := *o
	other.broker = &narrow{Broker: o.broker}
	r, err := ledger.NewArchiveReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.importState(t.Context(), r, false); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if known, _, err := stands(t, o.broker, name); err != nil || !reflect.DeepEqual(known, want[name]) {
			t.Errorf("%s has %d entries, want %d: %v", name, len(known), len(want[name]), err)
		}
	}
}

// narrow takes seven entries at once, and tells so only when it refuses.
type narrow struct{ topics.Broker }

func (n *narrow) Offline() bool { return true }

func (n *narrow) Acquire(ctx context.Context, key events.StreamKey, owner string, onWait func(string)) (topics.Stream, error) {
	s, err := n.Broker.Acquire(ctx, key, owner, onWait)
	return &narrowStream{s}, err
}

type narrowStream struct{ topics.Stream }

func (s *narrowStream) Commit(ctx context.Context, c *topics.Commit) error {
	if len(c.Entries) > 7 {
		return &topics.TooLargeError{Limits: topics.Limits{Messages: 8, Bytes: 1 << 20}}
	}
	return s.Stream.Commit(ctx, c)
}
