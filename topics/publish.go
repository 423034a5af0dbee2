package topics

import (
	"fmt"
	"strings"
)

// PublishError is what a broker's Publish returns when messages of the call are
// not known to be stored. All others of the call are.
type PublishError struct {
	Topic  string
	Of     int            // how many messages the call had
	Failed []MessageError // in the order of the call; never empty
}

// MessageError says what became of one message. errors.Is and errors.As look
// into Err.
type MessageError struct {
	Index int // the message's place in the call
	UUID  string
	Err   error
}

func (e *MessageError) Error() string { return fmt.Sprintf("message %q: %v", e.UUID, e.Err) }
func (e *MessageError) Unwrap() error { return e.Err }

// shownCauses is how many different causes an error's text tells.
const shownCauses = 5

// Error names each cause once, with the first message that it hit.
func (e *PublishError) Error() string {
	var texts []string
	first, more := map[string]string{}, map[string]int{}
	for i := range e.Failed {
		text := e.Failed[i].Err.Error()
		if _, known := first[text]; known {
			more[text]++
			continue
		}
		first[text] = e.Failed[i].UUID
		texts = append(texts, text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "publish to %s: %d of %d messages failed", e.Topic, len(e.Failed), e.Of)
	for i, text := range texts {
		if i == shownCauses {
			fmt.Fprintf(&b, "; and %d more causes", len(texts)-i)
			break
		}
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		fmt.Fprintf(&b, "%smessage %q", separator, first[text])
		if n := more[text]; n > 0 {
			fmt.Fprintf(&b, " and %d more", n)
		}
		b.WriteString(": " + text)
	}
	return b.String()
}

// Unwrap returns a [*MessageError] for each message that failed.
func (e *PublishError) Unwrap() []error {
	list := make([]error, len(e.Failed))
	for i := range e.Failed {
		list[i] = &e.Failed[i]
	}
	return list
}
