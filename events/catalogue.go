package events

import (
	"embed"
	"slices"
)

// EventType describes one type of the catalogue.
type EventType struct {
	Name   string // also the topic's name behind the prefix
	From   string // which vendors' streams give it
	About  string // one sentence for people
	Schema []byte // JSON Schema 2020-12 of the event's data
}

// Names of the event types.
const (
	TypeMessage         = "message"
	TypeEmail           = "email"
	TypeSMS             = "sms"
	TypeClick           = "click"
	TypeIntegrationCall = "integration_call"
	TypeUser            = "user"
	TypeUserSnapshot    = "user_snapshot"
	TypeUnhandledInput  = "unhandled_input"
	TypeAnswer          = "answer"
	TypeConversation    = "conversation"
	TypeUsage           = "usage"
	TypeDeadLetter      = "dead_letter"
)

//go:embed schemas/*.v1.json
var schemas embed.FS

var catalogue = []EventType{
	{Name: TypeMessage, From: "deepconverse messages, nativechat messages, netcore transcripts", About: "One message between a customer and the bot or an agent."},
	{Name: TypeEmail, From: "feedyou outgoingEmail", About: "One e-mail that the bot sent."},
	{Name: TypeSMS, From: "feedyou outgoingSms", About: "One text message that the bot sent to a phone."},
	{Name: TypeClick, From: "feedyou urlTracker", About: "One click of a user on a button with an address."},
	{Name: TypeIntegrationCall, From: "feedyou integrationLog", About: "One call that the bot made to another system, with what came back."},
	{Name: TypeUser, From: "feedyou userData, netcore users", About: "One user as they stand; each change is a new version with the same recordid."},
	{Name: TypeUserSnapshot, From: "feedyou userDataSnapshot", About: "One user as they stood when their data was cleared."},
	{Name: TypeUnhandledInput, From: "feedyou nlpLog", About: "One thing that a user said and the bot could not process."},
	{Name: TypeAnswer, From: "feedyou fuzzyQuestionAnswerLog", About: "One question of a user with the answer that the bot chose for it, and how sure it was."},
	{Name: TypeConversation, From: "deepconverse conversations, nativechat conversations", About: "One conversation as it stands; each change is a new version with the same recordid."},
	{Name: TypeUsage, From: "netcore usage", About: "How much a bot was used in one month and channel; each change is a new version with the same recordid."},
	{Name: TypeDeadLetter, From: "any record", About: "A record that could not become an event, kept whole with the reason."},
}

// Catalogue returns all event types in a fixed order, the schemas filled in.
func Catalogue() []EventType {
	types := slices.Clone(catalogue)
	for i := range types {
		schema, err := schemas.ReadFile("schemas/" + SchemaFile(types[i].Name))
		if err != nil {
			panic("events: the catalogue has a type without a schema: " + types[i].Name)
		}
		types[i].Schema = schema
	}
	return types
}

// KnownType says whether the catalogue has the type.
func KnownType(name string) bool {
	return slices.ContainsFunc(catalogue, func(t EventType) bool { return t.Name == name })
}

// SchemaFile is the file name of a type's schema.
func SchemaFile(eventType string) string { return eventType + "." + version + ".json" }
