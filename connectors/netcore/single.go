package netcore

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/millrace-io/millrace/connectors"
)

// errNotSingle is a failed request (invariant 9).
var errNotSingle = errors.New("the answer is not the object that is documented")

// readSingle reads an answer that is one object, as it came: what is behind it or
// is missing of it makes it a failed request, like that of a list. It may be no
// I-JSON inside.
func readSingle(a *connectors.Answer, maxRecord int) ([]byte, error) {
	list := connectors.ReadArray(io.MultiReader(strings.NewReader("["), a.Reader, strings.NewReader("]")), maxRecord)
	object, err := list.Next()
	switch {
	case err == io.EOF: // there is nothing
		return nil, errNotSingle
	case err != nil:
		return nil, err
	case len(object) == 0 || object[0] != '{':
		return nil, errNotSingle
	}
	object = bytes.Clone(object)
	switch _, err := list.Next(); {
	case err == io.EOF:
		return object, nil
	case err == nil:
		return nil, errNotSingle
	default:
		return nil, err
	}
}
