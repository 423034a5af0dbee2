package nats

import (
	"strings"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace-io/millrace/events"
)

// What the server and we write into headers. Consumers see the Nats-* ones too.
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
	headerExpected    = "Nats-Expected-Last-Subject-Sequence"
	headerRollup      = "Nats-Rollup"
	headerTTL         = "Nats-TTL"

	// headerCommit and headerTerm name the commit that wrote a checkpoint, and
	// which holding of the stream it belonged to.
	headerCommit = "Millrace-Commit"
	headerTerm   = "Millrace-Term"

	attributePrefix   = "ce-"
	headerContentType = "content-type"
)

// encodeValue percent-encodes an attribute as the CloudEvents NATS binding
// asks: everything but printable ASCII, and space, double quote and percent.
func encodeValue(s string) string {
	n := 0
	for i := range len(s) {
		if mustEncode(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; mustEncode(c) {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func mustEncode(c byte) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }

// decodeValue is the inverse of encodeValue; a value that no encoder wrote
// stays as it is.
func decodeValue(s string) string {
	if plain, ok := percentDecode(s); ok {
		return plain
	}
	return s
}

func percentDecode(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		if !ok1 || !ok2 {
			return "", false
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), true
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// attributes reads the CloudEvents attributes of a stored message. The server's
// own headers are left behind: one who published them again would be taken for
// the member of a batch.
func attributes(dst []events.Attribute, h natsgo.Header) []events.Attribute {
	for name, values := range h {
		if plain, ok := strings.CutPrefix(name, attributePrefix); ok && len(values) > 0 {
			dst = append(dst, events.Attribute{Name: plain, Value: decodeValue(values[0])})
		}
	}
	return dst
}
