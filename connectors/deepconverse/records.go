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
	var kind, action string
	var sent, input []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "_id":
			r.ID = connectors.Text(value)
		case "time":
			r.Time = connectors.Time(value)
		case "conversationId":
			r.Key = connectors.Text(value)
		case "type":
			kind = connectors.Text(value)
		case "outMsg":
			sent = value
		case "userActionType":
			action = connectors.Text(value)
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
	if kind == userInputType {
		content = input
		f.Text("sender", "user")
		f.Text("direction", "inbound")
	} else if len(sent) > 0 && string(sent) != "null" {
		f.Text("direction", "outbound")
	}
	text, inner := readable(content)
	switch {
	case kind == userInputType && action != "":
		f.Text("kind", connectors.SnakeCase(action))
	case inner != "":
		f.Text("kind", connectors.SnakeCase(inner))
	case text != nil:
		f.Text("kind", "text")
	}
	if text != nil {
		f.Text("text", *text)
	}
	f.JSON("payload", connectors.Object(content))
	return r
}

// readable finds what a person would read of a message, nil when there is none,
// and its type where it is an object that names one.
func readable(content []byte) (text *string, kind string) {
	if len(content) > 0 && content[0] == '"' {
		plain := connectors.Text(content)
		return &plain, ""
	}
	if connectors.Object(content) == nil {
		return nil, ""
	}
	var scan events.Scanner
	best := len(textKeys)
	scan.Object(content, func(name, value []byte) {
		if string(name) == "type" {
			kind = connectors.Text(value)
		}
		for rank, key := range textKeys[:best] {
			if string(name) == key && len(value) > 0 && value[0] == '"' {
				plain := connectors.Text(value)
				text, best = &plain, rank
			}
		}
	})
	return text, kind
}

// textKeys are where an object's text may be, the best first.
var textKeys = []string{"text", "message", "title", "value", "label", "caption"}
