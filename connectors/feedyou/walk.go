package feedyou

import (
	"iter"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What walks here has been read by a JSON parser before: it looks at brackets,
// commas and quotes only, and keeps where in the text each value stands.

// span is a part of a text.
type span struct{ from, to int }

// members yields the names, in their quotes, and values of the object that begins
// at a place.
func members(text []byte, at int) iter.Seq2[span, span] {
	return func(yield func(name, value span) bool) {
		for i := skipSpace(text, at+1); text[i] != '}'; {
			if text[i] == ',' {
				i = skipSpace(text, i+1)
			}
			name := span{i, stringEnd(text, i)}
			i = skipSpace(text, name.to) // at the colon
			i = skipSpace(text, i+1)     // at the value
			value := span{i, valueEnd(text, i)}
			if !yield(name, value) {
				return
			}
			i = skipSpace(text, value.to)
		}
	}
}

// elements yields the elements of the array that begins at a place.
func elements(text []byte, at int) iter.Seq[span] {
	return func(yield func(span) bool) {
		for i := skipSpace(text, at+1); text[i] != ']'; {
			if text[i] == ',' {
				i = skipSpace(text, i+1)
			}
			element := span{i, valueEnd(text, i)}
			if !yield(element) {
				return
			}
			i = skipSpace(text, element.to)
		}
	}
}

func skipSpace(text []byte, i int) int {
	for text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r' {
		i++
	}
	return i
}

// stringEnd returns the place behind the string that begins at i.
func stringEnd(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// valueEnd returns the place behind the value that begins at i.
func valueEnd(text []byte, i int) int {
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		for depth := 0; ; {
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
	}
	for i < len(text) && !strings.ContainsRune(" \t\r\n,]}", rune(text[i])) {
		i++
	}
	return i
}

// unquote returns what a JSON string holds, and where in it each byte comes from,
// the end too. Where there are no escapes, places is nil: each is one further on.
func unquote(quoted []byte) (text []byte, places []int) {
	inner := quoted[1 : len(quoted)-1]
	i := 0
	for i < len(inner) && inner[i] != '\\' {
		i++
	}
	if i == len(inner) {
		return inner, nil
	}
	text = make([]byte, 0, len(inner))
	places = make([]int, 0, len(quoted))
	for i = 0; i < len(inner); {
		place := i + 1
		if c := inner[i]; c != '\\' {
			text = append(text, c)
			i++
		} else {
			var r rune
			r, i = escaped(inner, i)
			text = utf8.AppendRune(text, r)
		}
		for len(places) < len(text) {
			places = append(places, place)
		}
	}
	return text, append(places, len(inner)+1)
}

// escaped returns the character that the escape at i stands for, and the place
// behind it.
func escaped(text []byte, i int) (rune, int) {
	switch c := text[i+1]; c {
	case 'u':
		r := hexRune(text[i+2:])
		i += 6
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if len(text) >= i+6 && text[i] == '\\' && text[i+1] == 'u' {
				pair = utf16.DecodeRune(r, hexRune(text[i+2:]))
			}
			if pair != utf8.RuneError {
				return pair, i + 6
			}
			return utf8.RuneError, i
		}
		return r, i
	case 'b':
		return '\b', i + 2
	case 'f':
		return '\f', i + 2
	case 'n':
		return '\n', i + 2
	case 'r':
		return '\r', i + 2
	case 't':
		return '\t', i + 2
	default: // " \ /
		return rune(c), i + 2
	}
}

func hexRune(digits []byte) (r rune) {
	for _, c := range digits[:4] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}

// hexDigit returns the value of a hexadecimal digit, 16 for anything else.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
