package transforms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	exprtypes "github.com/expr-lang/expr/types"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/millrace-io/millrace/events"
)

// schema is what the catalogue says of one event type's data.
type schema struct {
	names   []string // of members, as they are written
	members map[string]*memberSchema
	whole   *jsonschema.Schema
}

// memberSchema is what it says of one member.
type memberSchema struct {
	kind  string // JSON Schema's word for its type; "" for any
	items string // the kind of a list's elements; "" for any
	words *oneOf // that a text is one of; nil for any text
	// free: nothing but its type is prescribed, so that a text of any kind will do.
	free   bool
	schema *jsonschema.Schema
}

// schemas holds the catalogue's schemas, dead letters left out.
var schemas = sync.OnceValue(func() map[string]*schema {
	all := map[string]*schema{}
	for _, t := range events.Catalogue() {
		if t.Name != events.TypeDeadLetter {
			all[t.Name] = readSchema(t.Name, t.Schema)
		}
	}
	return all
})

// schemaOf returns the schema of a type; one of no members for a type that the
// catalogue does not have.
func schemaOf(eventType string) *schema {
	if s := schemas()[eventType]; s != nil {
		return s
	}
	return &schema{}
}

// readSchema reads a schema of the catalogue, which is known to be right.
func readSchema(name string, text []byte) *schema {
	var doc struct{ Properties json.RawMessage }
	var members map[string]struct {
		Type, Format, Pattern string
		Enum                  []string
		Items                 struct{ Type string }
	}
	whole, err := compileSchema(name, text)
	err = errors.Join(err, json.Unmarshal(text, &doc), json.Unmarshal(doc.Properties, &members))
	if err != nil {
		panic(fmt.Sprintf("transforms: the schema of %s: %v", name, err))
	}
	s := &schema{members: map[string]*memberSchema{}, whole: whole}
	for i := 1; ; {
		quoted, _, end, ok := nextMember(doc.Properties, i)
		if !ok {
			return s
		}
		i = end
		name := string(unquoted(quoted))
		m := members[name]
		known := &memberSchema{kind: m.Type, items: m.Items.Type, schema: whole.Properties[name]}
		if m.Enum != nil {
			known.kind, known.words = "string", &oneOf{exprtypes.String, m.Enum}
		}
		known.free = m.Enum == nil && m.Format == "" && m.Pattern == "" && (known.kind == "" || known.kind == "string" || known.kind == "object")
		s.names = append(s.names, name)
		s.members[name] = known
	}
}

func compileSchema(name string, text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(name, doc); err != nil {
		return nil, err
	}
	return compiler.Compile(name)
}

// noLoader loads nothing: a schema holds all that it refers to.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("refers to another document: put what it refers to into its own $defs")
}

// check says what is wrong with a member's value, without it; nil for a member
// that the catalogue does not have.
func (s *schema) check(name string, value []byte) error {
	m := s.members[name]
	if m == nil {
		return nil
	}
	if m.free {
		switch kind := kindOf(value); {
		case m.kind == "", m.kind == "string" && kind == '"', m.kind == "object" && kind == '{':
			return nil
		}
	}
	return validate(m.schema, value)
}

// validate says what is wrong with a value, without it.
func validate(s *jsonschema.Schema, value []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return errors.New("is not JSON") // which no value is
	}
	var invalid *jsonschema.ValidationError
	if err := s.Validate(v); errors.As(err, &invalid) {
		return describe(invalid)
	}
	return nil
}

// describe tells the first mistake: which keyword of the schema forbids it.
func describe(err *jsonschema.ValidationError) error {
	for len(err.Causes) > 0 {
		err = err.Causes[0]
	}
	keyword := strings.Join(err.ErrorKind.KeywordPath(), "/")
	if keyword == "" {
		keyword = "the schema"
	}
	_, at, _ := strings.Cut(err.SchemaURL, "#") // in the schema: names in the data may be anybody's
	return fmt.Errorf("is not what its schema wants (%s)", strings.TrimPrefix(at+"/"+keyword, "/"))
}

// scope is what expressions may name at one place of the list: the members of
// each event type there, as the steps before have left them.
type scope map[string]map[string]exprtypes.Type

// newScope is the scope in front of the first step.
func newScope() scope {
	all := scope{}
	for name, s := range schemas() {
		members := map[string]exprtypes.Type{}
		for member, m := range s.members {
			members[member] = m.expression()
		}
		all[name] = members
	}
	return all
}

// expression is a member's type in expressions.
func (m *memberSchema) expression() exprtypes.Type {
	if m.words != nil {
		return m.words
	}
	switch m.kind {
	case "string":
		return exprtypes.String
	case "integer":
		return exprtypes.Int
	case "number":
		return exprtypes.Float64
	case "boolean":
		return exprtypes.Bool
	case "object":
		return exprtypes.TypeOf(map[string]any{})
	case "array":
		if m.items == "string" {
			return exprtypes.Array(exprtypes.String)
		}
		return exprtypes.Array(exprtypes.Any)
	}
	return exprtypes.Any
}

// types are the event types of a scope that a step is for, sorted.
func (s scope) types(chosen []string) []string {
	if chosen != nil {
		return slices.Sorted(slices.Values(chosen))
	}
	return slices.Sorted(maps.Keys(s))
}

// names are the members that any of the types has, sorted.
func (s scope) names(types []string) []string {
	all := map[string]bool{}
	for _, t := range types {
		for name := range s[t] {
			all[name] = name != exprtypes.Extra
		}
	}
	delete(all, exprtypes.Extra)
	return slices.Sorted(maps.Keys(all))
}

// has says whether any of the types has a member, or may have it.
func (s scope) has(types []string, name string) bool {
	return slices.ContainsFunc(types, func(t string) bool { _, ok := s[t][name]; return ok || s.open(t) })
}

// open says whether events of a type may have members of any name.
func (s scope) open(eventType string) bool { _, ok := s[eventType][exprtypes.Extra]; return ok }

// environment is what expressions may name, all of any type.
func (s scope) environment(types []string) exprtypes.Map {
	env := exprtypes.Map{}
	for _, name := range s.names(types) {
		env[name] = exprtypes.Any
	}
	if slices.ContainsFunc(types, s.open) {
		env[exprtypes.Extra] = exprtypes.Any
	}
	return env
}

// clone returns what the scope says of some types.
func (s scope) clone(types []string) scope {
	other := scope{}
	for _, t := range types {
		other[t] = maps.Clone(s[t])
	}
	return other
}

// join adds what another scope says of its types: events may be as either says.
func (s scope) join(other scope) {
	for t, members := range other {
		for name, as := range members {
			if now, there := s[t][name]; !there {
				s[t][name] = as
			} else if as == exprtypes.Any || !wordless(now).Equal(wordless(as)) { // of any type, everything says that it is equal
				s[t][name] = exprtypes.Any
			} else if !now.Equal(as) {
				s[t][name] = wordless(now)
			}
		}
	}
}

// add adds a member to the types that a step is for.
func (s scope) add(types []string, name string, as exprtypes.Type) {
	for _, t := range types {
		s[t][name] = as
	}
}

// addDeadLetters adds the dead letters, which no step is for.
func (s scope) addDeadLetters() {
	for _, t := range events.Catalogue() {
		if t.Name == events.TypeDeadLetter {
			members := map[string]exprtypes.Type{}
			for name, m := range readSchema(t.Name, t.Schema).members {
				members[name] = m.expression()
			}
			s[t.Name] = members
		}
	}
}
