package feedyou

import (
	"strings"
)

// Invariant 10: what integrationLog holds of credentials, in the headers of a
// request and in its address, is *** wherever a record can be read.

const masked = "***"

const (
	// maxDepth is how many arrays and objects within one another are looked into,
	// those of JSON in texts counted, so that the work grows with the length of a
	// record only. What is deeper is masked whole if it may hide a name of credentials.
	maxDepth = 16
	// maxLayers is how many texts with JSON may be packed in one another: what is
	// deeper is treated as JSON that cannot be read.
	maxLayers = 4
)

// edit replaces a part of a text.
type edit struct {
	span
	with string
}

// masker collects what has to be replaced in a text, in the text's order.
type masker struct {
	text   []byte // of the layer that is looked at
	layers int
	depth  int
	edits  []edit
	host   string // of the address
}

// what the strings of a value hold.
type inside int

const (
	anAddress   inside = iota
	someHeaders        // lines, or the names and values of headers in turn
	aValue             // of a header, which may hold headers all the same
)

// open looks into a string, whatever its escapes.
func (m *masker) open(quoted span, what inside) {
	outer, first := m.text, len(m.edits)
	inner, places := unquote(outer[quoted.from:quoted.to])
	if what != anAddress && !mayHide(inner) {
		return
	}
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
		m.headerText(what)
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

// walk looks at a JSON value that holds headers or addresses, in any of the shapes
// that there are. Listed says that it is an element of an array.
func (m *masker) walk(s span, what inside, listed bool) {
	c := m.text[s.from]
	switch {
	case c == '"':
		m.open(s, what)
		return
	case c != '{' && c != '[':
		return
	case m.depth == maxDepth:
		if mayHide(m.text[s.from:s.to]) {
			m.maskValue(s)
		}
		return
	}
	m.depth++
	if c == '{' {
		m.object(s, what, listed)
	} else {
		m.list(s, what, listed)
	}
	m.depth--
}

// object looks at an object, which may be {"name": ..., "value": ...}, in a list
// above all.
func (m *masker) object(s span, what inside, listed bool) {
	if m.secretName(s, what) {
		return
	}
	if what == someHeaders {
		what = aValue
	}
	name, secret := m.named(s)
	for key, value := range members(m.text, s.from) {
		word, _ := unquote(m.text[key.from:key.to])
		switch {
		case secret && isOneOf(word, valueWords):
			m.maskValue(value)
		case listed && key == name:
			m.walk(value, what, false)
		case isSecret(word):
			m.maskValue(value)
		default:
			m.walk(value, what, false)
		}
	}
}

// secretName masks all of an object in which a member's name holds a credential, and
// says whether that is so: masked, two names might be one.
func (m *masker) secretName(s span, what inside) bool {
	first := len(m.edits)
	for key := range members(m.text, s.from) {
		if word, _ := unquote(m.text[key.from:key.to]); holdsHeaders(word) {
			m.open(key, what)
		}
		if len(m.edits) > first {
			m.edits = m.edits[:first]
			m.maskValue(s)
			return true
		}
	}
	return false
}

// nameWords and valueWords are the members of {"name": ..., "value": ...}.
var (
	nameWords  = []string{"name", "key", "header", "field", "k", "n"}
	valueWords = []string{"value", "values", "val", "content", "v"}
)

// named says which member of an object gives the name of a header whose value is
// beside it, if any does, and whether that is a name of credentials.
func (m *masker) named(s span) (name span, secret bool) {
	valued := false
	for key, value := range members(m.text, s.from) {
		word, _ := unquote(m.text[key.from:key.to])
		switch {
		case isOneOf(word, valueWords):
			valued = true
		case m.text[value.from] == '"' && isOneOf(word, nameWords):
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

func isOneOf(word []byte, names []string) bool {
	for _, name := range names {
		if len(word) == len(name) && strings.EqualFold(string(word), name) {
			return true
		}
	}
	return false
}

// list looks at an array: of pairs, of objects, of lines, or itself a pair (most
// likely where it is listed) or several of them. The values of one header are no pairs.
func (m *masker) list(s span, what inside, listed bool) {
	secret, n := false, 0
	for element := range elements(m.text, s.from) {
		even := n%2 == 0
		n++
		if secret {
			m.maskValue(element)
			secret = false
			continue
		}
		if what != aValue && even && m.text[element.from] == '"' {
			text, _ := unquote(m.text[element.from:element.to])
			if isSecret(text) {
				holds := holdsHeaders(text)
				if secret = listed || !holds; !holds {
					continue
				}
			}
		}
		within := what
		if c := m.text[element.from]; what == aValue && (c == '{' || c == '[') {
			within = someHeaders
		}
		m.walk(element, within, true)
	}
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
