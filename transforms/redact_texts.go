package transforms

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/transforms/detect"
)

// texts hides what is found in the texts, names and long numbers of a value.
func (s *redacting) texts(r *run, value []byte) ([]byte, error) {
	switch kindOf(value) {
	case '"':
		if !suspicious(value) {
			return value, nil
		}
		text := unquoted(value)
		made, err := s.document(r, text)
		if err != nil {
			return nil, err
		}
		if made = s.text(r, made); !same(made, text) {
			return quote(string(made)), nil
		}
	case '{', '[':
		out, err := rewrite(value, func(_, v []byte) ([]byte, error) { return s.texts(r, v) })
		if err == nil && value[0] == '{' {
			out = s.names(r, out)
		}
		return out, err
	case 't', 'f', 'n', 0:
	default:
		if made := s.text(r, value); !same(made, value) {
			return quote(string(made)), nil
		}
	}
	return value, nil
}

// document hides what is found in a text that is JSON itself, in which it may be
// escaped; another text it returns as it is.
func (s *redacting) document(r *run, text []byte) ([]byte, error) {
	i := space(text, 0)
	if kind := kindOf(text[i:]); kind != '{' && kind != '[' && kind != '"' {
		return text, nil
	}
	inner := jsontext.Value(text[i:])
	if tooDeep(inner) || !inner.IsValid(jsontext.AllowDuplicateNames(true)) {
		return text, nil
	}
	inner = bytes.TrimSpace(inner)
	made, err := s.texts(r, inner)
	if err != nil || same(made, inner) {
		return text, err
	}
	return made, nil
}

// suspicious says whether a string may hold anything at all that is looked for: all
// kinds have a digit, an @ or a colon, or an escape that may be one.
func suspicious(quoted []byte) bool {
	for _, c := range quoted {
		if telling[c] {
			return true
		}
	}
	return false
}

var telling = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= '0' && c <= '9' || c == '@' || c == ':' || c == '\\' || c >= 0x80
	}
	return is
}()

// names hides what is found in the names of an object's members. Where two become
// one name they are numbered.
func (s *redacting) names(r *run, object []byte) []byte {
	for i := 1; ; {
		name, _, end, ok := nextMember(object, i)
		if !ok {
			return object
		}
		i = end
		if text := unquoted(name); suspicious(name) && !same(s.text(r, text), text) {
			break
		}
	}
	out, taken := []byte{'{'}, map[string]bool{}
	for i := 1; ; {
		name, value, end, ok := nextMember(object, i)
		if !ok {
			return append(out, '}')
		}
		i = end
		hidden := string(s.text(r, unquoted(name)))
		unique := hidden
		for n := 2; taken[unique]; n++ {
			unique = fmt.Sprintf("%s_%d", hidden, n)
		}
		taken[unique] = true
		out = appendEntry(out, quote(unique), value)
	}
}

// maxPasses is how often a text is searched: what stands around something that was
// taken out may look like something itself then.
const maxPasses = 4

// text returns a text with what is found in it hidden; the text itself where
// nothing is.
func (s *redacting) text(r *run, text []byte) []byte {
	for range maxPasses {
		r.matches = detect.Append(r.matches[:0], text, s.kinds)
		if len(r.matches) == 0 {
			return text
		}
		made := s.hidden(r, text)
		if bytes.Equal(made, text) { // all that is found is the mask
			return text
		}
		if s.with == withHash {
			return made
		}
		text = made
	}
	return text
}

// hidden returns a text with the matches in it hidden.
func (s *redacting) hidden(r *run, text []byte) []byte {
	out := make([]byte, 0, len(text)+32)
	at := 0
	for _, m := range r.matches {
		out = append(out, text[at:m.From]...)
		switch s.with {
		case withMask:
			out = append(out, s.mask...)
		case withHash:
			out = append(out, s.hash(normal(m.Kind, text[m.From:m.To]))...)
		}
		at = m.To
	}
	return append(out, text[at:]...)
}

// normal is what is hashed of something that was found, so that ways to write the
// same give the same hash: letters of an address in lower case, numbers without
// what stands between their digits.
func normal(kind detect.Kind, found []byte) []byte {
	switch kind {
	case detect.Email:
		return bytes.ToLower(found)
	case detect.Phone, detect.Card:
		return bytes.Map(func(c rune) rune {
			if c >= '0' && c <= '9' || c == '+' {
				return c
			}
			return -1
		}, found)
	}
	return found
}

// hashBytes is how much of the HMAC is written: 128 bits, as of ids.
const hashBytes = 16

// hash returns the keyed hash of a text, behind the key's id where it has one.
func (s *redacting) hash(text []byte) string {
	h := s.hashes.Get().(hash.Hash)
	defer s.hashes.Put(h)
	h.Reset()
	h.Write(text)
	sum := hex.EncodeToString(h.Sum(nil)[:hashBytes])
	if s.keyID != "" {
		return s.keyID + ":" + sum
	}
	return sum
}
