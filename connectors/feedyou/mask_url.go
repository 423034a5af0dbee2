package feedyou

import (
	"bytes"
	"strings"
)

// address looks at an address: user info, also that of an address in its path, and
// the parameters of path, query and fragment. It sets host.
func (m *masker) address() {
	path := m.authority()
	query := until(m.text, path, "?#")
	info, inner := userInfoIn(m.text[:query], path)
	for from := path; from < query; { // name=value in the path
		if inner && from == info.from { // behind a slash, as all authorities are
			m.mask(info)
			from = info.to
			info, inner = userInfoIn(m.text[:query], from)
		}
		to := min(until(m.text, from, ";/\\"), query)
		m.parameter(span{from, to}, "=")
		from = to + 1
	}
	fragment := until(m.text, query, "#")
	m.parameters(span{min(query+1, fragment), fragment})
	m.parameters(span{min(fragment+1, len(m.text)), len(m.text)})
}

// authority looks at user info and host, and returns where the path begins.
func (m *masker) authority() int {
	from, slashes := schemeEnd(m.text)
	if !slashes { // what looks like a host may be a path
		at := bytes.LastIndexByte(m.text[from:until(m.text, from, "/?#")], '@')
		if at >= 0 && bytes.IndexByte(m.text[from:from+at], ':') >= 0 {
			m.mask(span{from, from + at})
		}
		return from + at + 1
	}
	at, to := userInfo(m.text[from:])
	if at >= 0 {
		m.mask(span{from, from + at})
	}
	if host, ok := hostOf(m.text[from+at+1 : from+to]); ok {
		m.host = strings.ToLower(string(host))
	}
	return from + to
}

// userInfo returns how long the user info of an authority is, -1 without one, and
// where the authority ends.
func userInfo(text []byte) (at, end int) {
	end = until(text, 0, "/?#")
	at = bytes.LastIndexByte(text[:end], '@')
	if _, ok := hostOf(text[at+1 : end]); !ok {
		// No port is written like this. A password with a slash in it is.
		if i := bytes.LastIndexByte(text[end:], '@'); i >= 0 {
			at = end + i
			end = until(text, at, "/?#")
		}
	}
	return at, end
}

// userInfoIn returns the first user info of an address inside a text, from a place
// on. Where an authority begins two slashes say, or a scheme and one.
func userInfoIn(text []byte, from int) (info span, found bool) {
	last := bytes.LastIndexByte(text, '@')
	for i := until(text, from, `/\`); i < last; i = until(text, i, `/\`) {
		n := slashesAt(text[i:])
		begins := n > 1 || i > 0 && text[i-1] == ':'
		i += n
		if !begins {
			continue
		}
		if at, _ := userInfo(text[i:]); at > 0 {
			return span{i, i + at}, true
		}
	}
	return span{}, false
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

// parameters looks at name=value&name=value. A colon may stand for an equals sign.
func (m *masker) parameters(s span) {
	for from := s.from; from < s.to; {
		to := min(until(m.text, from, "&"), s.to)
		m.parameter(span{from, to}, "=:")
		from = to + 1
	}
}

// parameter looks at one name=value, with a sign between them that is any of some.
// User info of an address inside the value is masked. Where the value holds a name
// of credentials (of an address inside the address), all behind that is masked;
// where it holds either in an escaped form, all of the value.
func (m *masker) parameter(s span, signs string) {
	text := m.text[s.from:s.to]
	first, secret, sign := len(m.edits), secretParameter(text, signs), until(text, 0, signs)
	if hidesSign(text[:sign], text, signs) {
		m.mask(s)
		return
	}
	for info, found := userInfoIn(text, 0); found; info, found = userInfoIn(text, info.to) {
		if secret >= 0 && secret <= info.to {
			secret = min(secret, info.from)
			break
		}
		m.mask(span{s.from + info.from, s.from + info.to})
		if info.from <= sign && sign < info.to { // masked, what follows belongs to the name
			sign = until(text, info.to, signs)
			if sign < len(text) && isSecret(text[info.to:sign]) {
				secret = sign + 1
			}
		}
	}
	if secret >= 0 {
		// What is before its name may hide another.
		before := s.from + bytes.LastIndexAny(text[:secret-1], "&;?#,| /\\"+signs)
		if n := len(m.edits); n > first {
			before = max(before, m.edits[n-1].to)
		}
		if before > s.from {
			m.escapedParameter(span{s.from, before}, signs, first)
		}
		m.mask(span{s.from + secret, s.to})
		return
	}
	m.escapedParameter(s, signs, first)
}

// escapedParameter is parameter for what stands there in an escaped form. Edits from
// first on are of the parameter.
func (m *masker) escapedParameter(s span, signs string, first int) {
	text := m.text[s.from:s.to]
	from := s.from + until(text, 0, signs) + 1
	if from > s.to {
		from = s.from
	}
	for range maxLayers {
		decoded := percentDecoded(text)
		if len(decoded) == len(text) {
			return
		}
		text = decoded
		value := text[min(until(text, 0, signs)+1, len(text)):]
		_, inner := userInfoIn(text, 0)
		if !inner && secretParameter(text, signs) < 0 && secretParameter(value, signs) < 0 {
			continue
		}
		for n := len(m.edits); n > first && m.edits[n-1].to > from; n = len(m.edits) {
			from = min(from, m.edits[n-1].from)
			m.edits = m.edits[:n-1]
		}
		m.mask(span{from, s.to})
		return
	}
}

// hidesSign says whether a name is more than that once its escapes are read: what
// hides a credential then cannot be told.
func hidesSign(name, text []byte, signs string) bool {
	for range maxLayers {
		decoded := percentDecoded(name)
		if len(decoded) == len(name) {
			break
		}
		name, text = decoded, percentDecoded(text)
		if bytes.ContainsAny(name, signs+"@") {
			_, inner := userInfoIn(text, 0)
			return inner || mayHide(text)
		}
	}
	return false
}

// secretParameter returns where the value of the first name of credentials in a
// parameter begins, -1 without one. What is before an equals sign, or another of
// the signs, is a name, in a value what is behind the first character that may
// separate parameters.
func secretParameter(text []byte, signs string) int {
	for from := 0; ; {
		sign := until(text, from, signs)
		if sign == len(text) {
			return -1
		}
		name := text[from:sign]
		if from > 0 {
			name = name[until(name, 0, "&;?#,| "):]
		}
		from = sign + 1
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
