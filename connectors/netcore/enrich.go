package netcore

import (
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const (
	userDataPath = "/userData"
	readingUser  = "reading a user's data"
)

// enricher reads users as the list shows them, each with what the bot keeps of
// them, which is a request of its own.
type enricher struct{ *listing }

// Keys lists users with their rows; see [connectors.Walker]. Sweeps too ask for
// those alone who were active in their time: all users would be a request each.
func (p *enricher) Keys(ctx context.Context, r connectors.KeysRequest) (*connectors.Keys, error) {
	return p.keys(ctx, r, r.From, func(channel int, raw []byte, scan *events.Scanner) (connectors.Key, bool) {
		user := idsOf(raw, scan).user
		if user == "" { // of what is no user's row only the text is left to tell it by
			hash := events.HashOf(raw)
			user = "/" + hex.EncodeToString(hash[:])
		}
		id := channelText(channel) + "/" + user
		return connectors.Key{ID: id, Data: slices.Clone(raw)}, true
	})
}

// keys lists users, and makes a key of each row that is to have one.
func (l *listing) keys(ctx context.Context, r connectors.KeysRequest, since time.Time, keyOf func(channel int, raw []byte, scan *events.Scanner) (connectors.Key, bool)) (*connectors.Keys, error) {
	channels := l.selected(r.Parts)
	if len(channels) == 0 {
		return &connectors.Keys{}, nil
	}
	at, err := placeOf(r.Cursor, channels, listingUsers)
	if err != nil {
		return nil, err
	}
	keys := &connectors.Keys{}
	page, err := l.page(ctx, at, channels, since, func(raw []byte, f *connectors.Fields) events.Record {
		if key, ok := keyOf(at.Channel, raw, &f.Scanner); ok {
			keys.Keys = append(keys.Keys, key)
		}
		return events.Record{}
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

// Page asks for what the bot keeps of one user; see [connectors.Pager]. The API
// may not know a user whom it lists: then the row is all there is.
func (p *enricher) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	raw := r.Key.Data
	page, kept := p.emptyPage(), []byte(nil)
	page.Began = r.Listed // the row is as old
	if id := idsOf(raw, new(events.Scanner)).asked(); id != "" {
		answer, err := p.client.Do(ctx, connectors.Call{Op: readingUser + " (" + r.Key.ID + ")", Path: userDataPath + "/" + url.PathEscape(id), Endpoint: userDataPath})
		var e *connectors.Error
		switch {
		case err == nil:
			page.Took, page.Close = answer.Took, answer.Close
			if kept, err = p.kept(answer); err != nil {
				answer.Close()
				return nil, failed(readingUser, err)
			}
		case !errors.As(err, &e) || e.Status != http.StatusNotFound:
			return nil, err
		}
	}
	page.Records = p.row(r.Key, kept)
	return page, nil
}

// without is the row alone; see [connectors.Stream].
func (p *enricher) without(r connectors.Request) *connectors.Page {
	page := p.emptyPage()
	page.Began, page.Records = r.Listed, p.row(r.Key, nil)
	return page
}

// row yields a user's row, with what the bot keeps.
func (p *enricher) row(k connectors.Key, kept []byte) iter.Seq2[events.Record, error] {
	return func(yield func(events.Record, error) bool) {
		mapper := connectors.Mapper(func(raw []byte, f *connectors.Fields) events.Record { return p.enriched(raw, f, kept) })
		yield(mapper.Map(k.Data, &connectors.Fields{Key: k}), nil)
	}
}

// kept reads what the bot keeps of a user; nil for what nobody reads alike.
func (p *enricher) kept(a *connectors.Answer) ([]byte, error) {
	text, err := readSingle(a, p.maxRecord)
	if err != nil {
		return nil, err
	}
	named := false
	dead := new(events.Scanner).Object(text, func(name, _ []byte) {
		named = named || string(name) == "customFields" || string(name) == "tags"
	})
	switch {
	case dead != nil:
		return nil, nil
	case !named:
		return nil, errNotSingle
	}
	return text, nil
}

// record maps a row without what the bot keeps.
func (p *enricher) record(raw []byte, f *connectors.Fields) events.Record {
	return p.enriched(raw, f, nil)
}

// enriched maps a row with what the bot keeps of its user: a change of either is
// another version.
func (p *enricher) enriched(raw []byte, f *connectors.Fields, kept []byte) events.Record {
	r := p.user(raw, f, kept)
	if r.Dead != nil {
		return r
	}
	if kept == nil {
		kept = []byte("null")
	}
	r.State = slices.Concat([]byte("["), raw, []byte(","), kept, []byte("]"))
	return r
}
