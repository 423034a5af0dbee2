package connectors

import (
	"io"
	"slices"
)

// ReadList reads the elements of an answer that is an array, or an object that
// holds one under one of several names, as [ReadArray] does. Of the names, the
// first that has an array or a null in its place is taken; an array under another
// one behind it makes the answer a wrong one.
func ReadList(src io.Reader, max int, names ...string) *Array {
	a := ReadArray(src, max)
	a.names = names
	return a
}

// choose prepares to look for the list under its names, where the answer is an
// object.
func (a *Array) choose(first byte) {
	if a.names != nil && first == '{' && a.open == 0 {
		a.path = []string{""}
	}
}

// leads says whether the member that follows is the next of the path.
func (a *Array) leads(name string, level int) (bool, error) {
	if a.names == nil {
		return name == a.path[level], nil
	}
	if !slices.Contains(a.names, name) {
		return false, nil
	}
	c, err := a.peek()
	if err != nil {
		return false, err
	}
	chosen := a.path[0] != ""
	switch {
	case c == '[', name == a.path[0], c == 'n' && !chosen:
		a.path[0] = name
		return true, nil
	}
	return false, nil
}
