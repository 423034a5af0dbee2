package pipeline_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// Invariant 1: each record is an event, a duplicate that is counted, or a dead
// letter that is kept whole.
func TestEveryRecordIsAccountedFor(t *testing.T) {
	poison := []string{`null`, `42`, `"text"`, `[1]`, "{\"a\":\"\xff\"}", `{"a":1,"a":2}`, `{"a":"\ud800"}`, `{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, `{"a":}`, `null`}
	a := &api{elements: []string{`{"id":"1"}`, `{"id":"2","x":1e400}`, `{"id":"1"}`, `{"x":"same"}`, `{"x":"same"}`}}
	a.elements = append(a.elements, poison...)
	b := open(t, t.TempDir())
	for range 2 {
		status := ingest(t, stream(t, a, false), options(b))
		all := read(t, b)
		var dead []string
		for _, e := range all {
			if e.Type != events.TypeDeadLetter {
				continue
			}
			record, ok := e.data["record"].(string)
			if !ok {
				bytes, err := base64.StdEncoding.DecodeString(e.data["record_base64"].(string))
				if err != nil {
					t.Fatal(err)
				}
				record = string(bytes)
			}
			dead = append(dead, record)
		}
		if fmt.Sprint(dead) != fmt.Sprint(poison) {
			t.Errorf("the dead letters hold\n%q, want\n%q", dead, poison)
		}
		if n := len(all) - len(dead); n != 4 {
			t.Errorf("%d events, want 4: two with an id, two of the same content", n)
		}
		c := status.Checkpoint.Counts
		if c.Events != 4 || c.DeadLetters != int64(len(poison)) || c.Records != c.Events+c.DeadLetters+c.Duplicates {
			t.Errorf("the counts do not add up: %+v", c)
		}
	}
}

func TestLargeRecordsAreKeptInParts(t *testing.T) {
	big := `{"id":"big","text":"` + strings.Repeat("ä", 9<<19) + `"}`
	a := &api{elements: []string{`{"id":"1"}`, big, `{"id":"2"}`}}
	b := open(t, t.TempDir())
	for range 2 {
		ingest(t, stream(t, a, false), options(b))
		all := read(t, b)
		var whole []byte
		parts := 0
		ids := map[events.ID]bool{}
		for _, e := range all {
			if ids[e.ID] {
				t.Errorf("the id %s is there twice", e.ID)
			}
			ids[e.ID] = true
			if e.Type != events.TypeDeadLetter {
				continue
			}
			parts++
			if fmt.Sprint(e.data["part"]) != fmt.Sprint(parts) || e.data["reason"] != events.ReasonTooLarge {
				t.Errorf("part %v, reason %v", e.data["part"], e.data["reason"])
			}
			piece, err := base64.StdEncoding.DecodeString(e.data["record_base64"].(string))
			if err != nil {
				t.Fatal(err)
			}
			whole = append(whole, piece...)
		}
		if string(whole) != big || parts < 2 || len(all) != parts+2 {
			t.Errorf("%d parts of %d bytes, %d messages", parts, len(whole), len(all))
		}
	}
}

// An API that gives records outside of the window that it was asked for repeats
// nothing: the ids decide.
func TestRecordsOutsideTheirWindow(t *testing.T) {
	b := open(t, t.TempDir())
	a := &api{elements: many(10), always: true}
	for range 3 {
		ingest(t, stream(t, a, false), options(b))
	}
	if n := len(read(t, b)); n != 10 {
		t.Errorf("%d events of 10 records", n)
	}
}

func TestVersions(t *testing.T) {
	b := open(t, t.TempDir())
	a := &api{always: true}
	var want []string
	for n, content := range []string{"A", "A", "B", "A", "A"} {
		element := fmt.Sprintf(`{"id":"1","x":%q}`, content)
		a.elements = []string{element}
		if n == 0 || a.elements[0] != want[len(want)-1] {
			want = append(want, element)
		}
		ingest(t, stream(t, a, true), options(b))
		var got []string
		ids := map[events.ID]bool{}
		for _, e := range read(t, b) {
			got = append(got, string(e.raw))
			ids[e.ID] = true
			if e.RecordID != "1" {
				t.Errorf("recordid %q", e.RecordID)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(ids) != len(got) {
			t.Fatalf("versions %q with %d ids, want %q", got, len(ids), want)
		}
	}
}

func TestTransformsDropChangeAndSplit(t *testing.T) {
	a := &api{elements: []string{`{"id":"drop"}`, `{"id":"keep"}`}}
	b := open(t, t.TempDir())
	o := options(b)
	o.Transforms = func(_ context.Context, e events.Event) ([]events.Event, error) {
		if e.RecordID == "drop" {
			return nil, nil
		}
		return []events.Event{e}, nil
	}
	ingest(t, stream(t, a, false), o)
	o.Transforms = nil // what a transform dropped is not published by a change of transforms
	ingest(t, stream(t, a, false), o)
	if all := read(t, b); len(all) != 1 || all[0].RecordID != "keep" {
		t.Errorf("%d events", len(all))
	}
}

// Invariant 2: of the commits that a page is cut into only the last moves the
// cursor.
func TestBatchesAreCutToTheBrokersLimit(t *testing.T) {
	l := &limited{Broker: open(t, t.TempDir()), limits: topics.Limits{Messages: 102, Bytes: 1 << 20}}
	ingest(t, stream(t, &api{elements: many(2500)}, false), options(l))
	if n := len(read(t, l)); n != 2500 || l.commits < 25 || l.moved != 1 {
		t.Errorf("%d events in %d commits, %d of which moved the cursor", n, l.commits, l.moved)
	}
}

// Invariant 3: an acknowledgement that did not come means nothing.
func TestLostAcknowledgements(t *testing.T) {
	l := &limited{Broker: open(t, t.TempDir()), limits: topics.Limits{Messages: 5000, Bytes: 1 << 20}, lose: 2}
	ingest(t, stream(t, &api{elements: many(2500)}, false), options(l))
	all := read(t, l)
	ids := map[events.ID]bool{}
	for i, e := range all {
		ids[e.ID] = true
		if e.RecordID != fmt.Sprint(i) {
			t.Fatalf("record %s is event %d", e.RecordID, i)
		}
	}
	if len(all) != 2500 || len(ids) != 2500 {
		t.Errorf("%d events, %d ids", len(all), len(ids))
	}
}

func TestFullBrokerIsWaitedFor(t *testing.T) {
	l := &limited{Broker: open(t, t.TempDir()), limits: topics.Limits{Messages: 5000, Bytes: 1 << 20}, full: 1}
	o := options(l)
	o.Once = false
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	i := pipeline.New(stream(t, &api{elements: many(10)}, false), o)
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()
	err := l.Tail(ctx, topics.TailOptions{Beginning: true}, func(m topics.Received) error {
		return errors.New("it came")
	})
	cancel()
	if err == nil || err.Error() != "it came" {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "waiting for room") || !strings.Contains(log.String(), "has room again") {
		t.Errorf("the log:\n%s", log.String())
	}
}

// Invariant 12: ids are forgotten when the cursor has passed them by the
// horizon, and a window that is read again within it repeats nothing.
func TestIDsAreForgottenBehindTheCursor(t *testing.T) {
	b := open(t, t.TempDir())
	key := events.StreamKey{Vendor: "test", Account: "bot", Stream: "things"}
	now := end
	o := options(b)
	o.Now = func() time.Time { return now }
	a := &api{at: end.Add(-30 * time.Second), began: o.Now} // in what the next read overlaps
	run := func(element string) (entries int, c *ledger.Checkpoint) {
		a.elements = []string{element}
		s := streamAt(t, a, false, o.Now)
		s.Options.Overlap, s.Options.Quiet, s.Options.SweepBack = time.Minute, time.Minute, time.Minute
		ingest(t, s, o)
		held, err := b.Acquire(t.Context(), key, "reader", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Release()
		names, err := held.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data, err := held.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c, err = ledger.DecodeCheckpoint(data); err != nil {
			t.Fatal(err)
		}
		return len(names), c
	}
	run(`{"id":"1"}`)
	now = now.Add(30 * 24 * time.Hour) // stopped for a month, and the record still comes
	if run(`{"id":"1"}`); len(read(t, b)) != 1 {
		t.Error("a month's pause repeated an event")
	}
	a.at = now.Add(-30 * time.Second)
	entries, c := run(`{"id":"2"}`)
	if entries != 1 || c.Forgotten.IsZero() || !c.Forgotten.Before(c.Live.At) {
		t.Errorf("%d entries are kept, forgotten before %s at cursor %s", entries, c.Forgotten, c.Live.At)
	}
}
