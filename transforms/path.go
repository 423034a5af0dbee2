package transforms

import (
	"fmt"
	"strings"
)

// path says where in an event's data something is: names with dots between them,
// such as attributes.plan or raw.user.email. A name that has a dot, a quote or a
// star stands in double quotes; * is every member of an object, or every element
// of a list. A list is gone through without being named: raw.items.price is the
// price of each item.
type path struct {
	text  string
	first string // the member of the data, or raw
	rest  []segment
}

type segment struct {
	name string
	all  bool // *
}

// parsePath reads a path. The error says what is wrong and what to do.
func parsePath(text string) (path, error) {
	p := path{text: text}
	for rest, more := text, true; more; {
		var s segment
		var err error
		if s, rest, more, err = cutSegment(rest); err != nil {
			return path{}, err
		}
		if p.first == "" && !s.all {
			p.first = s.name
		} else if p.first == "" {
			return path{}, fmt.Errorf("begins with *: name the member that it begins with, such as raw.*")
		} else {
			p.rest = append(p.rest, s)
		}
	}
	return p, nil
}

// cutSegment reads the first name of a path; more says that another follows.
func cutSegment(text string) (s segment, rest string, more bool, err error) {
	if strings.HasPrefix(text, `"`) {
		name, rest, closed := strings.Cut(text[1:], `"`)
		if !closed || name == "" || rest != "" && rest[0] != '.' {
			return s, "", false, fmt.Errorf(`has a name in quotes that is empty, or does not end before a dot: write it as raw."a.b".c`)
		}
		return segment{name: name}, strings.TrimPrefix(rest, "."), rest != "", nil
	}
	name, rest, more := strings.Cut(text, ".")
	switch {
	case name == "":
		return s, "", false, fmt.Errorf("has an empty name: write names with single dots between them, such as attributes.plan")
	case name == "*":
		return segment{all: true}, rest, more, nil
	case strings.ContainsAny(name, "\"*[] "):
		return s, "", false, fmt.Errorf(`has a name with a space, quote, bracket or star: put that name in double quotes, as in raw."a b"`)
	}
	return segment{name: name}, rest, more, nil
}

// find returns the value at the path inside of a value; nil where there is none.
// Of several it is the first.
func find(value []byte, rest []segment) []byte {
	if len(rest) == 0 {
		return value
	}
	switch kindOf(value) {
	case '{':
		for i := 1; ; {
			name, v, end, ok := nextMember(value, i)
			if !ok {
				return nil
			}
			if rest[0].all || string(unquoted(name)) == rest[0].name {
				if found := find(v, rest[1:]); found != nil || !rest[0].all {
					return found
				}
			}
			i = end
		}
	case '[':
		for i := 1; ; {
			v, end, ok := nextElement(value, i)
			if !ok {
				return nil
			}
			if found := find(v, inList(rest)); found != nil {
				return found
			}
			i = end
		}
	}
	return nil
}

// inList is what is left of a path for an element of a list: * stands for it.
func inList(rest []segment) []segment {
	if rest[0].all {
		return rest[1:]
	}
	return rest
}

// edit returns value with what is at the path replaced by what fn makes of it; nil
// takes it out. Where nothing changes it returns value itself.
func edit(value []byte, rest []segment, fn func([]byte) ([]byte, error)) ([]byte, error) {
	if len(rest) == 0 {
		return fn(value)
	}
	switch kindOf(value) {
	case '{':
		return rewrite(value, func(name, v []byte) ([]byte, error) {
			if rest[0].all || string(unquoted(name)) == rest[0].name {
				return edit(v, rest[1:], fn)
			}
			return v, nil
		})
	case '[':
		return rewrite(value, func(_, v []byte) ([]byte, error) { return edit(v, inList(rest), fn) })
	}
	return value, nil
}

// rewrite returns an object or a list with each value replaced by what fn makes of
// it, which is given the member's name with quotes; nil takes it out. Where nothing
// changes it returns the text itself.
func rewrite(text []byte, fn func(name, value []byte) ([]byte, error)) ([]byte, error) {
	next := func(i int) (name, value []byte, end int, ok bool) {
		if text[0] == '{' {
			return nextMember(text, i)
		}
		value, end, ok = nextElement(text, i)
		return nil, value, end, ok
	}
	var out []byte
	for i := 1; ; {
		name, value, end, ok := next(i)
		if !ok {
			break
		}
		made, err := fn(name, value)
		if err != nil {
			return nil, err
		}
		if out == nil && !same(made, value) {
			out = append(make([]byte, 0, len(text)+len(made)), text[0])
			for j := 1; j < i; {
				name, value, end, _ := next(j)
				out = appendEntry(out, name, value)
				j = end
			}
		}
		if out != nil && made != nil {
			out = appendEntry(out, name, made)
		}
		i = end
	}
	if out == nil {
		return text, nil
	}
	return append(out, text[0]+2), nil // the closing bracket: { and }, [ and ] are two apart
}

// same says whether fn gave back what it was given.
func same(made, value []byte) bool {
	return len(made) == len(value) && len(made) > 0 && &made[0] == &value[0]
}

// appendEntry appends a member, or an element where name is nil.
func appendEntry(out, name, value []byte) []byte {
	if len(out) > 1 {
		out = append(out, ',')
	}
	if name != nil {
		out = append(append(out, name...), ':')
	}
	return append(out, value...)
}

// assign returns value with the place at the path set: objects that are missing on
// the way are made. It fails where something else stands in the way.
func assign(value []byte, rest []segment, to []byte) ([]byte, error) {
	if len(rest) == 0 {
		return to, nil
	}
	switch kindOf(value) {
	case '{':
	case 0, 'n':
		if to == nil {
			return value, nil
		}
		value = []byte("{}")
	default:
		if to == nil {
			return value, nil // there is nothing to take out
		}
		return nil, failure("there is a value on the way that is no object")
	}
	found := false
	out, err := rewrite(value, func(name, v []byte) ([]byte, error) {
		if string(unquoted(name)) != rest[0].name {
			return v, nil
		}
		found = true
		return assign(v, rest[1:], to)
	})
	if err != nil || found || to == nil {
		return out, err
	}
	made, err := assign(nil, rest[1:], to)
	if err != nil {
		return nil, err
	}
	out = append([]byte{}, value[:len(value)-1]...)
	if i := space(value, 1); value[i] == '}' {
		out = append(out[:0], '{')
	}
	return append(appendEntry(out, quote(rest[0].name), made), '}'), nil
}
