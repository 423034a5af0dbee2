package deepconverse

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// A cursor comes back to the API as the API gave it, wherever it stands in the
// answer; what was stored and is none begins the window again.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{`"abc"`, `"a\u0000\"é😀"`, `12`, `null`, `""`, `{"a":1}`, `true`, `"\ud800"`, `-0`, ``, `1e400`} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	p := &pager{bot: "b"}
	f.Fuzz(func(t *testing.T, given []byte, behind bool) {
		window := connectors.Request{From: time.Unix(1, 0), To: time.Unix(2, 0)}
		// Whatever was stored, there is a request or a new beginning.
		window.Cursor = given
		if q, err := p.query(window, 5); err != nil {
			var e *connectors.Error
			if !errors.As(err, &e) || e.Kind != connectors.Restart {
				t.Fatalf("a stored cursor %q: %v", given, err)
			}
		} else if given != nil && !q.Has("cursor") {
			t.Fatalf("a stored cursor %q is left out", given)
		}
		if events.Depth(given) > 0 || !json.Valid(given) {
			return
		}
		text := `{"cursor":` + string(given) + `,"data":[]}`
		if behind {
			text = `{"data":[],"cursor":` + string(given) + `}`
		}
		a := connectors.ReadArray(strings.NewReader(text), 1<<20, "data")
		if _, err := a.Next(); err == nil {
			t.Fatal("an element of an empty list")
		}
		next, err := nextCursor(a)
		if err != nil {
			return // of another type, or too long
		}
		value := strings.TrimSpace(string(given))
		if next == nil {
			if value != "null" && value != `""` {
				t.Fatalf("the cursor %q was lost", given)
			}
			return
		}
		window.Cursor = next
		q, err := p.query(window, 5)
		if err != nil {
			t.Fatalf("the cursor %q cannot be asked with: %v", given, err)
		}
		want := value
		if value[0] == '"' {
			if err := json.Unmarshal([]byte(value), &want); err != nil {
				t.Fatal(err)
			}
		}
		if got := q.Get("cursor"); got != want {
			t.Fatalf("the cursor %q comes back as %q", want, got)
		}
	})
}
