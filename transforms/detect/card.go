package detect

// Payment card numbers (primary account numbers of ISO/IEC 7812-1): 13 to 19
// digits that begin and are as long as those of a known network (its annex B for
// the first digit; the ranges are those that the networks publish), and whose last
// is the check digit of annex B, Luhn's. One in ten of other numbers of such a
// form passes it by chance: those are hidden too.
//
// Groups have two digits or more, with one space or dash between them, the same
// throughout; or a dot where they are four of four digits. Not within a longer run of digits, an identifier (AB-4111..., a UUID)
// or a fraction.

// card returns where the card number that begins with n ends, and 0 for none.
func (s *scan) card(n *number) int {
	if n.plus || n.digits(0, n.groups) < 13 || !s.starts(n.from[0]) {
		return 0
	}
	for g := n.groups; g > 0 && n.digits(0, g) >= 13; g-- {
		if s.isCard(n, g) {
			return n.to[g-1]
		}
	}
	return 0
}

// isCard says whether the first groups of n are a card number.
func (s *scan) isCard(n *number, groups int) bool {
	if groups > 1 && (n.gap[1] > dot || n.gap[1] == dot && n.shape(groups) != 4444 || !n.even(1, groups)) {
		return false
	}
	var digits [maxDigits]byte
	count := 0
	for g := range groups {
		if n.size(g) < 2 {
			return false
		}
		count += copy(digits[count:], s.text[n.from[g]:n.to[g]])
	}
	return network(digits[:count]) && luhn(digits[:count]) && s.ends(n.to[groups-1])
}

// network says whether a card network has numbers that begin so and are as long.
func network(digits []byte) bool {
	size, six := len(digits), 0
	for _, c := range digits[:6] {
		six = six*10 + int(c-'0')
	}
	four, two := six/100, six/10_000
	switch {
	case two/10 == 4: // Visa
		return size == 13 || size == 16 || size == 19
	case 51 <= two && two <= 55, 2221 <= four && four <= 2720: // Mastercard
		return size == 16
	case two == 34, two == 37: // American Express
		return size == 15
	case 300 <= four/10 && four/10 <= 305, four == 3095, two == 36, two == 38, two == 39: // Diners Club
		return size == 14 || size >= 16
	case 3528 <= four && four <= 3589, // JCB
		2200 <= four && four <= 2204: // Mir
		return size >= 16
	case four == 6011, 644 <= four/10 && four/10 <= 649, two == 65, // Discover, RuPay
		two == 62, two == 81: // UnionPay
		return size >= 16
	case two == 60, two == 82, four == 9792: // RuPay, Troy
		return size == 16
	case two == 50, 56 <= two && two <= 58, two == 63, two == 67: // Maestro, RuPay
		return true
	}
	return false
}

// luhn says whether the last digit is the check digit of those before it.
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
