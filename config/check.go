package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checker walks the YAML nodes of one file along the fields that may be there.
// It turns what is right into typed values and what is wrong into errors.
type checker struct {
	places
	plugins  Plugins
	env      func(string) (string, bool)
	readFile func(string) (string, error)
	errs     []*Error
	secrets  map[string]struct{}
}

func newChecker(path string, plugins Plugins, env func(string) (string, bool), readFile func(string) (string, error)) *checker {
	return &checker{
		places:  places{path: path, at: map[string]place{}, texts: map[string]text{}},
		plugins: plugins, env: env, readFile: readFile,
		secrets: map[string]struct{}{},
	}
}

// file checks the whole file.
func (c *checker) file(data []byte) (*File, error) {
	root := c.document(data)
	if root == nil {
		return nil, joined(c.errs)
	}
	f := &File{Path: c.path, places: &c.places}
	SetDefaults(f)
	raw := c.section(root, "", Fields(f), members{
		"connectors": func(n *yaml.Node, key string) { f.Connectors = c.connectors(n, key) },
		"transforms": func(n *yaml.Node, key string) { f.Transforms = c.transforms(n, key) },
	})
	if err := Decode(raw, f); err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	if root.Kind == yaml.MappingNode && !c.has("connectors") {
		c.errorAt("connectors", "is required: name at least one connector, with its type")
	}
	c.sections(f)
	if err := joined(c.errs); err != nil {
		return nil, err
	}
	f.secrets = longestFirst(c.secrets)
	return f, nil
}

// transforms checks the key transforms: a list of steps.
func (c *checker) transforms(n *yaml.Node, key string) (list []Transform) {
	fields := Fields(c.plugins.Transform)
	switch {
	case isNull(n) || !c.plain(n, key):
		return nil
	case n.Kind != yaml.SequenceNode:
		c.errorf(n, key, "wants a list of steps, each on a line with a dash, such as - filter: sender != \"bot\"")
		return nil
	}
	for i, item := range n.Content {
		key := key + "[" + strconv.Itoa(i) + "]"
		c.at[key] = placeOf(item)
		if isNull(item) {
			c.errorf(item, key, "is empty: remove it")
			continue
		}
		list = append(list, Transform{Line: item.Line, Raw: c.section(item, key, fields, nil), key: key, places: &c.places})
	}
	return list
}

// members are the keys of a section that are checked by a function of their own
// and are not in its values.
type members map[string]func(n *yaml.Node, key string)

// section checks a mapping and returns the typed values of its fields.
func (c *checker) section(n *yaml.Node, key string, fields []Field, own members) map[string]any {
	values := map[string]any{}
	seen := c.pairs(n, key, func(name, v *yaml.Node, key string) {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name.Value })
		if i >= 0 {
			if value, ok := c.value(v, key, &fields[i]); ok {
				values[fields[i].Name] = value
			}
		} else if check := own[name.Value]; check != nil {
			check(v, key)
		} else {
			c.errorf(name, key, "unknown key; %s", Suggest("keys", name.Value, names(fields, own)))
		}
	})
	for i := range fields {
		if name := fields[i].Name; seen != nil && fields[i].Required && !seen[name] {
			c.errorAt(child(key, name), "is required")
		}
	}
	return values
}

// names returns the keys that a section may have, in their documented order.
func names(fields []Field, own members) []string {
	list := make([]string, 0, len(fields)+len(own))
	for _, f := range fields {
		list = append(list, f.Name)
	}
	rest := make([]string, 0, len(own))
	for name := range own {
		rest = append(rest, name)
	}
	slices.Sort(rest)
	return append(list, rest...)
}

// pairs calls fn for each key and value of a mapping, notes where the keys stand
// and returns them; nil when n is no mapping.
func (c *checker) pairs(n *yaml.Node, key string, fn func(name, v *yaml.Node, key string)) map[string]bool {
	if !c.plain(n, key) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		c.errorf(n, key, "wants keys with values, one on each line, as in key: value")
		return nil
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, v := n.Content[i], n.Content[i+1]
		at := child(key, name.Value)
		switch {
		case name.Kind == yaml.ScalarNode && name.Tag == "!!merge":
			c.errorf(name, key, "has a merge key (<<), which is not supported: write the keys out")
		case name.Kind != yaml.ScalarNode && name.Kind != yaml.AliasNode:
			c.errorf(name, key, "has a list or mapping as a key: a key is one word")
		case !c.plain(name, key):
		case seen[name.Value]:
			c.errorf(name, at, "is there twice, first in line %d: remove one", c.at[at].line)
		default:
			seen[name.Value] = true
			c.at[at] = placeOf(name)
			fn(name, v, at)
		}
	}
	return seen
}

// value checks one value and returns it typed, as [Decode] takes it; what is
// wrong inside of it is left out. Not ok are a wrong scalar, and a list or
// section without content, which counts as absent.
func (c *checker) value(n *yaml.Node, key string, f *Field) (value any, ok bool) {
	switch {
	case f.form == scalarForm:
		return c.scalar(n, key, f)
	case !c.plain(n, key):
		return nil, false
	case isNull(n):
		if f.Required {
			c.errorf(n, key, "is required, but empty")
		}
		return nil, false
	case f.form == listForm:
		return c.list(n, key, f)
	case f.form == mapForm:
		return c.mapping(n, key, f)
	}
	return c.section(n, key, f.Fields, nil), true
}

func (c *checker) list(n *yaml.Node, key string, f *Field) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		c.errorf(n, key, "wants a list such as [a, b]")
		return nil, false
	}
	if f.Required && len(n.Content) == 0 {
		c.errorf(n, key, "is required, but empty")
	}
	list := make([]any, 0, len(n.Content))
	for i, item := range n.Content {
		at := key + "[" + strconv.Itoa(i) + "]"
		c.at[at] = placeOf(item)
		if v, ok := c.value(item, at, f.Elem); ok {
			list = append(list, v)
		} else if isNull(item) && f.Elem.form != scalarForm {
			c.errorf(item, at, "is empty: remove it")
		}
	}
	return list, true
}

func (c *checker) mapping(n *yaml.Node, key string, f *Field) (any, bool) {
	values := map[string]any{}
	c.pairs(n, key, func(name, v *yaml.Node, key string) {
		if value, ok := c.value(v, key, f.Elem); ok {
			values[name.Value] = value
		}
	})
	return values, true
}

// scalar checks one text: expands it, types it, and remembers what is secret.
func (c *checker) scalar(n *yaml.Node, key string, f *Field) (any, bool) {
	if !c.plain(n, key) {
		return nil, false
	}
	if n.Kind != yaml.ScalarNode {
		c.errorf(n, key, "wants %s", f.scalar.example)
		return nil, false
	}
	if isNull(n) {
		c.errorf(n, key, `has no value: give it one, or remove the key ("" is the empty text)`)
		return nil, false
	}
	text, ok := c.expand(n, key)
	if !ok {
		return nil, false
	}
	v, problem := f.accept(text)
	if problem != "" {
		if text != n.Value {
			problem += " (after its ${...} was filled in)"
		}
		c.errorf(n, key, "%s", problem)
		return nil, false
	}
	if f.Secret {
		c.secret(text)
	}
	c.urlSecrets(text)
	c.texts[key] = textOf(n, text != n.Value)
	return v, true
}

// plain refuses what YAML has beyond lists, mappings and text. So no node is
// ever reached twice: there are no alias bombs.
func (c *checker) plain(n *yaml.Node, key string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		c.errorf(n, key, "has an alias (*), which is not supported: write the value out (a text that begins with * needs quotes)")
	case n.Anchor != "":
		c.errorf(n, key, "has an anchor (&), which is not supported: remove it (a text that begins with & needs quotes)")
	case n.Style&yaml.TaggedStyle != 0:
		c.errorf(n, key, "has a tag (!), which is not supported: remove it (a text that begins with ! needs quotes)")
	default:
		return true
	}
	return false
}

// isNull says whether a node is an absent value, as in "key:" or "key: ~".
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (c *checker) errorf(n *yaml.Node, key, format string, args ...any) {
	at := placeOf(n)
	c.errs = append(c.errs, &Error{c.path, at.line, at.column, key, fmt.Sprintf(format, args...)})
}

// errorAt is errorf for a key whose node is not at hand.
func (c *checker) errorAt(key, format string, args ...any) {
	c.errs = append(c.errs, c.places.errorf(key, format, args...))
}

// has says whether the file has the key.
func (c *checker) has(key string) bool { _, ok := c.at[key]; return ok }

// failed says whether an error about the key, or inside it, was found.
func (c *checker) failed(key string) bool {
	return slices.ContainsFunc(c.errs, func(e *Error) bool { return strings.HasPrefix(e.Key, key) })
}

func (c *checker) secret(text string) {
	if text != "" {
		c.secrets[text] = struct{}{}
	}
}

var urlLogin = regexp.MustCompile(`://([^/?#,\s]*)@`)

// urlSecrets remembers the passwords inside the URLs of a text, as they stand
// there and decoded. A login without a password is a token, as NATS has them.
func (c *checker) urlSecrets(text string) {
	for _, m := range urlLogin.FindAllStringSubmatch(text, -1) {
		password := m[1]
		if _, after, ok := strings.Cut(password, ":"); ok {
			password = after
		}
		c.secret(password)
		if decoded, err := url.PathUnescape(password); err == nil {
			c.secret(decoded)
		}
	}
}

func longestFirst(set map[string]struct{}) []string {
	list := make([]string, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return list
}
