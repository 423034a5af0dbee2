package feedyou

import (
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// user maps a row of userData, of which userId and timestamp are documented; all
// else are the bot's own fields, in camelCase. Each change is a new version.
func user(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := person(raw, f, bot, events.TypeUser)
	r.ID = r.Key
	return r
}

// userSnapshot maps a row of userDataSnapshot. There can be many of one user, and
// none of them changes: they have no id.
func userSnapshot(raw []byte, f *connectors.Fields, bot string) events.Record {
	return person(raw, f, bot, events.TypeUserSnapshot)
}

func person(raw []byte, f *connectors.Fields, bot, eventType string) events.Record {
	r := events.Record{Type: eventType}
	var w who
	var name, first, last, tags []byte
	var created, seen time.Time
	f.Members = append(f.Members, `"attributes":{`...)
	begin, behind := len(f.Members), 0 // the first attribute in Members, the member before in raw
	r.Dead = f.Object(raw, func(key, value []byte) {
		from, end := behind, f.End()
		behind = end
		switch string(key) {
		case "name":
			name = value
		case "firstName", "firstname", "givenName":
			first = value
		case "lastName", "lastname", "surname", "familyName":
			last = value
		case "tags":
			tags = value
		case "createdAt":
			created = connectors.Time(value)
		case "firstSeenAt":
			seen = connectors.Time(value)
		default:
			if w.read(key, value) {
				return
			}
		}
		if len(f.Members) > begin {
			f.Members = append(f.Members, ',')
		}
		f.Members = append(f.Members, member(raw[from:end])...)
	})
	if r.Dead != nil {
		return r
	}
	if len(f.Members) > begin {
		f.Members = append(f.Members, '}')
	} else {
		f.Members = f.Members[:0] // nothing but id and time
	}
	w.begin(&r, f, bot)
	if filled(name) {
		f.JSON("name", name)
	} else {
		f.TextOf("name", strings.TrimSpace(words(first)+" "+words(last)))
	}
	f.JSON("tags", connectors.Strings(tags))
	f.Time("created_at", created)
	f.Time("first_seen_at", seen)
	f.Time("last_seen_at", w.at)
	return r
}

// member returns a member's text without the brace or comma and the white space
// in front of it.
func member(text []byte) []byte {
	i := 0
	for text[i] != '"' {
		i++
	}
	return text[i:]
}

// filled says whether a value is a string with something in it.
func filled(value []byte) bool { return words(value) != "" }

// words returns a string without white space around it.
func words(value []byte) string { return strings.TrimSpace(connectors.Text(connectors.String(value))) }
