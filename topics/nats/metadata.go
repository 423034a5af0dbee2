package nats

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
)

const (
	// metadataPrefix marks CloudEvents attributes in a message's metadata, on
	// every broker; here their headers begin with attributePrefix.
	metadataPrefix = "ce_"
	metadataID     = metadataPrefix + "id"

	// headerUUID carries the UUID of a message that is no event.
	headerUUID = "_watermill_message_uuid"

	// headerStatus begins what the server itself says, where there is no payload.
	headerStatus = "Status"

	// encodedText marks a header that holds percent-encoded text, as the
	// parameters of HTTP headers do (RFC 8187).
	encodedText = "UTF-8''"
)

// header makes the headers of a message: of its metadata, and of its UUID where
// that is not an event's id. What would make the message a member of an atomic
// batch, or otherwise speak to the server, is left out.
func header(msg *message.Message) (natsgo.Header, error) {
	h := make(natsgo.Header, len(msg.Metadata)+2)
	var errs []error
	for key, value := range msg.Metadata {
		name, value := key, encodeText(value)
		if attribute, ok := strings.CutPrefix(key, metadataPrefix); ok {
			name, value = attributePrefix+attribute, encodeValue(msg.Metadata[key])
		}
		switch {
		case reserved(key):
		case strings.HasPrefix(key, attributePrefix):
			errs = append(errs, fmt.Errorf("metadata %q: a CloudEvents attribute is metadata that begins with %q", key, metadataPrefix))
		case !headerName(name):
			errs = append(errs, fmt.Errorf("metadata %q cannot be the name of a NATS header: use printable ASCII without spaces and without any of %s", key, notInNames))
		case name == headerStatus && len(msg.Payload) == 0:
			errs = append(errs, fmt.Errorf("metadata %q on a message without payload would be taken for a word of the NATS server: give it another name, or a payload", key))
		default:
			h[name] = []string{value}
		}
	}
	if msg.UUID != "" && msg.Metadata[metadataID] == "" {
		h[headerUUID] = []string{encodeText(msg.UUID)}
	}
	return h, errors.Join(errs...)
}

// received makes a message of what NATS delivers. Of a header with several
// values the first counts.
func received(data []byte, h natsgo.Header) *message.Message {
	metadata := make(message.Metadata, len(h))
	uuid := ""
	for name, values := range h {
		if len(values) == 0 {
			continue
		}
		attribute, isAttribute := strings.CutPrefix(name, attributePrefix)
		switch {
		case name == headerUUID:
			uuid = decodeText(values[0])
		case reserved(name):
		case isAttribute:
			metadata[metadataPrefix+attribute] = decodeValue(values[0])
		default:
			metadata[name] = decodeText(values[0])
		}
	}
	if id := metadata[metadataID]; id != "" {
		uuid = id
	}
	if uuid == "" {
		uuid = watermill.NewUUID()
	}
	msg := message.NewMessage(uuid, data)
	msg.Metadata = metadata
	return msg
}

// reserved says whether a name belongs to the server or to us. The server is
// particular about upper and lower case; other clients may not be.
func reserved(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "millrace-") || lower == headerUUID
}

// notInNames are the printable characters that the client library takes in no
// header's name.
const notInNames = `"()/,:;<=>?@[\]{}`

func headerName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || strings.IndexByte(notInNames, c) >= 0 {
			return false
		}
	}
	return name != ""
}

// encodeText makes a header's value of any text. Printable ASCII stays as it is;
// anything else, and what could be mistaken for encoded text, is marked and
// percent-encoded.
func encodeText(s string) string {
	if plainText(s) {
		return s
	}
	return encodedText + encodeValue(s)
}

func plainText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	// Space around a value gets lost on the way.
	return strings.Trim(s, " ") == s && !strings.HasPrefix(s, encodedText)
}

// decodeText is the inverse of encodeText; a value that others wrote stays as it
// is.
func decodeText(s string) string {
	if encoded, ok := strings.CutPrefix(s, encodedText); ok {
		if plain, ok := percentDecode(encoded); ok {
			return plain
		}
	}
	return s
}
