package netcore

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	transcriptsPath    = "/transcripts"
	readingTranscripts = "reading transcripts"
	// reach is how many months back transcripts can be asked for.
	reach = 3
)

// oldest is how far back a window may begin: a little less than the API allows,
// so that it can still be asked for a while later.
func oldest(now time.Time) time.Time { return now.AddDate(0, -reach, 0).Add(time.Hour) }

// key is a user to ask for, in a channel, or the channel alone.
type key struct {
	channel     int
	asked, user string // the id to ask with, and that of the list
}

// id is the key's ID: it is taken apart again, so ids in it are escaped. Walks go
// in its order, so what stays comes before the id to ask with: a user who gains a
// phone number in the middle of a walk is not passed over.
func (k key) id() string {
	if k.user == "" {
		return channelText(k.channel)
	}
	return channelText(k.channel) + "/" + url.PathEscape(k.user) + "/" + url.PathEscape(k.asked)
}

// of names the key in errors.
func (k key) of() string {
	text := " of channel " + channelText(k.channel)
	if k.user != "" {
		text = " of user " + k.user + text
	}
	return text
}

// keyOf is the inverse of id; what is missing is zero.
func keyOf(id string) (k key) {
	channel, rest, _ := strings.Cut(id, "/")
	k.channel, _ = strconv.Atoi(channel)
	user, asked, _ := strings.Cut(rest, "/")
	k.asked, _ = url.PathUnescape(asked)
	k.user, _ = url.PathUnescape(user)
	return k
}

// transcriptPager reads what was said: user by user, where the stream is walked,
// else channel by channel.
type transcriptPager struct {
	*listing
	swept time.Duration // a window that is longer may begin before what sweeps read
}

// sweptOf returns how long a window may be, the overlap in it, all of which the
// next sweep reads again once it is read.
func sweptOf(o connectors.Options) time.Duration {
	return max(o.SweepBack-o.SweepEvery, time.Hour) + o.Overlap + o.Poll
}

// Keys lists the users to ask for; see [connectors.Walker]. Those who were active
// since the window began are enough for what was said now. What turns up late, or
// was said to somebody who did not answer, may be of anybody: sweeps ask for it,
// and live reads where no sweep will.
func (p *transcriptPager) Keys(ctx context.Context, r connectors.KeysRequest) (*connectors.Keys, error) {
	since := r.From
	if r.All || r.To.Sub(r.From) > p.swept {
		since = longAgo
	}
	return p.keys(ctx, r, since, func(channel int, raw []byte, scan *events.Scanner) (connectors.Key, bool) {
		found := idsOf(raw, scan)
		k := key{channel: channel, asked: found.asked(), user: found.user}
		if k.user == "" {
			k.user = k.asked
		}
		return connectors.Key{ID: k.id()}, k.asked != ""
	})
}

// Page asks for what was said in a window; see [connectors.Pager]. One answer has
// to hold it: rows without ids that move between pages could not be told from
// repeats. A second that is more than one page is read page by page, as it cannot
// be made shorter.
func (p *transcriptPager) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	channels := p.selected(r.Parts)
	var who key
	if r.Key.ID != "" {
		who = keyOf(r.Key.ID)
		channels = []int{who.channel}
	}
	// A walk takes its time: what was in reach when it began may not be now.
	from := later(r.From, p.client.Now().AddDate(0, -reach, 0).Add(time.Minute))
	if len(channels) == 0 || !from.Before(r.To) {
		return connectors.EmptyPage(p.now()), nil
	}
	at, err := placeOf(r.Cursor, channels, readingTranscripts)
	if err != nil {
		return nil, err
	}
	who.channel = at.Channel
	body := map[string]any{"channelId": at.Channel, "startDate": date(from), "endDate": date(r.To)}
	if who.asked != "" {
		body["botUserId"] = who.asked
	}
	answer, limit, err := p.transcriptPages.ask(ctx, p.client, connectors.Call{Op: readingTranscripts + who.of(), Path: transcriptsPath, Body: body}, at.Page, at.Limit)
	if err != nil {
		return nil, err
	}
	at.Limit = limit
	t := &transcript{api: p.api, who: who}
	var rows shown
	page := connectors.NewPage(answer, r.Key, p.maxRecord, []string{"transcripts"}, rows.count(t.record), func(a *connectors.Array) (json.RawMessage, error) {
		n, err := detailsOf(a)
		switch {
		case err != nil:
			return nil, err
		case !n.more(at.Page, limit, rows.rows):
			return at.nextChannel(channels)
		case !r.Second():
			return nil, &connectors.Error{Kind: connectors.TooMuch, Op: readingTranscripts, Err: fmt.Errorf("one answer does not hold the window: there are %d rows, and %d pages", n.total, n.pages)}
		}
		if err := at.see(&rows, n, readingTranscripts+who.of()); err != nil {
			return nil, err
		}
		at.Page++
		return json.Marshal(at)
	})
	page.Key = who.id()
	return page, nil
}

// detailsOf reads what stands beside the rows of their pages.
func detailsOf(a *connectors.Array) (n counts, err error) {
	details, err := a.Member("paginationDetails")
	if err != nil {
		return n, &connectors.Error{Kind: connectors.Fail, Op: readingTranscripts, Err: err}
	}
	new(events.Scanner).Object(details, func(name, value []byte) {
		switch string(name) {
		case "pages":
			n.pages, _ = whole(value)
		case "total":
			n.total, _ = whole(value)
		case "limit":
			n.limit, _ = whole(value)
		case "hasNextPage":
			n.next = truth(value)
		}
	})
	return n, nil
}

// record maps a row that does not come with a page now.
func (p *transcriptPager) record(raw []byte, f *connectors.Fields) events.Record {
	t := &transcript{api: p.api, who: keyOf(f.Key.ID)}
	return t.record(raw, f)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
