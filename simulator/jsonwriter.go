package simulator

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonWriter appends JSON without white space, the way vendors' servers write
// it: like JavaScript, with text as it is (U+2028 too), or, with ascii set, like
// Python, with everything beyond ASCII escaped.
type jsonWriter struct {
	buf   []byte
	ascii bool
}

// open begins an object or an array.
func (w *jsonWriter) open(bracket byte) { w.buf = append(w.buf, bracket) }

// close ends what open began.
func (w *jsonWriter) close(bracket byte) { w.buf = append(w.buf, bracket) }

// next separates an element from the one before it.
func (w *jsonWriter) next() {
	if n := len(w.buf); n > 0 && w.buf[n-1] != '{' && w.buf[n-1] != '[' {
		w.buf = append(w.buf, ',')
	}
}

// key begins a member of an object. Names are plain ASCII.
func (w *jsonWriter) key(name string) {
	w.next()
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, `":`...)
}

func (w *jsonWriter) raw(json string)  { w.buf = append(w.buf, json...) }
func (w *jsonWriter) number(n int64)   { w.buf = strconv.AppendInt(w.buf, n, 10) }
func (w *jsonWriter) text(text string) { w.buf = appendQuoted(w.buf, text, w.ascii) }

// member writes a member whose value is text.
func (w *jsonWriter) member(name, text string) {
	w.key(name)
	w.text(text)
}

// memberRaw writes a member whose value is JSON already.
func (w *jsonWriter) memberRaw(name, json string) {
	w.key(name)
	w.raw(json)
}

// memberNumber writes a member whose value is a whole number.
func (w *jsonWriter) memberNumber(name string, n int64) {
	w.key(name)
	w.number(n)
}

// appendQuoted appends text as a JSON string. What is no UTF-8 becomes U+FFFD.
func appendQuoted(dst []byte, text string, ascii bool) []byte {
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		invalid := r == utf8.RuneError && size == 1
		if c >= utf8.RuneSelf && !ascii && !invalid {
			i += size
			continue
		}
		dst = appendEscaped(append(dst, text[done:i]...), r)
		i += size
		done = i
	}
	dst = append(dst, text[done:]...)
	return append(dst, '"')
}

// appendEscaped appends one character as an escape, the shortest there is.
func appendEscaped(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	}
	if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
		return appendUnit(appendUnit(dst, hi), lo)
	}
	return appendUnit(dst, r)
}

func appendUnit(dst []byte, u rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}
