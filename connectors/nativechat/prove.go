package nativechat

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
)

// sample is what is remembered of a document that was looked at.
type sample struct {
	id       string
	idName   string  // under which it has its id; "": it shows none
	times    []shown // by the names of the time
	activity [len(activityNames)]shown
}

// shown is a time as it stands in a document.
type shown struct {
	text     []byte // nil: there is none
	extended bool   // it was {"$date": ...}
}

func sampleOf(d *document, s *shape) sample {
	at := func(of field) shown { return shown{append([]byte(nil), d.values[of]...), d.extended[of]} }
	one := sample{id: d.text(idField)}
	if one.id != "" {
		one.idName = s.ids[d.ranks[idField]]
	}
	for i := range s.times {
		one.times = append(one.times, at(timeField+field(i)))
	}
	for i := range one.activity {
		one.activity[i] = at(activityField + field(i))
	}
	return one
}

// typical returns a document that shows its time as most of them do, and which of
// the names of the time that is; nil where none shows any.
func typical(list []sample) (found *sample, of int) {
	type way struct {
		of int
		class
	}
	counts, most := map[way]int{}, 0
	for i := range list {
		for of, at := range list[i].times {
			if at.text != nil {
				counts[way{of, classOf(at.text, at.extended)}]++
			}
		}
	}
	for i := range list {
		for j, at := range list[i].times { // of equals the best name
			n := counts[way{j, classOf(at.text, at.extended)}]
			if at.text != nil && (n > most || n == most && j < of) {
				found, of, most = &list[i], j, n
			}
		}
	}
	return found, of
}

// around is a range that holds a time, and never one that holds none: no time is
// both later than its beginning and earlier than its end.
func around(at time.Time) (around, never span) {
	before, behind := at.Truncate(time.Second).Add(-time.Second), at.Truncate(time.Second).Add(2*time.Second)
	return span{before, behind}, span{behind.Add(48 * time.Hour), before.Add(-48 * time.Hour)}
}

// finds says whether a document is found by its time, and by a range that holds
// none.
func (c *collection) finds(ctx context.Context, at time.Time, ask func(span) predicate) (byIt, anyway bool, err error) {
	its, never := around(at)
	n, err := c.count(ctx, ask(its))
	if err != nil || n == 0 {
		return false, false, err
	}
	n, err = c.count(ctx, ask(never))
	return true, n > 0, err
}

// prove finds the spelling of dates that the server understands: the one with
// which a known document is found by its own time, and not by any other.
func (c *collection) prove(ctx context.Context, among predicate, s *sample, of int) (*dates, error) {
	at, name := s.times[of], c.shape.times[of]
	var tried []string
	ignored := false
	for _, spelling := range spellings(at.text, at.extended) {
		d := &dates{field: timeField + field(of), name: name, class: classOf(at.text, at.extended), spelling: spelling, sort: name}
		found, anyway, err := c.finds(ctx, timeOf(at.text), func(within span) predicate {
			return d.query(asking{among: among, started: within}, &cursor{})
		})
		switch {
		case err == nil && found && !anyway:
			return d, nil
		case err != nil && !refused(err):
			return nil, err
		}
		ignored = ignored || anyway
		tried = append(tried, spelling.form.String())
	}
	why := fmt.Errorf("a document with the %s %s is not found by that time, however it is written (%s): an empty answer would prove nothing; set time_fields to a field that the API can be asked for",
		name, connectors.Text(at.text), strings.Join(tried, ", "))
	if ignored {
		why = fmt.Errorf("documents are found by a range of %s in which no time is: the API seems to ignore the parameter query", name)
	}
	return nil, &connectors.Error{Kind: connectors.Fail, Op: "trying how " + c.name + " are asked for by time", Err: why}
}

// proveActivity finds out how the last activity is spelled, under each of the
// names that documents show, and that $or is understood; at is the time of one of
// them. What is not shown is asked for as the time is.
func (c *collection) proveActivity(ctx context.Context, d *dates, list []sample, at time.Time) error {
	if !c.shape.activity {
		return nil
	}
	for i, name := range activityNames {
		for _, s := range list {
			if s.activity[i].text == nil || name == d.name {
				continue
			}
			spelled, err := c.spelled(ctx, name, s.activity[i])
			if err != nil {
				return err
			}
			if d.activity[i] = spelled; spelled == nil {
				d.blind = append(d.blind, name)
			}
			break
		}
	}
	its, never := around(at)
	n, err := c.count(ctx, d.query(asking{started: its, activity: &never}, &cursor{}))
	if err == nil && n > 0 || err != nil && !refused(err) {
		return err
	}
	return &connectors.Error{Kind: connectors.Fail, Op: "trying how " + c.name + " are asked for by time", Err: fmt.Errorf(
		"a document that is found by its %s is not found by that or its last activity: the API seems not to understand $or in the parameter query", d.name)}
}

// spelled returns the spelling by which a document is found by what it shows under
// a name; nil where none is.
func (c *collection) spelled(ctx context.Context, name string, at shown) (*spelling, error) {
	for _, spelling := range spellings(at.text, at.extended) {
		found, anyway, err := c.finds(ctx, timeOf(at.text), func(within span) predicate {
			return predicate{name: spelling.bounds(within)}
		})
		switch {
		case err == nil && found && !anyway:
			return &spelling, nil
		case err != nil && !refused(err):
			return nil, err
		}
	}
	return nil, nil
}

// proveSort finds out whether documents of one time can be asked for in the order
// of their ids. A database gives equals in any order, another one for each page.
func (c *collection) proveSort(ctx context.Context, d *dates, among predicate, id string) error {
	if id == "" {
		return nil
	}
	first, _ := json.Marshal(d.name)
	second, _ := json.Marshal(id)
	both := fmt.Sprintf(`{%s:1,%s:1}`, first, second)
	answer, err := c.client.Get(ctx, "trying how "+c.name+" are sorted", c.path, parameters(among, both, 1, 0))
	if refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	answer.Close()
	d.sort = both
	return nil
}
