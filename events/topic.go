package events

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// topicAlert is kept for alerts, which are no events of records.
const topicAlert = "alert"

// topicForm is what NATS takes as one token of a subject and Kafka as the rest of
// a topic's name behind the longest prefix.
var topicForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// CheckTopic says why events cannot be routed to a topic of this name behind the
// prefix, and what to do; nil for a name that will do. The error shows the name
// only where it is one that millrace uses itself.
func CheckTopic(name string) error {
	switch {
	case KnownType(name):
		return fmt.Errorf("%q is the topic of an event type, which has its events and no others: choose another name", name)
	case name == topicAlert:
		return fmt.Errorf("%q is kept for alerts: choose another name", name)
	case strings.HasPrefix(name, "_"):
		return errors.New("topics that begin with _ are those that millrace keeps for itself: begin the name with a letter or a digit")
	case !topicForm.MatchString(name):
		return errors.New("a topic's name wants 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit, such as vip_messages")
	}
	return nil
}
