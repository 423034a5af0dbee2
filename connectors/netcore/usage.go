package netcore

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	usagePath    = "/botUsage"
	readingUsage = "reading usage"
	monthForm    = "2006-01"
	// lastMonthUntil is the day of a month from which on the numbers of the one
	// before are final.
	lastMonthUntil = 3
)

// usagePager asks for the numbers of each month and channel, one by one. They are
// a state: each change is a version.
type usagePager struct {
	*api
	client    *connectors.Client
	maxRecord int
}

// asked is a month and channel, and the cursor that leads to it.
type asked struct {
	Month   string `json:"month"` // 2026-11
	Channel int    `json:"channel"`
}

// id is the record's id, 2026-11/1014.
func (a asked) id() string { return a.Month + "/" + channelText(a.Channel) }

// askedOf is the inverse of id; zero for what is none.
func askedOf(id string) asked {
	month, channel, _ := strings.Cut(id, "/")
	n, err := strconv.Atoi(channel)
	if err != nil {
		return asked{}
	}
	return asked{month, n}
}

// months returns those of a window, and the one before while its numbers may
// still change.
func months(from, to time.Time) []string {
	from, to = from.UTC(), to.UTC()
	if to.Day() < lastMonthUntil {
		from = earlier(from, to.AddDate(0, 0, -to.Day()))
	}
	var list []string
	for at := firstOfMonth(from); !at.After(to); at = at.AddDate(0, 1, 0) {
		list = append(list, at.Format(monthForm))
	}
	return list
}

func firstOfMonth(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// Page asks for one month and channel; see [connectors.Pager].
func (p *usagePager) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	var all []asked
	for _, month := range months(r.From, r.To) {
		for _, channel := range p.selected(r.Parts) {
			all = append(all, asked{month, channel})
		}
	}
	if len(all) == 0 {
		return p.emptyPage(), nil
	}
	at := 0
	if r.Cursor != nil {
		var cursor asked
		if json.Unmarshal(r.Cursor, &cursor) == nil {
			at = slices.Index(all, cursor)
		} else {
			at = -1
		}
		if at < 0 {
			return nil, badCursor(readingUsage)
		}
	}
	what := all[at]
	answer, err := p.client.Get(ctx, readingUsage+" of "+what.id(), usagePath, url.Values{"monthDate": {what.Month + "-01"}, "channelId": {channelText(what.Channel)}})
	if err != nil {
		return nil, err
	}
	page := &connectors.Page{Key: what.id(), Began: answer.Began, Took: answer.Took, Close: answer.Close}
	page.Next = func() (json.RawMessage, error) {
		if at+1 == len(all) {
			return nil, nil
		}
		return json.Marshal(all[at+1])
	}
	page.Records = func(yield func(events.Record, error) bool) {
		yield(p.read(answer, what))
	}
	return page, nil
}

// read reads the one record of an answer. One that names neither number is not
// the answer to what was asked.
func (p *usagePager) read(a *connectors.Answer, what asked) (events.Record, error) {
	raw, err := readSingle(a, p.maxRecord)
	if err != nil {
		return events.Record{}, err
	}
	f := &connectors.Fields{Key: connectors.Key{ID: what.id()}}
	named := false
	f.Object(raw, func(name, _ []byte) {
		named = named || string(name) == "totalMessages" || string(name) == "totalUsers"
	})
	if !named {
		return events.Record{}, errNotSingle
	}
	return connectors.Mapper(p.record).Map(raw, f), nil
}

// record maps the numbers of a month and channel, which the key names.
func (p *usagePager) record(raw []byte, f *connectors.Fields) events.Record {
	what := askedOf(f.Key.ID)
	r := events.Record{Type: events.TypeUsage}
	var messages, people []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "totalMessages":
			messages = value
		case "totalUsers":
			people = value
		}
	})
	if r.Dead != nil {
		return r
	}
	r.ID = what.id()
	r.Key = r.ID
	f.Text("bot", p.app)
	f.Text("channel", nameOrID(what.Channel))
	f.Text("month", what.Month)
	addCount(f, "total_messages", messages)
	addCount(f, "total_users", people)
	return r
}

// addCount adds a whole number, or its text, as a number.
func addCount(f *connectors.Fields, name string, value []byte) {
	if n, ok := whole(value); ok {
		f.JSON(name, strconv.AppendInt(nil, n, 10))
	}
}

// whole reads a whole number or its text; 3.0 is one.
func whole(value []byte) (int64, bool) {
	text := strings.TrimSpace(connectors.Text(value))
	if digits, zeros, ok := strings.Cut(text, "."); ok && strings.Trim(zeros, "0") == "" {
		text = digits
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// nameOrID returns the vendor's word for a channel, or its id.
func nameOrID(channel int) string {
	if name := channelName(channel); name != "" {
		return name
	}
	return channelText(channel)
}

// badCursor lets a window begin again whose stored cursor is of no use, as after
// a change of the configuration.
func badCursor(op string) error {
	return &connectors.Error{Kind: connectors.Restart, Op: op, Err: errors.New("the stored cursor does not fit what is configured now")}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
