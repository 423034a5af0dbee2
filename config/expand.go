package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var errReference = errors.New("has a ${ that cannot be read: write ${VAR}, ${VAR:-default}, ${file:/path/to/secret}, or $$ for a dollar sign")

// expand returns a scalar's text with its references filled in:
//
//	${VAR}            the variable; an error when it is not set
//	${VAR:-default}   the default when it is not set or empty
//	${file:/path}     the file's text without its last line breaks
//	$$                one dollar sign
//
// Any other dollar sign stays. What was filled in is not looked at again.
func (c *checker) expand(n *yaml.Node, key string) (string, bool) {
	var out strings.Builder
	rest := n.Value
	for {
		before, after, found := strings.Cut(rest, "$")
		out.WriteString(before)
		switch {
		case !found:
			return out.String(), true
		case strings.HasPrefix(after, "{"):
			reference, tail, closed := strings.Cut(after[1:], "}")
			text, err := "", errReference
			if closed {
				text, err = c.refer(reference)
			}
			if err != nil {
				c.errorf(n, key, "%s", err)
				return "", false
			}
			out.WriteString(text)
			rest = tail
		default:
			out.WriteByte('$')
			rest = strings.TrimPrefix(after, "$")
		}
	}
}

// refer returns what stands for the inside of ${...}.
func (c *checker) refer(reference string) (string, error) {
	if path, ok := strings.CutPrefix(reference, "file:"); ok {
		text, err := c.readFile(path)
		if err != nil {
			return "", fmt.Errorf("cannot read the file %q: %s", path, reason(err))
		}
		text = strings.TrimRight(text, "\r\n")
		c.secret(text)
		return text, nil
	}
	name, fallback, hasFallback := strings.Cut(reference, ":-")
	if !variableForm.MatchString(name) || strings.Contains(fallback, "${") {
		return "", errReference
	}
	text, ok := c.env(name)
	switch {
	case hasFallback && text == "":
		return fallback, nil
	case !ok:
		return "", fmt.Errorf("the variable %s is not set: set it, or write ${%s:-default}", name, name)
	}
	return text, nil
}

// maxSecret bounds a file that ${file:...} names, in bytes.
const maxSecret = 64 << 10

// readSecret reads a file that ${file:...} names.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > maxSecret:
		return "", errors.New("it is larger than 64 KiB")
	case !utf8.Valid(data):
		return "", errors.New("it is not UTF-8 text")
	}
	return string(data), nil
}
