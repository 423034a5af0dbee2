package transforms

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm/runtime"
)

// Functions that stand for those of the library, where it does something else each
// time, or as much as it is told to. The library bounds how many elements an expression may make, one million. It
// does not bound how often predicates are evaluated, nor the texts that are made;
// these do, so that no expression holds up a stream.

const (
	workName    = "__work"
	tickName    = "__tick"
	repeatName  = "__repeat"
	replaceName = "__replace"
	joinName    = "__join"
	sumName     = "__sum"
	fewName     = "__few"
	keysName    = "__keys"
	valuesName  = "__values"
	pairsName   = "__pairs"
)

const (
	maxWork = 1_000_000 // predicates of one evaluation, and 64 bytes of text that they give
	maxText = 4 << 20   // bytes of a text that is made of others
	maxUniq = 10_000    // elements: uniq compares each with each
)

// instead are the functions that others stand for.
var instead = map[string]string{"repeat": repeatName, "replace": replaceName, "join": joinName, "keys": keysName, "values": valuesName, "toPairs": pairsName}

// work is what one evaluation may still do.
type work struct{ left int }

const (
	tooMuch   failure = "the expression goes on for too long: its predicates are evaluated more than a million times"
	tooLong   failure = "the expression makes a text of more than 4 MiB"
	tooMany   failure = "the expression gives uniq more than 10000 elements"
	wrongType failure = "the expression gives a function a value of a wrong type"
)

var ownFunctions = []expr.Option{
	expr.Function(tickName, func(params ...any) (any, error) {
		w, value := params[0].(*work), params[1]
		w.left--
		if text, ok := value.(string); ok {
			w.left -= len(text) / 64
		}
		if w.left < 0 {
			return nil, tooMuch
		}
		return value, nil
	}, func(any, any) any { return nil }),
	expr.Function(repeatName, func(params ...any) (any, error) {
		text, ok := params[0].(string)
		times, whole := params[1].(int)
		switch {
		case !ok || !whole || times < 0:
			return nil, wrongType
		case len(text) > 0 && times > maxText/len(text):
			return nil, tooLong
		}
		return strings.Repeat(text, times), nil
	}, func(any, any) any { return nil }),
	expr.Function(replaceName, func(params ...any) (any, error) {
		var texts [3]string
		for n := range texts {
			text, ok := params[n].(string)
			if !ok {
				return nil, wrongType
			}
			texts[n] = text
		}
		times := strings.Count(texts[0], texts[1])
		if len(params) > 3 {
			limit, ok := params[3].(int)
			if !ok {
				return nil, wrongType
			}
			if limit >= 0 {
				times = min(times, limit)
			}
		}
		if times > 0 && len(texts[2]) > maxText/times {
			return nil, tooLong
		}
		return strings.Replace(texts[0], texts[1], texts[2], times), nil
	}, func(any, any, any) any { return nil }, func(any, any, any, any) any { return nil }),
	expr.Function(sumName, func(params ...any) (any, error) {
		a, _ := params[0].(string)
		if b, ok := params[1].(string); ok && len(a)+len(b) > maxText {
			return nil, tooLong
		}
		return runtime.Add(params[0], params[1]), nil
	}, func(any, any) any { return nil }),
	expr.Function(joinName, join, func(any) any { return nil }, func(any, any) any { return nil }),
	expr.Function(fewName, func(params ...any) (any, error) {
		if list := reflect.ValueOf(params[0]); list.Kind() == reflect.Slice && list.Len() > maxUniq {
			return nil, tooMany
		}
		return params[0], nil
	}, func(any) any { return nil }),
	pairsFunction(keysName, func(p [2]any) any { return p[0] }),
	pairsFunction(valuesName, func(p [2]any) any { return p[1] }),
	pairsFunction(pairsName, func(p [2]any) any { return p[:] }),
}

// pairsFunction makes a list of something of each member of an object, in the order
// of their names: the library's order is another one each time.
func pairsFunction(name string, of func([2]any) any) expr.Option {
	return expr.Function(name, func(params ...any) (any, error) {
		object := reflect.ValueOf(params[0])
		if object.Kind() != reflect.Map {
			return nil, wrongType
		}
		pairs := make([][2]any, 0, object.Len())
		for i := object.MapRange(); i.Next(); {
			pairs = append(pairs, [2]any{i.Key().Interface(), i.Value().Interface()})
		}
		slices.SortFunc(pairs, func(a, b [2]any) int {
			return cmp.Or(cmp.Compare(fmt.Sprint(a[0]), fmt.Sprint(b[0])), cmp.Compare(fmt.Sprintf("%T", a[0]), fmt.Sprintf("%T", b[0])))
		})
		list := make([]any, len(pairs))
		for n := range pairs {
			list[n] = of(pairs[n])
		}
		return list, nil
	}, func(any) any { return nil })
}

// join joins a list of texts, with a text between them.
func join(params ...any) (any, error) {
	list, glue := reflect.ValueOf(params[0]), ""
	if list.Kind() != reflect.Slice {
		return nil, wrongType
	}
	if len(params) > 1 {
		var ok bool
		if glue, ok = params[1].(string); !ok {
			return nil, wrongType
		}
	}
	var out strings.Builder
	for n := range list.Len() {
		text, ok := list.Index(n).Interface().(string)
		if !ok {
			return nil, wrongType
		}
		if out.Len()+len(glue)+len(text) > maxText {
			return nil, tooLong
		}
		if n > 0 {
			out.WriteString(glue)
		}
		out.WriteString(text)
	}
	return out.String(), nil
}
