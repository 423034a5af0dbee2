package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document parses the YAML and returns its root, nil when there is none to
// check.
func (c *checker) document(data []byte) *yaml.Node {
	if len(data) > maxFileSize {
		c.errorAt("", "is larger than 1 MiB, which no configuration is")
		return nil
	}
	c.lines = strings.Split(lineBreaks.Replace(string(data)), "\n")
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case err == nil:
		c.errorf(&second, "", "has a second document (---): one file holds one")
	case !errors.Is(err, io.EOF):
		c.errs = append(c.errs, syntaxError(c.path, data, err))
	case len(doc.Content) == 0 || isNull(doc.Content[0]):
		c.errorAt("", "is empty: name at least one connector under the key connectors")
	default:
		within(doc.Content[0], lineCount(data))
		return doc.Content[0]
	}
	return nil
}

// lineBreaks are what ends a line of YAML.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

func lineCount(data []byte) int { return 1 + strings.Count(lineBreaks.Replace(string(data)), "\n") }

// within moves nodes that the library puts behind the file's end, which it does
// with what is missing there, to its last line.
func within(n *yaml.Node, lines int) {
	n.Line = min(n.Line, lines)
	for _, child := range n.Content {
		within(child, lines)
	}
}

const (
	// What the library says of the lines of a block.
	noKey  = "did not find expected key"
	noDash = "did not find expected '-' indicator"
	// And of brackets.
	noBracket = "did not find expected ',' or ']'"
	noBrace   = "did not find expected ',' or '}'"

	indented = "is not indented as the lines before it, or has text after a closing quote: the keys of one section begin in one column"
	unclosed = `has a [ or { that is not closed, or text inside of it that needs quotes: write "${VAR}" there, with quotes`
	tab      = "has a tab in its indentation: indent with spaces"
	utf8Only = "is not UTF-8 text"
	anchor   = "has an alias (*), which is not supported: put a text that begins with * in quotes"
	anyOther = "is not valid YAML: look at the indentation, quotes and brackets here"
)

// problems says, for what the library reports, what is wrong and what to do.
// Its own messages may quote the file, so they are never shown.
var problems = map[string]string{
	noKey:                                indented,
	noDash:                               indented,
	noBracket:                            unclosed,
	noBrace:                              unclosed,
	"did not find expected node content": "lacks a value, or has one that begins with a character that needs quotes",
	"could not find expected ':'":        "has a key without a colon, or a text over several lines that needs quotes",
	"mapping values are not allowed in this context":               "has a colon where none can be: indent the line as its neighbours, or put a text with a colon in quotes",
	"block sequence entries are not allowed in this context":       "has a list item where none can be: put it on a line of its own",
	"found character that cannot start any token":                  "has a character that cannot begin a value: indent with spaces, not tabs, and put a text that begins with @, ` or % in quotes",
	"found a tab character that violates indentation":              tab,
	"found a tab character where an indentation space is expected": tab,
	"found unexpected end of stream":                               "has a quote that is not closed",
	"found unknown escape character":                               `has an unknown escape inside double quotes: write \\ for a backslash, or use single quotes`,
	"control characters are not allowed":                           "has control characters, which no text file has",
	"invalid leading UTF-8 octet":                                  utf8Only,
	"invalid trailing UTF-8 octet":                                 utf8Only,
	"incomplete UTF-8 octet sequence":                              utf8Only,
}

var libraryError = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)

// syntaxError says where the file is not YAML, and why, without quoting it.
func syntaxError(path string, data []byte, err error) *Error {
	e := &Error{Path: path, Line: 1, Column: 1, Problem: anyOther}
	m := libraryError.FindStringSubmatch(err.Error())
	if m == nil {
		return e
	}
	message := m[2]
	if problem, ok := problems[message]; ok {
		e.Problem = problem
	} else if strings.HasPrefix(message, "unknown anchor ") {
		e.Problem = anchor
	}
	line, none := strconv.Atoi(m[1])
	switch {
	case none != nil || message == noKey || message == noDash:
		// The library names the line where the block begins, or none.
		e.Line = firstBad(data, message)
	case message == noBracket || message == noBrace:
		e.Line = line + 1 // it counts these from 0
	default:
		e.Line = line
	}
	e.Line = min(max(e.Line, 1), bytes.Count(data, []byte("\n"))+1)
	return e
}

// firstBad returns the first line, from 1, with which the file up to there fails
// with the message.
func firstBad(data []byte, message string) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		size := 0
		for _, line := range lines[:i+1] {
			size += len(line)
		}
		err := yaml.Unmarshal(data[:size], new(yaml.Node))
		return err != nil && strings.HasSuffix(err.Error(), message)
	})
}
