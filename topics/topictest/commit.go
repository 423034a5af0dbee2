package topictest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

func testCommit(t *testing.T, be Backend) {
	b := be.Open(t)
	s := acquire(t, b, key, "a")
	if c := checkpoint(t, s); c != "" {
		t.Errorf("a new stream has the checkpoint %q", c)
	}
	commit(t, s, batch("1", 0, 300))
	commit(t, s, &topics.Commit{ID: "2", Checkpoint: []byte("2")})
	commit(t, s, batch("3", 300, 1))
	if c := checkpoint(t, s); c != "3" {
		t.Errorf("the checkpoint is %q, want 3", c)
	}
	wantPublished(t, b, numbers(0, 301))
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
}

func testResume(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	commit(t, s, batch("1", 0, 10))
	commit(t, s, batch("2", 10, 10))
	s.Release()
	closeBroker(t, b)

	b = be.Open(t)
	all, err := b.Checkpoints(t.Context())
	if err != nil || len(all) != 1 || all[0].Key != key || string(all[0].Checkpoint) != "2" || all[0].Written.IsZero() {
		t.Errorf("checkpoints: %+v, %v", all, err)
	}
	s = acquire(t, b, key, "b")
	if c := checkpoint(t, s); c != "2" {
		t.Errorf("the checkpoint is %q, want 2", c)
	}
	entries, err := s.Entries(t.Context())
	if err != nil || !slices.Equal(entries, []string{"entry.1", "entry.2"}) {
		t.Errorf("entries: %q, %v", entries, err)
	}
	commit(t, s, batch("3", 20, 10))
	wantPublished(t, b, numbers(0, 30))
}

// testFencing lets a stale owner commit: whatever it sends is refused whole.
func testFencing(t *testing.T, be Backend) {
	b := be.Open(t)
	fencing(t, b, b)
}

func testFencingBetweenBrokers(t *testing.T, be Backend) {
	fencing(t, be.Open(t), be.Open(t))
}

func fencing(t *testing.T, b, other topics.Broker) {
	stale := begin(t, b, key, "stale")
	commit(t, stale, batch("1", 0, 5))
	stale.Release()
	fresh := begin(t, other, key, "fresh")
	commit(t, fresh, batch("2", 5, 5))

	wantFenced(t, stale.Commit(t.Context(), batch("3", 100, 50)))
	if c := checkpoint(t, fresh); c != "2" {
		t.Errorf("the checkpoint is %q, want 2", c)
	}
	if _, err := fresh.Entry(t.Context(), "entry.3"); err == nil {
		t.Error("the stale owner's ledger entry is there")
	}
	commit(t, fresh, batch("4", 10, 5))
	wantPublished(t, b, numbers(0, 15))
}

// testUnread holds a stream to reading before it writes.
func testUnread(t *testing.T, be Backend) {
	b := be.Open(t)
	s := acquire(t, b, key, "a")
	if err := s.Commit(t.Context(), batch("1", 0, 1)); err == nil {
		t.Error("a commit before the checkpoint was read succeeded")
	}
	checkpoint(t, s)
	commit(t, s, batch("2", 0, 1))
	wantPublished(t, b, numbers(0, 1))
}

func testAdvance(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	for i := range 3 {
		if err := s.Advance(t.Context(), fmt.Sprint("a", i), fmt.Append(nil, i)); err != nil {
			t.Fatalf("advance: %v", err)
		}
	}
	commit(t, s, batch("1", 0, 3))
	if err := s.Advance(t.Context(), "a4", []byte("4")); err != nil {
		t.Fatalf("advance: %v", err)
	}
	if c := checkpoint(t, s); c != "4" {
		t.Errorf("the checkpoint is %q, want 4", c)
	}
	s.Release()
	fresh := begin(t, b, key, "b")
	if err := fresh.Advance(t.Context(), "b1", []byte("5")); err != nil {
		t.Fatalf("advance: %v", err)
	}
	wantFenced(t, s.Advance(t.Context(), "a5", []byte("6")))
	wantPublished(t, b, numbers(0, 3))
}

func testLedger(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	// A neighbour whose name begins alike has a ledger of its own.
	neighbour := key
	neighbour.Stream += "X"
	n := begin(t, b, neighbour, "a")
	commit(t, n, batch("n", 0, 1))
	names := []string{"a", "a-b", "a.b", "a0", "live.2026-11-20t00.00.00z", "z"}
	for i, name := range slices.Backward(names) {
		commit(t, s, &topics.Commit{ID: fmt.Sprint(i), Checkpoint: []byte("c"), Entries: []topics.Entry{{Name: name, Data: []byte("of " + name)}}})
	}
	if got, err := s.Entries(t.Context()); err != nil || !slices.Equal(got, names) {
		t.Errorf("entries: %q, %v, want %q", got, err, names)
	}
	for _, name := range names {
		if data, err := s.Entry(t.Context(), name); err != nil || string(data) != "of "+name {
			t.Errorf("entry %s: %q, %v", name, data, err)
		}
	}
	for range 2 {
		if err := s.Forget(t.Context(), []string{"a", "a.b"}); err != nil {
			t.Errorf("forget: %v", err)
		}
	}
	if _, err := s.Entry(t.Context(), "a"); err == nil {
		t.Error("a forgotten entry is there")
	}
	if got, err := s.Entries(t.Context()); err != nil || !slices.Equal(got, []string{"a-b", "a0", "live.2026-11-20t00.00.00z", "z"}) {
		t.Errorf("entries: %q, %v", got, err)
	}
	if got, err := n.Entries(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("the neighbour's entries: %q, %v", got, err)
	}
	commit(t, s, batch("after", 1, 1))
}

func testHeaders(t *testing.T, be Backend) {
	values := []string{
		"", " ", "a b", "  padded  ", "%", "%41", "100%", `"quoted"`, "tab\tand\nline\r\n", "\x00\x01\x7f",
		"Žluťoučký kůň", "日本語", "🙂", "a:b: c", "/v/local%host:80/s", "a\u00a0b", "~!@#$^&*()_+{}|<>?`-=[];',./",
		strings.Repeat("x", 2000),
	}
	b := be.Open(t)
	s := begin(t, b, key, "a")
	m := message("sms", "ключ 🙂", 0)
	for i, v := range values {
		m.Attributes = append(m.Attributes, events.Attribute{Name: fmt.Sprint("x", i), Value: v})
	}
	for i := range m.Attributes {
		if m.Attributes[i].Name == "partitionkey" {
			m.Attributes[i].Value = m.Key
		}
	}
	c := batch("1", 1, 1)
	c.Messages = append(c.Messages, m)
	commit(t, s, c)
	order := func(a, b events.Attribute) int { return strings.Compare(a.Name, b.Name) }
	want := slices.SortedFunc(slices.Values(m.Attributes), order)
	err := b.Tail(t.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
		if number(t, &r) != 0 {
			return nil
		}
		got := slices.SortedFunc(slices.Values(r.Attributes), order)
		if !slices.Equal(got, want) {
			t.Errorf("attributes\n%q, want\n%q", got, want)
		}
		if r.Key != m.Key || r.Topic != m.Topic || r.Connector != m.Connector || !bytes.Equal(r.Data, m.Data) {
			t.Errorf("message %+v, want %+v", r.Message, m)
		}
		if !strings.HasSuffix(r.FullTopic, ".sms") || r.Stored.IsZero() {
			t.Errorf("topic %q, stored %v", r.FullTopic, r.Stored)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// testOversize sends more than the limits say, learns them, and cuts.
func testOversize(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	limits := b.Limits()
	tooLarge := func(c *topics.Commit) topics.Limits {
		t.Helper()
		var e *topics.TooLargeError
		if err := s.Commit(t.Context(), c); !errors.As(err, &e) {
			t.Fatalf("got %v, want a TooLargeError", err)
		}
		return e.Limits
	}
	large := batch("large", 0, 2)
	large.Messages[1].Data = fmt.Appendf(nil, `{"n":1,"pad":%q}`, strings.Repeat("x", limits.Bytes))
	tooLarge(large)
	long := batch("long", 0, 1)
	long.Messages[0].Attributes = append(long.Messages[0].Attributes, events.Attribute{Name: "recordid", Value: strings.Repeat("x", 70_000)})
	tooLarge(long)

	fits := batch("fits", 0, 2)
	fits.Messages[1].Attributes = append(fits.Messages[1].Attributes, events.Attribute{Name: "recordid", Value: strings.Repeat("x", 59_500)})
	pad := limits.Bytes - fits.Messages[0].Size() - len(`,"pad":""`)
	fits.Messages[0].Data = fmt.Appendf(nil, `{"n":0,"pad":%q}`, strings.Repeat("x", pad))
	if size := fits.Messages[0].Size(); size != limits.Bytes {
		t.Fatalf("the message has %d bytes, want %d", size, limits.Bytes)
	}
	commit(t, s, fits)

	learned := tooLarge(batch("many", 2, limits.Messages))
	commit(t, s, batch("cut", 2, learned.Messages-2))
	wantPublished(t, b, numbers(0, learned.Messages))
}

// testOrder interleaves keys over topics: each key keeps its order.
func testOrder(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	n := 0
	for round := range 5 {
		c := &topics.Commit{ID: fmt.Sprint(round), Checkpoint: []byte("c")}
		for range 200 {
			m := message([]string{"message", "click"}[n%2], fmt.Sprint("key", n%14), n)
			c.Messages = append(c.Messages, m)
			n++
		}
		commit(t, s, c)
	}
	last := map[string]int{}
	count := 0
	err := b.Tail(t.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
		count++
		at := number(t, &r)
		if before, seen := last[r.Key]; seen && at != before+14 {
			t.Errorf("%s: %d came after %d", r.Key, at, before)
		}
		last[r.Key] = at
		return nil
	})
	if err != nil || count != n {
		t.Errorf("read %d events of %d, %v", count, n, err)
	}
}
