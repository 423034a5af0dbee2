package detect

// IP addresses as text.
//
// Version 4 (RFC 3986 section 3.2.2, IPv4address): four numbers up to 255 without
// leading zeros. Not a version: not 1.2.3.4.5, v1.2.3.4, name/1.2.3.4,
// name-1.2.3.4, 1.2.3.4-rc1, 1.2.3.4.zip, nor behind the word version or its like. A
// version of four small numbers that stands alone cannot be told from an address
// and is taken for one.
//
// Version 6 (RFC 4291 section 2.2, RFC 5952): eight groups of hex digits, or fewer
// around one "::", the last two perhaps as version 4, and a zone (RFC 4007 section
// 11, also with the % escaped), which belongs to the match. Not times (no "::", not
// eight groups) nor the addresses of network cards (six groups, or eight of two
// digits each). a::b is a name in many languages: there must be a digit, and of
// less than three groups the first must have four digits or be missing. The
// unspecified address "::" hides nobody and is not found.
//
// Brackets, a port or the length of a prefix do not belong to the match.
const maxZone = 32

// ip looks at digits text[i:end]; to is 0 for none.
func (s *scan) ip(i, end int) (from, to int) {
	if s.at(end) == '.' && end-i <= 3 {
		if to = s.ipv4(i); to > 0 {
			return i, to
		}
		return 0, 0
	}
	colon := end
	for colon-i < 4 && is(s.at(colon), hex) {
		colon++
	}
	if s.at(colon) != ':' || s.at(colon+1) != ':' && !is(s.at(colon+1), hex) {
		return 0, 0
	}
	return s.ipv6(i)
}

// ipv4 returns where the address at i ends, and 0 for none.
func (s *scan) ipv4(i int) int {
	to := s.quad(i)
	if to == 0 {
		return 0
	}
	switch c, first := s.before(i), s.before(i-1); {
	case is(c, word), c == '.' && is(first, word), c == '-' && is(first, letter):
		return 0
	case c == '/' && is(first, letter) && !s.inURL:
		return 0
	}
	switch c, then := s.at(to), s.at(to+1); {
	case is(c, word), c == '.' && is(then, word), c == '-' && is(then, letter), c == '@':
		return 0
	}
	if s.wordBefore(i) == versionWord {
		return 0
	}
	return to
}

// quad returns where the four numbers at i end, and 0 for none.
func (s *scan) quad(i int) int {
	for n := range 4 {
		if n > 0 {
			if s.at(i) != '.' {
				return 0
			}
			i++
		}
		value, from := 0, i
		for i < s.hi && is(s.text[i], digit) && i-from < 4 {
			value = value*10 + int(s.text[i]-'0')
			i++
		}
		if i == from || value > 255 || s.text[from] == '0' && i-from > 1 {
			return 0
		}
	}
	return i
}

// ipv6 looks at an address of which text[i] is the first digit or colon; to is 0
// for none.
func (s *scan) ipv6(i int) (from, to int) {
	from = i
	for i-from < 4 && is(s.before(from), hex) {
		from--
	}
	if c := s.before(from); is(c, word) || c == ':' || c == '.' && is(s.before(from-1), word) {
		return 0, 0
	}
	to = s.groups(from)
	if to == 0 {
		return 0, 0
	}
	switch c, then := s.at(to), s.at(to+1); {
	case is(c, word), c == ':' && (then == ':' || is(then, word)), c == '.' && is(then, digit), c == '@':
		return 0, 0
	case c == '%':
		to = s.zone(to)
	}
	return from, to
}

// groups returns where the groups of an address that begin at p end, and 0 for
// none.
func (s *scan) groups(p int) int {
	from := p
	count, pairs, gap, digits := 0, 0, false, false
	if s.at(p) == ':' {
		if s.at(p+1) != ':' {
			return 0
		}
		gap = true
		p += 2
	}
	for count < 8 {
		size := 0
		for size < 5 && p+size < s.hi && is(s.text[p+size], hex) {
			digits = digits || is(s.text[p+size], digit)
			size++
		}
		if size > 4 {
			return 0
		}
		if size == 0 {
			break // only behind a gap
		}
		if s.at(p+size) == '.' && is(s.at(p+size+1), digit) {
			end := s.quad(p)
			if end == 0 {
				return 0
			}
			count, p = count+2, end
			break
		}
		if size == 2 {
			pairs++
		}
		count, p = count+1, p+size
		if s.at(p) != ':' || p+1 >= s.hi {
			break
		}
		if s.text[p+1] == ':' {
			if gap {
				return 0
			}
			gap = true
			p += 2
		} else if is(s.text[p+1], hex) {
			p++
		} else {
			break
		}
	}
	switch {
	case p > s.hi, !digits, gap && count > 7, !gap && count != 8, pairs == 8:
		return 0
	case count < 3 && s.text[from] != ':' && s.at(from+4) != ':':
		return 0
	}
	return p
}

// zone returns where the zone whose % is at i ends, and i for none.
func (s *scan) zone(i int) int {
	end := i + 1
	for end < s.hi && end-i <= maxZone && (is(s.text[end], word) || s.text[end] == '-' || s.text[end] == '.') {
		end++
	}
	for s.text[end-1] == '.' || s.text[end-1] == '-' {
		end--
	}
	if end == i+1 {
		return i
	}
	return end
}
