package nats

import (
	"fmt"
	"strings"

	"github.com/millrace-io/millrace/events"
)

// names builds the subjects and the JetStream stream's name of one prefix.
type names struct{ prefix string }

// Kinds of state. Each is the first token after the prefix; no topic's
// name begins with an underscore, so state is never mistaken for a topic.
const (
	checkpointToken = "_checkpoint"
	ledgerToken     = "_ledger"
	leaseToken      = "_lease"
)

// stream is the name of the one JetStream stream that holds topics and state:
// an atomic batch cannot span two.
func (n names) stream() string {
	return strings.ToUpper(strings.ReplaceAll(n.prefix, ".", "_"))
}

func (n names) all() string { return n.prefix + ".>" }

// topics matches every event and no state: state has more tokens.
func (n names) topics() string { return n.prefix + ".*.*" }

// topic matches the events of a topic, whose name is an event type or what events
// are routed to.
func (n names) topic(name string) string { return n.prefix + "." + name + ".*" }

func (n names) event(topic, connector string) (string, error) {
	if !plainToken(topic) || strings.HasPrefix(topic, "_") {
		return "", fmt.Errorf("topic %q cannot be part of a NATS subject: use letters, digits, _ and - only, and no _ in front", topic)
	}
	if !plainToken(connector) {
		return "", fmt.Errorf("connector name %q cannot be part of a NATS subject: use letters, digits, _ and - only", connector)
	}
	return n.prefix + "." + topic + "." + connector, nil
}

func (n names) checkpoints() string { return n.prefix + "." + checkpointToken + ".>" }

func (n names) checkpoint(k events.StreamKey) string { return n.state(checkpointToken, k) }

func (n names) lease(k events.StreamKey) string { return n.state(leaseToken, k) }

func (n names) entries(k events.StreamKey) string { return n.state(ledgerToken, k) + ".>" }

func (n names) entry(k events.StreamKey, name string) string {
	return n.state(ledgerToken, k) + "." + escape(name)
}

// ops is where operating requests go. It lies outside the JetStream stream's
// subjects, so requests are never stored, and outside what readers may touch.
func (n names) ops() string { return "_MILLRACE." + n.prefix + ".ops" }

func (n names) state(kind string, k events.StreamKey) string {
	return n.prefix + "." + kind + "." + escape(k.Vendor) + "." + escape(k.Account) + "." + escape(k.Stream)
}

// key is the inverse of checkpoint.
func (n names) key(checkpointSubject string) (events.StreamKey, bool) {
	rest, ok := strings.CutPrefix(checkpointSubject, n.prefix+"."+checkpointToken+".")
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) != 3 {
		return events.StreamKey{}, false
	}
	var plain [3]string
	for i, token := range tokens {
		if plain[i], ok = unescape(token); !ok {
			return events.StreamKey{}, false
		}
	}
	return events.StreamKey{Vendor: plain[0], Account: plain[1], Stream: plain[2]}, true
}

// validPrefix says whether a prefix can begin a subject and, in upper case,
// name a JetStream stream.
func validPrefix(prefix string) bool {
	for token := range strings.SplitSeq(prefix, ".") {
		if !plainToken(token) || strings.HasPrefix(token, "_") {
			return false
		}
	}
	return true
}

func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func plainToken(s string) bool {
	for i := range len(s) {
		if !plainByte(s[i]) {
			return false
		}
	}
	return s != ""
}

const upperHex = "0123456789ABCDEF"

// escape makes one subject token of any text, reversibly: what is not a letter,
// a digit, _ or - becomes %XX. A token cannot be empty, so "" becomes "%".
func escape(s string) string {
	if plainToken(s) {
		return s
	}
	if s == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plainByte(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// unescape is the inverse of escape.
func unescape(s string) (string, bool) {
	if s == "%" {
		return "", true
	}
	return percentDecode(s)
}
