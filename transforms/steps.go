package transforms

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"

	exprtypes "github.com/expr-lang/expr/types"

	"github.com/millrace-io/millrace/config"
)

// operation makes what a step does, for events of some types, and has the scope
// know what it leaves for the steps behind it.
func (b *builder) operation(what string, s *Settings, types []string) operation {
	switch what {
	case "filter":
		e, _ := b.expression("filter", s.Filter, types, reflect.Bool)
		return filter{e}
	case "set":
		return b.set(s.Set, types)
	case "rename":
		return b.rename(s.Rename, types)
	case "keep":
		return b.keep(s.Keep, types)
	case "drop_fields":
		return b.dropFields(s.DropFields, types)
	case "map_values":
		return b.mapValues(s.MapValues, types)
	case "split":
		return b.split(s.Split, types)
	case "route":
		return b.route(s.Route, types)
	case "redact":
		return b.redact(s.Redact, types)
	case "truncate":
		return b.truncate(s.Truncate, types)
	case "flatten":
		return b.flatten(s.Flatten, types)
	case "sample":
		return b.sample(s.Sample, types)
	}
	return b.validate(s.Validate)
}

var newName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// target checks the name of a member that a step writes.
func (b *builder) target(key, name string) bool {
	switch {
	case name == rawName:
		b.errorf(key, "is raw, the record as the API returned it: steps may remove or redact it, and make members of it, but not write it")
	case name == eventName:
		b.errorf(key, "is the name that the event's attributes have in expressions: choose another")
	case !newName.MatchString(name):
		b.errorf(key, "wants a member's name of letters, digits and _, at most 64, that does not begin with a digit")
	default:
		return true
	}
	return false
}

// fits complains where the catalogue wants another type of a member than it would
// get; nil is not known before there is an event.
func (b *builder) fits(key, name string, types []string, got reflect.Type) bool {
	for _, t := range types {
		m := schemaOf(t).members[name]
		if m == nil || got == nil {
			continue
		}
		want := m.expression()
		if kind := kindsOf(want); kind != nil && !slices.Contains(kind, got.Kind()) {
			b.errorf(key, "the member %s of %s is of type %s, and would get %s: choose another name, or another value", name, t, m.word(), wordOf(got))
			return false
		}
	}
	return true
}

// wordOf is what JSON calls a type.
func wordOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.Int, reflect.Float64:
		return "a number"
	case reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Int64:
		return "a duration, which wants a unit, as in duration(x).Seconds()"
	}
	return "a text"
}

func (m *memberSchema) word() string {
	if m.kind == "" {
		return "any"
	}
	return m.kind
}

// kindsOf are the kinds of values that may become a member of a type; nil for any.
func kindsOf(t exprtypes.Type) []reflect.Kind {
	switch t = wordless(t); t {
	case exprtypes.String:
		return []reflect.Kind{reflect.String, reflect.Struct} // a time is written as text
	case exprtypes.Int, exprtypes.Float64:
		return []reflect.Kind{reflect.Int, reflect.Float64}
	case exprtypes.Bool:
		return []reflect.Kind{reflect.Bool}
	case exprtypes.Any:
		return nil
	}
	if _, ok := t.(exprtypes.Map); ok || t.Equal(exprtypes.TypeOf(map[string]any{})) {
		return []reflect.Kind{reflect.Map}
	}
	return []reflect.Kind{reflect.Slice}
}

// set writes members.
type set []assignment

type assignment struct {
	to    path
	value *expression
}

func (b *builder) set(values map[string]string, types []string) operation {
	if len(values) == 0 {
		b.errorf("set", "sets nothing: write members with expressions, such as {severity: 'status >= 500 ? \"high\" : \"low\"'}")
	}
	var all set
	made := map[string]reflect.Type{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		key := config.Key("set", name)
		to, err := parsePath(name)
		if err != nil {
			b.errorf(key, "%s", err)
			continue
		}
		e, result := b.expression(key, values[name], types, reflect.Invalid)
		if !b.target(key, to.first) || e == nil {
			continue
		}
		if slices.ContainsFunc(to.rest, func(s segment) bool { return s.all }) {
			b.errorf(key, "has a *: name the one place that is set")
		}
		if len(to.rest) > 0 {
			result = reflect.TypeFor[map[string]any]()
		}
		b.fits(key, to.first, types, result)
		made[to.first] = result
		all = append(all, assignment{to, e})
	}
	for name, result := range made {
		b.scope.add(types, name, typeOf(result))
	}
	return all
}

// typeOf is the type that expressions know a value by.
func typeOf(t reflect.Type) exprtypes.Type {
	if t == nil {
		return exprtypes.Any
	}
	switch t.Kind() {
	case reflect.String, reflect.Struct:
		return exprtypes.String
	case reflect.Int:
		return exprtypes.Int
	case reflect.Float64:
		return exprtypes.Float64
	case reflect.Bool:
		return exprtypes.Bool
	case reflect.Map:
		return exprtypes.TypeOf(map[string]any{})
	}
	return exprtypes.Any
}

func (s set) apply(r *run, it *item) (outcome, error) {
	values := make([][]byte, len(s))
	for n, a := range s {
		v, err := a.value.value(r, it)
		if err == nil {
			values[n], err = encode(v)
		}
		if err != nil {
			return drop, fmt.Errorf("%s: %w", a.to.text, err)
		}
	}
	for n, a := range s {
		whole, err := assign(it.get(r, a.to.first), a.to.rest, values[n])
		if err != nil {
			return drop, fmt.Errorf("%s: %w", a.to.text, err)
		}
		it.put(r, a.to.first, whole)
	}
	return pass, nil
}
