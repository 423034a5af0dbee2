package connectors

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// take consumes up to end.
func (a *Array) take(end int) []byte {
	taken := a.buf[a.pos:end:end]
	a.pos = end
	return taken
}

// peek returns the next byte that is not white space, without consuming it;
// errCut when the answer has ended.
func (a *Array) peek() (byte, error) {
	for {
		for a.pos < len(a.buf) {
			c := a.buf[a.pos]
			if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				return c, nil
			}
			a.pos++
		}
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads more of the answer behind what is not consumed.
func (a *Array) fill() error {
	if a.readErr != nil {
		return cutOr(a.readErr)
	}
	if a.pos > 0 && len(a.buf) == cap(a.buf) || a.pos == len(a.buf) {
		a.buf = a.buf[:copy(a.buf, a.buf[a.pos:])]
		a.pos = 0
	}
	if len(a.buf) == cap(a.buf) {
		a.buf = slices.Grow(a.buf, len(a.buf))
	}
	n, err := a.src.Read(a.buf[len(a.buf):cap(a.buf)])
	a.buf = a.buf[:len(a.buf)+n]
	a.readErr = err
	if n == 0 && err != nil {
		return cutOr(err)
	}
	return nil
}

func cutOr(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// stringEnd looks for the end of a string from i on, inside of it. It returns
// the position behind the closing quote, or, when that is not there yet, where to
// look on.
func stringEnd(text []byte, i int) (int, bool) {
	for {
		quote := bytes.IndexByte(text[i:], '"')
		whole := quote >= 0
		if quote += i; !whole {
			quote = len(text)
		}
		for i <= quote {
			escape := bytes.IndexByte(text[i:quote], '\\')
			if escape < 0 {
				return min(quote+1, len(text)), whole
			}
			if i += escape; i+2 > len(text) {
				return i, false
			}
			i += 2
		}
	}
}
