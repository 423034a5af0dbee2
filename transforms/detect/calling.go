package detect

// span is how many digits numbers of a country have at least and at most, with
// its code.
type span struct{ least, most uint8 }

// The codes are those of the ITU's list of E.164 country codes, the lengths those
// of the national numbering plans that the ITU collects. Where a plan leaves it
// open, the span is wide. Codes of two digits, by themselves:
var twoDigits = [100]span{
	20: {10, 12}, 27: {11, 11},
	30: {12, 12}, 31: {11, 11}, 32: {10, 11}, 33: {11, 11}, 34: {11, 11}, 36: {10, 11}, 39: {8, 13},
	40: {11, 11}, 41: {11, 11}, 43: {8, 15}, 44: {11, 12}, 45: {10, 10}, 46: {9, 12}, 47: {10, 10}, 48: {11, 11}, 49: {8, 13},
	51: {10, 11}, 52: {12, 13}, 53: {8, 10}, 54: {12, 13}, 55: {12, 13}, 56: {10, 11}, 57: {10, 12}, 58: {12, 12},
	60: {10, 12}, 61: {8, 12}, 62: {9, 14}, 63: {10, 12}, 64: {10, 12}, 65: {10, 10}, 66: {10, 11},
	81: {11, 12}, 82: {10, 12}, 84: {9, 12}, 86: {10, 13},
	90: {12, 12}, 91: {12, 12}, 92: {11, 12}, 93: {11, 11}, 94: {11, 11}, 95: {9, 12}, 98: {10, 12},
}

// threeDigits are the codes of three digits that many have, and their spans. All
// others that a code of two digits does not begin: 7 to 13.
func threeDigits(code int) span {
	switch code {
	case 351, 380, 375, 420, 421, 966, 254, 233, 998, 994:
		return span{12, 12}
	case 352, 353, 354, 356, 357, 359, 370, 371, 372, 373, 385, 386, 852, 853, 855, 886, 961, 965, 971, 972, 973, 974:
		return span{10, 12}
	case 210, 214, 215, 217, 219, 259, 283, 287, 384, 388, 422, 424, 425, 426, 427, 428, 429, 693, 694, 695, 696, 697, 698, 699, 851, 854, 857, 858, 859, 978, 990, 991, 997, 999:
		return span{} // nobody's
	}
	return span{7, 13}
}

// spanOf returns the size of the country code that digits begin with, and how many
// digits its numbers have; most is 0 for no code.
func spanOf(digits []byte) (code int, of span) {
	switch digits[0] {
	case '0':
		return 0, span{}
	case '1', '7':
		return 1, span{11, 11}
	}
	two := int(digits[0]-'0')*10 + int(digits[1]-'0')
	if twoDigits[two].most > 0 {
		return 2, twoDigits[two]
	}
	return 3, threeDigits(two*10 + int(digits[2]-'0'))
}

// international returns of how many groups the number is whose first group is, behind
// skip digits, a country code or begins with one; 0 for none.
func (s *scan) international(n *number, skip int) int {
	var digits [maxDigits + 1]byte
	var counts [maxGroups]int
	count := -skip
	for g := range n.groups {
		for _, c := range s.text[n.from[g]:n.to[g]] {
			if 0 <= count && count <= maxDigits {
				digits[count] = c
			}
			count++
		}
		counts[g] = count
	}
	if count < 7 {
		return 0
	}
	code, of := spanOf(digits[:])
	if of.most == 0 {
		return 0
	}
	least, most := int(of.least), int(of.most)
	if digits[code] == '0' {
		most++ // the trunk prefix was left in: +44 (0)20, +44 020
	}
	for groups := n.groups; groups > 0; groups-- {
		if total := counts[groups-1]; least <= total && total <= most && s.ended(n, groups) && wellGrouped(n, groups, skip) {
			return groups
		}
	}
	return 0
}

// wellGrouped says whether the groups of an international number are such as
// people make: a single digit is only a country code or stands right behind it.
func wellGrouped(n *number, groups, skip int) bool {
	behind := 1 // the first group that is not of the country code alone
	if skip > 0 && n.size(0) == skip {
		behind = 2
	}
	for g := 1; g < groups; g++ {
		if isExchange(n, g, groups) {
			continue
		}
		if n.size(g) == 1 && g > behind+1 || n.size(g) == 1 && g > behind && n.gap[g] != opens && n.gap[g] != closes {
			return false
		}
	}
	return true
}
