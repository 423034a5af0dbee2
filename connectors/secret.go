package connectors

import "strings"

// mostEscapes is how many times over a text may be escaped and still be read: an
// address in the query of an address in a quoted message makes three.
const mostEscapes = 6

// holds says whether a text holds a secret, as it is or escaped: with percent
// signs in any case and over any characters, as queries and paths do it, quoted as
// Go does it, and several times over. It would rather see one too many.
func holds(text, secret string) bool {
	if secret == "" {
		return false
	}
	secret = strings.ToLower(secret)
	plain := unescape(secret, true)
	for range mostEscapes {
		text = strings.ToLower(text)
		if strings.Contains(text, secret) {
			return true
		}
		// A plus sign may be a space, or itself.
		spaced, kept := unescape(text, true), unescape(text, false)
		if strings.Contains(spaced, secret) || plain != "" && strings.Contains(spaced, plain) {
			return true
		}
		if kept == text {
			return false
		}
		text = kept
	}
	return true // nobody escapes so often without something to hide
}

// unescape undoes one level of percent escapes and of Go's quoting; what is no
// escape stays.
func unescape(s string, plus bool) string {
	if !strings.ContainsAny(s, `%\+`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		switch {
		case rest[0] == '+' && plus:
			out = append(out, ' ')
		case rest[0] == '%' && len(rest) > 2 && isHex(rest[1]) && isHex(rest[2]):
			out = append(out, unhex(rest[1])<<4|unhex(rest[2]))
			i += 2
		case rest[0] == '\\' && len(rest) > 3 && rest[1] == 'x' && isHex(rest[2]) && isHex(rest[3]):
			out = append(out, unhex(rest[2])<<4|unhex(rest[3]))
			i += 3
		case rest[0] == '\\' && len(rest) > 1 && (rest[1] == '\\' || rest[1] == '"'):
			out = append(out, rest[1])
			i++
		default:
			out = append(out, rest[0])
		}
	}
	return string(out)
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
