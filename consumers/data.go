package consumers

import (
	"encoding/json"
	"time"
)

// Common are the members that events of every type have, but dead letters.
type Common struct {
	UserID         string          `json:"user_id,omitzero"`         // the end user, as the vendor names them
	ConversationID string          `json:"conversation_id,omitzero"` // the conversation it belongs to
	Bot            string          `json:"bot,omitzero"`             // the bot or account it was read from
	Channel        string          `json:"channel,omitzero"`         // e.g. web or whatsapp
	OccurredAt     time.Time       `json:"occurred_at,omitzero"`     // when it happened
	Raw            json.RawMessage `json:"raw,omitzero"`             // the record as the API returned it, an object
}

// Message is one message between a customer and the bot or an agent.
type Message struct {
	MessageID string          `json:"message_id,omitzero"` // the vendor's id
	Sender    string          `json:"sender,omitzero"`     // user, bot or agent
	Direction string          `json:"direction,omitzero"`  // inbound: from the user; outbound: to the user
	Kind      string          `json:"kind,omitzero"`       // text, image, quick_reply, product_single, ...
	Text      string          `json:"text,omitzero"`       // what a person would read of it
	Payload   json.RawMessage `json:"payload,omitzero"`    // the content where it is more than text, as the API gave it
	Common
}

// Email is one e-mail that the bot sent.
type Email struct {
	From    string   `json:"from,omitzero"`     // as the vendor writes it
	To      []string `json:"to,omitzero"`       // addresses without display names
	ReplyTo string   `json:"reply_to,omitzero"` // as the vendor writes it
	Subject string   `json:"subject,omitzero"`
	Body    string   `json:"body,omitzero"`    // plain or HTML
	StepID  string   `json:"step_id,omitzero"` // the step of the conversation tree that sent it
	Common
}

// SMS is one text message that the bot sent to a phone.
type SMS struct {
	To       []string `json:"to,omitzero"` // numbers
	Text     string   `json:"text,omitzero"`
	Provider string   `json:"provider,omitzero"` // who delivered it, e.g. twilio
	Link     string   `json:"link,omitzero"`     // the address that it points to
	Common
}

// Click is one click of a user on a button with an address.
type Click struct {
	URL    string `json:"url,omitzero"`
	Domain string `json:"domain,omitzero"` // as the vendor gives it
	Common
}

// IntegrationCall is one call that the bot made to another system, with what came
// back. Credentials in it are masked.
type IntegrationCall struct {
	URL            string          `json:"url,omitzero"`
	Host           string          `json:"host,omitzero"`            // of the URL, in lower case, without a port
	Method         string          `json:"method,omitzero"`          // in upper case
	RequestBody    json.RawMessage `json:"request_body,omitzero"`    // text or JSON, as the API gave it
	RequestHeaders json.RawMessage `json:"request_headers,omitzero"` // an object, a list of pairs, or text
	Status         *int64          `json:"status,omitzero"`          // the HTTP status
	ResponseBody   json.RawMessage `json:"response_body,omitzero"`   // text or JSON, as the API gave it
	DurationMS     *float64        `json:"duration_ms,omitzero"`     // taken to be milliseconds: the vendor does not say
	OK             *bool           `json:"ok,omitzero"`              // whether the status is 200 to 399; nil without a status
	Common
}

// User is one user as they stand.
type User struct {
	Name        string          `json:"name,omitzero"`
	Attributes  json.RawMessage `json:"attributes,omitzero"` // an object: what else is kept, under the vendor's names
	Tags        []string        `json:"tags,omitzero"`
	CreatedAt   time.Time       `json:"created_at,omitzero"`
	FirstSeenAt time.Time       `json:"first_seen_at,omitzero"`
	LastSeenAt  time.Time       `json:"last_seen_at,omitzero"` // when they last wrote
	Common
}

// UserSnapshot is one user as they stood when their data was cleared. OccurredAt is
// when they last wrote before it.
type UserSnapshot User

// UnhandledInput is one thing that a user said and the bot could not process.
type UnhandledInput struct {
	Text      string          `json:"text,omitzero"`      // what the user said
	Result    json.RawMessage `json:"result,omitzero"`    // what came of it, as the API gave it
	Processed json.RawMessage `json:"processed,omitzero"` // whether or how, as the API gave it
	Common
}

// Answer is one question of a user with the answer that the bot chose for it.
type Answer struct {
	Text                 string          `json:"text,omitzero"`    // what the user asked
	Intent               string          `json:"intent,omitzero"`  // the answer or intent that was chosen
	Score                *float64        `json:"score,omitzero"`   // how sure the bot was; higher is surer
	Matched              *bool           `json:"matched,omitzero"` // whether that was sure enough
	StepID               string          `json:"step_id,omitzero"`
	DialogID             string          `json:"dialog_id,omitzero"`
	OtherClassifications json.RawMessage `json:"other_classifications,omitzero"` // a list or an object, as the API gave it
	Common
}

// Conversation is one conversation as it stands.
type Conversation struct {
	Status         string          `json:"status,omitzero"` // the vendor's
	StartedAt      time.Time       `json:"started_at,omitzero"`
	LastActivityAt time.Time       `json:"last_activity_at,omitzero"`
	Locale         string          `json:"locale,omitzero"` // as the vendor writes it
	Tags           []string        `json:"tags,omitzero"`
	Errors         *float64        `json:"errors,omitzero"`        // how many it met
	UserMessages   *float64        `json:"user_messages,omitzero"` // how many the user sent
	Metadata       json.RawMessage `json:"metadata,omitzero"`      // an object, free-form
	Common
}

// Usage is how much a bot was used in one month and channel, as it stands.
type Usage struct {
	Month         string `json:"month,omitzero"` // in UTC, e.g. 2026-11
	TotalMessages *int64 `json:"total_messages,omitzero"`
	TotalUsers    *int64 `json:"total_users,omitzero"`
	Common
}

// DeadLetter is a record that could not become an event, or a part of one.
type DeadLetter struct {
	Reason       string `json:"reason"` // not_json, not_an_object, ...
	Detail       string `json:"detail,omitzero"`
	Stage        string `json:"stage"`         // the station that gave it up: connector, transform or commit
	Step         string `json:"step,omitzero"` // of the transforms, where one failed
	Connector    string `json:"connector,omitzero"`
	Stream       string `json:"stream"`                 // vendor/account/stream
	Window       string `json:"window,omitzero"`        // from/to
	ReadFor      string `json:"read_for,omitzero"`      // the user or conversation that was asked for
	SHA256       string `json:"sha256"`                 // of the whole record
	EventID      string `json:"event_id,omitzero"`      // of the event that it would have been
	Number       *int64 `json:"number,omitzero"`        // equal records before it in the same pass; nil for the first
	LetterID     string `json:"letter_id,omitzero"`     // what all parts share
	Part         *int64 `json:"part,omitzero"`          // from 1; nil where it is whole
	Parts        *int64 `json:"parts,omitzero"`         // nil where it is whole
	Record       string `json:"record,omitzero"`        // the text, where it is UTF-8 and whole; else RecordBase64
	RecordBase64 []byte `json:"record_base64,omitzero"` // the bytes, decoded
}
