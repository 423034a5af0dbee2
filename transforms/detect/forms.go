package detect

// maxForm is of how many groups national numbers are at most, 8 916 123 45 67.
const maxForm = 5

// isForm says whether the first groups of n, two or more, are a national number as
// it is written somewhere.
func (s *scan) isForm(n *number, groups int) bool {
	if n.closed > 0 && n.closed < groups {
		return false
	}
	digits := func(group int) []byte { return s.text[n.from[group]:n.to[group]] }
	first, second := digits(0), digits(1)
	if first[0] == '0' {
		return s.isTrunk(n, groups)
	}
	lines := n.gap[1] == dash || n.gap[1] == space
	switch n.shape(groups) {
	case 334: // North America, Mexico, 987 654 3210; 400-810-1234
		return first[0] >= '2' && alike(n, groups)
	case 37: // 984-1234567
		return lines && first[0] >= '2'
	case 244, 234, 2322, 3222: // 55 1234 5678, 21 234 5678, 91 234 56 78, 612 34 56 78
		return lines && first[0] >= '2' && n.even(1, groups)
	case 343: // 400-1234-567
		return lines && alike(n, groups) && (string(first) == "400" || string(first) == "800")
	case 1334: // 1-800-555-0199, 1 (415) 555-2671, 8 (916) 123-4567
		third := digits(2)
		return (first[0] == '1' && second[0] >= '2' && third[0] >= '2' || first[0] == '8' && second[0] >= '3') && alike(n, groups)
	case 13322: // 8 (916) 123-45-67
		return first[0] == '8' && second[0] >= '3' && alike(n, groups)
	case 333: // 777 123 456 of the Czech Republic, Poland, Spain, Portugal
		return lines && first[0] >= '2' && n.even(1, groups) && !(string(second) == "000" && string(digits(2)) == "000")
	case 3333: // 420 777 123 456
		return lines && n.even(1, groups) && first[0] == '4' && first[1] == '2' && first[2] <= '1' && second[0] >= '2'
	case 344: // 138 1234 5678
		return lines && n.even(1, groups) && first[0] == '1' && first[1] >= '3'
	case 55, 433: // 98765 43210, 9876 543 210; 1300 975 707
		return lines && n.even(1, groups) && (first[0] >= '6' || freephone(first) && len(second) == 3)
	case 434: // 1800-123-4567
		return lines && n.even(1, groups) && freephone(first)
	case 255, 29: // 91 98765 43210
		return lines && string(first) == "91" && second[0] >= '6' && n.digits(0, groups) == 12
	case 246: // 44 7700 900123
		return lines && string(first) == "44" && second[0] == '7'
	case 254: // 11 98765-4321
		return lines && n.gap[2] == dash && second[0] == '9'
	case 34: // 555-0123
		return n.gap[1] == dash && first[0] >= '2' && (second[0] == '0' || second[3] != '0' && second[3] != '5')
	}
	return false
}

// freephone says whether a group is 1300 or 1800.
func freephone(group []byte) bool {
	return group[0] == '1' && (group[1] == '3' || group[1] == '8') && group[2] == '0' && group[3] == '0'
}

// alike says whether the gaps are of a kind: dots go with no others, and brackets
// with spaces and dashes.
func alike(n *number, groups int) bool {
	dots := 0
	for g := 1; g < groups; g++ {
		switch {
		case n.gap[g] == dot:
			dots++
		case n.gap[g] == slash && g > 1:
			return false
		}
	}
	return dots == 0 || dots == groups-1
}

// isExchange says whether the group is the last, and the -0 of a company's exchange.
func isExchange(n *number, g, groups int) bool {
	return g == groups-1 && g > 1 && n.size(g) == 1 && n.gap[g] == dash
}

// isTrunk says whether the first groups of n are a number with a leading 0 (the
// trunk prefix of most of the world) and 9 to 12 digits, two or more in each group; 02 123 456 and 08-12 34 56 too.
func (s *scan) isTrunk(n *number, groups int) bool {
	total := n.digits(0, groups)
	if total == 8 && s.text[n.from[0]+1] != '0' {
		shape := n.shape(groups)
		return shape == 233 && n.gap[1] == space && n.gap[2] == space || shape == 2222 && n.gap[1] == dash && n.gap[2] == space && n.gap[3] == space
	}
	if n.size(0) < 2 || s.text[n.from[0]+1] == '0' || total < 9 || total > 12 {
		return false
	}
	for g := 1; g < groups; g++ {
		if n.size(g) < 2 && !isExchange(n, g, groups) || n.gap[g] == opens || n.gap[g] == closes {
			return false
		}
	}
	last := groups - 1
	switch {
	case n.gap[1] == dot && !n.even(1, groups), groups > 2 && !n.even(2, groups):
		return false
	case groups > 2 && n.gap[2] == dot && n.gap[1] != dot && n.gap[1] != slash, groups > 2 && n.gap[2] == slash:
		return false
	case n.size(last) == 2 && n.size(last-1) > 3: // the number of something else
		return groups == 4 && n.shape(4) == 4222
	case total == 12:
		return groups == 2 || n.shape(groups) == 444 && !(n.groups > 3 && n.size(3) == 4)
	}
	return true
}

// bracketed returns of how many groups the number is whose area code stands in
// brackets, 0 for none.
func (s *scan) bracketed(n *number) int {
	area := s.text[n.from[0]:n.to[0]]
	for groups := n.groups; groups > 1; groups-- {
		total := n.digits(0, groups)
		good := false
		switch {
		case len(area) < 2 || len(area) > 5:
		case area[0] == '0':
			good = area[1] != '0' && 8 <= total && total <= 12 && !(n.size(groups-1) == 2 && n.size(groups-2) > 3)
		case len(area) == 3:
			good = total == 10 && area[0] >= '2'
		case len(area) == 2:
			good = total == 10 || total == 11
		}
		for g := 1; g < groups; g++ {
			good = good && n.size(g) > 1 && n.gap[g] != slash && n.gap[g] != dot && n.gap[g] != opens
		}
		if good && s.ended(n, groups) {
			return groups
		}
	}
	return 0
}

// isBare says whether digits without a gap are a whole national number.
func (s *scan) isBare(digits []byte) bool {
	first := digits[0]
	if len(digits) < 10 {
		return false
	}
	area, exchange := digits, digits[3:]
	switch len(digits) {
	case 10: // with a 0; India; North America
		return first == '0' && digits[1] != '0' || first >= '6' || inAmerica(area, exchange)
	case 11: // with a 0; China; North America with its 1; Russia with its 8
		return first == '0' && digits[1] != '0' || first == '1' && digits[1] >= '3' ||
			first == '1' && inAmerica(digits[1:], digits[4:]) || first == '8' && digits[1] == '9'
	case 12: // China with a 0; India, the United Kingdom and the Czech Republic with their codes
		return first == '0' && digits[1] >= '3' || first == '9' && digits[1] == '1' && digits[2] >= '6' ||
			string(digits[:3]) == "447" || string(digits[:3]) == "420" && digits[3] >= '6'
	case 13: // China with its code
		return string(digits[:3]) == "861" && digits[3] >= '3'
	}
	return false
}

// inAmerica says whether an area code and the exchange behind it are such as the
// North American plan gives out.
func inAmerica(area, exchange []byte) bool {
	return area[0] >= '2' && area[1] != '9' && !(area[1] == '1' && area[2] == '1') &&
		exchange[0] >= '2' && !(exchange[1] == '1' && exchange[2] == '1')
}

// named returns of how many groups a number is that a word says to be one for
// phones, 0 for none.
func (s *scan) named(n *number) int {
	for groups := n.groups; groups > 0; groups-- {
		total := n.digits(0, groups)
		if total < 7 || total > 15 || !s.ended(n, groups) || isDate(n, groups) || s.isSpan(n, groups) {
			continue
		}
		if groups < n.groups && n.gap[groups] == space && n.size(groups) > 2 {
			return 0 // the groups go on
		}
		if groups < n.groups && n.gap[groups] == dot {
			return 0
		}
		if groups == 4 && n.gap[1] == dot && n.even(1, 4) {
			return 0 // an address or a version
		}
		return groups
	}
	return 0
}

// isSpan says whether the groups are two round numbers: prices or times.
func (s *scan) isSpan(n *number, groups int) bool {
	if groups != 2 || n.gap[1] != dash {
		return false
	}
	for g := range groups {
		switch string(s.text[max(n.from[g], n.to[g]-2):n.to[g]]) {
		case "00", "15", "30", "45", "50":
		default:
			return false
		}
	}
	return true
}

// isDate says whether the groups are a date.
func isDate(n *number, groups int) bool {
	if groups < 3 || n.gap[1] == space || n.gap[1] != n.gap[2] {
		return false
	}
	switch n.shape(3) {
	case 422, 412, 421, 411, 224, 124, 214, 114:
		return true
	}
	return false
}
