package consumers

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/events"
)

// newData makes the struct of an event type; nil for a type that is not known.
func newData(eventType string) any {
	switch eventType {
	case events.TypeMessage:
		return &Message{}
	case events.TypeEmail:
		return &Email{}
	case events.TypeSMS:
		return &SMS{}
	case events.TypeClick:
		return &Click{}
	case events.TypeIntegrationCall:
		return &IntegrationCall{}
	case events.TypeUser:
		return &User{}
	case events.TypeUserSnapshot:
		return &UserSnapshot{}
	case events.TypeUnhandledInput:
		return &UnhandledInput{}
	case events.TypeAnswer:
		return &Answer{}
	case events.TypeConversation:
		return &Conversation{}
	case events.TypeUsage:
		return &Usage{}
	case events.TypeDeadLetter:
		return &DeadLetter{}
	}
	return nil
}

// decodeData returns an event's data; nil for a type that is not known.
func decodeData(eventType string, data []byte) (any, error) {
	to := newData(eventType)
	if to == nil {
		return nil, nil
	}
	if kind := jsontext.Value(data).Kind(); kind != jsontext.KindBeginObject {
		return nil, fmt.Errorf("they are %s, not a JSON object", kindName(kind))
	}
	if err := json.Unmarshal(data, to, numbers); err != nil {
		return nil, dataError(err)
	}
	return to, nil
}

// dataError tells where data are wrong, without the values that the library's own
// errors hold.
func dataError(err error) error {
	if wrong := (*json.SemanticError)(nil); errors.As(err, &wrong) {
		kind := wrong.JSONKind
		if kind == jsontext.KindInvalid { // from readNumber
			kind = jsontext.KindNumber
		}
		return fmt.Errorf("the member %s is %s that cannot be read as %s", wrong.JSONPointer, kindName(kind), strings.TrimPrefix(fmt.Sprint(wrong.GoType), "*"))
	}
	if wrong := (*jsontext.SyntacticError)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("they are no I-JSON from byte %d on", wrong.ByteOffset)
	}
	return errors.New("they cannot be read")
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject, jsontext.KindEndObject:
		return "an object"
	case jsontext.KindBeginArray, jsontext.KindEndArray:
		return "an array"
	}
	return "no JSON"
}

// numbers reads the numbers that a schema allows: 200.0 and 2e2 are integers, and
// 1e400 is a number. What is larger than the Go type holds becomes the largest.
var numbers = json.WithUnmarshalers(json.JoinUnmarshalers(
	json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *float64) error { return readNumber(d, to, float) }),
	json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *int64) error { return readNumber(d, to, integer) }),
))

// readNumber leaves what is no number to the library.
func readNumber[N float64 | int64](d *jsontext.Decoder, to *N, read func(string) (N, error)) error {
	if d.PeekKind() != jsontext.KindNumber {
		return errors.ErrUnsupported
	}
	value, err := d.ReadValue()
	if err == nil {
		*to, err = read(string(value))
	}
	return err
}

func float(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		return math.Copysign(math.MaxFloat64, f), nil
	}
	return f, err
}

func integer(text string) (int64, error) {
	if whole, fraction, _ := strings.Cut(text, "."); strings.Trim(fraction, "0") == "" {
		text = whole
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return n, nil
	}
	f, err := float(text)
	switch {
	case err != nil:
		return 0, err
	case f != math.Trunc(f):
		return 0, strconv.ErrSyntax
	case f >= math.MaxInt64:
		return math.MaxInt64, nil
	case f <= math.MinInt64:
		return math.MinInt64, nil
	}
	return int64(f), nil
}
