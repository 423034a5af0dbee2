package transforms

// Settings are one step of the configuration: what it is for, and the one thing
// that it does.
type Settings struct {
	Name       string   `mapstructure:"name" default:"(what it does, and its place in the list)" doc:"What dead letters and messages call the step."`
	Types      []string `mapstructure:"types" default:"(all)" doc:"The event types that the step is for."`
	Connectors []string `mapstructure:"connectors" default:"(all)" doc:"The connectors that it is for, by their names."`
	Streams    []string `mapstructure:"streams" default:"(all)" doc:"The streams that it is for: STREAM, or CONNECTOR/STREAM."`
	When       string   `mapstructure:"when" default:"(always)" doc:"An expression: the step is for events for which it is true."`

	Filter     string            `mapstructure:"filter" doc:"An expression: events for which it is not true are dropped."`
	Set        map[string]string `mapstructure:"set" doc:"Members that are set, each to the value of an expression. All see the event as it was before the step; nil removes the member."`
	Rename     map[string]string `mapstructure:"rename" doc:"Members that get another name: old name to new name."`
	Keep       []string          `mapstructure:"keep" doc:"The members that are kept; all others go, raw too."`
	DropFields []string          `mapstructure:"drop_fields" doc:"What is removed, by path."`
	MapValues  *MapValues        `mapstructure:"map_values" doc:"Replaces the values of a member by a table."`
	Split      *Split            `mapstructure:"split" doc:"Makes one event for each element of a list."`
	Route      string            `mapstructure:"route" doc:"The topic that events go to, behind the prefix, instead of their type's own."`
	Redact     *Redact           `mapstructure:"redact" doc:"Masks, hashes or drops what is sensitive."`
	Truncate   *Truncate         `mapstructure:"truncate" doc:"Cuts long texts."`
	Flatten    *Flatten          `mapstructure:"flatten" doc:"Makes members of the members of an object."`
	Sample     *Sample           `mapstructure:"sample" doc:"Keeps a share of the events, the same ones each time."`
	Validate   *Validate         `mapstructure:"validate" doc:"Fails on events that are not as a JSON Schema wants them."`
}

// MapValues replaces values.
type MapValues struct {
	Field   string            `mapstructure:"field" required:"true" doc:"The path of the value."`
	Values  map[string]string `mapstructure:"values" required:"true" doc:"The table: what the value is, as text, and what it becomes."`
	Default *string           `mapstructure:"default" default:"(left as it is)" doc:"What a value becomes that the table does not have."`
}

// Split makes several events of one.
type Split struct {
	Field string `mapstructure:"field" required:"true" doc:"The path of the list. An event without a list there, or with an empty one, passes as it is."`
	Into  string `mapstructure:"into" required:"true" doc:"The member that gets the element. The member that the path begins with is removed, unless that is raw."`
}

// Redact hides what is sensitive.
type Redact struct {
	Fields []string `mapstructure:"fields" default:"(everything, with kinds)" doc:"Where, by path: without kinds the whole value, with kinds what is found in it. event.key and event.record_id are the attributes subject with partitionkey, and recordid; those take with: hash alone."`
	Kinds  []string `mapstructure:"kinds" oneof:"email|phone|card|ip|credentials" doc:"What is looked for in texts: e-mail addresses, phone numbers, payment card numbers (with their checksum), IP addresses, credentials in URLs."`
	With   string   `mapstructure:"with" default:"(mask)" oneof:"mask|hash|drop" doc:"mask writes mask in its place, hash the keyed HMAC-SHA-256 of it, drop nothing."`
	Mask   *string  `mapstructure:"mask" default:"(***)" doc:"What is written with mask."`
	Key    string   `mapstructure:"key" secret:"true" doc:"The key of hash: at least 16 bytes."`
	KeyID  string   `mapstructure:"key_id" doc:"Written in front of a hash with a colon, so that hashes of different keys can be told apart."`
	Raw    string   `mapstructure:"raw" default:"(redact with kinds or with a path in raw, else drop)" oneof:"redact|drop|keep" doc:"What happens to raw, which holds the same in the API's own form: redact looks for the kinds in it too, drop leaves it out, keep leaves it as it is."`
}

// Truncate cuts texts.
type Truncate struct {
	Fields []string `mapstructure:"fields" required:"true" doc:"The paths of the texts."`
	To     int      `mapstructure:"to" required:"true" min:"1" doc:"How many characters are left at most, the … at the end counted."`
}

// Flatten makes members of an object's members.
type Flatten struct {
	Field     string  `mapstructure:"field" required:"true" doc:"The member that is an object. What it holds becomes members named after it and theirs, however deep; lists stay as they are."`
	Separator *string `mapstructure:"separator" default:"(_)" doc:"What stands between the names."`
}

// Sample keeps a share of the events.
type Sample struct {
	Share float64 `mapstructure:"share" required:"true" min:"0" max:"1" doc:"The share that is kept, from 0 to 1."`
	By    string  `mapstructure:"by" default:"(event.key)" doc:"An expression: events with the same value are kept or dropped together."`
}

// Validate checks events.
type Validate struct {
	Schema string `mapstructure:"schema" default:"(the catalogue's, of the event's type)" doc:"A file with a JSON Schema of the data, which refers to nothing outside of itself."`
}
