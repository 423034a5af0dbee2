package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"
)

// collection holds documents, each a record whose position is its time and its
// place in the order in which documents were inserted.
type collection struct {
	timeField string
	form      string                         // how dates are shown and compared
	dates     map[string]func(*record) int64 // the fields that are dates, in UNIX milliseconds
	byTime    index                          // by timeField
	order     []*record                      // by insertion
	by        map[string]map[string]*index   // of some paths the documents of each value
}

// find returns the documents that meet all clauses, sorted: at least the first
// most, or all for 0. Ties, and all where nothing is said, are in the order of
// insertion. The caller must not change what it gets.
func (c *collection) find(query []clause, by []sortKey, most int) []*record {
	records, rest := c.narrow(query)
	byTime := len(by) > 0 && by[0].path == c.timeField && (len(by) == 1 || !by[0].down)
	switch {
	case byTime && by[0].down:
		records = backwards(records)
	case byTime:
	case len(records) == len(c.order):
		records = c.order
	default:
		records = slices.Clone(records)
		slices.SortFunc(records, func(a, b *record) int { return cmp.Compare(a.at.seq, b.at.seq) })
	}
	switch {
	case byTime && len(by) > 1:
		return c.ties(c.filter(records, rest, 0), by[1:], most)
	case byTime || len(by) == 0:
		return c.filter(records, rest, most)
	}
	return c.sorted(c.filter(records, rest, 0), by)
}

// narrow returns documents by time, all those among them that meet the clauses,
// and the clauses that are still to be looked at.
func (c *collection) narrow(query []clause) (records []*record, rest []clause) {
	records = c.byTime.records
	var others []clause
	looked := false
	for _, q := range query {
		value, isText := q.value.(string)
		if values := c.by[q.path]; values != nil && q.op == opEqual && isText && !looked {
			looked, records = true, nil
			if of := values[value]; of != nil {
				records = of.records
			}
			continue
		}
		others = append(others, q)
	}
	for _, q := range others {
		if q.path == c.timeField && q.op != opIn && q.op != opOr {
			records = c.within(records, q)
		} else {
			rest = append(rest, q)
		}
	}
	return records, rest
}

// within returns those of the documents, which are by time, whose time meets a
// clause.
func (c *collection) within(records []*record, q clause) []*record {
	if typeOrder(q.value) != typeOrder(c.date(0)) {
		return nil
	}
	from := sort.Search(len(records), func(i int) bool { return compareValues(c.date(records[i].at.time), q.value) >= 0 })
	after := sort.Search(len(records), func(i int) bool { return compareValues(c.date(records[i].at.time), q.value) > 0 })
	switch q.op {
	case opGreater:
		return records[after:]
	case opGreaterOrEqual:
		return records[from:]
	case opLess:
		return records[:from]
	case opLessOrEqual:
		return records[:after]
	}
	return records[from:after]
}

// date returns a time as it is compared.
func (c *collection) date(ms int64) any {
	switch c.form {
	case NativeChatDate:
		return nativeDate(ms)
	case NativeChatMillis:
		return float64(ms)
	}
	return time.UnixMilli(ms).UTC().Format(nativeISO)
}

const nativeISO = "2006-01-02T15:04:05.000Z"

// backwards returns documents that are by time with the latest first, and those
// of one time in the order of insertion still.
func backwards(records []*record) []*record {
	back := make([]*record, 0, len(records))
	for end := len(records); end > 0; {
		start := end - 1
		for start > 0 && records[start-1].at.time == records[start].at.time {
			start--
		}
		back = append(back, records[start:end]...)
		end = start
	}
	return back
}

// filter returns those documents that meet all clauses: at least the first most,
// or all for 0.
func (c *collection) filter(records []*record, clauses []clause, most int) []*record {
	if len(clauses) == 0 {
		return records
	}
	var found []*record
	for _, r := range records {
		if matches(&document{of: c, record: r}, clauses) {
			if found = append(found, r); len(found) == most {
				break
			}
		}
	}
	return found
}

// ties returns documents, which are by time, those of one time among them by more
// fields: at least the first most, or all for 0.
func (c *collection) ties(records []*record, by []sortKey, most int) []*record {
	var found []*record
	for len(records) > 0 && (most == 0 || len(found) < most) {
		end := 1
		for end < len(records) && records[end].at.time == records[0].at.time {
			end++
		}
		tied := records[:end]
		if end > 1 {
			tied = c.sorted(tied, by)
		}
		found, records = append(found, tied...), records[end:]
	}
	return found
}

// sorted returns documents, which are in the order of insertion, by some fields.
func (c *collection) sorted(records []*record, by []sortKey) []*record {
	type row struct {
		record *record
		values []any
	}
	rows := make([]row, len(records))
	for i, r := range records {
		rows[i].record = r
		d := document{of: c, record: r}
		for _, key := range by {
			var value any // what is missing sorts like null
			if values := d.values(key.path); len(values) > 0 {
				value = values[0]
			}
			rows[i].values = append(rows[i].values, value)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		for i, key := range by {
			order := compareValues(a.values[i], b.values[i])
			if key.down {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
	found := make([]*record, len(rows))
	for i := range rows {
		found[i] = rows[i].record
	}
	return found
}

// document is a record while it is looked into.
type document struct {
	of     *collection
	record *record
	fields any // decoded when they are first looked at
	open   bool
}

// values returns the values at a path: none, one, or several where the path goes
// through an array.
func (d *document) values(path string) []any {
	if date := d.of.dates[path]; date != nil {
		return []any{d.of.date(date(d.record))}
	}
	if id := d.record.id; bytes.HasPrefix(d.record.raw, []byte(`{"`+path+`":"`+id+`",`)) {
		return []any{id} // what is sorted by most often need not be decoded
	}
	if !d.open {
		d.open = true
		if json.Unmarshal(d.record.raw, &d.fields) != nil {
			d.fields = nil // it was put there and is no JSON
		}
	}
	return valuesAt(d.fields, path, nil)
}

func valuesAt(value any, path string, found []any) []any {
	if path == "" {
		return append(found, value)
	}
	switch v := value.(type) {
	case map[string]any:
		name, rest, _ := strings.Cut(path, ".")
		if member, ok := v[name]; ok {
			found = valuesAt(member, rest, found)
		}
	case []any:
		for _, element := range v {
			if _, ok := element.(map[string]any); ok {
				found = valuesAt(element, path, found)
			}
		}
	}
	return found
}

// typeOrder returns where the type of a value is in the order of all values.
func typeOrder(value any) int {
	switch value.(type) {
	case nil:
		return 0
	case float64:
		return 1
	case string:
		return 2
	case map[string]any:
		return 3
	case []any:
		return 4
	case bool:
		return 5
	}
	return 6 // a nativeDate
}

// ordered reports whether values of its type are greater and less.
func ordered(value any) bool {
	switch value.(type) {
	case float64, string, bool, nativeDate:
		return true
	}
	return false
}

// compareValues orders values by type, and those of a type that has an order.
func compareValues(a, b any) int {
	if order := cmp.Compare(typeOrder(a), typeOrder(b)); order != 0 {
		return order
	}
	switch a := a.(type) {
	case float64:
		return cmp.Compare(a, b.(float64))
	case string:
		return cmp.Compare(a, b.(string))
	case nativeDate:
		return cmp.Compare(a, b.(nativeDate))
	case bool:
		switch {
		case a == b.(bool):
			return 0
		case a:
			return 1
		}
		return -1
	}
	return 0
}
