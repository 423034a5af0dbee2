package transforms

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
)

// Known are the names that steps may choose from. Nil lists are not checked.
type Known struct {
	Connectors []string
	Streams    []string // STREAM and CONNECTOR/STREAM
}

// New makes a chain of the steps of a configuration; nil of none. Mistakes come
// back all at once, each with its place in the file.
func New(list []config.Transform, known Known) (*Chain, error) {
	if len(list) == 0 {
		return nil, nil
	}
	b := &builder{chain: &Chain{routed: map[string][]string{}}, known: known, scope: newScope(), names: map[string]int{}}
	for n := range list {
		b.section = &list[n]
		b.step(n)
	}
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	b.chain.leaves = b.scope
	if !b.hashed {
		b.chain.notes = append(b.chain.notes, b.unhashed...)
	}
	return b.chain, nil
}

// Condition compiles an expression that says yes or no of events of some types,
// none for all; dead letters are among them. It may name what the catalogue has, and
// what the chain, which may be nil, leaves of events. The function that it returns may
// be called concurrently; the notes are what was probably not meant, a sentence each.
func Condition(text string, types []string, c *Chain) (is func(*events.Event) (bool, error), notes []string, err error) {
	s := newScope()
	s.addDeadLetters()
	if c != nil {
		s.join(c.leaves)
	}
	if len(types) == 0 {
		types = nil
	}
	e, _, err := compile(text, s, s.types(types), reflect.Bool)
	if err != nil {
		problem, some := strings.CutSuffix(explained(err, s, s.types(types)), sayTypes)
		if some {
			problem += ": name the topics that it is for"
		}
		return nil, nil, errors.New(problem)
	}
	for _, note := range e.notes {
		notes = append(notes, note.problem)
	}
	runs := &Chain{}
	return func(event *events.Event) (bool, error) {
		r := runs.take()
		defer runs.runs.Put(r)
		return e.condition(r, newItem(event))
	}, notes, nil
}

// builder makes a chain, step by step.
type builder struct {
	chain   *Chain
	known   Known
	scope   scope
	names   map[string]int // of steps, with their places
	section *config.Transform
	current string // the name of the step that is being made
	errs    []error

	hashed   bool     // a step hashes the attributes of all events
	unhashed []string // notes on steps that leave them
}

func (b *builder) errorf(key, format string, args ...any) {
	b.errs = append(b.errs, b.section.Errorf(key, format, args...))
}

// operations are the keys of Settings that say what a step does, in its order.
var operations = []string{"filter", "set", "rename", "keep", "drop_fields", "map_values", "split", "route", "redact", "truncate", "flatten", "sample", "validate"}

// step adds the step of the section to the chain.
func (b *builder) step(n int) {
	var s Settings
	if err := config.Decode(b.section.Raw, &s); err != nil {
		b.errorf("", "%s", err)
		return
	}
	var does []string
	for _, name := range operations {
		if _, there := b.section.Raw[name]; there {
			does = append(does, name)
		}
	}
	switch len(does) {
	case 1:
	case 0:
		b.errorf("", "does nothing: give it one of %s", strings.Join(operations, ", "))
		return
	default:
		b.errorf(does[1], "is a second thing to do beside %s: make it a step of its own, so that their order is plain", does[0])
		return
	}
	st := &step{name: s.Name, index: n, connectors: s.Connectors, streams: s.Streams, types: s.Types}
	if st.name == "" {
		st.name = fmt.Sprintf("%s-%d", does[0], n+1)
	}
	if len(st.name) > 100 || strings.ContainsFunc(st.name, unicode.IsControl) {
		b.errorf("name", "wants at most 100 bytes of text on one line")
	}
	if first, taken := b.names[st.name]; taken {
		b.errorf("name", "is the name of step %d already: names are unique", first+1)
	}
	b.names[st.name], b.current = n, st.name
	errs := len(b.errs)
	b.selection(&s)
	if len(b.errs) > errs {
		return
	}
	types := b.scope.types(s.Types)
	if s.When != "" || b.has("when") {
		st.when, _ = b.expression("when", s.When, types, reflect.Bool)
	}
	before := b.scope.clone(types)
	st.does = b.operation(does[0], &s, types)
	if b.has("when") || s.Connectors != nil || s.Streams != nil {
		b.scope.join(before) // events that it is not for come on as they were
	}
	b.chain.steps = append(b.chain.steps, st)
}

func (b *builder) has(key string) bool { _, there := b.section.Raw[key]; return there }

// selection checks what a step is for.
func (b *builder) selection(s *Settings) {
	types := slices.Sorted(maps.Keys(b.scope))
	for n, name := range s.Types {
		if !slices.Contains(types, name) {
			b.errorf(fmt.Sprintf("types[%d]", n), "unknown event type; %s", config.Suggest("types", name, types))
		}
	}
	for n, name := range s.Connectors {
		if b.known.Connectors != nil && !slices.Contains(b.known.Connectors, name) {
			b.errorf(fmt.Sprintf("connectors[%d]", n), "is no connector of this file; %s", config.Suggest("connectors", name, b.known.Connectors))
		}
	}
	for n, name := range s.Streams {
		if b.known.Streams != nil && !slices.Contains(b.known.Streams, name) {
			b.errorf(fmt.Sprintf("streams[%d]", n), "is no stream that this file reads; %s", config.Suggest("streams", name, b.known.Streams))
		}
	}
	for key, list := range map[string][]string{"types": s.Types, "connectors": s.Connectors, "streams": s.Streams} {
		if b.has(key) && len(list) == 0 {
			b.errorf(key, "is empty, so the step would be for nothing: name some, or remove the key for all")
		}
	}
}

// expression compiles what stands under a key.
func (b *builder) expression(key, text string, types []string, want reflect.Kind) (*expression, reflect.Type) {
	e, result, err := compile(text, b.scope, types, want)
	if err != nil {
		var at *exprError
		line, column := 1, 1
		if errors.As(err, &at) {
			line, column = at.line, at.column
		}
		problem := explained(err, b.scope, types)
		if at != nil && at.unknown != "" && at.unknown == strings.TrimSpace(text) && strings.HasPrefix(key, "set.") && !strings.Contains(problem, "did you mean") {
			problem += fmt.Sprintf(`; a text stands in quotes of its own: '"%s"'`, at.unknown)
		}
		if at != nil && b.held(key, at.unknown) {
			problem = `cannot be read after its ${...} was filled in: put quotes around a variable that holds text, as in user_id == "${NAME}"`
		}
		b.errs = append(b.errs, b.section.TextErrorf(key, line, column, "%s", problem))
		return nil, nil
	}
	for _, note := range e.notes {
		b.chain.notes = append(b.chain.notes, b.section.TextErrorf(key, note.line, note.column, "%s", note).Error())
	}
	if e.now {
		b.chain.notes = append(b.chain.notes, b.current+" asks for the time with now(): what it makes of a record may differ when the record is read again")
	}
	return e, result
}

// explained says what is wrong with an expression: of a name that is not there it
// tells the nearest, or where it is.
func explained(err error, s scope, types []string) string {
	var e *exprError
	if !errors.As(err, &e) || e.unknown == "" {
		return err.Error()
	}
	var others []string
	for _, t := range s.types(nil) {
		if _, has := s[t][e.unknown]; has {
			others = append(others, t)
		}
	}
	if len(others) > 0 {
		return fmt.Sprintf("unknown name %q: events of type %s have none here, but those of %s have", e.unknown, strings.Join(types, ", "), strings.Join(others, ", "))
	}
	advice := config.Suggest("names", e.unknown, append(s.names(types), eventName))
	switch {
	case strings.HasPrefix(advice, "did you mean"):
	case e.hint != "":
		advice = e.hint
	case len(advice) > 300:
		advice = "no event type has it; docs/events.md lists the members of each"
	}
	return fmt.Sprintf("unknown name %q; %s", e.unknown, advice)
}

// path reads a path under a key, which begins with a member of the types.
func (b *builder) path(key, text string, types []string) path {
	p, err := parsePath(text)
	if err != nil {
		b.errorf(key, "%s", err)
	} else if p.first == eventName {
		b.errorf(key, "is an attribute, not a member: of those, redact hashes event.key and event.record_id, and no step changes others")
	} else if !b.scope.has(types, p.first) {
		problem := explained(&exprError{problem: "", unknown: p.first}, b.scope, types)
		if b.held(key, p.first) {
			problem = "is no path of these events after its ${...} was filled in; docs/events.md lists the members of each"
		}
		b.errorf(key, "%s", problem)
	}
	return p
}

// held says whether a name stands in a key's value only because a variable held it,
// so that it may be a secret.
func (b *builder) held(key, name string) bool {
	written := b.section.Written(key)
	return written != "" && !strings.Contains(written, name) && !strings.Contains(key, name) // which is as the file has it
}

// member reads the name of a whole member under a key.
func (b *builder) member(key, name string, types []string) {
	if first, _, dots := strings.Cut(name, "."); dots && !b.scope.has(types, name) && b.scope.has(types, first) {
		b.errorf(key, "leads into %s, and this takes whole members: make one of what is inside with a step before, such as set: {plan: attributes.plan}", first)
		return
	}
	b.path(key, `"`+name+`"`, types)
}
