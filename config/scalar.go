package config

import (
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of requests per second, written as 3/s, 90/m or 1000/h. Zero
// means that none was set: a rate of 0 is not accepted.
type Rate float64

// Bytes is a size in bytes, written with a unit: 512KiB, 32MiB, 1GiB (powers of
// 1,024), 32MB (powers of 1,000) or 100B.
type Bytes int64

// scalar is a type that is written as one piece of text.
type scalar struct {
	word    string // in the reference
	example string // "wants " + example
	parse   func(text string) (any, bool)
}

var scalars = map[reflect.Type]*scalar{
	reflect.TypeFor[time.Duration](): {"duration", "a duration such as 60s, 24h or 7d", parseDuration},
	reflect.TypeFor[time.Time]():     {"time", "a time such as 2026-01-01T00:00:00Z", parseTime},
	reflect.TypeFor[Rate]():          {"rate", "a rate such as 3/s, 90/m or 1000/h", parseRate},
	reflect.TypeFor[Bytes]():         {"size", "a size such as 32MiB", parseBytes},
}

var plainText = scalarOf(reflect.TypeFor[string]())

// scalarOf returns how values of t are written, nil when t is no scalar.
func scalarOf(t reflect.Type) *scalar {
	if s := scalars[t]; s != nil {
		return s
	}
	typed := func(v any) any { return reflect.ValueOf(v).Convert(t).Interface() }
	switch t.Kind() {
	case reflect.String:
		return &scalar{"string", "a string", func(text string) (any, bool) { return typed(text), true }}
	case reflect.Bool:
		return &scalar{"bool", "true or false", func(text string) (any, bool) {
			text = strings.ToLower(text)
			return typed(text == "true"), text == "true" || text == "false"
		}}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &scalar{"integer", "a whole number such as 10", func(text string) (any, bool) {
			v, err := strconv.ParseInt(text, 10, t.Bits())
			return typed(v), err == nil
		}}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &scalar{"integer", "a whole number such as 10", func(text string) (any, bool) {
			v, err := strconv.ParseUint(text, 10, t.Bits())
			return typed(v), err == nil
		}}
	case reflect.Float32, reflect.Float64:
		return &scalar{"number", "a number such as 0.5", func(text string) (any, bool) {
			v, err := strconv.ParseFloat(text, t.Bits())
			return typed(v), err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
		}}
	}
	return nil
}

var days = regexp.MustCompile(`^([0-9]{1,6})d(.*)$`)

// parseDuration takes Go's syntax with whole days in front: 90s, 1h30m, 7d,
// 1d12h. A duration is never negative.
func parseDuration(text string) (any, bool) {
	var whole time.Duration
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil || n > math.MaxInt64/int64(24*time.Hour) {
			return nil, false
		}
		whole, text = time.Duration(n)*24*time.Hour, m[2]
		if text == "" {
			return whole, true
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || whole > math.MaxInt64-d {
		return nil, false
	}
	return whole + d, true
}

func parseTime(text string) (any, bool) {
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}

func parseRate(text string) (any, bool) {
	number, unit, _ := strings.Cut(text, "/")
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	v, err := strconv.ParseFloat(number, 64)
	rate := v / seconds
	if err != nil || seconds == 0 || !(rate > 0) || math.IsInf(rate, 0) {
		return nil, false
	}
	return Rate(rate), true
}

var size = regexp.MustCompile(`^([0-9]+) ?(B|KiB|MiB|GiB|KB|MB|GB)$`)

func parseBytes(text string) (any, bool) {
	m := size.FindStringSubmatch(text)
	if m == nil {
		return nil, false
	}
	unit := map[string]int64{
		"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9,
	}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return nil, false
	}
	return Bytes(n * unit), true
}

// number returns v for comparing with a bound of the same type.
func number(v any) (float64, bool) {
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return float64(r.Int()), true
	case r.CanUint():
		return float64(r.Uint()), true
	case r.CanFloat():
		return r.Float(), true
	}
	return 0, false
}
