package feedyou

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// who is what all records may say: who it is about, and when it was.
type who struct {
	user string
	at   time.Time
}

// read takes a member that all records may have.
func (w *who) read(name, value []byte) bool {
	switch string(name) {
	case "userId":
		w.user = connectors.Text(value)
	case "timestamp":
		w.at = connectors.Time(value)
	default:
		return false
	}
	return true
}

// begin sets what all records have alike. The record's id stays empty: but for
// users the vendor gives none.
func (w *who) begin(r *events.Record, f *connectors.Fields, bot string) {
	r.Key, r.Time = w.user, w.at
	f.TextOf("user_id", w.user)
	f.Text("bot", bot)
	f.Time("occurred_at", w.at)
}

// unhandledInput maps a row of nlpLog: result and processed are documented,
// userId, timestamp and text may be there.
func unhandledInput(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeUnhandledInput}
	var w who
	var text, result, processed []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "text":
			text = value
		case "result":
			result = value
		case "processed":
			processed = value
		default:
			w.read(name, value)
		}
	})
	if r.Dead != nil {
		return r
	}
	w.begin(&r, f, bot)
	addText(f, "text", text)
	f.JSON("result", notNull(result))
	f.JSON("processed", notNull(processed))
	return r
}

// email maps a row of outgoingEmail, all of whose fields are documented.
func email(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeEmail}
	var w who
	var from, recipients, replyTo, subject, body, step []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "from":
			from = value
		case "recipients":
			recipients = value
		case "replyTo":
			replyTo = value
		case "subject":
			subject = value
		case "body":
			body = value
		case "stepId":
			step = value
		default:
			w.read(name, value)
		}
	})
	if r.Dead != nil {
		return r
	}
	w.begin(&r, f, bot)
	addText(f, "from", from)
	addRecipients(f, recipients)
	addText(f, "reply_to", replyTo)
	addText(f, "subject", subject)
	addText(f, "body", body)
	addText(f, "step_id", step)
	return r
}

// sms maps a row of outgoingSms: channel, link, message, provider and recipients
// are documented, userId and timestamp may be there.
func sms(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeSMS}
	var w who
	var channel, link, message, provider, recipients []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "channel":
			channel = value
		case "link":
			link = value
		case "message":
			message = value
		case "provider":
			provider = value
		case "recipients":
			recipients = value
		default:
			w.read(name, value)
		}
	})
	if r.Dead != nil {
		return r
	}
	w.begin(&r, f, bot)
	addText(f, "channel", channel)
	addRecipients(f, recipients)
	addText(f, "text", message)
	addText(f, "provider", provider)
	addText(f, "link", link)
	return r
}

// answer maps a row of fuzzyQuestionAnswerLog, all of whose fields are documented.
func answer(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeAnswer}
	var w who
	var text, intent, score, matched, step, dialog, others []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "text":
			text = value
		case "intent":
			intent = value
		case "score":
			score = value
		case "matched":
			matched = value
		case "stepId":
			step = value
		case "dialogId":
			dialog = value
		case "otherClassifications":
			others = value
		default:
			w.read(name, value)
		}
	})
	if r.Dead != nil {
		return r
	}
	w.begin(&r, f, bot)
	addText(f, "text", text)
	addText(f, "intent", intent)
	f.JSON("score", number(score))
	f.JSON("matched", boolean(matched))
	addText(f, "step_id", step)
	addText(f, "dialog_id", dialog)
	if len(others) > 0 && (others[0] == '[' || others[0] == '{') {
		f.JSON("other_classifications", others)
	}
	return r
}

// click maps a row of urlTracker: domain and url are documented, userId and
// timestamp may be there.
func click(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeClick}
	var w who
	var url, domain []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "url":
			url = value
		case "domain":
			domain = value
		default:
			w.read(name, value)
		}
	})
	if r.Dead != nil {
		return r
	}
	w.begin(&r, f, bot)
	addText(f, "url", url)
	addText(f, "domain", domain)
	return r
}

// addText adds a string as it came, or a number as its text.
func addText(f *connectors.Fields, name string, value []byte) {
	switch {
	case connectors.String(value) != nil:
		f.JSON(name, value)
	case isNumber(value):
		f.Text(name, string(value))
	}
}

// notNull returns the value if it is not null.
func notNull(value []byte) []byte {
	if string(value) == "null" {
		return nil
	}
	return value
}

func isNumber(value []byte) bool {
	return len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9')
}

// number returns a number, or that in a string, as it is written: 1e400 is one.
func number(value []byte) []byte {
	if isNumber(value) {
		return value
	}
	if connectors.String(value) == nil {
		return nil
	}
	text := []byte(strings.TrimSpace(connectors.Text(value)))
	if !isNumber(text) || !jsontext.Value(text).IsValid() {
		return nil
	}
	return text
}

// boolean returns true or false, or one of them in a string of any case.
func boolean(value []byte) []byte {
	switch string(value) {
	case "true", "false":
		return value
	}
	if connectors.String(value) == nil {
		return nil
	}
	switch text := strings.TrimSpace(connectors.Text(value)); {
	case strings.EqualFold(text, "true"):
		return []byte("true")
	case strings.EqualFold(text, "false"):
		return []byte("false")
	}
	return nil
}

// integer reads a whole number or its text; 200.0 is one.
func integer(value []byte) (int64, bool) {
	digits := number(value)
	if i := bytes.IndexByte(digits, '.'); i >= 0 && len(bytes.Trim(digits[i+1:], "0")) == 0 {
		digits = digits[:i]
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}
