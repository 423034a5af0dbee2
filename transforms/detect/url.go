package detect

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Credentials of URLs (RFC 3986): whatever is behind "://", of any scheme.
//
//   - The user info of the authority (section 3.2.1), whole, whether it is
//     user:password or a token alone. It ends at the last @ of the authority, as
//     browsers read it.
//   - The value of each parameter whose name holds, in any case, one of
//     secretWords. Parameters begin at ? & # and ; wherever that is: in the query,
//     in the fragment (#access_token=), in the path (;jsessionid=).
//   - Names and separators may be percent-encoded, also more than once: a URL that
//     is the parameter of another hides its own parameters so. A value ends at a
//     separator that is escaped no deeper than its own name.
//
// A URL ends at what RFC 3986 has no place for (space, quotation marks, < > \ ^ ` {
// | }), at the bracket or quote that it is in, and before punctuation at its end.
// Other letters than those of ASCII go on with it, as people paste them: rather too
// much than half a password. Only in the query Chinese, Thai and others end it where
// they are glued to ASCII. Values that are empty or begin with *** are none.
var secretWords = [...]string{"authorization", "cookie", "key", "token", "secret", "password", "session"}

// url looks at the URL whose scheme ends at the colon, and returns its end.
func (s *scan) url(colon int) int {
	hi := s.hi
	end := s.urlEnd(colon)
	s.inURL = true
	at := colon + 3
	if s.kinds&Credentials != 0 {
		w := walk{text: s.text[:end], at: at}
		for {
			from, to := w.next()
			if to == 0 {
				break
			}
			s.run(at, from)
			at = s.add(Credentials, from, to)
		}
	}
	s.run(at, end)
	s.inURL, s.hi = false, hi
	return max(end, colon+3)
}

// urlEnd returns where the URL whose scheme ends at the colon ends.
func (s *scan) urlEnd(colon int) int {
	scheme := colon
	for scheme > s.lo && colon-scheme < 32 && (is(s.text[scheme-1], word) || strings.IndexByte("+-.", s.text[scheme-1]) >= 0) {
		scheme--
	}
	var closer byte
	switch s.before(scheme) {
	case '\'':
		closer = '\''
	case '(':
		closer = ')'
	case '[':
		closer = ']'
	}
	end, behind, inQuery := colon+3, false, false // behind the authority
	for end < s.hi {
		c := s.text[end]
		if c == closer && closer != 0 {
			break
		}
		if c < utf8.RuneSelf {
			if c <= ' ' || c == 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
				break
			}
			behind = behind || c == '/' || c == '?' || c == '#'
			if c == '@' && !behind {
				inQuery = false // a = before it was of the user info
			}
			inQuery = inQuery || c == '?' || c == '#' || c == '='
			end++
			continue
		}
		r, size := utf8.DecodeRune(s.text[end:s.hi])
		if last := s.text[end-1]; inQuery && last < utf8.RuneSelf && last != '=' && unspaced(r) {
			break
		}
		if unicode.IsSpace(r) || 0x2000 <= r && r < 0x2070 || 0x3000 <= r && r < 0x3040 || 0xff00 <= r && r < 0xfff0 {
			break
		}
		end += size
	}
	for end > colon+3 && strings.IndexByte(".,;:!?')*]", s.text[end-1]) >= 0 {
		end--
	}
	return end
}

// walk goes through a URL from credential to credential.
type walk struct {
	text   []byte // up to the URL's end
	at     int
	inPath bool // the authority is behind
}

// next returns the next credential; to is 0 for none.
func (w *walk) next() (from, to int) {
	if !w.inPath {
		w.inPath = true
		if from, to = w.userInfo(); to > 0 {
			w.at = to
			return from, to
		}
	}
	for w.at < len(w.text) {
		c, _, size := w.decode(w.at)
		if c == ':' && size == 1 && bytes.HasPrefix(w.text[w.at:], []byte("://")) {
			w.at += 3
			if from, to = w.userInfo(); to > 0 {
				w.at = to
				return from, to
			}
			continue
		}
		w.at += size
		if isSeparator(c) {
			if from, to = w.parameter(c); to > 0 {
				return from, to
			}
		}
	}
	return 0, 0
}

// userInfo returns the user info of the authority here; to is 0 for none.
func (w *walk) userInfo() (from, to int) {
	rest := w.text[w.at:]
	if end := bytes.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if size := bytes.LastIndexByte(rest, '@'); size > 0 && !bytes.Contains(rest[:size+1], []byte("***@")) {
		return w.at, w.at + size
	}
	return 0, 0
}

// parameter looks at the parameter here, behind a separator, and returns its value
// when it is a secret; to is 0 for none. It goes on behind the name or the value.
func (w *walk) parameter(separator byte) (from, to int) {
	name := w.at
	for w.at < len(w.text) {
		c, depth, size := w.decode(w.at)
		if isSeparator(c) {
			return 0, 0 // which begins the next one
		}
		if c != '=' {
			w.at += size
			continue
		}
		end := w.at
		w.at += size
		if !w.isSecret(name, end) {
			return 0, 0
		}
		from, to = w.at, w.valueEnd(w.at, depth, separator == ';')
		w.at = to
		if from == to || isMasked(w.text[from:to]) {
			return 0, 0
		}
		return from, to
	}
	return 0, 0
}

// valueEnd returns where the value that begins at i ends.
func (w *walk) valueEnd(i, depth int, inPath bool) int {
	for i < len(w.text) {
		c, deep, size := w.decode(i)
		if deep <= depth && (c == '&' || c == '#' || inPath && (c == ';' || c == '/' || c == '?')) {
			return i
		}
		i += size
	}
	return i
}

// isSecret says whether the name text[from:to] holds a secret word.
func (w *walk) isSecret(from, to int) bool {
	for from < to {
		for _, secret := range secretWords {
			if w.has(from, to, secret) {
				return true
			}
		}
		_, _, size := w.decode(from)
		from += size
	}
	return false
}

// has says whether the word is at text[from:to], escaped or not.
func (w *walk) has(from, to int, word string) bool {
	for i := range len(word) {
		if from >= to {
			return false
		}
		c, _, size := w.decode(from)
		if c|0x20 != word[i] {
			return false
		}
		from += size
	}
	return true
}

// maxDepth is how often a character may be escaped.
const maxDepth = 4

// decode returns the character at i, how often it is escaped, and its size.
func (w *walk) decode(i int) (c byte, depth, size int) {
	if w.text[i] != '%' {
		return w.text[i], 0, 1
	}
	at := i + 1
	for depth = 1; depth <= maxDepth; depth++ {
		if at+2 > len(w.text) || !is(w.text[at], hex) || !is(w.text[at+1], hex) {
			break
		}
		c = nibble(w.text[at])<<4 | nibble(w.text[at+1])
		if c != '%' {
			return c, depth, at + 2 - i
		}
		at += 2
	}
	return '%', 0, 1
}

func nibble(c byte) byte {
	if is(c, digit) {
		return c - '0'
	}
	return c&0x0f + 9
}

func isSeparator(c byte) bool { return c == '?' || c == '&' || c == '#' || c == ';' }

// isMasked says whether a value was hidden before.
func isMasked(value []byte) bool { return bytes.HasPrefix(value, []byte("***")) }
