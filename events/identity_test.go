package events_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
)

// -new-ids writes ids for cases of the golden file that have none; it never
// changes one: an id that changes publishes everybody's history again.
var newIDs = flag.Bool("new-ids", false, "fill in the ids that testdata/ids.golden.json lacks")

type goldenID struct {
	Kind    string // record, content, cell, version, dead, replay, published, split
	Vendor  string
	Account string
	Stream  string
	ID      string    `json:",omitempty"` // record, version, replay, published, split
	Raw     string    `json:",omitempty"` // content, cell, version, dead
	Cell    time.Time `json:",omitzero"`
	Number  int       `json:",omitempty"`
	Part    int       `json:",omitempty"`
	Want    string
}

func (g goldenID) compute(t *testing.T) events.ID {
	key := events.StreamKey{Vendor: g.Vendor, Account: g.Account, Stream: g.Stream}
	switch g.Kind {
	case "record":
		return events.RecordIdentity(key, g.ID).Event()
	case "replay":
		return events.ReplayMark(events.RecordIdentity(key, g.ID).Event(), uint64(g.Number))
	case "published":
		return events.PublishedMark(events.RecordIdentity(key, g.ID).Event())
	case "split":
		return events.SplitID(events.RecordIdentity(key, g.ID).Event(), g.Number)
	case "dead":
		return events.DeadLetterIdentity(key, []byte(g.Raw), g.Number, g.Part).Event()
	}
	canonical, err := events.Canonical([]byte(g.Raw))
	if err != nil {
		t.Fatal(err)
	}
	if g.Kind == "cell" {
		return events.CellIdentity(key, canonical, g.Cell, g.Number).Event()
	}
	if g.Kind == "content" {
		return events.ContentIdentity(key, canonical, g.Number).Event()
	}
	return events.RecordIdentity(key, g.ID).Version(events.HashOf(canonical), g.Number)
}

// Invariant 6: ids never change from release to release.
func TestIDsAreForEver(t *testing.T) {
	const path = "testdata/ids.golden.json"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenID
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 12 {
		t.Fatalf("only %d cases in %s", len(cases), path)
	}
	seen := map[string]goldenID{}
	for i, c := range cases {
		got := c.compute(t).String()
		if c.Want == "" && *newIDs {
			cases[i].Want = got
		} else if got != c.Want {
			t.Errorf("%+v now has the id %s", c, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%+v and %+v have the same id", c, other)
		}
		seen[got] = c
	}
	if *newIDs {
		data, _ = json.MarshalIndent(cases, "", "  ")
		if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Two identities are equal only when all their parts are: moving a character
// from one part to the next gives another id.
func FuzzIdentity(f *testing.F) {
	f.Add("deepconverse", "bot", "messages", "1", "deepconverse", "bot", "message", "s1")
	f.Add("a", "", "", "", "", "a", "", "")
	f.Fuzz(func(t *testing.T, v1, a1, s1, id1, v2, a2, s2, id2 string) {
		k1, k2 := events.StreamKey{Vendor: v1, Account: a1, Stream: s1}, events.StreamKey{Vendor: v2, Account: a2, Stream: s2}
		same := k1 == k2 && id1 == id2
		if got := events.RecordIdentity(k1, id1) == events.RecordIdentity(k2, id2); got != same {
			t.Fatalf("equal ids: %v, equal parts: %v", got, same)
		}
		c1, c2 := events.ContentIdentity(k1, []byte(id1), len(id2)), events.ContentIdentity(k2, []byte(id2), len(id2))
		if got := c1 == c2; got != same {
			t.Fatalf("equal content ids: %v, equal parts: %v", got, same)
		}
		if c1 == events.ContentIdentity(k1, []byte(id1), len(id2)+1) {
			t.Fatal("the number among identical records is not in the id")
		}
		id, ok := events.ParseID(c1.Event().String())
		if !ok || id != c1.Event() {
			t.Fatal("an id does not survive its text")
		}
	})
}

func TestParseIDOfWhatIsNone(t *testing.T) {
	for _, text := range []string{"", "ab", "ab345678901234567890123456789xyz", "AB345678901234567890123456789012345"} {
		if id, ok := events.ParseID(text); ok || id != (events.ID{}) {
			t.Errorf("%q: %v %v", text, id, ok)
		}
	}
}
