// Package detect finds e-mail addresses, phone numbers, payment card numbers, IP
// addresses and credentials of URLs in text.
//
// Each kind has a scanner of its own; the rules and their sources are told there.
// What they have in common:
//
//   - A match is what has to be hidden and nothing around it: no quotes, no
//     mailto: or tel:, no full stop behind it.
//   - Letters and digits of ASCII and the underscore join words. What is glued to
//     them is part of an identifier, and not looked at. Letters of other scripts
//     end a number: Chinese and Thai put no space there.
//   - Where a rule has to choose, e-mail addresses, cards and credentials are
//     rather found once too often. Phone numbers have no checksum, and bare digits
//     are mostly something else: there a form must be one that people write, or a
//     word beside it must say what it is.
//   - Digits are those of ASCII.
package detect

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Kind is a set of kinds of content, one bit each.
type Kind uint8

// The kinds.
const (
	Email       Kind = 1 << iota // e-mail addresses
	Phone                        // phone numbers
	Card                         // payment card numbers
	IP                           // IP addresses, version 4 and 6
	Credentials                  // user info and secret parameters of URLs
)

// Names are the words of the configuration, in the order of the kinds' bits.
var Names = [...]string{"email", "phone", "card", "ip", "credentials"}

// ParseKind returns the kind that a word of the configuration names, and whether
// there is one.
func ParseKind(word string) (Kind, bool) {
	for i, name := range Names {
		if name == word {
			return 1 << i, true
		}
	}
	return 0, false
}

// String returns the word for one kind, and "" for none or several.
func (k Kind) String() string {
	if i := bits.TrailingZeros8(uint8(k)); i < len(Names) && k == 1<<i {
		return Names[i]
	}
	return ""
}

// Match is one finding: its kind, and its bytes text[From:To].
type Match struct {
	Kind     Kind
	From, To int
}

// Append appends what is found of kinds in text to dst, in order; matches never
// overlap, are never empty and begin and end between runes. Text is UTF-8 as it
// was said, not escaped for JSON; invalid bytes do no harm. Where kinds compete, a
// credential goes before all others, an IP address and a card before a phone
// number. It takes time in proportion to text, allocates only what dst has no room
// for, and may be called concurrently.
func Append(dst []Match, text []byte, kinds Kind) []Match {
	i := next(text, 0, len(text))
	if i == len(text) || kinds == 0 {
		return dst
	}
	s := scan{text: text, kinds: kinds, out: dst}
	s.run(i, len(text))
	return s.out
}

// scan is the work on one text.
type scan struct {
	text  []byte
	kinds Kind
	out   []Match
	lo    int  // the end of the last match: nothing begins before it
	hi    int  // nothing ends behind it
	inURL bool // digits here are rarely phone numbers
}

// run looks through text[from:to].
func (s *scan) run(from, to int) {
	s.hi = to
	for i := next(s.text, from, to); i < to; i = next(s.text, i, to) {
		switch s.text[i] {
		case '@':
			i = s.email(i, i+1)
		case ':':
			if c := s.at(i + 1); c != '/' && c != ':' && !is(c, hex) {
				i++ // as behind most
				continue
			}
			i = s.colon(i)
		default:
			i = s.digit(i)
		}
	}
}

// add takes a match and returns its end.
func (s *scan) add(kind Kind, from, to int) int {
	s.out = append(s.out, Match{kind, from, to})
	s.lo = to
	return to
}

// colon looks at a colon, and returns where to go on.
func (s *scan) colon(i int) int {
	if !s.inURL && s.at(i+1) == '/' && s.at(i+2) == '/' {
		return s.url(i)
	}
	if s.kinds&IP != 0 && (s.at(i+1) == ':' || is(s.at(i+1), hex)) {
		if from, to := s.ipv6(i); to > 0 {
			return s.add(IP, from, to)
		}
	}
	return i + 1
}

// digit looks at the first digit of several, and returns where to go on.
func (s *scan) digit(i int) int {
	if s.text[i] == '4' && s.before(i) == '%' && s.at(i+1) == '0' {
		return s.email(i-1, i+2) // an escaped @
	}
	end := i + 1
	for end < s.hi && is(s.text[end], digit) {
		end++
	}
	if s.kinds&IP != 0 {
		if from, to := s.ip(i, end); to > 0 {
			return s.add(IP, from, to)
		}
	}
	if s.kinds&(Card|Phone) == 0 || !s.isLong(i, end) {
		for end < s.hi && is(s.text[end], word) && !s.inURL { // there it may be %2B44
			end++
		}
		return end
	}
	n := s.number(i)
	if !n.ok {
		return end
	}
	if s.kinds&Card != 0 {
		if to := s.card(&n); to > 0 {
			return s.add(Card, i, to)
		}
	}
	if s.kinds&Phone != 0 {
		if from, to := s.phone(&n); to > 0 {
			return s.add(Phone, from, to)
		}
	}
	return end
}

// isLong says whether the digits text[i:end] can begin a number that is long
// enough to be a match. Most are not: [scan.number] is not asked about them.
func (s *scan) isLong(i, end int) bool {
	if is(s.before(i), word) && !s.inURL || is(s.at(end), word) && !extension(s, end) {
		return false
	}
	count := end - i
	for between := 0; count < 7 && end < s.hi && between < 5; end++ {
		switch c := s.text[end]; {
		case is(c, digit):
			count, between = count+1, 0
		case c == ' ', c == '-', c == '.', c == '/', c == '(', c == ')', c >= utf8.RuneSelf:
			between++
		default:
			return false
		}
	}
	return count >= 7
}

// at returns the byte at i, and 0 outside of the text.
func (s *scan) at(i int) byte {
	if uint(i) < uint(len(s.text)) {
		return s.text[i]
	}
	return 0
}

// before returns the byte before i, and 0 where a match or nothing is.
func (s *scan) before(i int) byte {
	if i <= s.lo {
		return 0
	}
	return s.text[i-1]
}

// next returns where the first digit, colon or @ of text[i:end] is, and end for
// none. No match is without one. It looks at sixteen bytes at once, then at eight:
// most text has nothing to find.
func next(text []byte, i, end int) int {
	for ; i+16 <= end; i += 16 {
		eight := text[i : i+16 : len(text)]
		if found := marked(binary.LittleEndian.Uint64(eight)); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		if found := marked(binary.LittleEndian.Uint64(eight[8:])); found != 0 {
			return i + 8 + bits.TrailingZeros64(found)/8
		}
	}
	for ; i+8 <= end; i += 8 {
		if found := marked(binary.LittleEndian.Uint64(text[i:])); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < end; i++ {
		if c := text[i]; c-'0' <= ':'-'0' || c == '@' {
			return i
		}
	}
	return end
}

// marked sets the highest bit of each of eight bytes that is a digit, a colon or an
// @. The lowest that is set is right; above it there may be others.
func marked(eight uint64) uint64 {
	const ones = 0x0101010101010101
	low := eight ^ 0x30*ones // digits and the colon, 0x30 to 0x3a, are 0 to 0x0a now
	at := eight ^ '@'*ones
	return ((low-0x0b*ones)&^low | (at-ones)&^at) & (0x80 * ones)
}

// Classes of bytes, a bit set.
const (
	digit = 1 << iota
	hex
	letter // of ASCII
	word   // letters, digits and the underscore
)

var classes = func() (of [256]uint8) {
	for c := range of {
		switch {
		case '0' <= c && c <= '9':
			of[c] = digit | hex | word
		case 'a' <= c|0x20 && c|0x20 <= 'f' && c < 0x80:
			of[c] = hex | letter | word
		case 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80:
			of[c] = letter | word
		case c == '_':
			of[c] = word
		}
	}
	return of
}()

func is(c byte, class uint8) bool { return classes[c]&class != 0 }
