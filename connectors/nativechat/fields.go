package nativechat

import (
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// The vendor documents few names of fields, so most things are looked for under
// several. Of these the first counts whose value is of the expected form.

// field is something that is looked for.
type field int

const (
	idField field = iota
	statusField
	localeField
	tagsField
	errorsField
	userMessagesField
	dataField
	userField
	channelField
	conversationField
	senderField
	fromUserField
	directionField
	kindField
	textField
	contentField
	extraField
	timeField                   // and behind it one for each of the names of the time
	fieldCount = timeField + 16 // of them all, at most
)

// maxTimes is how many names the time may have: the last fields are those of the
// last activity.
const maxTimes = int(fieldCount-timeField) - 4

// activityNames are where the last activity is, the best first.
var activityNames = [4]string{"LastActivityAt", "LastMessageAt", "ModifiedAt", "UpdatedAt"}

const activityField = fieldCount - field(len(activityNames))

var (
	defaultIDs = []string{"_id", "Id", "id"}
	// Only StartedAt, of conversations, is documented.
	conversationTimes = []string{"StartedAt", "CreatedAt", "startedAt", "createdAt", "Timestamp", "Date"}
	messageTimes      = []string{"CreatedAt", "SentAt", "Timestamp", "Date", "Time", "createdAt", "sentAt", "timestamp", "date"}
)

// conversationNames: StartedAt, Status, Errors, Messages.user, Data.user and
// Data.channel.ProviderName are documented.
var conversationNames = map[field][]string{
	statusField:       {"Status", "status"},
	localeField:       {"Locale", "Language", "Data.user.Locale", "Data.user.Language", "Data.user.locale"},
	tagsField:         {"Tags", "tags"},
	errorsField:       {"Errors", "errors"},
	userMessagesField: {"Messages.user", "Messages.User"},
	dataField:         {"Data", "data"},
	userField:         {"User", "UserId", "User.Id", "User._id", "Data.user.Id", "Data.user._id", "Data.user.id"},
	channelField:      {"Data.channel.ProviderName", "Channel", "ProviderName", "Channel.ProviderName"},
}

// messageNames: Conversation and User are documented.
var messageNames = map[field][]string{
	conversationField: {"Conversation", "ConversationId"},
	userField:         {"User", "UserId"},
	channelField:      {"Channel", "ProviderName", "Data.channel.ProviderName"},
	senderField: {
		"From", "Sender", "Author", "From.Type", "Sender.Type", "Author.Type", "From.Role", "Sender.Role", "Author.Role",
		"SenderType", "Role", "Type",
	},
	fromUserField:  {"IsFromUser", "FromUser", "IsUser"},
	directionField: {"Direction", "direction"},
	kindField:      {"Kind", "MessageType", "ContentType", "Type", "type"},
	textField:      {"Text", "Message", "Content", "Body", "text", "message", "content", "body"},
	contentField:   {"Message", "Content", "Body", "message", "content", "body"},
	extraField:     {"Payload", "Attachments", "QuickReplies", "payload", "attachments"},
}

// forms say what a value has to be like to count.
var forms = map[field]func([]byte) bool{
	idField:           isWord,
	statusField:       isString,
	localeField:       isString,
	tagsField:         func(v []byte) bool { return connectors.Strings(v) != nil },
	errorsField:       isNumber,
	userMessagesField: isNumber,
	dataField:         isObject,
	userField:         isWord,
	channelField:      isString,
	conversationField: isWord,
	senderField:       func(v []byte) bool { return senderOf(v) != "" },
	fromUserField:     func(v []byte) bool { return string(v) == "true" || string(v) == "false" },
	directionField:    func(v []byte) bool { return directionOf(v) != "" },
	kindField:         func(v []byte) bool { return isString(v) && senderOf(v) == "" },
	textField:         isString,
	contentField:      isObject,
	extraField:        func(v []byte) bool { return isObject(v) || len(connectors.ArrayOf(v)) > len("[]") },
}

func isWord(v []byte) bool   { return connectors.Text(v) != "" }
func isString(v []byte) bool { return connectors.Text(connectors.String(v)) != "" }
func isObject(v []byte) bool { return connectors.Object(v) != nil }
func isNumber(v []byte) bool { return numberOf(v) != nil }
func isTime(v []byte) bool   { return !connectors.Time(v).IsZero() }

// place is one name of a field.
type place struct {
	field  field
	rank   int      // among its names, the best first
	behind []string // the rest of a path
	form   func([]byte) bool
}

// shape knows under what names the fields of documents are.
type shape struct {
	places   map[string][]place // by the first name of the path
	ids      []string           // names of the id
	times    []string           // names of the time
	activity bool               // documents may show their last activity
}

func newShape(ids, times []string, names map[field][]string, activity bool) *shape {
	s := &shape{places: map[string][]place{}, ids: ids, times: times, activity: activity}
	for i, name := range times {
		s.add(timeField+field(i), 0, name, isTime)
	}
	for i, name := range activityNames {
		if activity {
			s.add(activityField+field(i), 0, name, isTime)
		}
	}
	for rank, name := range ids {
		s.add(idField, rank, name, forms[idField])
	}
	for of, list := range names {
		for rank, name := range list {
			s.add(of, rank, name, forms[of])
		}
	}
	return s
}

func (s *shape) add(of field, rank int, name string, form func([]byte) bool) {
	path := strings.Split(name, ".")
	s.places[path[0]] = append(s.places[path[0]], place{of, rank, path[1:], form})
}

// document is what was found of one. Values are as they stand in its text, but
// for what MongoDB's extended JSON wraps, such as {"$oid": "..."}.
type document struct {
	values   [fieldCount][]byte
	ranks    [fieldCount]int
	extended [fieldCount]bool // it was wrapped
}

// read looks into a document.
func (s *shape) read(raw []byte, f *connectors.Fields, d *document) *events.Dead {
	*d = document{}
	return f.Object(raw, func(name, value []byte) {
		for i := range s.places[string(name)] {
			d.offer(&s.places[string(name)][i], value, &f.Inner)
		}
	})
}

func (d *document) offer(p *place, value []byte, scan *events.Scanner) {
	if d.values[p.field] != nil && d.ranks[p.field] <= p.rank {
		return
	}
	for _, name := range p.behind {
		value = memberOf(scan, value, name)
	}
	plain := unwrapped(scan, value)
	if len(plain) == 0 || !p.form(plain) {
		return
	}
	d.values[p.field], d.ranks[p.field], d.extended[p.field] = plain, p.rank, len(plain) != len(value)
}

// memberOf returns a member of an object; nil where there is none.
func memberOf(scan *events.Scanner, object []byte, name string) (found []byte) {
	if connectors.Object(object) == nil {
		return nil
	}
	scan.Object(object, func(member, value []byte) {
		if string(member) == name {
			found = value
		}
	})
	return found
}

// unwrapped returns what {"$date": ...}, {"$oid": ...} and {"$numberLong": ...}
// hold, and other values as they are.
func unwrapped(scan *events.Scanner, value []byte) []byte {
	for range 2 { // {"$date": {"$numberLong": ...}}
		if connectors.Object(value) == nil {
			return value
		}
		var inner []byte
		scan.Object(value, func(name, held []byte) {
			switch string(name) {
			case "$date", "$oid", "$numberLong":
				inner = held
			}
		})
		if inner == nil {
			return value
		}
		value = inner
	}
	return value
}

// text returns what a field says; "" where it is not there.
func (d *document) text(of field) string { return connectors.Text(d.values[of]) }

// time returns the time of a document, by the first of its names.
func (d *document) time(s *shape) time.Time {
	for i := range s.times {
		if v := d.values[timeField+field(i)]; v != nil {
			return connectors.Time(v)
		}
	}
	return time.Time{}
}

// activity returns when something last happened; zero where it is not told.
func (d *document) activity() time.Time {
	for _, v := range d.values[activityField:] {
		if v != nil {
			return connectors.Time(v)
		}
	}
	return time.Time{}
}
