package connectors

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadList(t *testing.T) {
	for text, c := range map[string]struct {
		want string
		err  error
	}{
		`[1,2]`:                                {"1 2", io.EOF},
		`null`:                                 {"", io.EOF},
		`{"Result":[1,{"data":[5]}]}`:          {`1 {"data":[5]}`, io.EOF},
		`{"ok":1,"data":[1],"Total":7}`:        {"1", io.EOF},
		`{"data":null,"Total":0}`:              {"", io.EOF},
		`{"Result":"fine","data":[1]}`:         {"1", io.EOF},
		`{"Result":{"data":[2]},"data":[1]}`:   {"1", io.EOF},
		`{"data":[1],"Result":"fine"}`:         {"1", io.EOF},
		`{"data":[1],"Result":null}`:           {"1", io.EOF},
		`{"data":[1],"Result":[2]}`:            {"1", errTwice},
		`{"Result":null,"data":[1]}`:           {"", errTwice},
		`{"data":[1],"data":5}`:                {"1", errTwice},
		`{}`:                                   {"", errNoList},
		`{"error":"no"}`:                       {"", errNoList},
		`{"Result":{"data":[1]}}`:              {"", errNoList},
		`{"data":[1]`:                          {"1", errCut},
		`{"data":`:                             {"", errCut},
		`{"data":[1]}]`:                        {"1", errTrailing},
		`"data"`:                               {"", errNoList},
		"\xef\xbb\xbf{\"data\":[1]}":           {"1", io.EOF},
		`{"` + strings.Repeat("x", 100) + `":`: {"", &TooLongError{}},
	} {
		a := ReadList(iotest.OneByteReader(strings.NewReader(text)), 50, "Result", "data")
		var got []string
		element, err := a.Next()
		for ; err == nil; element, err = a.Next() {
			got = append(got, string(element))
		}
		_, tooLong := err.(*TooLongError)
		_, want := c.err.(*TooLongError)
		if !slices.Equal(got, strings.Fields(c.want)) || err != c.err && !(tooLong && want) {
			t.Errorf("%s: %q, %v; want %q, %v", text, got, err, c.want, c.err)
		}
	}
}
