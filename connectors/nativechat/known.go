package nativechat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// wrappers are the members that may hold the list of an answer that is an object.
var wrappers = []string{"Result", "result", "Results", "results", "Data", "data", "Items", "items"}

// collection is one of the two lists of an account. How it is asked by time is
// found out on the first documents that it shows, once for each process.
type collection struct {
	client    *connectors.Client
	name      string
	path      string
	shape     *shape
	mapping   func(*shape, *document, *connectors.Fields, string) events.Record
	bot       string
	maxRecord int

	turn  chan struct{} // held by who finds out
	found *dates        // what was found; nil: nothing yet
}

// mapped looks into an element and makes a record of it.
func (c *collection) mapped(raw []byte, f *connectors.Fields, d *document) events.Record {
	if dead := c.shape.read(raw, f, d); dead != nil {
		return events.Record{Dead: dead}
	}
	return c.mapping(c.shape, d, f, c.bot)
}

// sample is what is remembered of a document that was looked at.
type sample struct {
	id       string
	field    field  // of its time; 0: it shows none
	shown    []byte // its time
	extended bool
}

// samples is how many documents are looked at.
const samples = 20

// look asks for some documents, without a time.
func (c *collection) look(ctx context.Context, among predicate) ([]sample, error) {
	answer, err := c.client.Get(ctx, "looking at "+c.name, c.path, parameters(among, "", samples, 0))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	array := connectors.ReadList(answer, c.maxRecord, wrappers...)
	list := []sample{}
	var f connectors.Fields
	var d document
	for {
		raw, err := array.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, readError("looking at "+c.name, err)
		}
		if c.shape.read(raw, &f, &d) != nil {
			continue
		}
		s := sample{id: d.text(idField)}
		for i := range c.shape.times {
			of := timeField + field(i)
			if v := d.values[of]; v != nil {
				s.field, s.shown, s.extended = of, append([]byte(nil), v...), d.extended[of]
				break
			}
		}
		list = append(list, s)
	}
}

// readError is what an answer that cannot be read is to the caller.
func readError(op string, err error) error {
	kind := connectors.Retry
	if tooLong := (*connectors.TooLongError)(nil); errors.As(err, &tooLong) {
		kind = connectors.Fail
	}
	return &connectors.Error{Kind: kind, Op: op, Err: err}
}

// known returns how the collection is asked by time; nil while it has nothing. A
// look asks for documents, all of which meet among. An empty answer counts only
// when this has returned.
func (c *collection) known(ctx context.Context, among predicate, look func(context.Context) ([]sample, error)) (*dates, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.found != nil {
		return c.found, nil
	}
	list, err := look(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	for _, s := range list {
		if s.field != 0 {
			c.found, err = c.prove(ctx, among, s)
			return c.found, err
		}
	}
	return nil, &connectors.Error{Kind: connectors.Fail, Op: "looking at " + c.name, Err: fmt.Errorf(
		"none of %d documents shows a time under any of the names %s: set time_fields to what the account calls it", len(list), strings.Join(c.shape.times, ", "))}
}

// prove finds the spelling of dates that the server understands: the one with
// which a known document is found by its own time, and not by any other.
func (c *collection) prove(ctx context.Context, among predicate, s sample) (*dates, error) {
	at := timeOf(s.shown)
	before, behind := at.Truncate(time.Second).Add(-time.Second), at.Truncate(time.Second).Add(2*time.Second)
	var tried []string
	anyway := false // it was found by another time
	for _, spelling := range spellings(s.shown, s.extended) {
		d := &dates{field: s.field, name: c.shape.times[s.field-timeField], spelling: spelling}
		none := &cursor{}
		n, err := c.count(ctx, d.query(asking{among: among, started: span{before, behind}}, none))
		if err == nil && n > 0 {
			// No time is both later than it and earlier.
			n, err = c.count(ctx, d.query(asking{among: among, started: span{behind.Add(48 * time.Hour), before.Add(-48 * time.Hour)}}, none))
			if err == nil && n == 0 {
				return d, nil
			}
			anyway = anyway || n > 0
		}
		if err != nil && !refused(err) {
			return nil, err
		}
		tried = append(tried, spelling.form.String())
	}
	why := fmt.Errorf("a document with the %s %s is not found by that time, however it is written (%s): an empty answer would prove nothing; set time_fields to a field that the API can be asked for",
		c.shape.times[s.field-timeField], connectors.Text(s.shown), strings.Join(tried, ", "))
	if anyway {
		why = fmt.Errorf("documents are found by a range of %s in which no time is: the API seems to ignore the parameter query", c.shape.times[s.field-timeField])
	}
	return nil, &connectors.Error{Kind: connectors.Fail, Op: "trying how " + c.name + " are asked for by time", Err: why}
}

// refused says that the server does not take a predicate.
func refused(err error) bool {
	var e *connectors.Error
	return errors.As(err, &e) && e.Status == http.StatusBadRequest
}

// errNoCount: the answer to _count has a form that is not known.
var errNoCount = errors.New("the answer is neither a number nor an object with one")

// count asks how many documents meet a predicate. Where the API does not count, it
// is one for any number but none.
func (c *collection) count(ctx context.Context, p predicate) (int64, error) {
	n, err := c.counted(ctx, p)
	if err == nil || !errors.Is(err, errNoCount) && connectors.KindOf(err) != connectors.Unavailable {
		return n, err
	}
	answer, err := c.client.Get(ctx, "looking at "+c.name, c.path, parameters(p, "", 1, 0))
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	array := connectors.ReadList(answer, c.maxRecord, wrappers...)
	for n = 0; ; n = 1 {
		if _, err := array.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return 0, readError("looking at "+c.name, err)
		}
	}
}

// counted asks the API to count.
func (c *collection) counted(ctx context.Context, p predicate) (int64, error) {
	op := "counting " + c.name
	answer, err := c.client.Do(ctx, connectors.Call{Op: op, Path: c.path + "/_count", Endpoint: c.path, Query: parameters(p, "", 0, 0)})
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, 64<<10))
	if err != nil {
		return 0, readError(op, err)
	}
	var value any
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil || decoder.Decode(new(any)) != io.EOF {
		return 0, readError(op, errors.New("the answer is no JSON"))
	}
	n, ok := numberIn(value)
	if !ok {
		return 0, readError(op, errNoCount)
	}
	return n, nil
}

// numberIn returns the number that an answer to _count holds: itself, or the only
// one in an object.
func numberIn(value any) (int64, bool) {
	switch v := value.(type) {
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		return n, err == nil && n >= 0
	case string:
		return numberIn(json.Number(v))
	case map[string]any:
		found, there := int64(0), false
		for _, member := range v {
			if _, isText := member.(string); isText && len(v) > 1 {
				continue
			}
			n, ok := numberIn(member)
			if ok && there {
				return 0, false
			}
			if ok {
				found, there = n, true
			}
		}
		return found, there
	}
	return 0, false
}
