package transforms

import (
	"slices"

	"github.com/expr-lang/expr/ast"
	exprtypes "github.com/expr-lang/expr/types"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
)

// oneOf is the type of a text that is one of some words. A step that may put
// another text into the member gives it another type.
type oneOf struct {
	exprtypes.Type // text
	words          []string
}

// Equal says whether the other type is one of the same words.
func (o *oneOf) Equal(t exprtypes.Type) bool {
	other, ok := t.(*oneOf)
	return ok && slices.Equal(o.words, other.words)
}

// wordless is a type without the words.
func wordless(t exprtypes.Type) exprtypes.Type {
	if o, ok := t.(*oneOf); ok {
		return o.Type
	}
	return t
}

// constants finds texts that an expression compares with a member, or with the type
// of the event, which never is such a text: a slip of the pen that the types of an
// expression do not show. They are no mistakes: events from before another
// configuration may have other texts.
type constants struct {
	text  string
	scope scope
	types []string
	notes []*exprError
}

// Visit is called for the parts of a node before the node itself.
func (c *constants) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.BinaryNode)
	if !ok {
		return
	}
	switch n.Operator {
	case "==", "!=":
		c.compare(n.Left, n.Right)
		c.compare(n.Right, n.Left)
	case "in":
		if list, ok := n.Right.(*ast.ArrayNode); ok {
			for _, element := range list.Nodes {
				c.compare(n.Left, element)
			}
		}
	}
}

// compare notes a text that is none of the words that the other side may be. Empty is
// what people call a member that is absent, too.
func (c *constants) compare(of, with ast.Node) {
	text, ok := with.(*ast.StringNode)
	if !ok || text.Value == "" {
		return
	}
	name, words := c.words(of)
	if words == nil || slices.Contains(words, text.Value) {
		return
	}
	// The text itself may be what a variable of the environment held.
	c.notes = append(c.notes, errorAt(c.text, text.Location().From, name+" is never this text; "+config.Suggest("words", text.Value, words)))
}

// words are those that a side of a comparison may be; nil where it may be anything.
func (c *constants) words(of ast.Node) (name string, words []string) {
	switch n := of.(type) {
	case *ast.IdentifierNode:
		return n.Value, c.scope.words(c.types, n.Value)
	case *ast.MemberNode:
		event, ok := n.Node.(*ast.IdentifierNode)
		attribute, named := n.Property.(*ast.StringNode)
		if ok && named && event.Value == eventName && attribute.Value == "type" {
			return eventName + ".type", append(newScope().types(nil), events.TypeDeadLetter)
		}
	}
	return "", nil
}

// words are those that a member is one of in events of the types, in the order of
// their schemas; nil where it may be any text, or something else.
func (s scope) words(types []string, name string) (words []string) {
	for _, t := range types {
		as, there := s[t][name]
		if !there {
			if s.open(t) {
				return nil
			}
			continue
		}
		o, ok := as.(*oneOf)
		if !ok {
			return nil
		}
		for _, word := range o.words {
			if !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
	}
	return words
}
