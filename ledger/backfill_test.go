package ledger_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-io/millrace/ledger"
)

var day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// Backfills are carried out in their order, paused ones aside, and of those that
// have ended the latest stay.
func TestBackfillsOfACheckpoint(t *testing.T) {
	var c ledger.Checkpoint
	for n := range uint64(9) {
		c.SetBackfill(ledger.Backfill{Number: n + 1})
	}
	shared := c
	first := *c.Backfilling()
	first.Paused = true
	c.SetBackfill(first)
	if b := c.Backfilling(); first.Number != 1 || b.Number != 2 || shared.Backfilling().Number != 1 {
		t.Errorf("%d, then %d; a copy from before has %d", first.Number, b.Number, shared.Backfilling().Number)
	}
	for n := range 8 {
		b := *c.Backfilling()
		b.Done = day.Add(time.Duration(n) * time.Hour)
		c.SetBackfill(b)
	}
	text := ""
	for _, b := range c.Backfills {
		text += fmt.Sprint(b.Number, " ")
	}
	if text != "1 5 6 7 8 9 " || c.Backfilling() != nil || len(c.OpenBackfills()) != 1 || c.BackfillOf(3) != nil {
		t.Errorf("there are %s", text)
	}
}

// A checkpoint keeps its backfills; one of an older version says that the ids are
// gone where its ranges begin, as far as it has forgotten any.
func TestCheckpointsOfOlderVersions(t *testing.T) {
	for version, lost := range map[int]int{1: 1, 2: 1, 3: 0} {
		c := ledger.Checkpoint{
			Version: version, Forgotten: day.Add(time.Hour),
			Covered: []ledger.Range{{From: day, To: day.Add(2 * time.Hour)}, {From: day.Add(3 * time.Hour), To: day.Add(4 * time.Hour)}},
		}
		c.SetBackfill(ledger.Backfill{Number: 4, From: day, To: day.Add(time.Hour), Lane: ledger.Lane{At: day}, Parts: []string{"a"}})
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ledger.DecodeCheckpoint(data)
		if err != nil || len(got.StartsLost) != lost || !got.BackfillOf(4).At.Equal(day) || got.BackfillOf(4).Parts[0] != "a" {
			t.Fatalf("version %d: %+v, %v", version, got, err)
		}
		if data, err = got.Encode(); err != nil {
			t.Fatal(err)
		}
		if again, err := ledger.DecodeCheckpoint(data); err != nil || len(again.StartsLost) != lost || again.Version != ledger.Version {
			t.Errorf("version %d, written again: %+v, %v", version, again, err)
		}
	}
}

func TestCovers(t *testing.T) {
	var c ledger.Checkpoint
	c.Cover(ledger.Range{From: day, To: day.Add(2 * time.Hour)})
	c.Cover(ledger.Range{From: day.Add(3 * time.Hour), To: day.Add(4 * time.Hour)})
	for want, r := range map[bool]ledger.Range{
		true:  {From: day.Add(time.Hour), To: day.Add(2 * time.Hour)},
		false: {From: day.Add(time.Hour), To: day.Add(4 * time.Hour)},
	} {
		if c.Covers(r) != want {
			t.Errorf("%v: %v", r, !want)
		}
	}
}
