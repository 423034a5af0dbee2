package transforms

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	exprtypes "github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
)

// expression is compiled once and evaluated for many events. What a member that
// is absent makes of it is said in docs/transforms.md: it is nil, with which
// nothing can be compared and of which nothing can be made, and which no
// condition takes for true.
type expression struct {
	text       string
	program    *vm.Program
	members    []string     // that it names
	attributes []string     // of event that it names
	now        bool         // it asks for the time, so that it may give something else each time
	notes      []*exprError // what is probably not meant
}

// attributes are what expressions may name of an event beside its data, as members
// of event.
var attributes = exprtypes.Map{
	"id": exprtypes.String, "type": exprtypes.String, "topic": exprtypes.String,
	"vendor": exprtypes.String, "account": exprtypes.String, "stream": exprtypes.String, "connector": exprtypes.String,
	"key": exprtypes.String, "record_id": exprtypes.String,
	"time": exprtypes.TypeOf(time.Time{}), "recorded": exprtypes.TypeOf(time.Time{}), "replay": exprtypes.Bool,
}

// eventName is the name of the attributes in expressions.
const eventName = "event"

// maxExpression bounds an expression, in bytes.
const maxExpression = 16 << 10

// exprError says what is wrong with an expression, and where in its text.
type exprError struct {
	line, column int // from 1, in characters
	problem      string
	unknown      string // the name that is not there; "" for other mistakes
	hint         string // what else than a member that could be; "" where nothing
}

func (e *exprError) Error() string { return e.problem }

// compile checks an expression against the members that each of the types has,
// and compiles it. Want is the kind that it is to give; reflect.Invalid for any.
// It returns its type as far as that is known; nil for any.
func compile(text string, s scope, types []string, want reflect.Kind) (*expression, reflect.Type, error) {
	if len(text) > maxExpression {
		return nil, nil, &exprError{1, 1, "is longer than 16 KiB, which no expression is", "", ""}
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil, &exprError{1, 1, `is empty: write an expression such as status >= 500`, "", ""}
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, nil, exprErrorOf(err)
	}
	used := &uses{text: text, known: func(name string) bool { return s.has(types, name) }}
	ast.Walk(&tree.Node, variables{&used.variables})
	ast.Walk(&tree.Node, used)
	if used.events > used.fields {
		used.complain(0, "names event as a whole: name one of its attributes, such as event.type")
	}
	if used.err != nil {
		return nil, nil, used.err
	}
	result, err := check(text, s, types, used.names, want)
	if err != nil {
		return nil, nil, hinted(err, text)
	}
	compared := &constants{text: text, scope: s, types: types}
	ast.Walk(&tree.Node, compared)
	env := s.environment(types)
	env[eventName] = exprtypes.Any
	env[workName] = exprtypes.Any
	options := append([]expr.Option{expr.Env(env), expr.Timezone("UTC"), expr.Patch(&lenient{}), trueFunction, memberFunction}, ownFunctions...)
	program, err := expr.Compile(text, options...)
	if err != nil {
		return nil, nil, exprErrorOf(err)
	}
	e := &expression{text: text, program: program, notes: compared.notes}
	for _, name := range used.names {
		if s.has(types, name) {
			e.members = append(e.members, name)
		}
	}
	e.attributes, e.now = used.attributes, used.now
	return e, result, nil
}

// check checks the types of an expression for each event type that has something
// of it: a member is text in one and a number in another.
func check(text string, s scope, types, names []string, want reflect.Kind) (result reflect.Type, err error) {
	options := []expr.Option{}
	if want != reflect.Invalid {
		options = append(options, expr.AsKind(want))
	}
	concerned := slices.DeleteFunc(slices.Clone(types), func(t string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { _, ok := s[t][name]; return ok })
	})
	if len(concerned) == 0 { // it names attributes only, or what is not there
		concerned = types[:min(1, len(types))]
	}
	var wrong []string
	var first *exprError
	for n, t := range concerned {
		env := s.environment(types)
		env[eventName] = attributes
		for name, kind := range s[t] {
			env[name] = kind
		}
		program, err := expr.Compile(text, append(options, expr.Env(env))...)
		if err != nil {
			if wrong = append(wrong, t); first == nil {
				first = exprErrorOf(err)
			}
			continue
		}
		switch its := program.Node().Type(); {
		case n == 0:
			result = its
		case its != result:
			result = nil
		}
	}
	if first != nil {
		if len(wrong) < len(concerned) {
			first.problem += fmt.Sprintf(", in events of type %s", strings.Join(wrong, ", ")) + sayTypes
		}
		return nil, first
	}
	if result != nil && result.Kind() == reflect.Interface {
		result = nil
	}
	return result, nil
}

// sayTypes is what to do about an expression that some event types do not fit.
const sayTypes = ": say with types which events the step is for"

// exprErrorOf takes the library's error apart.
func exprErrorOf(err error) *exprError {
	var at *file.Error
	if !errors.As(err, &at) {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return &exprError{1, 1, line, "", ""}
	}
	// A pattern, a text or a number, which may hold what a variable of the
	// environment held.
	problem, _, _ := strings.Cut(at.Message, ": `")
	problem, _, _ = strings.Cut(problem, ": strconv.")
	problem = repeated.ReplaceAllString(problem, "$1")
	if slip := slipOf(err); slip != "" {
		problem += ": " + slip
	}
	e := &exprError{line: max(at.Line, 1), column: at.Column + 1, problem: problem}
	if name, ok := strings.CutPrefix(at.Message, "unknown name "); ok {
		e.unknown = name
	}
	return e
}

// repeated is what messages of the library repeat of an expression, behind the word
// for what it is.
var repeated = regexp.MustCompile(`(?s)(\b(?:String|Bytes|Number|Identifier|syntax:|parsing)) ?(?:\(".*"\)|".*")`)

// uses collects which members and attributes an expression names.
type uses struct {
	text       string
	known      func(name string) bool // says of a member whether it is there
	names      []string
	attributes []string
	variables  []string // that it declares with let
	now        bool     // it asks for the time
	fields     int      // of event that were named
	events     int      // times that event was named
	err        *exprError
}

// variables collects the names that let declares.
type variables struct{ names *[]string }

func (v variables) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.VariableDeclaratorNode); ok {
		*v.names = append(*v.names, n.Name)
	}
}

// Visit is called for the parts of a node before the node itself.
func (u *uses) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		_, attribute := attributes[n.Value]
		switch {
		case n.Value == "$env":
			u.complain(n.Location().From, "names $env, which is not supported: name the members themselves")
		case slices.Contains(u.variables, n.Value):
		case n.Value == eventName:
			u.events++
		case attribute && !u.known(n.Value): // some are names of functions too
			u.complain(n.Location().From, fmt.Sprintf("unknown name %q: did you mean event.%s?", n.Value, n.Value))
		case !slices.Contains(u.names, n.Value):
			u.names = append(u.names, n.Value)
		}
	case *ast.BuiltinNode:
		u.now = u.now || n.Name == "now"
	case *ast.MemberNode:
		of, ok := n.Node.(*ast.IdentifierNode)
		name, named := n.Property.(*ast.StringNode)
		if !ok || of.Value != eventName || !named {
			return
		}
		u.fields++
		if _, there := attributes[name.Value]; !there {
			u.complain(n.Location().From, fmt.Sprintf("event has no such attribute; %s", config.Suggest("attributes", name.Value, slices.Sorted(maps.Keys(attributes)))))
		}
		if !slices.Contains(u.attributes, name.Value) {
			u.attributes = append(u.attributes, name.Value)
		}
	}
}

// complain notes the first mistake, at a character of the text.
func (u *uses) complain(from int, problem string) {
	if u.err == nil {
		u.err = errorAt(u.text, from, problem)
	}
}

// errorAt is an error at a character of a text.
func errorAt(text string, from int, problem string) *exprError {
	before := []rune(text)
	before = before[:min(max(from, 0), len(before))]
	last := strings.LastIndexByte(string(before), '\n')
	return &exprError{1 + strings.Count(string(before), "\n"), 1 + utf8.RuneCountInString(string(before)[last+1:]), problem, "", ""}
}

// failure is an error of an expression whose text may be shown: it holds nothing
// of the event.
type failure string

func (f failure) Error() string { return string(f) }

// evaluator evaluates expressions, one after the other.
type evaluator struct {
	vm    vm.VM
	env   map[string]any
	event map[string]any
	work  work
}

// value evaluates an expression for an item.
func (e *expression) value(r *run, it *item) (any, error) {
	v := &r.expressions
	if v.env == nil {
		v.env, v.event = map[string]any{}, map[string]any{}
		v.env[eventName], v.env[workName] = v.event, &v.work
	}
	v.work.left = maxWork
	for _, name := range e.members {
		value, err := decode(it.get(r, name))
		if err != nil {
			return nil, fmt.Errorf("the member %s cannot be read: %w", name, err)
		}
		v.env[name] = value
	}
	for _, name := range e.attributes {
		v.event[name] = attributeOf(&it.Event, name)
	}
	out, err := v.vm.Run(e.program, v.env)
	if err != nil {
		v.vm = vm.VM{} // whatever it was at
		return nil, e.failed(err)
	}
	return out, nil
}

// condition evaluates an expression that says yes or no.
func (e *expression) condition(r *run, it *item) (bool, error) {
	v, err := e.value(r, it)
	if err != nil {
		return false, err
	}
	switch v := v.(type) {
	case bool:
		return v, nil
	case nil:
		return false, nil
	}
	return false, failure("the condition gives neither true nor false")
}

// failed says where an expression failed. What the library says of it may hold
// what the event holds.
func (e *expression) failed(err error) error {
	var own failure
	if errors.As(err, &own) {
		return own
	}
	var at *file.Error
	if !errors.As(err, &at) {
		return failure("the expression cannot be evaluated")
	}
	var inner failure
	if at.Prev != nil && errors.As(at.Prev, &inner) {
		return inner
	}
	return failure(fmt.Sprintf("the expression cannot be evaluated: it fails at %d:%d", max(at.Line, 1), at.Column+1))
}

// attributeOf returns an attribute; nil for a time that is not known.
func attributeOf(e *events.Event, name string) any {
	switch name {
	case "id":
		return e.ID.String()
	case "type":
		return e.Type
	case "topic":
		return cmp.Or(e.Topic, e.Type)
	case "vendor":
		return e.Source.Vendor
	case "account":
		return e.Source.Account
	case "stream":
		return e.Source.Stream
	case "connector":
		return e.Connector
	case "key":
		return e.Key
	case "record_id":
		return e.RecordID
	case "time":
		return known(e.Time)
	case "recorded":
		return known(e.Recorded)
	case "replay":
		return e.Replay
	}
	return nil
}

func known(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}
