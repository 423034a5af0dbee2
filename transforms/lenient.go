package transforms

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
)

// lenient rewrites an expression so that it can do without members that are
// absent. Such a member is nil. To expr-lang nil in a comparison or a calculation
// is a mistake; here a comparison with it is false, everything else made of it is
// nil, and a condition takes nil for false.
type lenient struct {
	variables int
	bools     map[ast.Node]bool            // give true or false, never nil
	members   map[ast.Node]*ast.MemberNode // what stands there now, and stood there
}

const (
	trueName   = "__true"
	memberName = "__member"
)

// comparisons give false where a side is nil, calculations nil.
var (
	comparisons  = []string{"<", "<=", ">", ">=", "contains", "startsWith", "endsWith", "matches", "in"}
	calculations = []string{"+", "-", "*", "/", "%", "**", "^", ".."}
	logical      = []string{"and", "or", "&&", "||"}
)

// takesNil are the functions that make something of nil, or are never given it.
var takesNil = []string{"type", "toJSON", "get", "now"}

// judging are the functions whose predicate says yes or no.
var judging = []string{"all", "none", "any", "one", "filter", "find", "findIndex", "findLast", "findLastIndex", "count"}

// Visit is called for the parts of a node before the node itself.
func (l *lenient) Visit(node *ast.Node) {
	if l.bools == nil {
		l.bools, l.members = map[ast.Node]bool{}, map[ast.Node]*ast.MemberNode{}
	}
	switch n := (*node).(type) {
	case *ast.BoolNode:
		l.bools[n] = true
	case *ast.UnaryNode:
		l.unary(node, n)
	case *ast.BinaryNode:
		l.binary(node, n)
	case *ast.ConditionalNode:
		n.Cond = l.truth(n.Cond)
	case *ast.MemberNode:
		call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: memberName}, Arguments: []ast.Node{n.Node, n.Property}}
		l.members[call] = n
		l.replace(node, call)
	case *ast.SliceNode:
		n.Node = l.guard(node, n.Node, &ast.NilNode{})
	case *ast.CallNode:
		if method := l.members[n.Callee]; method != nil { // date(...).Year()
			n.Callee = method
			l.arguments(node, n.Arguments)
			method.Node = l.guard(node, method.Node, &ast.NilNode{})
		}
	case *ast.BuiltinNode:
		l.builtin(node, n)
	}
}

func (l *lenient) unary(node *ast.Node, n *ast.UnaryNode) {
	switch n.Operator {
	case "!", "not":
		n.Node = l.truth(n.Node)
		l.bools[n] = true
	default:
		n.Node = l.guard(node, n.Node, &ast.NilNode{})
	}
}

func (l *lenient) binary(node *ast.Node, n *ast.BinaryNode) {
	switch {
	case slices.Contains(logical, n.Operator):
		n.Left, n.Right = l.truth(n.Left), l.truth(n.Right)
		l.bools[n] = true
	case n.Operator == "==" || n.Operator == "!=":
		l.bools[n] = true
	case n.Operator == "in": // nil may be in a list
		n.Right = l.guard(node, n.Right, &ast.BoolNode{})
		l.bools[*node] = true
	case slices.Contains(comparisons, n.Operator):
		n.Right = l.guard(node, n.Right, &ast.BoolNode{})
		n.Left = l.guard(node, n.Left, &ast.BoolNode{})
		l.bools[*node] = true
	case n.Operator == "+" && !literal(n.Left) && !literal(n.Right): // which may be texts, and each twice as long as the last
		l.call(node, sumName, []ast.Node{n.Left, n.Right})
	case slices.Contains(calculations, n.Operator):
		n.Right = l.guard(node, n.Right, &ast.NilNode{})
		n.Left = l.guard(node, n.Left, &ast.NilNode{})
	}
}

func (l *lenient) builtin(node *ast.Node, n *ast.BuiltinNode) {
	for _, argument := range n.Arguments {
		p, ok := argument.(*ast.PredicateNode)
		if !ok {
			continue
		}
		work := at(p.Node, &ast.IdentifierNode{Value: workName})
		p.Node = at(p.Node, &ast.CallNode{Callee: at(p.Node, &ast.IdentifierNode{Value: tickName}), Arguments: []ast.Node{work, p.Node}})
		if slices.Contains(judging, n.Name) {
			p.Node = l.truth(p.Node)
		}
	}
	if name := instead[n.Name]; name != "" {
		l.call(node, name, n.Arguments)
		return
	}
	switch {
	case slices.Contains(takesNil, n.Name):
	case n.Name == "reduce": // whose last argument, where it begins, may be nil
		l.arguments(node, n.Arguments[:1])
	default:
		l.arguments(node, n.Arguments)
	}
	if n.Name == "uniq" && len(n.Arguments) == 1 {
		n.Arguments[0] = at(n.Arguments[0], &ast.CallNode{Callee: at(n.Arguments[0], &ast.IdentifierNode{Value: fewName}), Arguments: []ast.Node{n.Arguments[0]}})
	}
}

// call has a function of ours stand for a node.
func (l *lenient) call(node *ast.Node, name string, arguments []ast.Node) {
	l.replace(node, &ast.CallNode{Callee: at(*node, &ast.IdentifierNode{Value: name}), Arguments: arguments})
	l.arguments(node, arguments)
}

// arguments guards each of them: of nil nothing is made.
func (l *lenient) arguments(node *ast.Node, list []ast.Node) {
	for n := len(list) - 1; n >= 0; n-- {
		if _, predicate := list[n].(*ast.PredicateNode); !predicate {
			list[n] = l.guard(node, list[n], &ast.NilNode{})
		}
	}
}

// guard has a node evaluated only when one of its parts, which it returns as a
// variable, is not nil:
//
//	let x = part; x == nil ? otherwise : node
func (l *lenient) guard(node *ast.Node, part, otherwise ast.Node) ast.Node {
	if literal(part) {
		return part
	}
	l.variables++
	name := fmt.Sprintf("__%d", l.variables)
	variable := func() ast.Node { return at(*node, &ast.IdentifierNode{Value: name}) }
	isNil := at(*node, &ast.BinaryNode{Operator: "==", Left: variable(), Right: at(*node, &ast.NilNode{})})
	choice := at(*node, &ast.ConditionalNode{Ternary: true, Cond: isNil, Exp1: at(*node, otherwise), Exp2: *node})
	l.replace(node, &ast.VariableDeclaratorNode{Name: name, Value: part, Expr: choice})
	return variable()
}

// literal says whether a node stands for itself, which is never nil.
func literal(node ast.Node) bool {
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.BoolNode, *ast.ConstantNode, *ast.ArrayNode, *ast.MapNode:
		return true
	}
	return false
}

// truth makes a condition of a node: nil is false.
func (l *lenient) truth(node ast.Node) ast.Node {
	if l.bools[node] {
		return node
	}
	call := at(node, &ast.CallNode{Callee: at(node, &ast.IdentifierNode{Value: trueName}), Arguments: []ast.Node{node}})
	l.bools[call] = true
	return call
}

func (l *lenient) replace(node *ast.Node, by ast.Node) { *node = at(*node, by) }

// at gives a node the place of another, which errors name.
func at(place, node ast.Node) ast.Node {
	node.SetLocation(place.Location())
	return node
}

// trueFunction takes nil for false.
var trueFunction = expr.Function(trueName, func(params ...any) (any, error) {
	switch v := params[0].(type) {
	case bool:
		return v, nil
	case nil:
		return false, nil
	}
	return nil, failure("a condition is neither true nor false")
}, func(any) bool { return false })

// memberFunction returns a member of an object or an element of a list; nil where
// there is none, or where the value is neither.
var memberFunction = expr.Function(memberName, func(params ...any) (any, error) {
	switch of := params[0].(type) {
	case map[string]any:
		if name, ok := params[1].(string); ok {
			return of[name], nil
		}
	case []any:
		if n, ok := indexOf(params[1], len(of)); ok {
			return of[n], nil
		}
	default: // what functions make: lists of texts, groups by any value
		return memberOf(reflect.ValueOf(of), params[1]), nil
	}
	return nil, nil
}, func(any, any) any { return nil })

func memberOf(of reflect.Value, key any) any {
	var found reflect.Value
	switch of.Kind() {
	case reflect.Slice, reflect.Array:
		if n, ok := indexOf(key, of.Len()); ok {
			found = of.Index(n)
		}
	case reflect.Map:
		if k := reflect.ValueOf(key); key != nil && k.Comparable() && k.Type().AssignableTo(of.Type().Key()) {
			found = of.MapIndex(k)
		}
	}
	if !found.IsValid() {
		return nil
	}
	return found.Interface()
}

// indexOf is an index as a list of a length has it; negative ones count from its end.
func indexOf(key any, length int) (int, bool) {
	n, ok := key.(int)
	if n < 0 {
		n += length
	}
	return n, ok && n >= 0 && n < length
}
