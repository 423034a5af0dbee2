package connectors

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Nothing that an API returns is trusted to have the documented type: what
// cannot be read as what it should be counts as absent, and stays in raw.

// Text reads a string, or a number as its text; "" for anything else.
func Text(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	switch c := value[0]; {
	case c == '"' && len(value) > 1 && bytes.IndexByte(value, '\\') < 0:
		return string(value[1 : len(value)-1])
	case c == '"':
		text, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return ""
		}
		return string(text)
	case c == '-' || '0' <= c && c <= '9':
		return string(value)
	}
	return ""
}

// IsText says whether a value is that string.
func IsText(value []byte, text string) bool {
	if len(value) == len(text)+2 && value[0] == '"' && string(value[1:len(value)-1]) == text {
		return true
	}
	return bytes.IndexByte(value, '\\') >= 0 && Text(value) == text
}

// String returns the value if it is a string, as JSON.
func String(value []byte) []byte { return ofKind(value, '"') }

// Object returns the value if it is an object.
func Object(value []byte) []byte { return ofKind(value, '{') }

// ArrayOf returns the value if it is an array.
func ArrayOf(value []byte) []byte { return ofKind(value, '[') }

func ofKind(value []byte, first byte) []byte {
	if len(value) > 0 && value[0] == first {
		return value
	}
	return nil
}

// Time reads a UNIX time in seconds, milliseconds, microseconds or nanoseconds
// (whichever lies between the years 1973 and 5138), as a number or its text, or
// an ISO 8601 date, with or without time, zone (none is UTC) and fraction.
// The zero time is anything else.
func Time(value []byte) time.Time {
	text := strings.TrimSpace(Text(value))
	if len(text) >= len(time.DateOnly) && text[4] == '-' {
		return inRange(isoTime(text))
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch {
		case whole <= 0:
			return time.Time{}
		case whole < 1e11:
			return time.Unix(whole, 0).UTC()
		case whole < 1e14:
			return time.UnixMilli(whole).UTC()
		case whole < 1e17:
			return time.UnixMicro(whole).UTC()
		}
		return inRange(time.Unix(0, whole))
	}
	if strings.Trim(text, "0123456789.eE+-") != "" { // not "inf", "0x1p9" or a word
		return time.Time{}
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || number <= 0 {
		return time.Time{}
	}
	for number >= 1e11 {
		number /= 1000
	}
	return inRange(time.UnixMicro(int64(math.Round(number * 1e6))))
}

// isoTime reads what is written as a date; the zero time is anything else.
func isoTime(text string) time.Time {
	const date = len(time.DateOnly)
	if len(text) > date && (text[date] == ' ' || text[date] == 't') {
		text = text[:date] + "T" + strings.Replace(text[date+1:], " ", "", 1)
	}
	text = strings.ToUpper(text)
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07",
		"2006-01-02T15:04", "2006-01-02T15:04Z07:00", time.DateOnly,
	} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// inRange drops times that RFC 3339 cannot write.
func inRange(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// SnakeCase writes a vendor's word as ours are written: QuickReply is quick_reply.
func SnakeCase(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_0123456789") == "" {
		return word
	}
	var b strings.Builder
	var before rune
	for _, r := range word {
		switch {
		case r == ' ' || r == '-' || r == '.':
			r = '_'
		case unicode.IsUpper(r):
			if before != 0 && before != '_' && !unicode.IsUpper(before) {
				b.WriteByte('_')
			}
		}
		before = r
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Strings reads an array whose elements are strings or numbers, as a JSON array
// of strings; nil for anything else.
func Strings(value []byte) []byte {
	if ArrayOf(value) == nil {
		return nil
	}
	var list []jsontext.Value
	if err := json.Unmarshal(value, &list); err != nil {
		return nil
	}
	out := []byte{'['}
	for i, element := range list {
		text := Text(element)
		if text == "" && string(element) != `""` {
			return nil
		}
		if i > 0 {
			out = append(out, ',')
		}
		out, _ = jsontext.AppendQuote(out, text)
	}
	return append(out, ']')
}
