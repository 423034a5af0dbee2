package nativechat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// conversationStream reads conversations by their beginning and, so that changes
// come soon, by their last activity.
func conversationStream(talks *collection) *connectors.Stream {
	return &connectors.Stream{
		Versioned: true, OpenEnd: true,
		Pager: conversationPager{talks}, Map: talks.mapRecord, Count: talks.countRange(talks.learn),
	}
}

// learn finds out how conversations are asked for.
func (c *collection) learn(ctx context.Context) (*dates, error) {
	return c.known(ctx, func(ctx context.Context) ([]sample, predicate, error) {
		list, err := c.look(ctx, nil)
		return list, nil, err
	})
}

// countRange returns what counts the documents of a range of time.
func (c *collection) countRange(learn func(context.Context) (*dates, error)) func(ctx context.Context, from, to time.Time) (int64, error) {
	return func(ctx context.Context, from, to time.Time) (int64, error) {
		d, err := learn(ctx)
		if err != nil || d == nil {
			return 0, err
		}
		return c.counted(ctx, d.query(asking{started: span{from, to}}, &cursor{}))
	}
}

type conversationPager struct{ *collection }

// Page asks for one page; see [connectors.Pager].
func (p conversationPager) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	began := p.client.Now()
	d, err := p.learn(ctx)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return connectors.EmptyPage(began), nil
	}
	window := span{r.From, r.To}
	return p.page(ctx, d, asking{started: window, activity: &window}, r.Cursor, r.Key, func(*document) error { return nil })
}

// messageStream reads messages, and returns the path that it asks.
func (s *Settings) messageStream(talks, said *collection) (*connectors.Stream, string) {
	m := messageReader{talks: talks, said: said}
	if s.Messages == all {
		return &connectors.Stream{Pager: allMessages{m}, Map: said.mapRecord, Count: said.countRange(m.learn)}, said.path
	}
	return &connectors.Stream{Pager: talkMessages{m}, Walk: m, Map: said.mapRecord, Without: m.without}, said.path
}

// messageReader reads messages; which conversations there are it asks too.
type messageReader struct{ talks, said *collection }

// without is what is read of a conversation whose messages the API refuses.
func (m messageReader) without(connectors.Request) *connectors.Page {
	return connectors.EmptyPage(m.said.client.Now())
}

// Keys lists conversations; see [connectors.Walker]. All that began in the window
// may have messages in it, and of those before, those that were active since.
// Live windows begin an overlap ago, sweeps as far back as they read. Those that
// began behind the window have nothing in it.
func (m messageReader) Keys(ctx context.Context, r connectors.KeysRequest) (*connectors.Keys, error) {
	d, err := m.talks.learn(ctx)
	if err != nil || d == nil {
		return new(connectors.Keys), err
	}
	keys := new(connectors.Keys)
	what := asking{started: span{r.From, r.To}, activity: &span{from: r.From}}
	page, err := m.talks.page(ctx, d, what, r.Cursor, connectors.Key{}, func(doc *document) error {
		if m.talks.beganBehind(doc, d.name, r.To) {
			return nil
		}
		id := doc.text(idField)
		if id == "" {
			keys.Keys = append(keys.Keys, connectors.Key{ID: nameless})
			return nil
		}
		keys.Keys = append(keys.Keys, connectors.Key{ID: id, Data: append([]byte(nil), doc.values[idField]...)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer page.Close()
	for _, err := range page.Records {
		if err != nil {
			return nil, err
		}
	}
	keys.Next, err = page.Next()
	return keys, err
}

// beginnings are the names of times that can only be that of a conversation's
// beginning. Another one may be that of its end, or of a copy made of it later.
var beginnings = []string{"StartedAt", "startedAt"}

// beganMargin is by how much a conversation may show a later beginning than its
// first message.
const beganMargin = time.Hour

// beganBehind says whether a conversation shows, under the name that it was asked
// for by, that it began behind a window.
func (c *collection) beganBehind(doc *document, name string, to time.Time) bool {
	i := slices.Index(c.shape.times, name)
	if i < 0 || !slices.Contains(beginnings, name) || doc.values[timeField+field(i)] == nil {
		return false
	}
	return connectors.Time(doc.values[timeField+field(i)]).After(to.Add(beganMargin))
}

// nameless is the key of all conversations without an id. It fails as one that the
// API does not know, so that it is told, and passed over where others are read.
const nameless = "without an id"

var errNameless = &connectors.Error{Kind: connectors.Fail, Op: "listing conversations, to read their messages", Status: http.StatusNotFound,
	Err: errors.New("one has no id under any of the names in id_fields, so that its messages cannot be asked for: set id_fields, or messages: all")}

// talkMessages reads the messages of one conversation at a time.
type talkMessages struct{ messageReader }

// Page asks for one page of a conversation's messages; see [connectors.Pager].
func (m talkMessages) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	if r.Key.ID == nameless && r.Key.Data == nil {
		return nil, errNameless
	}
	page, err := m.pageOf(ctx, r)
	if err != nil {
		return nil, inTalk(err, r.Key.ID)
	}
	records := page.Records
	page.Records = func(yield func(events.Record, error) bool) {
		for record, err := range records {
			if !yield(record, inTalk(err, r.Key.ID)) {
				return
			}
		}
	}
	return page, nil
}

// inTalk adds to an error which conversation was being read.
func inTalk(err error, id string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e := connectors.Error{}
	if known := (*connectors.Error)(nil); errors.As(err, &known) {
		e = *known
	} else if errors.As(readError("reading messages", err), &known) {
		e = *known
	}
	e.Op = fmt.Sprintf("%s of the conversation %.100q", e.Op, id)
	return &e
}

func (m talkMessages) pageOf(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	began := m.said.client.Now()
	id := json.RawMessage(r.Key.Data)
	if len(id) == 0 {
		id, _ = json.Marshal(r.Key.ID)
	}
	among := inConversation(id)
	d, err := m.said.known(ctx, func(ctx context.Context) ([]sample, predicate, error) {
		list, err := m.said.look(ctx, among)
		if s, _ := typical(list); err != nil || len(list) == 0 || s != nil {
			return list, among, err
		}
		// It shows no times. Others may; where there are none, that it does not is told.
		if others, around, err := m.lookAround(ctx); err != nil || len(others) > 0 {
			return others, around, err
		}
		return list, among, nil
	})
	if err != nil {
		return nil, err
	}
	if d == nil { // nobody has said anything in it
		return connectors.EmptyPage(began), nil
	}
	return m.said.page(ctx, d, asking{among: among, started: span{r.From, r.To}}, r.Cursor, r.Key, func(doc *document) error {
		if named := doc.text(conversationField); named != "" && named != r.Key.ID {
			return &connectors.Error{Kind: connectors.Fail, Op: "listing messages", Err: errors.New(
				"a message names another conversation than the one that was asked for: the API seems to ignore the parameter query")}
		}
		return nil
	})
}

// allMessages reads messages by their own time.
type allMessages struct{ messageReader }

// Page asks for one page of all messages; see [connectors.Pager].
func (m allMessages) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	began := m.said.client.Now()
	d, err := m.learn(ctx)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return connectors.EmptyPage(began), nil
	}
	page, err := m.said.page(ctx, d, asking{started: span{r.From, r.To}}, r.Cursor, r.Key, func(*document) error { return nil })
	return page, notAll(err)
}

// looked is how many conversations are looked into for a message.
const looked = 5

// lookAround looks at the messages of one of the first conversations: one that has
// messages with a time, else one that has any.
func (m messageReader) lookAround(ctx context.Context) (list []sample, among predicate, err error) {
	talks, err := m.talks.look(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, talk := range talks[:min(looked, len(talks))] {
		if talk.id == "" {
			continue
		}
		id, _ := json.Marshal(talk.id)
		its := inConversation(id)
		found, err := m.said.look(ctx, its)
		if err != nil {
			return nil, nil, err
		}
		if s, _ := typical(found); s != nil {
			return found, its, nil
		}
		if len(found) > 0 {
			list, among = found, its
		}
	}
	return list, among, nil
}

// learn finds out how messages are asked for, on those of a conversation: that is
// what the vendor documents. Where none has any, on what there is without. That
// they can be asked for without naming one is proved by it, too.
func (m messageReader) learn(ctx context.Context) (*dates, error) {
	return m.said.known(ctx, func(ctx context.Context) ([]sample, predicate, error) {
		list, _, err := m.lookAround(ctx)
		if err != nil || len(list) > 0 {
			return list, nil, err
		}
		list, err = m.said.look(ctx, nil)
		return list, nil, notAll(err)
	})
}

// notAll says what to do where the API does not list all messages.
func notAll(err error) error {
	if !refused(err) {
		return err
	}
	e := &connectors.Error{}
	errors.As(err, &e)
	return &connectors.Error{Kind: connectors.Fail, Op: e.Op, Status: e.Status, Err: fmt.Errorf("%w; this account may not list messages by their time: set messages: by_conversation", e.Err)}
}
