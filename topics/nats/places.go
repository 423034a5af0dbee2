package nats

import (
	"fmt"
	"strings"
)

// place is where the messages of a topic are.
type place struct {
	topic  string
	filter string // the subjects of its messages
	// stream is the JetStream stream that holds them: known for a topic of
	// millrace's, else the name that one gets which we make.
	stream string
	ours   bool // it is one of millrace's own topics
}

// place finds a topic. Below the prefix there are millrace's topics only.
func (n names) place(topic string) (place, error) {
	if err := checkTopic(topic); err != nil {
		return place{}, err
	}
	name, below := strings.CutPrefix(topic, n.prefix+".")
	switch {
	case topic == n.prefix || below && (!plainToken(name) || strings.HasPrefix(name, "_")):
		return place{}, fmt.Errorf("topic %q is none of millrace's, although it lies below its prefix: its topics are %s.<event type>, and those that events are routed to", topic, n.prefix)
	case below:
		return place{topic: topic, filter: n.topic(name), stream: n.stream(), ours: true}, nil
	}
	p := place{topic: topic, filter: topic, stream: joined(topic)}
	if strings.EqualFold(p.stream, n.stream()) {
		return place{}, fmt.Errorf("topic %q would be in a JetStream stream with the name of millrace's own: choose another name", topic)
	}
	return p, nil
}

// checkTopic refuses what is not the subject of a message.
func checkTopic(topic string) error {
	for token := range strings.SplitSeq(topic, ".") {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '*' || r == '>' }) {
			return fmt.Errorf("topic %q cannot be a NATS subject: use words joined by dots, without spaces, * and >", topic)
		}
	}
	if topic[0] == '$' || topic[0] == '_' {
		return fmt.Errorf("topic %q begins like the subjects of the NATS server and of its clients: use another name", topic)
	}
	return nil
}

// joined makes one name of a topic: JetStream's names hold no dots. A plus joins
// the words, and is escaped inside of them, so two topics never share a name.
func joined(topic string) string {
	tokens := strings.Split(topic, ".")
	for i, token := range tokens {
		tokens[i] = escape(token)
	}
	return strings.Join(tokens, "+")
}

// durable is the name of a group's consumer.
func durable(group, topic string) string { return escape(group) + "+" + joined(topic) }

// otherConnector ends the subject of a message in a topic of millrace's that
// names no connector.
const otherConnector = "_"

// subject is where a message of the topic is published.
func (p place) subject(connector string) string {
	if !p.ours {
		return p.topic
	}
	if !plainToken(connector) {
		connector = otherConnector
	}
	return p.topic + "." + connector
}

// watched is how the quoted subjects of the topic's messages go on in what the
// server tells of permissions.
func (p place) watched() string {
	if p.ours {
		return p.topic + "."
	}
	return p.topic + `"`
}
