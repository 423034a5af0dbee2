package events

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep a record may be nested, its own braces counted.
const MaxDepth = 1000

// Scanner reads the members of records in one pass, without copies or maps, and
// finds out on the way whether a record is one I-JSON object (RFC 7493: UTF-8,
// no duplicate keys, no lone surrogates). The zero value is ready. It is not
// for concurrent use.
type Scanner struct {
	dec  jsontext.Decoder
	src  bytes.Buffer
	name []byte
}

// Object calls member for each member of the object, in its order; name is
// without quotes and escapes, value as it stands in raw. Both are valid during
// the call only. It returns nil for an I-JSON object, else why raw is none; what
// member was told until then counts for nothing.
func (s *Scanner) Object(raw []byte, member func(name, value []byte)) *Dead {
	// A text of n bytes is nested at most n/2 deep: the scan is for giants.
	if len(raw) > 2*MaxDepth && Depth(raw) > MaxDepth {
		return &Dead{Reason: ReasonTooDeep, Detail: "nested deeper than 1000 levels", Stage: StageConnector}
	}
	s.src = *bytes.NewBuffer(raw)
	s.dec.Reset(&s.src)
	if s.dec.PeekKind() != '{' {
		if _, err := s.dec.ReadValue(); err != nil {
			return notJSON(err)
		}
		if err := s.end(); err != nil {
			return notJSON(err)
		}
		return &Dead{Reason: ReasonNotObject, Detail: "a JSON value, but not an object", Stage: StageConnector}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return notJSON(err)
	}
	for s.dec.PeekKind() != '}' {
		quoted, err := s.dec.ReadValue()
		if err != nil {
			return notJSON(err)
		}
		if s.name, err = jsontext.AppendUnquote(s.name[:0], quoted); err != nil {
			return notJSON(err)
		}
		value, err := s.dec.ReadValue()
		if err != nil {
			return notJSON(err)
		}
		member(s.name, value)
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return notJSON(err)
	}
	if err := s.end(); err != nil {
		return notJSON(err)
	}
	return nil
}

// End returns where in raw the value ends that member is being told of: the
// value begins its length before. It is for mappings that copy or replace parts
// of the text in their place.
func (s *Scanner) End() int { return int(s.dec.InputOffset()) }

// end returns nil when nothing but white space is left.
func (s *Scanner) end() error {
	switch _, err := s.dec.ReadToken(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return errors.New("more than one JSON value")
}

// notJSON says what is wrong without the bytes that are.
func notJSON(err error) *Dead {
	detail := "not valid JSON"
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		detail = "a key stands twice in one object"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		detail = "the text ends too early"
	case errors.As(err, &syntax) && syntax.Err != nil && bytes.Contains([]byte(syntax.Err.Error()), []byte("UTF-8")):
		detail = "not valid UTF-8"
	case errors.As(err, &syntax) && syntax.Err != nil && bytes.Contains([]byte(syntax.Err.Error()), []byte("surrogate")):
		detail = "a lone surrogate in a string"
	}
	return &Dead{Reason: ReasonNotJSON, Detail: detail, Stage: StageConnector}
}

// Depth returns how deep the brackets of a JSON text are nested. The text need
// not be valid.
func Depth(text []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
			continue
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
		i++
	}
	return deepest
}
