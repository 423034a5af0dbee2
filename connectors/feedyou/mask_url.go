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
	for from := path; from < query; { // name=value in the path
		to := min(until(m.text, from, ";/"), query)
		m.parameter(span{from, to})
		from = to + 1
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
	if !slashes {
		return from + at + 1 // what looks like a host may be a path
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

// schemeEnd returns where the authority begins, and whether slashes say so. A
// method or white space may stand before the scheme.
func schemeEnd(text []byte) (int, bool) {
	i := bytes.Index(text, []byte("://"))
	if i >= 0 && !bytes.ContainsAny(text[:i], "/@?#;") {
		i++
		return i + slashesAt(text[i:]), true
	}
	space := len(text) - len(bytes.TrimLeft(text, " \t\r\n"))
	i = space
	for i < len(text) && (isLetter(text[i]) || i > space && strings.IndexByte("0123456789+-.", text[i]) >= 0) {
		i++
	}
	scheme := i > space && i < len(text) && text[i] == ':'
	if scheme {
		i++
	} else {
		i = space
	}
	if n := slashesAt(text[i:]); n >= 2 || n == 1 && scheme {
		return i + n, true
	}
	return 0, false
}

func slashesAt(text []byte) int { return len(text) - len(bytes.TrimLeft(text, `/\`)) }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// parameters looks at name=value&name=value.
func (m *masker) parameters(s span) {
	for from := s.from; from < s.to; {
		to := min(until(m.text, from, "&"), s.to)
		m.parameter(span{from, to})
		from = to + 1
	}
}

// parameter looks at one name=value. Where the value holds a name of credentials
// (of an address inside the address), all behind that is masked; where it does so
// in an escaped form, all of the value.
func (m *masker) parameter(s span) {
	text := m.text[s.from:s.to]
	if at := secretParameter(text); at >= 0 {
		m.mask(span{s.from + at, s.to})
		return
	}
	for range maxLayers {
		decoded := percentDecoded(text)
		if len(decoded) == len(text) {
			return
		}
		text = decoded
		_, value, _ := bytes.Cut(text, []byte("="))
		if secretParameter(text) >= 0 || secretParameter(value) >= 0 {
			m.mask(span{s.from + bytes.IndexByte(m.text[s.from:s.to], '=') + 1, s.to})
			return
		}
	}
}

// secretParameter returns where the value of the first name of credentials in a
// parameter begins, -1 without one. What is before an equals sign is a name, in a
// value what is behind the first character that may separate parameters.
func secretParameter(text []byte) int {
	for from := 0; ; {
		equals := bytes.IndexByte(text[from:], '=')
		if equals < 0 {
			return -1
		}
		name := text[from : from+equals]
		if from > 0 {
			name = name[until(name, 0, "&;?#,| "):]
		}
		from += equals + 1
		if isSecret(name) {
			return from
		}
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
