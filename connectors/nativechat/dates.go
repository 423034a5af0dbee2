package nativechat

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
)

// spelling is a way to write a date in a predicate. A server compares it with
// what it keeps, and finds nothing where that is of another type: which spelling
// is the right one has to be proved.
type spelling struct {
	form   form
	layout string         // of a text
	zone   *time.Location // of a text
	unit   time.Duration  // of a number
	quoted bool           // the number is a string
}

type form int

const (
	asText   form = iota // as documents show it
	asDate               // {"$date": "2026-01-02T03:04:05.678Z"}
	asNumber             // UNIX time
)

// class is the type of what documents show as a time. A database sorts by type
// first, and compares values of one type only.
type class int

const (
	shownText   class = iota // "2026-01-02"
	shownDigits              // "1772625605060"
	shownNumber              // 1772625605060
	shownDate                // {"$date": ...}, whatever it holds
)

func classOf(value []byte, extended bool) class {
	switch {
	case extended:
		return shownDate
	case len(value) == 0 || value[0] != '"':
		return shownNumber
	case layoutOf(strings.TrimSpace(connectors.Text(value))) == "":
		return shownDigits
	}
	return shownText
}

func (f form) String() string { return [...]string{"text", "$date", "a number"}[f] }

// isoMillis is how JavaScript and MongoDB write a date.
const isoMillis = "2006-01-02T15:04:05.000Z"

// spellings returns the ways to write a date, the likeliest first, after one that
// a document shows. Extended says that it showed it as {"$date": ...}.
func spellings(shown []byte, extended bool) []spelling {
	text := spelling{form: asText, layout: isoMillis, zone: time.UTC}
	date := spelling{form: asDate}
	number := spelling{form: asNumber, unit: time.Millisecond}
	value := strings.TrimSpace(connectors.Text(shown))
	switch {
	case layoutOf(value) != "":
		text.layout, text.zone = layoutOf(value), zoneOf(value)
		if extended {
			return []spelling{date, text, number}
		}
		return []spelling{text, date, number}
	case extended:
		return []spelling{date, number, text}
	}
	number.unit, number.quoted = unitOf(value), shown[0] == '"'
	return []spelling{number, date, text}
}

// write writes a time.
func (s spelling) write(t time.Time) json.RawMessage {
	var out []byte
	switch s.form {
	case asText:
		out, _ = json.Marshal(t.In(s.zone).Format(s.layout))
	case asDate:
		out, _ = json.Marshal(map[string]string{"$date": t.UTC().Format(isoMillis)})
	case asNumber:
		seconds, rest := t.Unix(), time.Duration(t.Nanosecond())
		out = strconv.AppendInt(nil, seconds*int64(time.Second/s.unit)+int64(rest/s.unit), 10)
		if s.quoted {
			out = []byte(`"` + string(out) + `"`)
		}
	}
	return out
}

// copyOf writes a date as a document shows it: exactly, where the spelling is the
// documents' own.
func (s spelling) copyOf(shown []byte) json.RawMessage {
	isText := layoutOf(strings.TrimSpace(connectors.Text(shown))) != ""
	switch {
	case s.form == asText && isText, s.form == asNumber && !isText:
		return shown
	}
	return s.write(connectors.Time(shown))
}

// slack is how far a date that is shown may be from the one that is compared: a
// text may leave out parts of it.
func (s spelling) slack() time.Duration {
	switch {
	case s.form == asText && !strings.Contains(s.layout, "15"):
		return 24 * time.Hour
	case s.form == asText && !strings.Contains(s.layout, "05"):
		return time.Minute
	}
	return time.Second
}

// dateForm has the parts of a date: T or a space, the time, its seconds, their
// fraction, the zone.
var dateForm = regexp.MustCompile(`^\d{4}-\d\d-\d\d(?:([Tt ])\d\d:\d\d(:\d\d)?(?:\.(\d+))?([Zz]|[+-]\d\d(?::?\d\d)?)?)?$`)

// layoutOf returns how a text writes a date; "" where it is none.
func layoutOf(text string) string {
	parts := dateForm.FindStringSubmatch(text)
	if parts == nil || connectors.Time([]byte(`"`+text+`"`)).IsZero() {
		return ""
	}
	layout := time.DateOnly
	if parts[1] == "" {
		return layout
	}
	layout += parts[1] + "15:04"
	if parts[2] != "" {
		layout += ":05"
	}
	if parts[3] != "" {
		layout += "." + strings.Repeat("0", len(parts[3]))
	}
	switch zone := parts[4]; {
	case len(zone) == 1:
		layout += zone
	case len(zone) > 0:
		layout += [...]string{3: "-07", 5: "-0700", 6: "-07:00"}[len(zone)]
	}
	return layout
}

// zoneOf returns the zone that a text names; UTC where it names none.
func zoneOf(text string) *time.Location {
	parts := dateForm.FindStringSubmatch(text)
	digits := strings.ReplaceAll(parts[4], ":", "")
	if len(digits) < 3 {
		return time.UTC
	}
	hours, _ := strconv.Atoi(digits[1:3])
	minutes, _ := strconv.Atoi(digits[3:])
	offset := (hours*60 + minutes) * 60
	if digits[0] == '-' {
		offset = -offset
	}
	return time.FixedZone("", offset)
}

// unitOf returns what a UNIX time counts.
func unitOf(text string) time.Duration {
	whole, _, _ := strings.Cut(text, ".")
	n, _ := strconv.ParseInt(whole, 10, 64)
	switch {
	case n < 1e11:
		return time.Second
	case n < 1e14:
		return time.Millisecond
	case n < 1e17:
		return time.Microsecond
	}
	return time.Nanosecond
}
