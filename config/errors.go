package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// Error is one mistake in the configuration. It holds no value of the file.
type Error struct {
	Path string // the file
	Line int    // from 1; 0 when it is about the file as a whole
	// Column is in characters, from 1.
	Column int
	// Key is the whole key, such as connectors.support.poll; empty when the
	// mistake is about no key, as where the file is not YAML.
	Key     string
	Problem string // what is wrong, and what to do
}

// Error returns "file:line:column: key: problem" without what is not known.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	for _, part := range []string{e.Key, e.Problem} {
		if part != "" && b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	return b.String()
}

// joined returns the mistakes as one error, in the order of the file, or nil.
func joined(found []*Error) error {
	slices.SortStableFunc(found, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(found))
	for i, e := range found {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// places remembers where each key of a file stands.
type places struct {
	path  string
	at    map[string]place
	texts map[string]text // of values
	lines []string        // of the file
}

type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{max(n.Line, 1), max(n.Column, 1)} }

// errorf makes an error at the key, else at the nearest section around it. The
// places of a value that was made by hand are nil and know no line.
func (p *places) errorf(key, format string, args ...any) *Error {
	e := &Error{Key: key, Problem: fmt.Sprintf(format, args...)}
	if p == nil {
		return e
	}
	e.Path, e.Line, e.Column = p.path, 1, 1
	for around := key; around != ""; around = around[:max(0, strings.LastIndexAny(around, ".["))] {
		if at, ok := p.at[around]; ok {
			e.Line, e.Column = at.line, at.column
			break
		}
	}
	return e
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Key returns the key of a name in a section as messages have it, for names that
// may hold more than letters: set."a.b".
func Key(section, name string) string { return child(section, name) }

// child returns the key of name inside the section key. A name of unusual
// characters is quoted, a long one is cut.
func child(key, name string) string {
	if !plainKey.MatchString(name) {
		const most = 64
		if utf8.RuneCountInString(name) > most {
			name = string([]rune(name)[:most]) + "…"
		}
		name = strconv.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

// Suggest returns the advice for a word that is none of valid: the nearest one,
// or all of them when none is near.
func Suggest(what, word string, valid []string) string {
	if near := nearest(word, valid); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(valid) == 0 {
		return "there are no valid " + what
	}
	return "valid " + what + ": " + strings.Join(valid, ", ")
}

// nearest returns the valid word that word is most likely a slip of, or "". A
// third of the letters may differ, their case may.
func nearest(word string, valid []string) string {
	const longest = 64 // no valid word is near to this
	if len(word) > longest {
		return ""
	}
	best, found := longest, ""
	for _, v := range valid {
		d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(v))
		if d < best && d <= (len(v)+1)/3 {
			best, found = d, v
		}
	}
	return found
}

// reason is what went wrong with a file, without the path: it stands elsewhere
// in the message.
func reason(err error) string {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}
