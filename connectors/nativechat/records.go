package nativechat

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// conversation maps a conversation that was looked into.
func (s *shape) conversation(d *document, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeConversation, ID: d.text(idField)}
	started, active := d.time(s), d.activity()
	r.Key = r.ID
	if r.Time = active; r.Time.IsZero() {
		r.Time = started
	}
	f.TextOf("status", d.text(statusField))
	f.Time("started_at", started)
	f.Time("last_activity_at", active)
	f.TextOf("locale", d.text(localeField))
	if tags := d.values[tagsField]; tags != nil {
		f.JSON("tags", connectors.Strings(tags))
	}
	f.JSON("errors", numberOf(d.values[errorsField]))
	f.JSON("user_messages", numberOf(d.values[userMessagesField]))
	f.JSON("metadata", d.values[dataField])
	f.TextOf("user_id", d.text(userField))
	f.TextOf("conversation_id", r.ID)
	f.Text("bot", bot)
	f.TextOf("channel", d.text(channelField))
	f.Time("occurred_at", r.Time)
	return r
}

// message maps a message that was looked into. One that does not name its
// conversation belongs to the one that was asked for.
func (s *shape) message(d *document, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeMessage, ID: d.text(idField), Key: d.text(conversationField), Time: d.time(s)}
	if r.Key == "" {
		r.Key = f.Key.ID
	}
	f.TextOf("message_id", r.ID)
	sender, direction := saidBy(d)
	f.TextOf("sender", sender)
	f.TextOf("direction", direction)
	addContent(d, f)
	f.TextOf("user_id", d.text(userField))
	f.TextOf("conversation_id", r.Key)
	f.Text("bot", bot)
	f.TextOf("channel", d.text(channelField))
	f.Time("occurred_at", r.Time)
	if r.Key == "" {
		r.Key = d.text(userField)
	}
	return r
}

// saidBy returns who said a message and where it went, as far as it tells.
func saidBy(d *document) (sender, direction string) {
	sender, direction = senderOf(d.values[senderField]), directionOf(d.values[directionField])
	if sender == "" && (string(d.values[fromUserField]) == "true" || direction == inbound) {
		sender = user
	}
	switch {
	case direction != "":
	case sender == user:
		direction = inbound
	case sender != "", string(d.values[fromUserField]) == "false":
		direction = outbound
	}
	return sender, direction
}

// addContent adds kind, text and payload.
func addContent(d *document, f *connectors.Fields) {
	text, kind := d.values[textField], d.values[kindField]
	payload := d.values[contentField]
	if payload != nil {
		if inner := innerText(&f.Inner, payload); inner != nil {
			text = inner
		}
		for _, name := range []string{"Type", "type", "Kind"} {
			if v := memberOf(&f.Inner, payload, name); isString(v) {
				kind = v
				break
			}
		}
	} else {
		payload = d.values[extraField]
	}
	if word := connectors.Text(kind); word != "" {
		f.Text("kind", connectors.SnakeCase(word))
	} else if text != nil {
		f.Text("kind", "text")
	}
	f.JSON("text", text)
	f.JSON("payload", payload)
}

// innerText returns the text of a message that is an object.
func innerText(scan *events.Scanner, content []byte) []byte {
	for _, name := range messageNames[textField] {
		if v := memberOf(scan, content, name); isString(v) {
			return v
		}
	}
	return nil
}

// Who says a message, and where it goes.
const (
	user     = "user"
	inbound  = "inbound"
	outbound = "outbound"
)

var senders = map[string]string{
	"user": user, "enduser": user, "end-user": user, "customer": user,
	"bot": "bot", "chatbot": "bot",
	"agent": "agent", "operator": "agent", "humanagent": "agent", "human-agent": "agent", "human_agent": "agent",
}

var directions = map[string]string{
	"inbound": inbound, "incoming": inbound, "in": inbound,
	"outbound": outbound, "outgoing": outbound, "out": outbound,
}

func senderOf(v []byte) string {
	return senders[strings.ToLower(connectors.Text(connectors.String(v)))]
}

func directionOf(v []byte) string {
	return directions[strings.ToLower(connectors.Text(connectors.String(v)))]
}

// numberOf returns a number, which may be a text, as JSON; nil for anything else.
func numberOf(v []byte) []byte {
	text := jsontext.Value(connectors.Text(v))
	if len(text) == 0 || !text.IsValid() || text.Kind() != '0' {
		return nil
	}
	return text
}
