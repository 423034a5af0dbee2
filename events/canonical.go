package events

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Canonical returns the canonical content of one I-JSON value: two texts that
// mean the same JSON give the same bytes, and two that differ do not. It is
// RFC 8785 (keys sorted by UTF-16 units, no white space, shortest escapes), but
// numbers are exact: significant digits and a power of ten, never rounded to a
// float and never expanded, so that 1.0, 1e0 and 1 are "1", -0 is "0", 1200 is
// "12e2" and 9007199254740993 stays itself.
func Canonical(raw []byte) ([]byte, error) {
	v := jsontext.Value(bytes.Clone(raw))
	err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	if err != nil {
		return nil, fmt.Errorf("making the canonical form: %w", err)
	}
	return canonicalNumbers(v), nil
}

// canonicalNumbers rewrites the numbers of a text without white space.
func canonicalNumbers(text []byte) []byte {
	var out []byte // nil while nothing had to change
	start := 0     // text[:start] is in out
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			i = stringEnd(text, i)
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(text) && isNumberByte(text[end]) {
				end++
			}
			number := text[i:end]
			if !isPlain(number) {
				out = append(out, text[start:i]...)
				out = appendNumber(out, number)
				start = end
			}
			i = end
		default:
			i++
		}
	}
	if start == 0 {
		return text
	}
	return append(out, text[start:]...)
}

// stringEnd returns the position behind the string that begins at i.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func isNumberByte(c byte) bool {
	return '0' <= c && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// isPlain says that a number is its own canonical form: an integer that does
// not end in 0, or 0.
func isPlain(number []byte) bool {
	if len(number) == 1 {
		return number[0] != '-'
	}
	if number[len(number)-1] == '0' || number[0] == '-' && number[1] == '0' {
		return false
	}
	for _, c := range number[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// appendNumber appends sign, significant digits without zeros at either end,
// and the power of ten where it is not 0.
func appendNumber(dst, number []byte) []byte {
	negative := number[0] == '-'
	if negative {
		number = number[1:]
	}
	var exponent []byte
	if i := bytes.IndexAny(number, "eE"); i >= 0 {
		number, exponent = number[:i], number[i+1:]
	}
	whole, fraction, _ := bytes.Cut(number, []byte("."))
	digits := append(append(make([]byte, 0, len(number)), whole...), fraction...)
	digits = bytes.TrimLeft(digits, "0")
	if len(digits) == 0 {
		return append(dst, '0')
	}
	significant := bytes.TrimRight(digits, "0")
	shift := len(digits) - len(significant) - len(fraction)
	if negative {
		dst = append(dst, '-')
	}
	dst = append(dst, significant...)
	if power := addDecimal(exponent, shift); power != "0" {
		dst = append(append(dst, 'e'), power...)
	}
	return dst
}

// addDecimal adds n to a decimal number with an optional sign, of any length
// (empty is 0): an exponent may have a million digits, and is still exact.
func addDecimal(decimal []byte, n int) string {
	negative := false
	if len(decimal) > 0 && (decimal[0] == '-' || decimal[0] == '+') {
		negative = decimal[0] == '-'
		decimal = decimal[1:]
	}
	decimal = bytes.TrimLeft(decimal, "0")
	if len(decimal) <= 17 { // fits, and so does the sum: n counts bytes of one record
		value, _ := strconv.ParseInt("0"+string(decimal), 10, 64)
		if negative {
			value = -value
		}
		return strconv.FormatInt(value+int64(n), 10)
	}
	if negative {
		n = -n
	}
	sum := bytes.Clone(decimal)
	for i, carry := len(sum)-1, n; carry != 0; i-- {
		if i < 0 {
			sum = append([]byte{'0'}, sum...)
			i = 0
		}
		d := int(sum[i]-'0') + carry
		carry = d / 10
		if d %= 10; d < 0 {
			d += 10
			carry--
		}
		sum[i] = byte('0' + d)
	}
	sum = bytes.TrimLeft(sum, "0")
	if negative {
		return "-" + string(sum)
	}
	return string(sum)
}
