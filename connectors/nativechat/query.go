package nativechat

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// predicate is a MongoDB predicate: its members must all hold.
type predicate map[string]any

// with returns the predicate with the members of others.
func (p predicate) with(others ...predicate) predicate {
	all := predicate{}
	for _, one := range append([]predicate{p}, others...) {
		for name, value := range one {
			all[name] = value
		}
	}
	return all
}

// inConversation is what the vendor documents for messages.
func inConversation(id json.RawMessage) predicate { return predicate{"Conversation": id} }

// span is a range of time; a zero end is none.
type span struct{ from, to time.Time }

// holds says whether a time is in the range, or within slack of it.
func (s span) holds(t time.Time, slack time.Duration) bool {
	return !t.Before(s.from.Add(-slack)) && (s.to.IsZero() || !t.After(s.to.Add(slack)))
}

// bounds are the limits that a date has to keep to.
func (s spelling) bounds(within span) map[string]json.RawMessage {
	limits := map[string]json.RawMessage{"$gte": s.write(within.from)}
	if !within.to.IsZero() {
		limits["$lte"] = s.write(within.to)
	}
	return limits
}

// dates is how a collection is asked by time.
type dates struct {
	field    field // of the names of the time, the one that is asked for and sorted by
	name     string
	class    class // of what documents show
	spelling spelling
	sort     string // by the time and, where the API takes it, among equals by the id
	// activity is how the last activity is spelled; nil: as the time is.
	activity [len(activityNames)]*spelling
	blind    []string // names of the last activity that are shown, and by which nothing is found
}

// activityBy is how the last activity is spelled under one of its names.
func (d *dates) activityBy(i int) spelling {
	if d.activity[i] != nil {
		return *d.activity[i]
	}
	return d.spelling
}

// asking is what is asked for: documents whose time is in a range, or, where the
// range of activity is set, whose last activity is in that.
type asking struct {
	among    predicate // what has to hold besides; nil: nothing
	started  span
	activity *span
}

// query returns the predicate of what is asked for, from a place on.
func (d *dates) query(a asking, at *cursor) predicate {
	p := predicate{}
	limits := d.spelling.bounds(a.started)
	switch {
	case a.activity != nil:
		branches := []predicate{{d.name: limits}}
		for i, name := range activityNames {
			if name != d.name {
				branches = append(branches, predicate{name: d.activityBy(i).bounds(*a.activity)})
			}
		}
		p["$or"] = branches
		if at.Value != nil {
			p[d.name] = map[string]json.RawMessage{"$gte": d.spelling.copyOf(at.Value)}
		}
	default:
		if at.Value != nil {
			limits["$gte"] = d.spelling.copyOf(at.Value)
		}
		p[d.name] = limits
	}
	return a.among.with(p)
}

// holds says whether a document can be what was asked for.
func (d *dates) holds(a asking, doc *document, t time.Time) bool {
	if a.started.holds(t, d.spelling.slack()) {
		return true
	}
	for i, v := range doc.values[activityField:] {
		if a.activity != nil && v != nil && a.activity.holds(timeOf(v), d.activityBy(i).slack()) {
			return true
		}
	}
	return false
}

// parameters are those of a request for documents. A nil predicate is none, and a
// skip of 0 is left out.
func parameters(p predicate, sort string, limit, skip int) url.Values {
	q := url.Values{}
	if len(p) > 0 {
		text, _ := json.Marshal(p) // of strings and JSON
		q.Set("query", string(text))
	}
	if sort != "" {
		q.Set("sort", sort)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if skip > 0 {
		q.Set("skip", strconv.Itoa(skip))
	}
	return q
}
