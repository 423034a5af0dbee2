package connectors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// What an answer can be wrong with, as a whole: a failed request, never a dead
// letter and never an empty answer (invariant 9).
var (
	errCut       = errors.New("the answer ends too early")
	errNoList    = errors.New("the answer has no list where the list belongs")
	errStructure = errors.New("the answer's brackets do not match")
	errTwice     = errors.New("the answer has the list twice")
	errTrailing  = errors.New("something follows the answer's last bracket")
)

// maxMembers is how much is kept of what stands beside the list, in bytes.
const maxMembers = 4 * MaxCursor

// TooLongError says that one record is longer than the connector may hold.
type TooLongError struct{ Max int }

func (e *TooLongError) Error() string {
	return fmt.Sprintf("one record is longer than max_record (%d bytes): raise max_record for this connector", e.Max)
}

// Array reads the elements of one JSON array inside an answer, while the answer
// is being received: no more than one element is in memory. It looks only at
// strings and brackets, so an element that is no JSON is given as it stands, and
// the next one too. Members beside the array, or beside an object that holds
// it, are kept when they are small, wherever they stand. Not for concurrent use.
type Array struct {
	src     io.Reader
	path    []string
	names   []string // of which one is the path; see ReadList
	max     int
	buf     []byte
	pos     int // buf[pos:] is not consumed
	readErr error
	members map[string][]byte
	kept    int  // bytes of members
	dropped bool // there were members that are not kept
	open    int  // objects of the path that are open
	state   int
	err     error
	stack   []byte
}

const (
	beforeArray = iota
	firstElement
	nextElement
)

// ReadArray reads the array at a path of object keys (none: the answer itself is
// the array). An element may have max bytes.
func ReadArray(src io.Reader, max int, path ...string) *Array {
	return &Array{src: src, path: path, max: max, buf: make([]byte, 0, 32<<10), members: map[string][]byte{}}
}

// Next returns the next element without white space around it, valid until the
// next call. It returns io.EOF only when the array has ended and the rest of the
// answer was read and closes every bracket.
func (a *Array) Next() ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	element, err := a.next()
	if err != nil {
		a.err = err
		return nil, err
	}
	return element, nil
}

// Member returns the text of a member beside the array, nil when there was none.
// Deeper paths are joined by dots: "paging.next" for {"paging":{"items":[],"next":2}}.
// Ask after Next returned io.EOF. It is an error when the member may have been
// too long to be kept: a cursor that is cut or missing would lose pages.
func (a *Array) Member(name string) ([]byte, error) {
	value, ok := a.members[name]
	if !ok && a.dropped {
		return nil, fmt.Errorf("the answer has no %s of at most %d bytes, and much beside the list that is too long to be kept", name, MaxCursor)
	}
	return value, nil
}

func (a *Array) next() ([]byte, error) {
	if a.state == beforeArray {
		found, err := a.enter()
		if err != nil || !found {
			return nil, err
		}
		a.state = firstElement
	}
	c, err := a.peek()
	if err != nil {
		return nil, err
	}
	if a.state == nextElement && c == ',' {
		a.pos++
		if c, err = a.peek(); err != nil {
			return nil, err
		}
		if c == ']' { // [1,]: what should follow the comma is an empty element
			return a.buf[a.pos:a.pos], nil
		}
	} else if c == ']' {
		a.pos++
		return nil, a.leave()
	}
	a.state = nextElement
	return a.value(']')
}

// enter goes down the path to the array's first bracket. A null in its place is
// an empty list: it returns false and, when the answer is whole, io.EOF.
func (a *Array) enter() (bool, error) {
	for depth := 0; ; depth++ {
		c, err := a.peek()
		if err == nil && depth == 0 && c == byteOrderMark[0] {
			c, err = a.skipMark()
		}
		if err != nil {
			return false, err
		}
		a.choose(c)
		if depth == len(a.path) {
			switch {
			case c == '[':
				a.pos++
				return true, nil
			case c == 'n':
				if err := a.null(); err != nil {
					return false, err
				}
				a.state = nextElement
				return false, a.leave()
			}
			return false, errNoList
		}
		if c != '{' {
			return false, errNoList
		}
		a.pos++
		a.open++
		found, err := a.siblings()
		if err != nil {
			return false, err
		}
		if !found {
			return false, errNoList
		}
	}
}

// byteOrderMark stands in front of some answers (RFC 8259, 8.1 lets us ignore it).
const byteOrderMark = "\xef\xbb\xbf"

func (a *Array) skipMark() (byte, error) {
	for len(a.buf)-a.pos < len(byteOrderMark) {
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
	if string(a.take(a.pos+len(byteOrderMark))) != byteOrderMark {
		return 0, errNoList
	}
	return a.peek()
}

// leave reads what follows the array, up to the answer's end.
func (a *Array) leave() error {
	for ; a.open > 0; a.open-- {
		if found, err := a.siblings(); err != nil {
			return err
		} else if found {
			return errTwice
		}
	}
	_, err := a.peek()
	switch {
	case err == nil:
		return errTrailing
	case a.readErr == io.EOF: // not the io.ErrUnexpectedEOF of a cut body
		return io.EOF
	}
	return err
}

// siblings reads members of the innermost open object, keeping small ones, and
// stops in front of the path's next value (true) or behind the object (false).
func (a *Array) siblings() (bool, error) {
	level := a.open - 1
	for first := a.state == beforeArray; ; first = false {
		c, err := a.peek()
		switch {
		case err != nil:
			return false, err
		case c == '}':
			a.pos++
			return false, nil
		case !first && c != ',':
			return false, errStructure
		case !first:
			a.pos++
		}
		name, err := a.key()
		if err != nil {
			return false, err
		}
		if next, err := a.leads(name, level); err != nil || next {
			return next, err
		}
		if _, err := a.peek(); err != nil {
			return false, err
		}
		value, err := a.value('}')
		if err != nil {
			return false, err
		}
		a.keep(strings.Join(append(slices.Clone(a.path[:level]), name), "."), value)
	}
}

// keep remembers a member, within bounds: an answer may have any number of them.
func (a *Array) keep(name string, value []byte) {
	delete(a.members, name) // the last of equal names counts
	if size := len(name) + len(value); len(value) <= MaxCursor && a.kept+size <= maxMembers {
		a.kept += size
		a.members[name] = bytes.Clone(value)
		return
	}
	a.dropped = true
}

// key reads a member's name and the colon behind it.
func (a *Array) key() (string, error) {
	c, err := a.peek()
	if err != nil {
		return "", err
	}
	if c != '"' {
		return "", errStructure
	}
	for at := 1; ; {
		end, whole := stringEnd(a.buf, a.pos+at)
		if !whole {
			if len(a.buf)-a.pos > a.max {
				return "", &TooLongError{a.max}
			}
			at = end - a.pos
			if err := a.fill(); err != nil {
				return "", err
			}
			continue
		}
		var name string
		if json.Unmarshal(a.take(end), &name) != nil {
			return "", errStructure
		}
		if c, err := a.peek(); err != nil || c != ':' {
			return "", cmp.Or(err, errStructure)
		}
		a.pos++
		return name, nil
	}
}

// value reads one value, or what stands in its place, up to the comma or the
// closing bracket of what holds it, which it leaves.
func (a *Array) value(closing byte) ([]byte, error) {
	a.stack = a.stack[:0]
	inString := false
	for done := 0; ; { // buf[pos:pos+done] is scanned
		i := a.pos + done
		for i < len(a.buf) {
			if inString {
				var whole bool
				if i, whole = stringEnd(a.buf, i); !whole {
					break
				}
				inString = false
				continue
			}
			switch c := a.buf[i]; c {
			case '"':
				inString = true
			case '{', '[':
				a.stack = append(a.stack, c+2) // the bracket that closes it
			case '}', ']', ',':
				if len(a.stack) == 0 {
					if c != ',' && c != closing {
						return nil, errStructure
					}
					return a.element(i)
				}
				if c == ',' {
					break
				}
				if a.stack[len(a.stack)-1] != c {
					return nil, errStructure
				}
				a.stack = a.stack[:len(a.stack)-1]
			}
			i++
		}
		if len(a.buf)-a.pos > a.max {
			return nil, &TooLongError{a.max}
		}
		done = i - a.pos
		if err := a.fill(); err != nil {
			return nil, err
		}
	}
}

// element consumes a value that ends at end.
func (a *Array) element(end int) ([]byte, error) {
	value := bytes.TrimRight(a.take(end), " \t\r\n")
	if len(value) > a.max {
		return nil, &TooLongError{a.max}
	}
	return value, nil
}

// null reads the word.
func (a *Array) null() error {
	const word = "null"
	for len(a.buf)-a.pos < len(word) {
		if err := a.fill(); err != nil {
			return err
		}
	}
	if string(a.take(a.pos+len(word))) != word {
		return errNoList
	}
	return nil
}
