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
	"sync/atomic"

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
	most  atomic.Int64  // documents that came at once, so far
}

// saw remembers how many documents came at once, and says whether a page of so
// many is the last. The API may give fewer than it is asked for, and not tell: only
// a page that is shorter than one before it is known not to be cut. Others are
// followed by one more request, which proves it.
func (c *collection) saw(documents int) (last bool) {
	n := int64(min(documents, perPage))
	for {
		most := c.most.Load()
		switch {
		case n == 0 || n < most:
			return true
		case n == most || c.most.CompareAndSwap(most, n):
			return false
		}
	}
}

// mapped looks into an element and makes a record of it.
func (c *collection) mapped(raw []byte, f *connectors.Fields, d *document) events.Record {
	if dead := c.shape.read(raw, f, d); dead != nil {
		return events.Record{Dead: dead}
	}
	return c.mapping(c.shape, d, f, c.bot)
}

// look asks for some documents, without a time.
func (c *collection) look(ctx context.Context, among predicate) ([]sample, error) {
	answer, err := c.client.Get(ctx, "looking at "+c.name, c.path, parameters(among, "", perPage, 0))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	array := connectors.ReadList(answer, c.maxRecord, wrappers...)
	list := []sample{}
	var f connectors.Fields
	var d document
	for len(list) < perPage {
		raw, err := array.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, readError("looking at "+c.name, err)
		}
		if c.shape.read(raw, &f, &d) == nil {
			list = append(list, sampleOf(&d, c.shape))
		}
	}
	c.saw(len(list))
	return list, nil
}

// readError is what an answer that cannot be read is to the caller.
func readError(op string, err error) error {
	kind := connectors.Retry
	if tooLong := (*connectors.TooLongError)(nil); errors.As(err, &tooLong) {
		kind = connectors.Fail
	}
	return &connectors.Error{Kind: kind, Op: op, Err: err}
}

// looking asks for documents, all of which meet the predicate that it returns.
type looking func(context.Context) ([]sample, predicate, error)

// known returns how the collection is asked by time; nil while it has nothing. An
// empty answer counts only when this has returned.
func (c *collection) known(ctx context.Context, look looking) (*dates, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.found != nil {
		return c.found, nil
	}
	list, among, err := look(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	s, of := typical(list)
	if s == nil {
		return nil, &connectors.Error{Kind: connectors.Fail, Op: "looking at " + c.name, Err: fmt.Errorf(
			"none of %d documents shows a time under any of the names %s: set time_fields to what the account calls it", len(list), strings.Join(c.shape.times, ", "))}
	}
	d, err := c.prove(ctx, among, s, of)
	if err == nil {
		err = c.proveActivity(ctx, d, list, timeOf(s.times[of].text))
	}
	if err == nil {
		err = c.proveSort(ctx, d, among, s.idName)
	}
	if err != nil {
		return nil, err
	}
	c.found = d
	return d, nil
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
