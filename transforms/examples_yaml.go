package transforms

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/millrace-io/millrace/config"
)

// exampleKeys are the keys of the parts of a file of examples, by the names of the
// types that they are read into.
var exampleKeys = map[string][]string{
	"exampleFile": {"transforms", "examples"},
	"exampleNode": {"name", "in", "out", "dead"},
	"eventNode":   {"type", "topic", "key", "connector", "vendor", "account", "stream", "id", "record_id", "time", "data"},
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (.*) not found in type transforms\.(\w+)$`)
	atLine       = regexp.MustCompile(`^line (\d+): (.*)`)
)

// unreadable says in our own words why a file of examples cannot be read, and where:
// the library's name the types of this package.
func unreadable(path string, err error) error {
	const shape = "list events under examples, each with in, and out or dead"
	var wrong *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: is empty: %s", path, shape)
	case errors.As(err, &wrong):
		var all []error
		for _, text := range wrong.Errors {
			if m := unknownField.FindStringSubmatch(text); m != nil {
				all = append(all, fmt.Errorf("%s:%s: %s: unknown key; %s", path, m[1], m[2], config.Suggest("keys", m[2], exampleKeys[m[3]])))
			} else if m := atLine.FindStringSubmatch(text); m != nil {
				all = append(all, fmt.Errorf("%s:%s: is of another form than examples are: %s", path, m[1], shape))
			}
		}
		return errors.Join(all...)
	case strings.HasPrefix(err.Error(), "yaml: "):
		problem := strings.TrimPrefix(err.Error(), "yaml: ")
		if m := atLine.FindStringSubmatch(problem); m != nil {
			return fmt.Errorf("%s:%s: is not valid YAML: %s", path, m[1], m[2])
		}
		return fmt.Errorf("%s: is not valid YAML: %s", path, problem)
	}
	return fmt.Errorf("%s: the time of an event wants a form such as 2026-01-01T00:00:00Z", path)
}
