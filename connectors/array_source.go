package connectors

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
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
	for i < len(text) {
		// Most of what is skipped is plain text: eight bytes at once.
		for i+8 <= len(text) {
			word := binary.LittleEndian.Uint64(text[i:])
			if special := zeroBytes(word^quotes) | zeroBytes(word^escapes); special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i == len(text) {
			break
		}
		switch text[i] {
		case '"':
			return i + 1, true
		case '\\':
			if i+2 > len(text) {
				return i, false
			}
			i++
		}
		i++
	}
	return i, false
}

const (
	ones    = 0x0101010101010101
	quotes  = '"' * ones
	escapes = '\\' * ones
)

// zeroBytes has the high bit of the lowest zero byte set, and none below it.
func zeroBytes(word uint64) uint64 { return (word - ones) &^ word & (ones << 7) }
