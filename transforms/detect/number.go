package detect

// Bounds of what is read as one number.
const (
	maxGroups = 8
	maxDigits = 19 // of a card
)

// What is between two groups of digits.
const (
	joined byte = iota // nothing: the first group
	space
	dash
	dot
	slash
	opens  // an opening bracket
	closes // a closing one
)

// number is a row of groups of digits as people write a long number. It begins
// with a first group that nothing is glued to.
type number struct {
	ok     bool
	groups int
	from   [maxGroups]int // where each group begins
	to     [maxGroups]int // where it ends
	gap    [maxGroups]byte
	start  int  // with the plus
	plus   bool // a + goes before, or %2B
	open   int  // the size of the bracket before start that is closed, 0 for none
	closed int  // and the group that it is closed before
}

// number reads the groups that begin with the digit at i.
func (s *scan) number(i int) (n number) {
	n.start = i
	if s.before(i) == '+' {
		n.plus, n.start = true, i-1
	} else if s.inURL && i-3 >= s.lo && s.text[i-3] == '%' && s.text[i-2] == '2' && s.text[i-1]|0x20 == 'b' {
		n.plus, n.start = true, i-3
	} else if is(s.before(i), word) {
		return n
	}
	open := s.bracketBefore(n.start)
	wasOpen, total := open > 0, 0
	pending := wasOpen
	for at := i; ; {
		end := at
		for end < s.hi && is(s.text[end], digit) && total <= maxDigits {
			end++
			total++
		}
		if total > maxDigits || is(s.at(end), word) && !extension(s, end) {
			break
		}
		n.from[n.groups], n.to[n.groups] = at, end
		n.groups++
		if n.groups == maxGroups {
			break
		}
		gap, size := s.gap(end)
		if gap == opens && wasOpen {
			pending, wasOpen = false, false // that one is around the whole
		}
		if (gap == closes || gap == opens) && (gap == closes) != pending {
			break
		}
		if size == 0 || !is(s.at(end+size), digit) || end+size >= s.hi {
			break
		}
		if gap == opens {
			pending = true
		}
		if gap == closes {
			if wasOpen {
				n.open, n.closed = open, n.groups
			}
			pending, wasOpen = false, false
		}
		at = end + size
		n.gap[n.groups] = gap
	}
	n.ok = n.groups > 0
	return n
}

// extension says whether an extension in letters follows: x12 or ext12.
func extension(s *scan, i int) bool {
	return s.text[i]|0x20 == 'x' && is(s.at(i+1), digit) || s.text[i]|0x20 == 'e' && s.at(i+1)|0x20 == 'x' && s.at(i+2)|0x20 == 't'
}

// bracketBefore returns the size of the opening bracket that ends at i, 0 for none.
func (s *scan) bracketBefore(i int) int {
	if s.before(i) == '(' {
		return 1
	}
	if i-3 >= s.lo && string(s.text[i-3:i]) == "（" {
		return 3
	}
	return 0
}

// gap returns what is between two groups of digits, the first of which ends at i,
// and its size; 0 where nothing does that people write within a number.
func (s *scan) gap(i int) (kind byte, size int) {
	kind, size = s.mark(i)
	switch kind {
	case space: // " (", " - ", " / "
		next, more := s.mark(i + size)
		if next == opens {
			return opens, size + more
		}
		if next == dash || next == slash {
			if last, end := s.mark(i + size + more); last == space {
				return next, size + more + end
			}
			return joined, 0
		}
	case closes: // ") ", ")-"
		if next, more := s.mark(i + size); next == space || next == dash {
			return closes, size + more
		}
	case dash: // "-("
		if next, more := s.mark(i + size); next == opens {
			return opens, size + more
		}
	}
	return kind, size
}

// mark returns the one sign at i, and its size; 0 for no sign of a number. Spaces
// that do not break and the dashes of typography are spaces and dashes.
func (s *scan) mark(i int) (kind byte, size int) {
	switch s.at(i) {
	case ' ':
		return space, 1
	case '-':
		return dash, 1
	case '.':
		return dot, 1
	case '/':
		return slash, 1
	case '(':
		return opens, 1
	case ')':
		return closes, 1
	case 0xc2: // U+00A0
		if s.at(i+1) == 0xa0 {
			return space, 2
		}
	case 0xe2: // U+202F, U+2010 to U+2014, U+2212
		a, b := s.at(i+1), s.at(i+2)
		if a == 0x80 && b == 0xaf {
			return space, 3
		}
		if a == 0x80 && 0x90 <= b && b <= 0x94 || a == 0x88 && b == 0x92 {
			return dash, 3
		}
	case 0xef: // brackets of full width
		if a, b := s.at(i+1), s.at(i+2); a == 0xbc && b == 0x88 {
			return opens, 3
		} else if a == 0xbc && b == 0x89 {
			return closes, 3
		}
	}
	return joined, 0
}

// size returns how many digits the group has.
func (n *number) size(group int) int { return n.to[group] - n.from[group] }

// digits counts those of the groups [from, to).
func (n *number) digits(from, to int) (sum int) {
	for g := from; g < to; g++ {
		sum += n.size(g)
	}
	return sum
}

// even says whether the gaps before the groups [from, to) are all the same.
func (n *number) even(from, to int) bool {
	for g := from + 1; g < to; g++ {
		if n.gap[g] != n.gap[from] {
			return false
		}
	}
	return true
}

// shape returns the sizes of the first groups as digits: 344 for 020 7946 0018. A
// group of ten or more has the digit 9: no form of several groups has such.
func (n *number) shape(groups int) (shape int) {
	for g := range groups {
		shape = shape*10 + min(n.size(g), 9)
	}
	return shape
}

// starts says whether a number can begin at p: that it is not the end of an
// identifier, of a longer number, of a time or of an amount.
func (s *scan) starts(p int) bool {
	first := s.before(p - 1)
	switch c := s.before(p); c {
	case '-':
		return !is(first, word) && first != ')'
	case '.', ':', '/', ',', '\'':
		return !is(first, digit)
	case '@', '%', '+', '$':
		return false
	case '#':
		return first != '&'
	default:
		return !is(c, word)
	}
}

// ends says whether a number can end before p.
func (s *scan) ends(p int) bool {
	then := s.at(p + 1)
	switch c := s.at(p); c {
	case '-', '+':
		return !is(then, word)
	case '.', ':':
		return !is(then, digit)
	case ',': // not 1,234 and not 0,99, but 020-7946000,020-7946001
		size := 1
		for size <= 4 && is(s.at(p+size), digit) {
			size++
		}
		return size == 1 || size > 4 || s.at(p+size) == '-'
	case '@', '%', '$', '=':
		return false
	default:
		return !is(c, word) || extension(s, p)
	}
}
