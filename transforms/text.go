package transforms

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// The functions of this file walk JSON text that is known to be valid. None of
// them copies what it passes by.

// space returns where the white space that begins at i ends.
func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns where the string that begins at i ends.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return len(text)
		}
		end := i + n
		back := end
		for back > i && text[back-1] == '\\' {
			back--
		}
		if i = end + 1; (end-back)%2 == 0 {
			return i
		}
	}
	return len(text)
}

// valueEnd returns where the value that begins at i ends.
func valueEnd(text []byte, i int) int {
	if i >= len(text) {
		return i
	}
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		for depth := 0; i < len(text); {
			switch text[i] {
			case '"':
				i = stringEnd(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return i
	}
	for i < len(text) {
		switch text[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// maxDepth is how deep objects and lists may be in each other for steps to work on
// them: each level is gone through anew.
const maxDepth = 128

// tooDeep says whether a value is deeper.
func tooDeep(text []byte) bool {
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= maxDepth {
		return false
	}
	for i, depth := 0, 0; i < len(text); {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
		i++
	}
	return false
}

// nextMember returns the member that begins at i or behind the comma there, its
// name with quotes, and where it ends. Ok is false at the end of the members.
func nextMember(text []byte, i int) (name, value []byte, end int, ok bool) {
	if i = space(text, i); i < len(text) && text[i] == ',' {
		i = space(text, i+1)
	}
	if i >= len(text) || text[i] != '"' {
		return nil, nil, i, false
	}
	end = stringEnd(text, i)
	name = text[i:end]
	if i = space(text, end); i < len(text) && text[i] == ':' {
		i = space(text, i+1)
	}
	end = valueEnd(text, i)
	return name, text[i:end], end, true
}

// nextElement is nextMember for the elements of a list.
func nextElement(text []byte, i int) (value []byte, end int, ok bool) {
	if i = space(text, i); i < len(text) && text[i] == ',' {
		i = space(text, i+1)
	}
	if i >= len(text) || text[i] == ']' {
		return nil, i, false
	}
	end = valueEnd(text, i)
	return text[i:end], end, true
}

// kindOf returns what a value begins with: '{', '[', '"', 't', 'f', 'n' or a digit
// or sign; 0 for nothing.
func kindOf(value []byte) byte {
	if len(value) == 0 {
		return 0
	}
	return value[0]
}

// unquoted returns a string's text; it is a part of quoted where nothing is escaped.
func unquoted(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	text, _ := jsontext.AppendUnquote(nil, quoted)
	return text
}

// quote returns a text as a JSON string.
func quote(text string) []byte {
	quoted, _ := jsontext.AppendQuote(nil, text)
	return quoted
}
