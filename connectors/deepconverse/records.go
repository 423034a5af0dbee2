package deepconverse

import (
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// conversation maps a conversation: _id, startTime, lastActionAt, locale, tags
// and metadata are documented.
func conversation(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeConversation}
	var started, active time.Time
	var locale string
	var tags, metadata []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "_id":
			r.ID = connectors.Text(value)
		case "startTime":
			started = connectors.Time(value)
		case "lastActionAt":
			active = connectors.Time(value)
		case "locale":
			locale = connectors.Text(value)
		case "tags":
			tags = connectors.Strings(value)
		case "metadata":
			metadata = connectors.Object(value)
		}
	})
	if r.Dead != nil {
		return r
	}
	r.Key = r.ID
	if r.Time = active; r.Time.IsZero() {
		r.Time = started
	}
	f.TextOf("conversation_id", r.ID)
	f.Text("bot", bot)
	f.Time("occurred_at", r.Time)
	f.Time("started_at", started)
	f.Time("last_activity_at", active)
	f.TextOf("locale", locale)
	f.JSON("tags", tags)
	f.JSON("metadata", metadata)
	return r
}

// userInputType is the type of the messages that a user sent. For all others no
// field tells an agent from the bot.
const userInputType = "UserInput"

// message maps a message: _id, time, conversationId, type, outMsg,
// userActionType and userInput are documented.
func message(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeMessage}
	var sent, input, action []byte
	var fromUser bool
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "_id":
			r.ID = connectors.Text(value)
		case "time":
			r.Time = connectors.Time(value)
		case "conversationId":
			r.Key = connectors.Text(value)
		case "type":
			fromUser = connectors.IsText(value, userInputType)
		case "outMsg":
			sent = value
		case "userActionType":
			action = value
		case "userInput":
			input = value
		}
	})
	if r.Dead != nil {
		return r
	}
	f.TextOf("message_id", r.ID)
	f.TextOf("conversation_id", r.Key)
	f.Text("bot", bot)
	f.Time("occurred_at", r.Time)
	content := sent
	if fromUser {
		content = input
		f.Text("sender", "user")
		f.Text("direction", "inbound")
	} else if connectors.String(sent) != nil || connectors.Object(sent) != nil {
		f.Text("direction", "outbound")
	}
	text, kind := readable(content, &f.Inner)
	if fromUser && connectors.Text(action) != "" {
		kind = action
	}
	if word := connectors.Text(kind); word != "" {
		f.Text("kind", connectors.SnakeCase(word))
	} else if text != nil {
		f.Text("kind", "text")
	}
	f.JSON("text", text)
	f.JSON("payload", connectors.Object(content))
	return r
}

// readable finds what a person would read of a message, a JSON string, nil when
// there is none, and its type where it is an object that names one.
func readable(content []byte, scan *events.Scanner) (text, kind []byte) {
	if connectors.Object(content) == nil {
		return connectors.String(content), nil
	}
	best := len(textKeys)
	scan.Object(content, func(name, value []byte) {
		if string(name) == "type" {
			kind = value
		}
		for rank, key := range textKeys[:best] {
			if string(name) == key && connectors.String(value) != nil {
				text, best = value, rank
			}
		}
	})
	return text, kind
}

// textKeys are where an object's text may be, the best first.
var textKeys = []string{"text", "message", "title", "value", "label", "caption"}
