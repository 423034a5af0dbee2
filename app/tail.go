package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// TailOptions choose what Tail prints, and how.
type TailOptions struct {
	topics.TailOptions
	JSON bool // one JSON object a line, in CloudEvents' structured mode; else for people
	N    int  // end after so many events; 0: go on
	// Where is an expression: events for which it is not true are passed over. "":
	// all are printed.
	Where string
}

var errEnough = errors.New("enough")

// Tail prints events of the configured broker as they are committed.
func Tail(ctx context.Context, file *config.File, o TailOptions, out io.Writer, log *slog.Logger) error {
	broker, err := openBroker(ctx, file, log, toOperate)
	if err != nil {
		return err
	}
	defer broker.Close()
	if offline(broker) {
		// Following would keep the service from starting.
		if !o.Beginning && o.From.IsZero() {
			return errors.New("no service is running, so nothing new will come; --from beginning prints what is stored")
		}
		o.Stop = true
	}
	chain, err := ChainOf(file)
	if err != nil && o.Where != "" {
		return err
	}
	return tail(ctx, broker, o, chain, out, log)
}

func tail(ctx context.Context, broker topics.Broker, o TailOptions, chain *transforms.Chain, out io.Writer, log *slog.Logger) error {
	write := writePretty
	if o.JSON {
		write = writeJSON
	}
	where, err := o.condition(chain, log)
	if err != nil {
		return err
	}
	printed := 0
	err = broker.Tail(ctx, o.TailOptions, func(m topics.Received) error {
		if !where(&m) {
			return nil
		}
		if err := write(out, &m); err != nil {
			return err
		}
		if printed++; printed == o.N {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil
	}
	return err
}

// condition compiles Where, for events as the chain leaves them. Of an event for
// which it fails the log tells, once for each cause.
func (o *TailOptions) condition(chain *transforms.Chain, log *slog.Logger) (func(*topics.Received) bool, error) {
	if o.Where == "" {
		return func(*topics.Received) bool { return true }, nil
	}
	yes, notes, err := transforms.Condition(o.Where, chain.Types(o.Topics), chain)
	if err != nil {
		return nil, &UsageError{fmt.Errorf("--where: %w", err)}
	}
	for _, note := range notes {
		log.Warn("--where is perhaps not what you mean", "note", note)
	}
	told := map[string]bool{}
	return func(m *topics.Received) bool {
		e, err := transforms.Message(m.Attributes, m.Data)
		e.Topic = m.Topic // no attribute tells it
		var is bool
		if err == nil {
			is, err = yes(&e)
		}
		if err != nil && !told[err.Error()] {
			told[err.Error()] = true
			log.Warn("--where cannot be decided for some events, which are passed over", "first", e.ID.String(), "cause", err)
		}
		return is
	}, nil
}

// writeJSON writes an event as CloudEvents' JSON format has it.
func writeJSON(w io.Writer, m *topics.Received) error {
	slices.SortFunc(m.Attributes, func(a, b events.Attribute) int { return strings.Compare(a.Name, b.Name) })
	var line events.Members
	for _, a := range m.Attributes {
		line.Text(a.Name, a.Value)
	}
	line.Text("datacontenttype", events.ContentType)
	data := jsontext.Value(m.Data)
	if data.IsValid() {
		line.JSON("data", data)
	} else {
		line.Text("data", string(m.Data))
	}
	_, err := fmt.Fprintf(w, "{%s}\n", line)
	return err
}

const prettyWidth = 100 // characters of an event's summary

// writePretty writes an event on one line.
func writePretty(w io.Writer, m *topics.Received) error {
	e, err := events.FromAttributes(m.Attributes)
	if err != nil {
		_, err = fmt.Fprintf(w, "%s  an event that cannot be read: %s\n", printable(m.FullTopic, prettyWidth), printable(err.Error(), 3*prettyWidth))
		return err
	}
	at := e.Time
	if at.IsZero() {
		at = e.Recorded
	}
	_, err = fmt.Fprintf(w, "%s  %-16s  %-14s  %-10s  %s\n", at.UTC().Format("2006-01-02 15:04:05"), printable(e.Type, prettyWidth), printable(e.Connector, 14), printable(e.Key, 10), printable(summary(e.Type, m.Data), prettyWidth))
	return err
}

// glance is what of an event's data is worth a glance.
type glance struct {
	Sender, Direction, Kind, Text, Status, Locale, Reason, Detail word
	Subject, URL, Host, Method, Name, Intent, Score, Result       word
	Month, Channel                                                word
	UserID                                                        word     `json:"user_id"`
	Messages                                                      word     `json:"total_messages"`
	Users                                                         word     `json:"total_users"`
	To                                                            []string `json:"to"`
	Tags                                                          []string `json:"tags"`
}

// word is a string, or another JSON value as it is written: status is text of a
// conversation, and a number of a call.
type word string

// UnmarshalJSON reads any value.
func (w *word) UnmarshalJSON(value []byte) error {
	var text string
	if json.Unmarshal(value, &text) != nil {
		text = string(value)
	}
	*w = word(text)
	return nil
}

// summary is what a person wants to know of an event at a glance.
func summary(eventType string, data []byte) string {
	var d glance
	_ = json.Unmarshal(data, &d)
	switch eventType {
	case events.TypeMessage:
		text := d.Text
		if text == "" && d.Kind != "" {
			text = "[" + d.Kind + "]"
		}
		return string(cmp.Or(d.Sender, d.Direction) + ": " + text)
	case events.TypeEmail:
		return "to " + strings.Join(d.To, ", ") + ": " + string(d.Subject)
	case events.TypeSMS:
		return "to " + strings.Join(d.To, ", ") + ": " + string(d.Text)
	case events.TypeClick:
		return string(d.URL)
	case events.TypeIntegrationCall:
		return joined(d.Method, cmp.Or(d.Host, d.URL), d.Status)
	case events.TypeUser, events.TypeUserSnapshot:
		return joined(cmp.Or(d.Name, d.UserID), word(strings.Join(d.Tags, ",")))
	case events.TypeUnhandledInput:
		return "not understood: " + string(cmp.Or(d.Text, d.Result))
	case events.TypeAnswer:
		return string(d.Text) + " -> " + joined(d.Intent, d.Score)
	case events.TypeConversation:
		return joined(d.Status, d.Locale, word(strings.Join(d.Tags, ",")))
	case events.TypeUsage:
		return joined(d.Month, d.Channel) + ": " + joined(d.Messages, "messages,", d.Users, "users")
	case events.TypeDeadLetter:
		return string(d.Reason + ": " + d.Detail)
	}
	return string(data)
}

// joined writes the words that there are, with spaces between.
func joined(words ...word) string {
	var there []string
	for _, w := range words {
		if w != "" {
			there = append(there, string(w))
		}
	}
	return strings.Join(there, " ")
}

// printable makes a text safe for a terminal, and cuts it.
func printable(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case r == '\u200c' || r == '\u200d': // joins what belongs together
			return r
		case r == utf8.RuneError || !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return s
}

// ParseFrom reads where tail begins: a time, a duration back, or "beginning".
func ParseFrom(s string, now time.Time) (topics.TailOptions, error) {
	if s == "" {
		return topics.TailOptions{}, nil
	}
	if s == "beginning" {
		return topics.TailOptions{Beginning: true}, nil
	}
	t, ok := ParseTime(s, now)
	if !ok {
		return topics.TailOptions{}, &UsageError{errors.New("--from wants a time such as 2026-01-01T00:00:00Z, a date, a duration back such as 15m or 2d, or beginning")}
	}
	return topics.TailOptions{From: t}, nil
}

// ParseTime reads a time as people give it on a command line: a time, a date, or
// a duration back from now.
func ParseTime(s string, now time.Time) (time.Time, bool) {
	if d, ok := ParseDuration(s); ok && d > 0 {
		return now.Add(-d), true
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// ParseDuration reads a duration, which may begin with days: 2d, 1d12h, 90m.
func ParseDuration(s string) (time.Duration, bool) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		return d, err == nil
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, false
	}
	d := time.Duration(0)
	if rest != "" {
		d, err = time.ParseDuration(rest)
	}
	return time.Duration(n)*24*time.Hour + d, err == nil && d >= 0
}
