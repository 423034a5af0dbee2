package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// text is where the text of a value stands.
type text struct {
	place
	style    yaml.Style
	value    string
	expanded bool // ${...} was filled in, so that it reads otherwise
}

func textOf(n *yaml.Node, expanded bool) text { return text{placeOf(n), n.Style, n.Value, expanded} }

// textErrorf makes an error at a line and column of a value's text.
func (p *places) textErrorf(key string, line, column int, format string, args ...any) *Error {
	e := p.errorf(key, format, args...)
	if p == nil {
		return e
	}
	t, ok := p.texts[key]
	if !ok {
		return e
	}
	e.Line, e.Column = t.line, t.column
	if t.expanded {
		return e
	}
	if at, before, ok := t.find(p.lines, line); ok {
		e.Line, e.Column = at, before+column
	}
	return e
}

// find returns which line of the file holds a line of the text, and how many
// characters stand there before it. Not ok: the file writes it otherwise.
func (t *text) find(file []string, line int) (at, before int, ok bool) {
	lines := strings.Split(t.value, "\n")
	if line < 1 || line > len(lines) {
		return 0, 0, false
	}
	wanted := lines[line-1]
	at = t.line
	if t.style&yaml.LiteralStyle != 0 { // which begins behind its |
		at += line
	}
	if at > len(file) {
		return 0, 0, false
	}
	written := []rune(file[at-1])
	switch {
	case t.style&yaml.LiteralStyle != 0:
		before = len(written) - len([]rune(wanted))
		return at, before, before >= 0 && string(written[before:]) == wanted
	case t.style&yaml.FoldedStyle != 0 || line > 1:
		return 0, 0, false
	}
	before = t.column - 1
	if t.style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		before++
	}
	return at, before, before <= len(written) && strings.HasPrefix(string(written[before:]), wanted)
}
