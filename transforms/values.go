package transforms

import (
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode makes of JSON text what expressions work with: nil, bool, int, float64,
// string, []any and map[string]any. A number without a fraction or an exponent
// that fits is an int.
func decode(value []byte) (any, error) {
	switch kindOf(value) {
	case 0, 'n':
		return nil, nil
	case 't', 'f':
		return value[0] == 't', nil
	case '"':
		return string(unquoted(value)), nil
	case '{':
		object := map[string]any{}
		for i := 1; ; {
			name, text, end, ok := nextMember(value, i)
			if !ok {
				return object, nil
			}
			v, err := decode(text)
			if err != nil {
				return nil, err
			}
			object[string(unquoted(name))] = v
			i = end
		}
	case '[':
		list := []any{}
		for i := 1; ; {
			text, end, ok := nextElement(value, i)
			if !ok {
				return list, nil
			}
			v, err := decode(text)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
			i = end
		}
	}
	if n, err := strconv.Atoi(string(value)); err == nil && string(value) != "-0" {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // which is infinite then, and cannot be written again
		return nil, failure("it has a number that cannot be read")
	}
	return f, nil
}

// encode makes JSON text of what an expression gives; nil of nil.
func encode(value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, failure("the result is no number")
		}
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.AppendInt(nil, int64(v), 10), nil
		}
	case string:
		return quote(v), nil
	case time.Time:
		return v.UTC().AppendFormat(nil, `"`+time.RFC3339Nano+`"`), nil
	case time.Duration:
		return nil, failure("the result is a duration: say in which unit, as in duration(x).Seconds()")
	}
	text, err := json.Marshal(value, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, failure("the result cannot be written as JSON")
	}
	return text, nil
}
