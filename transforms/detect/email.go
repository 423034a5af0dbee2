package detect

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// E-mail addresses: the Mailbox of RFC 5321 section 4.1.2 and, for letters beyond
// ASCII, of RFC 6531 section 3.3, as far as people use them:
//
//   - local part: letters, digits and . _ + - ' ~ in at most 64 bytes, without two
//     dots in a row; & and = where they are not of a query. The RFC has more
//     characters, which in running text are almost always something else: ? / # are
//     URLs, * and ` are markup, % is an escape. An address that has them is found
//     from behind the last of them; one in double quotes is not found.
//   - domain: labels of letters, digits and hyphens with a dot between, at most
//     255 bytes. The last begins with two letters or more and ends before any
//     digit or hyphen, or begins with xn--. An address literal, user@[10.0.0.1], is an IP address only.
//   - Chinese, Thai and others put no space between a word and an address. So
//     letters of another script than Latin do not mix with those of Latin, neither
//     in the local part nor in a label.
//   - The @ may be escaped as in a URL, %40.
//
// What looks the same is found too: user@host.org:path of scp, and the names
// @user@host.org of the Fediverse. Not so icon@2x.png.
const (
	maxLocal  = 64
	maxDomain = 255
	maxLabel  = 63
)

// email looks at an @ that is text[at:behind], and returns where to go on.
func (s *scan) email(at, behind int) int {
	if s.kinds&Email == 0 {
		return behind
	}
	from := s.local(at)
	if from == at {
		return behind
	}
	if to := s.domain(behind); to > 0 {
		return s.add(Email, from, to)
	}
	return behind
}

// script is what letters are mixed by: none yet, Latin or any other.
type script uint8

const (
	noScript script = iota
	latin
	other
)

// scriptOf returns the script of a letter, noScript for a digit or a mark, which
// go with all, and false for what is no part of a word.
func scriptOf(r rune) (script, bool) {
	switch {
	case r < utf8.RuneSelf:
		if is(byte(r), letter) {
			return latin, true
		}
		return noScript, is(byte(r), digit)
	case r == utf8.RuneError:
		return noScript, false
	case unicode.IsLetter(r):
		if unicode.Is(unicode.Latin, r) {
			return latin, true
		}
		return other, true
	}
	return noScript, unicode.IsMark(r) || unicode.IsDigit(r)
}

// local returns where the local part that ends at to begins, and to for none.
func (s *scan) local(to int) int {
	from, mixed, plain := to, noScript, false
	for from > s.lo {
		r, size := rune(s.text[from-1]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeLastRune(s.text[s.lo:from])
		}
		if !inLocal(r) && !s.joins(from-1) || r == '.' && s.at(from) == '.' && from < to {
			break
		}
		of, _ := scriptOf(r)
		if of != noScript && mixed != noScript && of != mixed || plain && unspaced(r) {
			break
		}
		mixed, plain = max(mixed, of), plain || r < utf8.RuneSelf && is(byte(r), word)
		if from -= size; to-from > maxLocal {
			return to
		}
	}
	// Digits behind a % are the escape of another character.
	if s.before(from) == '%' && to-from > 2 && is(s.text[from], hex) && is(s.text[from+1], hex) {
		from += 2
	}
	for from < to && !begins(s.text[from]) {
		from++
	}
	return from
}

// joins says whether the & or = at i is one of a local part: as in r&d@example.com,
// not of a query, or as in bounces+ann=example.com@example.org, behind a plus.
func (s *scan) joins(i int) bool {
	c := s.text[i]
	if s.inURL || c != '&' && c != '=' || !is(s.at(i+1), word) {
		return false
	}
	from, plus := i, false
	for from > s.lo && i-from < maxLocal && (is(s.text[from-1], word) || strings.IndexByte(".-+", s.text[from-1]) >= 0) {
		from--
		plus = plus || s.text[from] == '+'
	}
	if first := s.before(from); from == i || first == '=' || first == '&' || first == '?' {
		return false
	}
	return c == '&' || plus
}

// unspaced says whether a letter is of a script that puts no spaces between words:
// it is often glued to what is beside it.
func unspaced(r rune) bool {
	return 0x0e00 <= r && r < 0x10a0 || 0x1780 <= r && r < 0x1800 || 0x2e80 <= r && r < 0xa4d0 || 0xac00 <= r && r < 0xd7b0 || 0xf900 <= r && r < 0xfb00 || 0x20000 <= r
}

func inLocal(r rune) bool {
	switch r {
	case '.', '_', '+', '-', '\'', '~':
		return true
	}
	_, ok := scriptOf(r)
	return ok
}

// begins says whether an address begins so: not with a dash of a list or a quote.
func begins(c byte) bool { return is(c, word) || c >= utf8.RuneSelf }

// domain returns where the domain that begins at from ends, and 0 for none.
func (s *scan) domain(from int) int {
	limit := min(s.hi, from+maxDomain)
	if is(s.at(from), digit) && s.at(from+1) == 'x' && s.at(from+2) == '.' {
		return 0 // a picture for a finer screen
	}
	end, labels := 0, 0
	for at := from; at < limit; {
		to, top := s.label(at, limit)
		if to == at {
			break
		}
		if labels++; labels > 1 && top > 0 {
			end = top
		}
		if s.at(to) != '.' || to+1 >= limit {
			break
		}
		at = to + 1
	}
	return end
}

// label returns where the label that begins at from ends, and where it ends as the
// last of a domain, 0 when it cannot be: behind its first letters, or whole when it
// is encoded.
func (s *scan) label(from, limit int) (to, top int) {
	mixed, letters := noScript, 0
	end := from
	for at := from; at < limit; {
		r, size := rune(s.text[at]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(s.text[at:limit])
		}
		of, ok := scriptOf(r)
		if !ok && (r != '-' || at == from) || of != noScript && mixed != noScript && of != mixed {
			break
		}
		mixed = max(mixed, of)
		if of == noScript && !unicode.IsMark(r) && letters >= 0 {
			if letters > 1 {
				top = at
			}
			letters = -1 // what follows are not the first
		} else if of != noScript && letters >= 0 {
			letters++
		}
		if at += size; r != '-' {
			end = at
		}
	}
	if end-from > maxLabel {
		return from, 0
	}
	if letters > 1 || end-from > 4 && string(s.text[from:from+4]) == "xn--" {
		top = end
	}
	return end, top
}
