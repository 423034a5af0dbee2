package feedyou

import (
	"bytes"
	"strings"
)

// address looks at an address: user info, and the parameters of path, query and
// fragment. It sets host.
func (m *masker) address() {
	path := m.authority()
	query := until(m.text, path, "?#")
	for from := path; from < query; { // ;name=value in the path
		from = min(until(m.text, from, ";")+1, query)
		to := min(until(m.text, from, ";/"), query)
		m.parameter(span{from, to})
		from = to
	}
	fragment := until(m.text, query, "#")
	m.parameters(span{min(query+1, fragment), fragment})
	m.parameters(span{min(fragment+1, len(m.text)), len(m.text)})
}

// authority looks at user info and host, and returns where the path begins.
func (m *masker) authority() int {
	from, slashes := schemeEnd(m.text)
	to := until(m.text, from, "/?#")
	at := bytes.LastIndexByte(m.text[from:to], '@')
	if _, ok := hostOf(m.text[from+at+1 : to]); !ok && slashes {
		// No port is written like this. A password with a slash in it is.
		if i := bytes.LastIndexByte(m.text[to:], '@'); i >= 0 {
			at = to + i - from
			to = until(m.text, from+at, "/?#")
		}
	}
	if at >= 0 && (slashes || bytes.IndexByte(m.text[from:from+at], ':') >= 0) {
		m.mask(span{from, from + at})
	}
	if host, ok := hostOf(m.text[from+at+1 : to]); ok && slashes {
		m.host = strings.ToLower(string(host))
	}
	return to
}

// hostOf takes the port off; false when what follows the colon is none.
func hostOf(host []byte) ([]byte, bool) {
	colon := bytes.LastIndexByte(host, ':')
	if colon < 0 || colon < bytes.LastIndexByte(host, ']') {
		return host, true
	}
	return host[:colon], len(bytes.Trim(host[colon+1:], "0123456789")) == 0
}

// schemeEnd returns where the authority begins, and whether slashes say so.
func schemeEnd(text []byte) (int, bool) {
	i := 0
	for i < len(text) && (isLetter(text[i]) || i > 0 && strings.IndexByte("0123456789+-.", text[i]) >= 0) {
		i++
	}
	scheme := i
	if i < len(text) && i > 0 && text[i] == ':' {
		i++
	} else {
		i = 0
	}
	slashes := i
	for i < len(text) && (text[i] == '/' || text[i] == '\\') {
		i++
	}
	if n := i - slashes; n >= 2 || n == 1 && slashes == scheme+1 {
		return i, true
	}
	return 0, false
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// parameters looks at name=value&name=value.
func (m *masker) parameters(s span) {
	for from := s.from; from < s.to; {
		to := min(until(m.text, from, "&"), s.to)
		m.parameter(span{from, to})
		from = to + 1
	}
}

// parameter looks at one name=value. Where a name of credentials stands behind a
// semicolon or a question mark in the value (an address inside the address), the
// rest of the value is masked.
func (m *masker) parameter(s span) {
	for from := s.from; ; {
		equals := bytes.IndexByte(m.text[from:s.to], '=')
		if equals < 0 {
			return
		}
		equals += from
		name := m.text[from:equals]
		separator := bytes.LastIndexAny(name, ";?")
		name = name[separator+1:]
		if (from == s.from || separator >= 0) && (isSecret(name) || isSecret(percentDecoded(name))) {
			m.mask(span{equals + 1, s.to})
			return
		}
		from = equals + 1
	}
}

// until returns where the first of some characters stands, else the end.
func until(text []byte, from int, chars string) int {
	if i := bytes.IndexAny(text[from:], chars); i >= 0 {
		return from + i
	}
	return len(text)
}

// percentDecoded returns a name with %41 and the like read; what is no such thing
// stays.
func percentDecoded(name []byte) []byte {
	if bytes.IndexByte(name, '%') < 0 {
		return name
	}
	out := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			if high, low := hexDigit(name[i+1]), hexDigit(name[i+2]); high < 16 && low < 16 {
				out = append(out, high<<4|low)
				i += 2
				continue
			}
		}
		out = append(out, name[i])
	}
	return out
}
