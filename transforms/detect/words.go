package detect

import "bytes"

// sense is what a word says of the number behind it.
type sense uint8

const (
	noWord sense = iota
	phoneWord
	idWord
	versionWord
)

// maxWord is the longest word that is known, maxReach how far before a number it
// may be, in bytes.
const (
	maxWord  = 11
	maxReach = 40
	// maxBetween is how many words may be between a word for an id and its number.
	maxBetween = 2
)

// senseOf returns what a word of ASCII in lower case says.
func senseOf(word []byte) sense {
	switch string(word) {
	case "tel", "telephone", "phone", "phones", "fone", "mobile", "mob", "cell", "cellphone", "landline", "hotline",
		"call", "calling", "dial", "ring", "fax", "sms", "whatsapp", "wa", "callback",
		"telefon", "telefono", "telefone", "telefoon", "telefonu", "tlf", "handy", "mobil", "mobilni", "celular", "volejte", "zavolejte", "movil", "portable", "gsm":
		return phoneWord
	case "order", "orders", "id", "ids", "uid", "ref", "reference", "booking", "reservation", "ticket", "invoice", "account", "acct", "acc",
		"tracking", "parcel", "serial", "isbn", "ean", "sku", "imei", "iban", "vat", "code", "pin", "case", "customer", "client",
		"member", "policy", "contract", "transaction", "timestamp", "user", "session", "build":
		return idWord
	case "version", "ver", "release", "firmware":
		return versionWord
	}
	return noWord
}

// beyondASCII are words of other scripts, which need no space around them.
var beyondASCII = []struct {
	word []byte
	is   sense
}{
	{[]byte("电话"), phoneWord}, {[]byte("電話"), phoneWord}, {[]byte("手机"), phoneWord}, {[]byte("手機"), phoneWord},
	{[]byte("携帯"), phoneWord}, {[]byte("热线"), phoneWord}, {[]byte("座机"), phoneWord}, {[]byte("传真"), phoneWord},
	{[]byte("โทร"), phoneWord}, {[]byte("เบอร์"), phoneWord}, {[]byte("тел"), phoneWord}, {[]byte("Тел"), phoneWord},
	{[]byte("телефон"), phoneWord}, {[]byte("teléfono"), phoneWord}, {[]byte("móvil"), phoneWord}, {[]byte("téléphone"), phoneWord},
	{[]byte("전화"), phoneWord}, {[]byte("هاتف"), phoneWord}, {[]byte("फ़ोन"), phoneWord}, {[]byte("फोन"), phoneWord},
	{[]byte("订单"), idWord}, {[]byte("編號"), idWord}, {[]byte("编号"), idWord}, {[]byte("账号"), idWord}, {[]byte("账户"), idWord},
}

// senseBeyond returns what the word of another script that text ends with says.
func senseBeyond(text []byte) sense {
	for _, known := range beyondASCII {
		if bytes.HasSuffix(text, known.word) {
			return known.is
		}
	}
	return noWord
}

// wordBefore returns what the nearest word before p that is known says. Another
// number, a line or a sentence between ends the search.
func (s *scan) wordBefore(p int) sense {
	from := max(s.lo, p-maxReach)
	between := 0
	for i := p; i > from; {
		c := s.text[i-1]
		switch {
		case is(c, digit), c == '\n', c == '!', c == '?', c == ';', c == '&', c == ',' && p-i > 1,
			c == '.' && i < p && s.text[i] == ' ' && p-i > 1:
			return noWord
		case is(c, letter):
			end := i
			var lower [maxWord]byte
			for i > from && is(s.text[i-1], letter) {
				i--
			}
			var of sense
			if s.before(i) >= 0x80 {
				of = senseBeyond(s.text[from:end])
			} else if end-i <= maxWord {
				for j, c := range s.text[i:end] {
					lower[j] = c | 0x20
				}
				of = senseOf(lower[:end-i])
			}
			if of == idWord && between > maxBetween {
				return noWord
			}
			if of != noWord {
				return of
			}
			between++
		case c >= 0x80:
			if bytes.HasSuffix(s.text[from:i], []byte("。")) {
				return noWord
			}
			if of := senseBeyond(s.text[from:i]); of != noWord {
				return of
			}
			i--
		default:
			i--
		}
	}
	return noWord
}
