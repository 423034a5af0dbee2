package netcore

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// userPager reads users as the list shows them.
type userPager struct{ *listing }

// Page asks for one page of the users of one channel; see [connectors.Pager].
func (p *userPager) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	channels := p.selected(r.Parts)
	if len(channels) == 0 {
		return connectors.EmptyPage(p.now()), nil
	}
	at, err := placeOf(r.Cursor, channels, listingUsers)
	if err != nil {
		return nil, err
	}
	page, err := p.page(ctx, at, channels, r.From, p.record)
	if err != nil {
		return nil, err
	}
	page.Key = channelText(at.Channel)
	return page, nil
}

// record maps a user's row. The key names the channel.
func (p *userPager) record(raw []byte, f *connectors.Fields) events.Record {
	return p.user(raw, f, nil)
}

// user maps a user's row and, where it is known, what the bot keeps of them:
// an I-JSON object with customFields and tags.
func (a *api) user(raw []byte, f *connectors.Fields, kept []byte) events.Record {
	channel := keyOf(f.Key.ID).channel
	r := events.Record{Type: events.TypeUser}
	var word string
	var name, tags []byte
	var created, first time.Time
	attributes := attributes{f: f}
	behind := 0 // the member before
	r.Dead = f.Object(raw, func(key, value []byte) {
		member := raw[behind:f.End()]
		behind = f.End()
		switch string(key) {
		case "userId":
			r.Key = connectors.Text(value)
		case "channelName":
			word = connectors.Text(connectors.String(value))
		case "userName":
			name = connectors.String(value)
		case "createdDate":
			created = connectors.Time(value)
		case "first interacted date":
			first = connectors.Time(value)
		case "last interacted date":
			r.Time = connectors.Time(value)
		default:
			attributes.add(key, trimMember(member))
		}
	})
	if r.Dead != nil {
		return r
	}
	if kept != nil {
		tags = attributes.addKept(kept)
	}
	attributes.close()
	if r.Key != "" {
		r.ID = channelText(channel) + "/" + r.Key
	}
	if known := channelName(channel); known != "" || word == "" {
		word = nameOrID(channel) // one word for a channel, whatever a row says
	}
	f.TextOf("user_id", r.Key)
	f.Text("bot", a.app)
	f.Text("channel", word)
	f.Time("occurred_at", r.Time)
	f.JSON("name", name)
	f.JSON("tags", tags)
	f.Time("created_at", created)
	f.Time("first_seen_at", first)
	f.Time("last_seen_at", r.Time)
	return r
}

// attributes writes what else is known of a user, under the vendor's names: the
// row's other fields, and the custom fields that no field of the row is named as.
type attributes struct {
	f     *connectors.Fields
	names map[string]bool
}

// add adds a member: its name, and its text with the name.
func (a *attributes) add(name, member []byte) {
	if a.names == nil {
		a.names = map[string]bool{}
		a.f.Members = append(a.f.Members, `"attributes":{`...)
	} else if a.names[string(name)] {
		return
	} else {
		a.f.Members = append(a.f.Members, ',')
	}
	a.names[string(name)] = true
	a.f.Members = append(a.f.Members, member...)
}

// addKept adds the custom fields, and returns the tags.
func (a *attributes) addKept(kept []byte) (tags []byte) {
	var fields []byte
	a.f.Inner.Object(kept, func(name, value []byte) {
		text := kept[a.f.Inner.End()-len(value) : a.f.Inner.End()]
		switch string(name) {
		case "customFields":
			fields = connectors.Object(text)
		case "tags":
			tags = connectors.Strings(text)
		}
	})
	behind := 0
	if fields != nil {
		a.f.Inner.Object(fields, func(name, _ []byte) {
			member := fields[behind:a.f.Inner.End()]
			behind = a.f.Inner.End()
			a.add(name, trimMember(member))
		})
	}
	return tags
}

func (a *attributes) close() {
	if a.names != nil {
		a.f.Members = append(a.f.Members, '}')
	}
}

// trimMember returns a member's text without the brace or comma and the white
// space in front of it.
func trimMember(text []byte) []byte {
	i := 0
	for text[i] != '"' {
		i++
	}
	return text[i:]
}

// ids are what a row of the list tells of a user; "" what it does not.
type ids struct{ user, bot, phone string }

// asked is the id that the API is asked with: the user's id in the channel, which
// is a phone number where that is known, else what the list calls the user.
func (i ids) asked() string {
	for _, id := range []string{i.bot, i.phone, i.user} {
		if id != "" {
			return id
		}
	}
	return ""
}

// idsOf reads a row; what is no object has none.
func idsOf(raw []byte, scan *events.Scanner) (i ids) {
	dead := scan.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "userId":
			i.user = connectors.Text(value)
		case "botUserId":
			i.bot = connectors.Text(value)
		case "phoneNumber":
			i.phone = connectors.Text(value)
		}
	})
	if dead != nil {
		return ids{}
	}
	return i
}

// quoted writes a string as JSON.
func quoted(text string) []byte {
	out, _ := jsontext.AppendQuote(nil, text)
	return out
}
