package simulator

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzAppendQuoted(f *testing.F) {
	for _, d := range ownDialogues() {
		for _, t := range d.Turns {
			f.Add(t.Text)
		}
	}
	f.Add("\xff\x00\ufffd")
	f.Fuzz(func(t *testing.T, text string) {
		for _, ascii := range []bool{false, true} {
			quoted := appendQuoted(nil, text, ascii)
			var got string
			if err := json.Unmarshal(quoted, &got); err != nil {
				t.Fatalf("%v: %s", err, quoted)
			}
			// Each byte of what is no UTF-8 becomes one U+FFFD, as with range.
			if want := string([]rune(text)); got != want {
				t.Errorf("%q became %q", text, got)
			}
			if !utf8.Valid(quoted) || ascii && strings.ContainsFunc(string(quoted), func(r rune) bool { return r > 0x7e && r != 0x7f }) {
				t.Errorf("%q", quoted)
			}
		}
	})
}
