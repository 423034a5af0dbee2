package config

import (
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

var nameForm = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// connectors checks the key connectors: names with sections.
func (c *checker) connectors(n *yaml.Node, key string) []Connector {
	if isNull(n) || n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		c.errorf(n, key, "has no connector: name at least one, with its type")
		return nil
	}
	var list []Connector
	c.pairs(n, key, func(name, section *yaml.Node, key string) {
		if !nameForm.MatchString(name.Value) {
			c.errorf(name, key, "a connector's name wants 1 to 32 of a-z, 0-9, _ and -")
		}
		conn := Connector{Name: name.Value, Line: name.Line, places: &c.places}
		c.connector(section, key, &conn)
		list = append(list, conn)
	})
	return list
}

// connector checks one section against the plugin that its type names.
func (c *checker) connector(n *yaml.Node, key string, conn *Connector) {
	var types []string
	for _, p := range c.plugins.Connectors {
		types = append(types, p.Type)
	}
	if isNull(n) {
		c.errorf(n, key, "is empty: it wants a type; %s", Suggest("types", "", types))
		return
	}
	if !c.plain(n, key) {
		return
	}
	kind := lookup(n, "type")
	switch {
	case n.Kind != yaml.MappingNode:
		c.errorf(n, key, "wants keys with values, one on each line, as in type: ...")
		return
	case kind == nil:
		c.errorAt(key+".type", "is required; %s", Suggest("types", "", types))
		return
	}
	word, ok := c.scalar(kind, key+".type", &Field{scalar: plainText})
	if !ok {
		return
	}
	conn.Type = word.(string)
	i := slices.Index(types, conn.Type)
	if i < 0 {
		c.errorf(kind, key+".type", "unknown connector type; %s", Suggest("types", conn.Type, types))
		return
	}
	plugin := &c.plugins.Connectors[i]
	conn.Raw = c.section(n, key, Fields(plugin.Settings), members{
		"type":    func(*yaml.Node, string) {},
		"streams": func(n *yaml.Node, key string) { conn.Streams = c.streams(n, key, plugin) },
	})
}

// streams checks a list of stream names, or a map of them to their own settings.
func (c *checker) streams(n *yaml.Node, key string, plugin *Plugin) []Stream {
	if !c.plain(n, key) {
		return nil
	}
	if isNull(n) || n.Kind != yaml.ScalarNode && len(n.Content) == 0 {
		c.errorf(n, key, "names no stream: name at least one, or remove the key to read all")
		return nil
	}
	var list []Stream
	add := func(name string, at *yaml.Node, key string) *PluginStream {
		i := slices.IndexFunc(plugin.Streams, func(s PluginStream) bool { return s.Name == name })
		if i < 0 {
			c.errorf(at, key, "unknown stream of %s; %s", plugin.Type, Suggest("streams", name, streamNames(plugin)))
			return nil
		}
		if slices.ContainsFunc(list, func(s Stream) bool { return s.Name == name }) {
			c.errorf(at, key, "is there twice: remove one")
			return nil
		}
		list = append(list, Stream{Name: name, Line: at.Line})
		return &plugin.Streams[i]
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			key := key + "[" + strconv.Itoa(i) + "]"
			if name, ok := c.scalar(item, key, &Field{scalar: plainText}); ok {
				add(name.(string), item, key)
			}
		}
	case yaml.MappingNode:
		c.pairs(n, key, func(name, section *yaml.Node, key string) {
			if s := add(name.Value, name, key); s != nil && !isNull(section) {
				list[len(list)-1].Raw = c.section(section, key, Fields(s.Settings), nil)
			}
		})
	default:
		c.errorf(n, key, "wants a list of streams such as [a, b], or a map of them to their settings")
	}
	return list
}

func streamNames(p *Plugin) []string {
	var list []string
	for _, s := range p.Streams {
		list = append(list, s.Name)
	}
	return list
}

// lookup returns the value of a key of a mapping, nil when it has none.
func lookup(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}
