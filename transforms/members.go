package transforms

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	exprtypes "github.com/expr-lang/expr/types"

	"github.com/millrace-io/millrace/config"
)

// The steps of this file change which members an event has, or what is in them.

// rename gives members other names, all at once.
type rename []struct{ from, to string }

func (b *builder) rename(names map[string]string, types []string) operation {
	if len(names) == 0 {
		b.errorf("rename", "renames nothing: write old names with new ones, such as {user_id: customer}")
	}
	var all rename
	taken := map[string]string{}
	for _, from := range slices.Sorted(maps.Keys(names)) {
		key, to := config.Key("rename", from), names[from]
		b.member(key, from, types)
		if from == rawName {
			b.errorf(key, "is raw, which keeps its name: set a member to it instead")
		}
		if !b.target(key, to) {
			continue
		}
		if other := taken[to]; other != "" {
			b.errorf(key, "gets the name that %s gets too: choose another", other)
		}
		taken[to] = from
		b.renames(key, from, to, types)
		all = append(all, struct{ from, to string }{from, to})
	}
	for _, t := range types {
		was := maps.Clone(b.scope[t])
		for _, n := range all {
			delete(b.scope[t], n.from)
		}
		for _, n := range all {
			// What has the name already stays where an event has nothing to rename.
			before, had := b.scope[t][n.to]
			kind, has := was[n.from]
			switch {
			case has && had:
				b.scope[t][n.to] = wordless(kind)
			case has:
				b.scope[t][n.to] = kind
			case had:
				b.scope[t][n.to] = wordless(before)
			}
		}
	}
	return all
}

// renames complains where the catalogue wants another type of the new name than the
// member has.
func (b *builder) renames(key, from, to string, types []string) {
	for _, t := range types {
		m, has := schemaOf(t).members[to], b.scope[t][from]
		if m == nil || has == nil {
			continue
		}
		want, got := kindsOf(m.expression()), kindsOf(has)
		if want != nil && got != nil && !slices.Contains(want, got[0]) {
			b.errorf(key, "the member %s of %s is of type %s, which %s is not: choose another name", to, t, m.word(), from)
			return
		}
	}
}

func (s rename) apply(r *run, it *item) (outcome, error) {
	values := make([][]byte, len(s))
	for n := range s {
		values[n] = it.get(r, s[n].from)
	}
	for n := range s {
		if values[n] != nil {
			it.put(r, s[n].from, nil)
		}
	}
	for n := range s {
		if values[n] == nil {
			continue
		}
		if it.get(r, s[n].to) != nil {
			return drop, failure(fmt.Sprintf("there is a member %s already, which %s cannot be renamed to", s[n].to, s[n].from))
		}
		it.put(r, s[n].to, values[n])
	}
	return pass, nil
}

// keep removes all members but some.
type keep []string

func (b *builder) keep(names []string, types []string) operation {
	for n, name := range names {
		b.member(fmt.Sprintf("keep[%d]", n), name, types)
	}
	if len(names) == 0 {
		b.errorf("keep", "keeps nothing: name the members that stay, or use filter to drop events")
	}
	for _, t := range types {
		if b.scope.open(t) {
			for _, name := range names {
				if _, there := b.scope[t][name]; !there {
					b.scope[t][name] = exprtypes.Any
				}
			}
		}
		maps.DeleteFunc(b.scope[t], func(name string, _ exprtypes.Type) bool { return !slices.Contains(names, name) })
	}
	return keep(names)
}

func (s keep) apply(r *run, it *item) (outcome, error) {
	it.members = slices.DeleteFunc(it.data(r), func(m member) bool { return !slices.Contains(s, m.name) })
	it.changed = true
	if !slices.Contains(s, rawName) {
		it.Raw = nil
	}
	return pass, nil
}

// dropFields removes what is at paths.
type dropFields []path

func (b *builder) dropFields(paths []string, types []string) operation {
	var all dropFields
	for n, text := range paths {
		all = append(all, b.path(fmt.Sprintf("drop_fields[%d]", n), text, types))
	}
	if len(paths) == 0 {
		b.errorf("drop_fields", "removes nothing: name paths, such as [request_headers, raw.body]")
	}
	for _, p := range all {
		if len(p.rest) == 0 {
			for _, t := range types {
				delete(b.scope[t], p.first)
			}
		}
	}
	return all
}

func (s dropFields) apply(r *run, it *item) (outcome, error) {
	for _, p := range s {
		if err := it.edit(r, p, func([]byte) ([]byte, error) { return nil, nil }); err != nil {
			return drop, err
		}
	}
	return pass, nil
}

// edit replaces what is at a path by what fn makes of it; nil takes it out.
func (it *item) edit(r *run, p path, fn func([]byte) ([]byte, error)) error {
	value := it.get(r, p.first)
	if value == nil {
		return nil
	}
	made, err := edit(value, p.rest, fn)
	if err != nil {
		return fmt.Errorf("%s: %w", p.text, err)
	}
	if made == nil || !same(made, value) {
		it.put(r, p.first, made)
	}
	return nil
}

// mapValues replaces a value by a table.
type mapValues struct {
	field    path
	values   map[string][]byte
	fallback []byte // nil: the value stays
}

func (b *builder) mapValues(s *MapValues, types []string) operation {
	if s == nil {
		b.errorf("map_values", "is empty: give it field and values")
		return nil
	}
	m := mapValues{field: b.path("map_values.field", s.Field, types), values: map[string][]byte{}}
	for from, to := range s.Values {
		m.values[from] = quote(to)
	}
	if s.Default != nil {
		m.fallback = quote(*s.Default)
	}
	if m.field.first == rawName {
		b.errorf("map_values.field", "is in raw, the record as the API returned it: map the member that was made of it, or set one to it first")
	}
	if len(m.field.rest) == 0 {
		if b.fits("map_values.field", m.field.first, types, reflect.TypeFor[string]()) {
			b.values(&m, types)
		}
		b.scope.add(b.having(types, m.field.first), m.field.first, exprtypes.String)
	}
	return m
}

// values complains of those that the catalogue does not take of the member.
func (b *builder) values(m *mapValues, types []string) {
	for _, t := range b.having(types, m.field.first) {
		for _, from := range slices.Sorted(maps.Keys(m.values)) {
			if schemaOf(t).check(m.field.first, m.values[from]) != nil {
				b.errorf(config.Key("map_values.values", from), "becomes what %s cannot be in events of type %s: set another member to it", m.field.first, t)
				return
			}
		}
		if m.fallback != nil && schemaOf(t).check(m.field.first, m.fallback) != nil {
			b.errorf("map_values.default", "is what %s cannot be in events of type %s: set another member to it", m.field.first, t)
			return
		}
	}
}

// having are the types that have a member.
func (b *builder) having(types []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(t string) bool { _, has := b.scope[t][name]; return !has })
}

func (s mapValues) apply(r *run, it *item) (outcome, error) {
	return pass, it.edit(r, s.field, func(value []byte) ([]byte, error) {
		text := value
		switch kindOf(value) {
		case '"':
			text = unquoted(value)
		case '{', '[':
			return value, nil
		}
		if to, ok := s.values[string(text)]; ok {
			return to, nil
		}
		if s.fallback != nil {
			return s.fallback, nil
		}
		return value, nil
	})
}

// truncating cuts texts.
type truncating struct {
	fields []path
	to     int // characters
}

func (b *builder) truncate(s *Truncate, types []string) operation {
	if s == nil {
		b.errorf("truncate", "is empty: give it fields and to")
		return nil
	}
	t := truncating{to: s.To}
	for n, text := range s.Fields {
		key := fmt.Sprintf("truncate.fields[%d]", n)
		p := b.path(key, text, types)
		t.fields = append(t.fields, p)
		for _, name := range b.having(types, p.first) {
			if len(p.rest) == 0 {
				b.scope[name][p.first] = wordless(b.scope[name][p.first])
			}
			if m := schemaOf(name).members[p.first]; m != nil && m.kind == "string" && !m.free {
				b.errorf(key, "is no free text in events of type %s, so that it would not be valid when it is cut", name)
				break
			}
		}
	}
	return t
}

func (s truncating) apply(r *run, it *item) (outcome, error) {
	for _, p := range s.fields {
		err := it.edit(r, p, func(value []byte) ([]byte, error) {
			if kindOf(value) != '"' || len(value)-2 <= s.to {
				return value, nil
			}
			text := []rune(string(unquoted(value)))
			if len(text) <= s.to {
				return value, nil
			}
			return quote(string(text[:s.to-1]) + "…"), nil
		})
		if err != nil {
			return drop, err
		}
	}
	return pass, nil
}

// flattening makes members of what an object holds.
type flattening struct {
	field     string
	separator string
}

func (b *builder) flatten(s *Flatten, types []string) operation {
	if s == nil {
		b.errorf("flatten", "is empty: give it field")
		return nil
	}
	b.member("flatten.field", s.Field, types)
	f := flattening{s.Field, "_"}
	if s.Separator != nil {
		f.separator = *s.Separator
	}
	switch {
	case s.Field == rawName:
		b.errorf("flatten.field", "is raw, the record as the API returned it: set a member to the object in it first")
	case strings.ContainsAny(f.separator, "\"\\") || len(f.separator) > 8:
		b.errorf("flatten.separator", "wants at most 8 characters, none of them a quote or a backslash")
	}
	for _, t := range b.having(types, s.Field) {
		delete(b.scope[t], s.Field)
		b.scope[t][exprtypes.Extra] = exprtypes.Any // what it makes is not known here
	}
	return f
}

func (s flattening) apply(r *run, it *item) (outcome, error) {
	value := it.get(r, s.field)
	if kindOf(value) != '{' {
		return pass, nil
	}
	it.put(r, s.field, nil)
	return pass, s.members(r, it, s.field, value)
}

func (s flattening) members(r *run, it *item, name string, object []byte) error {
	for i := 1; ; {
		key, value, end, ok := nextMember(object, i)
		if !ok {
			return nil
		}
		i = end
		inner := name + s.separator + string(unquoted(key))
		if kindOf(value) == '{' {
			if err := s.members(r, it, inner, value); err != nil {
				return err
			}
			continue
		}
		if inner == rawName {
			return failure("a member would be named raw: choose another separator")
		}
		if it.get(r, inner) != nil {
			return failure("two members would have the same name: choose another separator")
		}
		it.put(r, inner, value)
	}
}
