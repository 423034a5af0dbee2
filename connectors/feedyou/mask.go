package feedyou

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Invariant 10: what integrationLog holds of credentials, in the headers of a
// request and in its address, is *** wherever a record can be read.

const masked = "***"

// maxLayers is how many texts with JSON may be packed in one another: what is
// deeper is treated as JSON that cannot be read.
const maxLayers = 4

// edit replaces a part of a text.
type edit struct {
	span
	with string
}

// masker collects what has to be replaced in a text, in the text's order.
type masker struct {
	text   []byte // of the layer that is looked at
	layers int
	edits  []edit
	host   string // of the address
}

// what is inside of a string.
type inside int

const (
	anAddress inside = iota
	someHeaders
)

// open looks into a string, whatever its escapes.
func (m *masker) open(quoted span, what inside) {
	outer, first := m.text, len(m.edits)
	inner, places := unquote(outer[quoted.from:quoted.to])
	place := func(i int) int {
		if places == nil {
			return quoted.from + i + 1
		}
		return quoted.from + places[i]
	}
	m.text = inner
	m.layers++
	if what == anAddress {
		m.address()
	} else {
		m.headerText()
	}
	m.layers--
	m.text = outer
	for i := range m.edits[first:] {
		e := &m.edits[first+i]
		e.from, e.to = place(e.from), place(e.to)
		if strings.IndexByte(e.with, '"') >= 0 {
			e.with = escapes.Replace(e.with)
		}
	}
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// mask replaces a part of a text.
func (m *masker) mask(s span) {
	if string(m.text[s.from:s.to]) != masked {
		m.replace(s, masked)
	}
}

func (m *masker) replace(s span, with string) {
	if m.edits == nil {
		m.edits = make([]edit, 0, 4)
	}
	m.edits = append(m.edits, edit{s, with})
}

// maskValue replaces a JSON value, whatever it is.
func (m *masker) maskValue(s span) {
	if m.text[s.from] == '"' {
		m.mask(span{s.from + 1, s.to - 1})
		return
	}
	m.replace(s, `"`+masked+`"`)
}

// headers looks at a JSON value that holds headers, in any of the shapes that
// there are.
func (m *masker) headers(s span) {
	switch m.text[s.from] {
	case '{':
		m.headerObject(s, false)
	case '[':
		m.headerList(s, true)
	case '"':
		m.open(s, someHeaders)
	}
}

// headerObject looks at an object of headers, or at one in a list, which may be
// {"name": ..., "value": ...} as well.
func (m *masker) headerObject(s span, listed bool) {
	name, secret := m.named(s)
	for key, value := range members(m.text, s.from) {
		word, _ := unquote(m.text[key.from:key.to])
		switch {
		case secret && isOneOf(word, "value", "values"):
			m.maskValue(value)
		case listed && key == name:
		case isSecret(word):
			m.maskValue(value)
		case m.text[value.from] == '{':
			m.headerObject(value, false)
		case m.text[value.from] == '[':
			m.headerList(value, false)
		}
	}
}

// named says which member of an object gives the name of a header whose value is
// beside it, if any does, and whether that is a name of credentials.
func (m *masker) named(s span) (name span, secret bool) {
	valued := false
	for key, value := range members(m.text, s.from) {
		word, _ := unquote(m.text[key.from:key.to])
		switch {
		case isOneOf(word, "value", "values"):
			valued = true
		case m.text[value.from] == '"' && isOneOf(word, "name", "key", "header"):
			name = key
			text, _ := unquote(m.text[value.from:value.to])
			secret = secret || isSecret(text)
		}
	}
	if !valued {
		return span{}, false
	}
	return name, secret
}

func isOneOf(word []byte, names ...string) bool {
	for _, name := range names {
		if len(word) == len(name) && strings.EqualFold(string(word), name) {
			return true
		}
	}
	return false
}

// headerList looks at an array: of pairs, of objects, of lines, or itself a pair
// or several of them. Texts says whether its strings count, which are values where
// the array is the value of a header.
func (m *masker) headerList(s span, texts bool) {
	secret, n := false, 0
	for element := range elements(m.text, s.from) {
		even := n%2 == 0
		n++
		if secret {
			m.maskValue(element)
			secret = false
			continue
		}
		switch c := m.text[element.from]; {
		case c == '{':
			m.headerObject(element, true)
		case c == '[':
			m.headerPair(element)
		case c == '"' && texts:
			text, _ := unquote(m.text[element.from:element.to])
			if secret = even && isSecret(text) && !holdsHeaders(text); !secret {
				m.open(element, someHeaders)
			}
		}
	}
}

// headerPair looks at an array in a list: a pair most likely.
func (m *masker) headerPair(s span) {
	var pair [2]span
	n := 0
	for element := range elements(m.text, s.from) {
		if n < len(pair) {
			pair[n] = element
		}
		n++
	}
	if n != len(pair) || m.text[pair[0].from] != '"' {
		m.headerList(s, true)
		return
	}
	name, _ := unquote(m.text[pair[0].from:pair[0].to])
	if !isSecret(name) {
		m.headerList(s, true)
		return
	}
	if holdsHeaders(name) {
		m.open(pair[0], someHeaders)
	}
	m.maskValue(pair[1])
}

// holdsHeaders says whether a text in an array is more than the name of a header.
func holdsHeaders(text []byte) bool {
	if looksLikeJSON(text) {
		_, valid := jsonIn(text)
		return valid
	}
	return bytes.IndexByte(bytes.TrimRight(text, ": \t"), ':') >= 0
}

func looksLikeJSON(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && (text[0] == '{' || text[0] == '[' || text[0] == '"')
}

// jsonIn returns where the one JSON value of a text stands.
func jsonIn(text []byte) (span, bool) {
	from := len(text) - len(bytes.TrimLeftFunc(text, unicode.IsSpace))
	to := len(bytes.TrimRightFunc(text, unicode.IsSpace))
	value := jsontext.Value(text[from:to])
	return span{from, to}, value.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// headerText looks at a text that holds headers: lines of them, or JSON.
func (m *masker) headerText() {
	if !looksLikeJSON(m.text) {
		m.headerLines()
		return
	}
	if s, valid := jsonIn(m.text); valid && m.layers <= maxLayers {
		m.headers(s)
		return
	}
	// JSON that was cut, or something like it: what a value belongs to cannot be
	// told, so nothing is shown.
	if isSecret(m.text) {
		m.mask(span{0, len(m.text)})
	}
}

// headerLines looks at lines of "Name: value". One that begins with white space
// goes on with the one before.
func (m *masker) headerLines() {
	var value span
	secret := false
	for from := 0; from < len(m.text); {
		to := len(m.text)
		next := to
		if i := bytes.IndexAny(m.text[from:], "\r\n"); i >= 0 {
			to, next = from+i, from+i+1
		}
		line := m.text[from:to]
		switch {
		case len(line) == 0:
		case line[0] == ' ' || line[0] == '\t':
			if end := from + len(bytes.TrimRight(line, " \t")); secret && end > from {
				value.to = end
			}
		default:
			if secret {
				m.mask(value)
			}
			value, secret = secretLine(line, from)
		}
		from = next
	}
	if secret {
		m.mask(value)
	}
}

// secretLine returns where the value stands in a line that begins at a place, if
// its name is one of credentials.
func secretLine(line []byte, at int) (span, bool) {
	skipped := len(line) - len(bytes.TrimLeft(line, ": \t"))
	colon := bytes.IndexByte(line[skipped:], ':')
	if colon < 0 || !isSecret(line[:skipped+colon]) {
		return span{}, false
	}
	behind := line[skipped+colon+1:]
	from := at + len(line) - len(bytes.TrimLeft(behind, " \t"))
	to := at + len(bytes.TrimRight(line, " \t"))
	return span{from, max(from, to)}, true
}

// secretWords are what a name of credentials has in it, in any case.
var secretWords = []string{"authorization", "cookie", "key", "token", "secret", "password", "session"}

// isSecret says whether a name is one of credentials.
func isSecret(name []byte) bool {
	for i, c := range name {
		switch c | 0x20 {
		case 'a', 'c', 'k', 't', 's', 'p', 0xc5 | 0x20, 0xe2 | 0x20: // how a word can begin
			for _, word := range secretWords {
				if beginsWith(name[i:], word) {
					return true
				}
			}
		}
	}
	return false
}

// beginsWith says whether a text in any case begins with a word in small letters;
// the Kelvin sign is a k, and the long s an s.
func beginsWith(text []byte, word string) bool {
	at := 0
	for i := range len(word) {
		if at == len(text) {
			return false
		}
		c, size := text[at], 1
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == 0xc5 && at+1 < len(text) && text[at+1] == 0xbf: // U+017F
			c, size = 's', 2
		case c == 0xe2 && at+2 < len(text) && text[at+1] == 0x84 && text[at+2] == 0xaa: // U+212A
			c, size = 'k', 3
		}
		if c != word[i] {
			return false
		}
		at += size
	}
	return true
}

// apply returns the text with all that has to be replaced.
func (m *masker) apply() []byte {
	size := len(m.text)
	for _, e := range m.edits {
		size += len(e.with) - (e.to - e.from)
	}
	out, from := make([]byte, 0, size), 0
	for _, e := range m.edits {
		out = append(append(out, m.text[from:e.from]...), e.with...)
		from = e.to
	}
	return append(out, m.text[from:]...)
}

// moved returns where a value stands once all is replaced.
func (m *masker) moved(s span) span {
	moved := s
	for _, e := range m.edits {
		by := len(e.with) - (e.to - e.from)
		if e.to <= s.from {
			moved.from += by
		}
		if e.to <= s.to {
			moved.to += by
		}
	}
	return moved
}
