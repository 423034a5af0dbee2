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
	TypeMessage      = "message"
	TypeConversation = "conversation"
	TypeDeadLetter   = "dead_letter"
)

//go:embed schemas/*.v1.json
var schemas embed.FS

var catalogue = []EventType{
	{Name: TypeMessage, From: "deepconverse messages", About: "One message between a customer and the bot or an agent."},
	{Name: TypeConversation, From: "deepconverse conversations", About: "One conversation as it stands; each change is a new version with the same recordid."},
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
