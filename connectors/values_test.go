package connectors

import (
	"encoding/json"
	"testing"
	"time"
)

func TestTime(t *testing.T) {
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Time{
		`1772625600`: at, `"1772625600"`: at, `" 1772625600 "`: at,
		`1772625600000`: at, `"1772625600000"`: at, `1772625600000000`: at, `1772625600000000000`: at,
		`1772625600.5`: at.Add(500 * time.Millisecond), `1.7726256e9`: at, `1.7726256e12`: at, `1772625600500.0`: at.Add(500 * time.Millisecond),
		`1772625600123`: at.Add(123 * time.Millisecond), `1772625600123456`: at.Add(123456 * time.Microsecond),
		`"1772625600.25"`: at.Add(250 * time.Millisecond), `100000000000`: time.UnixMilli(1e11).UTC(),
		`"2026-03-04T12:00:00Z"`: at, `"2026-03-04T14:00:00+02:00"`: at, `"2026-03-04T14:00:00\u002B02:00"`: at,
		`"2026-03-04T14:00:00+0200"`: at, `"2026-03-04T14:00:00+02"`: at, `"2026-03-04T12:00:00"`: at, `"2026-03-04 12:00:00"`: at,
		`"2026-03-04 12:00:00Z"`: at, `"2026-03-04 12:00:00+00:00"`: at, `"2026-03-04 14:00:00 +0200"`: at, `"2026-03-04t12:00:00z"`: at,
		`"2026-03-04T12:00"`: at, `"2026-03-04T12:00Z"`: at, `"2026-03-04"`: at.Add(-12 * time.Hour), `" 2026-03-04T12:00:00Z\n"`: at,
		`"2026-03-04T12:00:00.123456789Z"`: at.Add(123456789), `"2026-03-04T12:00:00,5Z"`: at.Add(500 * time.Millisecond),
		`"2026-03-04T14:00:00,5+02:00"`: at.Add(500 * time.Millisecond), `"2026-03-04 12:00:00.5"`: at.Add(500 * time.Millisecond),
	} {
		if got := Time([]byte(value)); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s is %s, want %s", value, got, want)
		}
	}
	for _, value := range []string{
		``, `null`, `true`, `{}`, `[1772625600]`, `""`, `" "`, `"soon"`, `0`, `-5`, `"0"`, `"inf"`, `"-inf"`, `"nan"`, `"infinity"`, `1e400`, `"0x1p40"`,
		`"2026-13-04T12:00:00Z"`, `"2026-02-30"`, `"2026-03-04T25:00:00Z"`, `"2026-03-04T"`, `"1_000"`, `"2026-03-04 12"`, `"12:00:00"`, `"0001-01-01T00:00:00+05:00"`,
		`"9999-12-31T23:59:59-05:00"`,
	} {
		if got := Time([]byte(value)); !got.IsZero() {
			t.Errorf("%s is %s, want none", value, got)
		}
	}
}

// Any time that is read can be written as RFC 3339, which events need.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{`1772625600`, `"2026-03-04T12:00:00.5+02:00"`, `1e300`, `"inf"`, `"9999-12-31 23:59:59 -0100"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) {
			return
		}
		if _, err := Time(value).MarshalText(); err != nil {
			t.Fatalf("%s: %v", value, err)
		}
	})
}

func TestText(t *testing.T) {
	for value, want := range map[string]string{
		`"a"`: "a", `""`: "", `"\u00e9\n"`: "é\n", `5`: "5", `-1.50e3`: "-1.50e3", `9007199254740993`: "9007199254740993",
		``: "", `null`: "", `true`: "", `{}`: "", `[]`: "", `"`: "",
	} {
		if got := Text([]byte(value)); got != want {
			t.Errorf("%s is %q, want %q", value, got, want)
		}
	}
}

func TestStrings(t *testing.T) {
	for value, want := range map[string]string{
		`["a","b"]`: `["a","b"]`, `[]`: `[]`, `[ "\u00e9" , 5 ]`: `["é","5"]`, `[""]`: `[""]`,
		`"a"`: "", `null`: "", ``: "", `[null]`: "", `["a",{}]`: "", `[["a"]]`: "", `{"a":1}`: "", `[`: "",
	} {
		if got := Strings([]byte(value)); string(got) != want {
			t.Errorf("%s is %s, want %s", value, got, want)
		}
	}
}

func TestSnakeCase(t *testing.T) {
	for word, want := range map[string]string{
		"QuickReply": "quick_reply", "text": "text", "": "", "userInput": "user_input", "Quick Reply": "quick_reply", "quick-reply": "quick_reply",
		"HTTP": "http", "already_snake": "already_snake", "a.b": "a_b", "Größe": "größe", "Form2Go": "form2_go",
	} {
		if got := SnakeCase(word); got != want {
			t.Errorf("%q is %q, want %q", word, got, want)
		}
	}
}

func TestKindsOfValues(t *testing.T) {
	for value, want := range map[string][2]bool{`{}`: {true, false}, `[]`: {false, true}, `"{"`: {}, ``: {}, `null`: {}} {
		if got := [2]bool{Object([]byte(value)) != nil, ArrayOf([]byte(value)) != nil}; got != want {
			t.Errorf("%s: %v", value, got)
		}
	}
}
