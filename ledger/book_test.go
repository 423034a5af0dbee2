package ledger_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

var (
	t0  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	key = events.StreamKey{Vendor: "v", Account: "a", Stream: "s"}
)

func window(from, to int) ledger.Range {
	return ledger.Range{From: t0.Add(time.Duration(from) * time.Second), To: t0.Add(time.Duration(to) * time.Second)}
}

func id(s string) events.ID { return events.RecordIdentity(key, s).Event() }

// Invariant 5: what was checked but not committed is not known.
func TestOnlyWhatIsMarkedIsADuplicate(t *testing.T) {
	book, err := ledger.NewBook(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	lost := book.Draft()
	if !lost.Record(id("1")) || lost.Record(id("1")) {
		t.Fatal("within a draft the first is new and the second is not")
	}
	again := book.Draft()
	if !again.Record(id("1")) {
		t.Fatal("a draft that was never marked made its record a duplicate")
	}
	again.Entry().Window = window(0, 10)
	again.Mark()
	if book.Draft().Record(id("1")) {
		t.Fatal("a marked record is not a duplicate")
	}
}

func TestDuplicatesLeaveNothingInTheBook(t *testing.T) {
	book, _ := ledger.NewBook(false, nil)
	book.Draft().Mark()
	if entries, _ := book.Len(); entries != 0 {
		t.Errorf("%d entries of a draft without anything new", entries)
	}
}

func TestEntriesAreLoadedWhereTheyTouch(t *testing.T) {
	book, _ := ledger.NewBook(false, nil)
	var names []string
	stored := map[string]*ledger.Entry{}
	for i, w := range []ledger.Range{window(0, 100), window(100, 200), window(500, 600)} {
		d := book.Draft()
		d.Record(id(string(rune('a' + i))))
		e := d.Entry()
		e.Window, e.Commit = w, uint64(i)
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if stored[e.Name()], err = ledger.DecodeEntry(data); err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
	}
	book, err := ledger.NewBook(false, names)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		w    ledger.Range
		want []string
	}{
		{window(202, 300), names[1:2]}, {window(203, 497), nil}, {window(-50, -2), names[:1]},
		{window(50, 150), names[:2]}, {window(0, 1000), names},
	} {
		if got := book.Needed(c.w); !slices.Equal(got, c.want) {
			t.Errorf("for %v: %v are needed, want %v", c.w, got, c.want)
		}
	}
	for name, e := range stored {
		book.Load(name, e)
	}
	if got := book.Needed(window(0, 1000)); len(got) != 0 {
		t.Errorf("%v are needed although all are loaded", got)
	}
	book.Unload(window(550, 560))
	if book.Draft().Record(id("c")) {
		t.Error("Unload dropped a window that is read")
	}
	if got := book.Needed(window(0, 10)); !slices.Equal(got, names[:1]) {
		t.Errorf("%v are needed after Unload", got)
	}
	old := book.Before(window(300, 0).From)
	slices.Sort(old)
	if !slices.Equal(old, names[:2]) {
		t.Errorf("%v ended before, want %v", old, names[:2])
	}
	book.Forget(old)
	if got := book.Needed(window(0, 300)); len(got) != 0 {
		t.Errorf("%v are needed although they are forgotten", got)
	}
}

// What is unloaded is given back once it is much; what is needed is loaded again.
func TestUnloadGivesMemoryBack(t *testing.T) {
	book, _ := ledger.NewBook(false, nil)
	const n = 200_000
	big, small := book.Draft(), book.Draft()
	for i := range n {
		big.Record(id(strconv.Itoa(i)))
	}
	big.Entry().Window = window(0, 10)
	big.Mark()
	small.Record(id("small"))
	small.Entry().Window, small.Entry().Commit = window(100, 110), 1
	small.Mark()
	if _, ids := book.Len(); ids != n+1 {
		t.Fatalf("%d ids, want %d", ids, n+1)
	}
	book.Unload(window(100, 110))
	if _, ids := book.Len(); ids != 0 {
		t.Errorf("%d ids are in memory", ids)
	}
	if got := book.Needed(window(0, 200)); len(got) != 2 {
		t.Errorf("%v are needed, want both", got)
	}
}

func TestVersions(t *testing.T) {
	rec := events.RecordIdentity(key, "c1")
	a, b := events.HashOf([]byte("a")), events.HashOf([]byte("b"))
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	book, _ := ledger.NewBook(true, nil)
	var names []string
	var stored []*ledger.Entry
	step := func(content events.Hash, began, ended int, want bool, number int) {
		t.Helper()
		d := book.Draft()
		got, isNew := d.Version(rec, content, at(began), at(ended))
		if isNew != want {
			t.Fatalf("new: %v, want %v", isNew, want)
		}
		if !isNew {
			return
		}
		if got != rec.Version(content, number) {
			t.Fatalf("the event's id is not that of number %d", number)
		}
		e := d.Entry()
		e.Window, e.Commit = window(100*len(stored), 100*len(stored)+50), uint64(len(stored))
		d.Mark()
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := ledger.DecodeEntry(data)
		if err != nil {
			t.Fatal(err)
		}
		names, stored = append(names, e.Name()), append(stored, decoded)
	}
	step(a, 1, 2, true, 0)
	step(a, 3, 4, false, 0)  // read again
	step(b, 5, 8, true, 0)   // a slow answer
	step(a, 4, 5, false, 0)  // an old answer
	step(a, 7, 9, false, 0)  // one that was under way at the same time
	step(a, 8, 10, true, 1)  // A, B, A
	step(b, 11, 12, true, 1) // and B again

	// Both in one batch: neither is told from the other, so the first counts.
	d := book.Draft()
	if _, isNew := d.Version(rec, a, at(20), at(21)); !isNew {
		t.Fatal("a new version is a duplicate")
	}
	if _, isNew := d.Version(rec, events.HashOf([]byte("c")), at(20), at(21)); isNew {
		t.Fatal("two versions of one answer are both published")
	}

	book, err := ledger.NewBook(true, names)
	if err != nil {
		t.Fatal(err)
	}
	needed := book.Needed(window(0, 1)) // all: a change may move a record to another window
	if len(needed) != len(names) {
		t.Fatalf("%d of %d entries are needed", len(needed), len(names))
	}
	for _, name := range needed {
		book.Load(name, stored[slices.Index(names, name)])
	}
	step(b, 0, 0, false, 0)
	// The clock was put back, but what is loaded is older than any answer.
	step(a, 1, 2, true, 2)
	book.Forget(names[:1])
	step(b, 3, 4, true, 2)
	step(a, 5, 6, true, 3) // number 0 is forgotten, the others are not
}

// Of records that stay in their window the entries are loaded as they are needed,
// in any order: the latest version is that of the latest commit.
func TestVersionsThatAreLoadedInAnyOrder(t *testing.T) {
	rec := events.RecordIdentity(key, "m1")
	a, b := events.HashOf([]byte("a")), events.HashOf([]byte("b"))
	entry := func(commit uint64, w ledger.Range, content events.Hash) *ledger.Entry {
		return &ledger.Entry{Window: w, Commit: commit, Versions: []ledger.RecordVersion{{Record: rec, Content: content}}}
	}
	early, late := entry(3, window(0, 100), a), entry(9, window(50, 60), b)
	for _, first := range []ledger.Range{window(58, 59), window(0, 10), window(0, 100)} {
		book, err := ledger.NewBook(false, []string{early.Name(), late.Name()})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []ledger.Range{first, window(55, 56)} {
			names := book.Needed(w)
			slices.Reverse(names)
			for _, name := range names {
				book.Load(name, map[string]*ledger.Entry{early.Name(): early, late.Name(): late}[name])
			}
		}
		d := book.Draft()
		if _, isNew := d.Version(rec, b, t0, t0); isNew {
			t.Error("the latest version is published again")
		}
		if id, isNew := d.Version(rec, a, t0, t0); !isNew || id != rec.Version(a, 1) {
			t.Error("a version that came back is not published as the second of its kind")
		}
		book.Unload(window(500, 600))
		if again := book.Needed(window(55, 56)); len(again) != 2 {
			t.Errorf("%v are needed again", again)
		}
	}
}

func TestFormats(t *testing.T) {
	c := ledger.Checkpoint{
		Stream: key, Owner: "o", Commit: "c", Commits: 7, Since: t0,
		Live:  ledger.Lane{At: t0, Window: window(0, 9), Cursor: []byte(`"x"`)},
		Sweep: ledger.Sweep{Due: t0},
	}
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ledger.DecodeCheckpoint(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := got.Encode()
	if err != nil || string(again) != string(data) {
		t.Fatalf("a checkpoint does not survive its encoding:\n%s\n%s (%v)", data, again, err)
	}
	var newer *ledger.NewerError
	if _, err := ledger.DecodeCheckpoint([]byte(`{"version":99,"live":"of another shape"}`)); !errors.As(err, &newer) {
		t.Errorf("a checkpoint of a newer version: %v", err)
	}
	if _, err := ledger.DecodeEntry([]byte("{\"version\":99}\n")); !errors.As(err, &newer) {
		t.Errorf("an entry of a newer version: %v", err)
	}
	for _, bad := range []string{"", "{}", "{\"version\":1,\"ids\":1}\n", "{\"version\":1,\"ids\":-1}\n", "{\"version\":1,\"versions\":4611686018427387904}\n"} {
		if _, err := ledger.DecodeEntry([]byte(bad)); err == nil {
			t.Errorf("an entry of %q was read", bad)
		}
	}
}

func TestCover(t *testing.T) {
	var c ledger.Checkpoint
	for _, r := range []ledger.Range{window(10, 20), window(30, 40), window(5, 5), window(20, 25), window(0, 5), window(24, 31)} {
		c.Cover(r)
	}
	if want := []ledger.Range{window(0, 5), window(10, 40)}; !slices.Equal(c.Covered, want) {
		t.Fatalf("covered %v, want %v", c.Covered, want)
	}
}

func FuzzDecode(f *testing.F) {
	e := ledger.Entry{Window: window(0, 9), IDs: []events.ID{id("1")}, Versions: []ledger.RecordVersion{{Number: 3}}}
	seed, _ := e.Encode()
	f.Add(seed)
	e.Pages = []byte(`[{"ids":1,"sent":5,"window":[1,2],"page":1},{"versions":1,"sent":6,"window":[1,2],"key":"k"}]`)
	paged, _ := e.Encode()
	f.Add(paged)
	f.Add([]byte(`{"version":1,"live":{"cursor":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := ledger.DecodeEntry(data); err == nil {
			for n := range max(len(e.IDs), len(e.Versions)) {
				if p := e.PageOf(n, n%2 == 1); p != nil && (n%2 == 0 && p.IDs <= 0 || n%2 == 1 && p.Versions <= 0) {
					t.Fatalf("id %d is of %+v", n, p)
				}
			}
			again, err := e.Encode()
			if err != nil {
				t.Skip() // a time that JSON cannot write
			}
			if other, err := ledger.DecodeEntry(again); err != nil || !slices.Equal(other.IDs, e.IDs) || !slices.Equal(other.Versions, e.Versions) {
				t.Fatalf("an entry does not survive its encoding: %v", err)
			}
		}
		if c, err := ledger.DecodeCheckpoint(data); err == nil {
			again, err := c.Encode()
			if err != nil {
				t.Skip()
			}
			if _, err := ledger.DecodeCheckpoint(again); err != nil {
				t.Fatalf("a checkpoint does not survive its encoding: %v", err)
			}
		}
	})
}

// That ids are given back which are not needed changes nothing of the versions
// that are: an answer that was asked for before the latest one came is old.
func TestVersionsStayWhenIDsGo(t *testing.T) {
	book, err := ledger.NewBook(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := events.RecordIdentity(key, "m1")
	d := book.Draft()
	d.Version(rec, events.HashOf([]byte("b")), t0.Add(5*time.Second), t0.Add(6*time.Second))
	entry := d.Entry()
	entry.Window, entry.Commit = window(1000, 2000), 3
	d.Mark()
	many := &ledger.Entry{Window: window(0, 10), Commit: 1, IDs: make([]events.ID, 1<<17)}
	for n := range many.IDs {
		many.IDs[n] = id(strconv.Itoa(n))
	}
	book.Load(many.Name(), many)
	book.Unload(window(1000, 2000))
	needed := book.Needed(window(1000, 2000))
	if len(needed) != 1 {
		t.Fatalf("%v is needed: the test shows nothing", needed)
	}
	stored, err := entry.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ledger.DecodeEntry(stored)
	if err != nil {
		t.Fatal(err)
	}
	book.Load(needed[0], again)
	d = book.Draft()
	if n := d.Versions(rec); n != 1 {
		t.Errorf("%d versions are known of the one", n)
	}
	if _, isNew := d.Version(rec, events.HashOf([]byte("a")), t0.Add(4*time.Second), t0.Add(7*time.Second)); isNew {
		t.Error("an answer from before the latest version is published")
	}
}
