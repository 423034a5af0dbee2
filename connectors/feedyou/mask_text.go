package feedyou

import (
	"bytes"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// holdsHeaders says whether a text in an array is more than the name of a header.
func holdsHeaders(text []byte) bool {
	return bytes.ContainsAny(bytes.Trim(text, ":= \t"), ":=[{")
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

// headerText looks at a text that may hold headers: lines of them, or JSON.
func (m *masker) headerText(what inside) {
	if !looksLikeJSON(m.text) {
		m.headerLines(what)
		return
	}
	if s, valid := jsonIn(m.text); valid && m.layers <= maxLayers {
		m.walk(s, someHeaders, false)
		return
	}
	// JSON that was cut, or something like it: what a value belongs to cannot be
	// told, so nothing is shown.
	m.mask(span{0, len(m.text)})
}

// headerLines looks at lines of "Name: value". One that is indented more than the
// line of a name goes on with it, and so does any indented one that is no header.
func (m *masker) headerLines(what inside) {
	var value span
	secret, indent := false, 0
	for from := 0; from < len(m.text); {
		to := until(m.text, from, "\r\n")
		line := m.text[from:to]
		header := bytes.TrimLeft(line, " \t")
		in := len(line) - len(header)
		header = bytes.TrimRight(header, " \t")
		switch {
		case len(header) == 0:
		case secret && in > 0 && (in > indent || bytes.IndexByte(header, ':') < 0):
			value.to = from + in + len(header)
		default:
			if secret {
				m.mask(value)
			}
			indent = in
			if value, secret = secretIn(header, what); secret {
				value.from, value.to = from+in+value.from, from+in+value.to
			}
		}
		from = to + 1
	}
	if secret {
		m.mask(value)
	}
}

// secretIn returns where in a line the value of the first name of credentials
// stands: all that follows it. All before the first colon may be a name;
// later, or in a value, only the word before one is, and before a colon no word
// with a dot or a slash, which is a host with its port.
func secretIn(line []byte, what inside) (span, bool) {
	from := len(line) - len(bytes.TrimLeft(line, ": \t")) // :authority is a name
	named := what != someHeaders
	for from < len(line) {
		at := until(line, from, ":=")
		if at == len(line) {
			break
		}
		name := line[from:at]
		host := false
		if named {
			name = bytes.TrimRight(name, " \t\"'")
			name = name[bytes.LastIndexAny(name, " \t,;?&|\"'{}[]()<>")+1:]
			host = line[at] == ':' && bytes.ContainsAny(name, "./") && at+1 < len(line) && '0' <= line[at+1] && line[at+1] <= '9'
		}
		if !host && mayHide(name) {
			behind := bytes.TrimLeft(line[at+1:], " \t")
			return span{len(line) - len(behind), len(line)}, true
		}
		named = named || line[at] == ':'
		from = at + 1
	}
	return span{}, false
}

// mayHide says whether a text may hold a name of credentials, escaped or not.
func mayHide(text []byte) bool {
	return isSecret(text) || bytes.Contains(text, []byte(`\u`)) ||
		bytes.IndexByte(text, '%') >= 0 && isSecret(percentDecoded(text))
}
