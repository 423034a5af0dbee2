package detect

// Phone numbers, 7 to 15 digits (ITU-T E.164), in the forms that ITU-T E.123 and
// national habits give them. There is no checksum and no common length, so what
// decides is how it is written, from the surest to the least sure:
//
//  1. International: + or 00 (011 from North America) and a country code, with as
//     many digits as that country has ("calling.go").
//  2. An area code in brackets: (020) 7946 0018, (415) 555-2671.
//  3. Groups in a national form: those with a leading 0 and 9 to 12 digits; 3-3-4
//     of North America and its likes ("forms.go").
//  4. Digits without a gap that are a whole national number of a large country:
//     a leading 0 and 10 or 11 digits, Indian, Chinese, American and Russian ones.
//     Not behind a word such as order, id or account, a # or a =.
//  5. Anything else of 7 to 15 digits, only where a word just before says that it
//     is one: tel, phone, call, mobile, 电话, โทร and others ("words.go"). A date
//     is never one.
//
// The trade-off: what stands alone and fits 4 and is an order number is hidden
// (a false alarm), because a chatbot's user answers "your number?" with exactly
// that. What fits none, like eight digits that nothing explains, is left (a miss),
// because bare digits of that size are account numbers, prices and times far more
// often. So are 10 and 13 digits that begin with 1, which are times of Unix.
//
// Inside a URL digits are paths and ids: only + (or %2B) and a word as in phone=
// or wa.me/ count there. Amounts ($, €, a decimal point, thousands), times, dates,
// addresses and identifiers end or begin in a way that [scan.starts] and
// [scan.ends] refuse.

// phone returns the phone number that begins with n; to is 0 for none.
func (s *scan) phone(n *number) (from, to int) {
	if !s.starts(n.start-n.open) || s.isPrice(n.start) {
		return 0, 0
	}
	of := noWord
	groups := 0
	switch {
	case n.plus:
		groups = s.international(n, 0)
	case s.inURL:
	case s.carriesOn(n):
		return 0, 0
	default:
		groups = s.national(n)
		if groups == 0 || s.isWeak(n, groups) {
			if of = s.wordBefore(n.start); of == idWord || groups > 0 && of == noWord && s.isValue(n.start) {
				return 0, 0
			}
		}
	}
	if groups == 0 && !n.plus {
		if of == noWord && s.inURL {
			of = s.wordBefore(n.start)
		}
		if of != phoneWord && !s.isNext(n) {
			return 0, 0
		}
		groups = s.named(n)
	}
	if groups == 0 {
		return 0, 0
	}
	from, to = n.start, n.to[groups-1]
	if n.closed < groups {
		from -= n.open
	}
	if s.kinds&Card != 0 && groups > 1 && s.cardWithin(n, groups) {
		return 0, 0
	}
	return from, to
}

// isNext says whether n has as many digits as the phone number just before it: of
// two numbers in a row only the first has its word.
func (s *scan) isNext(n *number) bool {
	if len(s.out) == 0 {
		return false
	}
	last := s.out[len(s.out)-1]
	if last.Kind != Phone || last.To != s.lo || n.start-last.To > maxNext {
		return false
	}
	digits := 0
	for _, c := range s.text[last.From:last.To] {
		if is(c, digit) {
			digits++
		}
	}
	return digits == n.digits(0, n.groups)
}

// maxNext is how many bytes may be between two numbers in a row.
const maxNext = 8

// national returns of how many groups the number in a national form is, or that
// with 00 before it; 0 for none.
func (s *scan) national(n *number) int {
	if s.text[n.from[0]] == '0' {
		for _, prefix := range [...]string{"00", "011"} {
			if at := n.from[0]; n.to[0] >= at+len(prefix) && string(s.text[at:at+len(prefix)]) == prefix {
				if prefix == "011" && (n.size(0) > 3 || n.digits(0, n.groups) < 14) {
					continue
				}
				if groups := s.international(n, len(prefix)); groups > 0 {
					return groups
				}
			}
		}
	}
	if n.closed == 1 {
		if groups := s.bracketed(n); groups > 0 {
			return groups
		}
	}
	for groups := min(n.groups, maxForm); groups > 1; groups-- {
		total := n.digits(0, groups)
		if total < 7 {
			break
		}
		if total <= 12 && s.isForm(n, groups) && s.ended(n, groups) {
			return groups
		}
	}
	if s.isBare(s.text[n.from[0]:n.to[0]]) && s.ended(n, 1) {
		return 1
	}
	return 0
}

// ended says whether a phone number can end behind so many groups.
func (s *scan) ended(n *number, groups int) bool {
	end := n.to[groups-1]
	if !s.ends(end) || s.isAmount(end) {
		return false
	}
	// The bracket that was opened is closed.
	open := false
	for g := 1; g < groups; g++ {
		open = n.gap[g] == opens || open && n.gap[g] != closes
	}
	return !open
}

// carriesOn says whether n is the rest of a row of groups: a number of a bank
// account, or of a card that is none.
func (s *scan) carriesOn(n *number) bool {
	if n.open > 0 || s.before(n.start) != ' ' {
		return false
	}
	i := n.start - 1
	for i > s.lo && n.start-i <= 3 && is(s.text[i-1], digit) {
		i--
	}
	return n.start-1-i == 3
}

// isWeak says whether the form alone is not enough beside a word that says
// otherwise.
func (s *scan) isWeak(n *number, groups int) bool {
	return groups == 1 || groups == 2 && n.shape(2) != 56 || n.shape(groups) == 333
}

// isValue says whether the number at p is the value of a name or a mark's number.
func (s *scan) isValue(p int) bool { return s.before(p) == '=' || s.before(p) == '#' }

// isPrice says whether a sign of money is before p.
func (s *scan) isPrice(p int) bool {
	if s.before(p) == ' ' {
		p--
	}
	c, b, a := s.before(p), s.before(p-1), s.before(p-2)
	return c == '$' || b == 0xc2 && (c == 0xa3 || c == 0xa5) || a == 0xe2 && b == 0x82 && 0xa0 <= c || // £ ¥ and U+20A0 to U+20BF
		a == 0xef && b == 0xbf && c == 0xa5
}

// isAmount says whether a sign of money is behind p.
func (s *scan) isAmount(p int) bool {
	if s.at(p) == ' ' {
		p++
	}
	a, b, c := s.at(p), s.at(p+1), s.at(p+2)
	return a == '$' || a == 0xc2 && (b == 0xa3 || b == 0xa5) || a == 0xe2 && b == 0x82 && 0xa0 <= c ||
		a == 0xe5 && b == 0x85 && c == 0x83 // 元
}

// cardWithin says whether the number of a card begins inside of n: that goes first.
func (s *scan) cardWithin(n *number, groups int) bool {
	for g := 1; g < groups; g++ {
		rest := s.number(n.from[g])
		if rest.ok && s.card(&rest) > 0 {
			return true
		}
	}
	return false
}
