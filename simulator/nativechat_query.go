package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// clause is one condition of a predicate: a comparison of the values at a path,
// or an $or of predicates. A predicate is clauses that must all hold.
type clause struct {
	path  string
	op    string
	value any   // of a comparison
	list  []any // of $in
	or    [][]clause
}

// Operators that clauses have; $and has no clause of its own.
const (
	opEqual          = "" // {"path": value}
	opGreater        = "$gt"
	opGreaterOrEqual = "$gte"
	opLess           = "$lt"
	opLessOrEqual    = "$lte"
	opIn             = "$in"
	opOr             = "$or"
	opAnd            = "$and"
)

// nativeDate is a date as MongoDB has it, in UNIX milliseconds. Other values are
// as encoding/json decodes them.
type nativeDate int64

// parseQuery returns the predicate that a query says.
func parseQuery(text string) ([]clause, error) {
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil || fields == nil {
		return nil, errors.New("query must be a JSON object")
	}
	return parsePredicate(fields)
}

func parsePredicate(fields map[string]any) (clauses []clause, err error) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var more []clause
		if strings.HasPrefix(name, "$") {
			more, err = parseLogic(name, fields[name])
		} else {
			more, err = parseComparison(name, fields[name])
		}
		if err != nil {
			return nil, err
		}
		clauses = append(clauses, more...)
	}
	return clauses, nil
}

// parseLogic returns the clauses of an $and or an $or.
func parseLogic(op string, value any) (clauses []clause, err error) {
	if op != opAnd && op != opOr {
		return nil, fmt.Errorf("unknown operator: %s", op)
	}
	list, _ := value.([]any)
	if len(list) == 0 {
		return nil, fmt.Errorf("%s must be an array that is not empty", op)
	}
	either := clause{op: opOr}
	for _, branch := range list {
		fields, ok := branch.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s must be an array of objects", op)
		}
		more, err := parsePredicate(fields)
		if err != nil {
			return nil, err
		}
		clauses = append(clauses, more...)
		either.or = append(either.or, more)
	}
	if op == opOr {
		return []clause{either}, nil
	}
	return clauses, nil
}

// parseComparison returns the clauses of a path: {"path": value}, or
// {"path": {"$gte": value, "$lt": value}}.
func parseComparison(path string, value any) (clauses []clause, err error) {
	operators, _ := value.(map[string]any)
	isOperator := func(name string) bool { return strings.HasPrefix(name, "$") && name != "$date" }
	if !slices.ContainsFunc(slices.Collect(maps.Keys(operators)), isOperator) {
		value, err = literal(value)
		return []clause{{path: path, op: opEqual, value: value}}, err
	}
	for _, op := range slices.Sorted(maps.Keys(operators)) {
		c := clause{path: path, op: op}
		switch op {
		case opGreater, opGreaterOrEqual, opLess, opLessOrEqual:
			c.value, err = literal(operators[op])
		case opIn:
			list, ok := operators[op].([]any)
			if !ok {
				return nil, errors.New("$in must be an array")
			}
			for _, value := range list {
				if value, err = literal(value); err != nil {
					break
				}
				c.list = append(c.list, value)
			}
		default:
			return nil, fmt.Errorf("unknown operator: %s", op)
		}
		if err != nil {
			return nil, err
		}
		clauses = append(clauses, c)
	}
	return clauses, nil
}

// literal returns a value to compare with: {"$date": ...} is a date.
func literal(value any) (any, error) {
	fields, _ := value.(map[string]any)
	for name := range fields {
		if !strings.HasPrefix(name, "$") {
			continue
		}
		if name != "$date" || len(fields) > 1 {
			return nil, fmt.Errorf("unknown operator: %s", name)
		}
		switch date := fields[name].(type) {
		case float64:
			return nativeDate(date), nil
		case string:
			if at, err := time.Parse(time.RFC3339, date); err == nil {
				return nativeDate(at.UnixMilli()), nil
			}
		}
		return nil, errors.New("$date must be an ISO 8601 time or a number of milliseconds")
	}
	return value, nil
}

// constrains reports whether a predicate says something of one of the paths, in
// whatever branch of it holds.
func constrains(clauses []clause, paths ...string) bool {
	return slices.ContainsFunc(clauses, func(c clause) bool {
		if c.op != opOr {
			return slices.Contains(paths, c.path)
		}
		return !slices.ContainsFunc(c.or, func(branch []clause) bool { return !constrains(branch, paths...) })
	})
}

// matches reports whether a document meets all clauses.
func matches(d *document, clauses []clause) bool {
	for i := range clauses {
		if !clauses[i].holds(d) {
			return false
		}
	}
	return true
}

func (c *clause) holds(d *document) bool {
	switch c.op {
	case opOr:
		return slices.ContainsFunc(c.or, func(branch []clause) bool { return matches(d, branch) })
	case opIn:
		return slices.ContainsFunc(c.list, func(value any) bool { return equalsOne(d.values(c.path), value) })
	case opEqual:
		return equalsOne(d.values(c.path), c.value)
	}
	return slices.ContainsFunc(withElements(d.values(c.path)), c.compares)
}

// compares reports whether a value is on the right side of that of the clause. A
// value of another type never is, nor is one of a type that has no order.
func (c *clause) compares(value any) bool {
	if typeOrder(value) != typeOrder(c.value) || !ordered(value) {
		return false
	}
	order := compareValues(value, c.value)
	switch c.op {
	case opGreater:
		return order > 0
	case opGreaterOrEqual:
		return order >= 0
	case opLess:
		return order < 0
	}
	return order <= 0
}

// equalsOne reports whether one of the values, or of their elements, is equal to
// the wanted one; what is missing is equal to null.
func equalsOne(values []any, want any) bool {
	if want == nil && len(values) == 0 {
		return true
	}
	return slices.ContainsFunc(withElements(values), func(v any) bool { return reflect.DeepEqual(v, want) })
}

// withElements adds the elements of those values that are arrays.
func withElements(values []any) []any {
	for _, value := range values[:len(values):len(values)] {
		if list, ok := value.([]any); ok {
			values = append(values, list...)
		}
	}
	return values
}
