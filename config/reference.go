package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Reference returns the whole configuration as a Markdown page: the sections of
// the file, then each connector type. It depends on nothing but the plugins.
func Reference(open Plugins) string {
	plugins := open.Connectors
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## The file\n")
	own := rows("", Fields(File{}))
	own = append(own,
		row{"`connectors`", "map of section", "**required**", "What is read: a name of `[a-z0-9_-]{1,32}` for each connector, and its section."},
		row{"`transforms`", "list of section", "", "What happens to events on the way, step by step; see below."})
	table(&b, own)
	if steps := rows("", Fields(open.Transform)); steps != nil {
		b.WriteString(stepsHead)
		table(&b, steps)
	}

	shared := sharedRows(plugins)
	b.WriteString("\n## Every connector\n")
	table(&b, append([]row{
		{"`type`", "string", "**required**", "The connector's type: " + typeList(plugins) + "."},
		{"`streams`", "list of string, or map", "(all)", "The streams to read, or a map of them to settings of their own, such as `{messages: {poll: 10s}}`."},
	}, shared...))
	for i := range plugins {
		connectorPage(&b, &plugins[i], shared)
	}
	return b.String()
}

const referenceHead = `# Configuration

One YAML file. Unknown keys, wrong types and values out of bounds are errors that name the file, the line and the key;
values are never printed.

Texts may hold references, which are filled in after the YAML was read, so what they hold cannot change its structure:

| reference | becomes |
|---|---|
| ` + "`${VAR}`" + ` | the environment variable; an error when it is not set |
| ` + "`${VAR:-default}`" + ` | the default when the variable is not set or empty |
| ` + "`${file:/run/secrets/key}`" + ` | what the file holds, without the line breaks at its end |
| ` + "`$$`" + ` | a dollar sign |

Inside ` + "`[ ]` and `{ }`" + ` a reference needs quotes. Durations are written as ` + "`90s`, `10m`, `1h30m` or `7d`" + `, times as
` + "`2026-01-01T00:00:00Z`" + `, rates as ` + "`3/s`, `90/m` or `1000/h`" + `, sizes as ` + "`512KiB`, `32MiB` or `1GiB`" + `. Paths are relative to the
working directory. YAML's anchors, aliases and tags are not supported.
`

const stepsHead = `
## Each step of transforms

One of the keys from ` + "`filter` to `validate`" + ` says what the step does, the keys above them which events it is for.
[transforms.md](transforms.md) shows each with an example.
`

// row is one line of a table, its cells in Markdown.
type row struct{ key, kind, value, doc string }

// table writes rows.
func table(b *strings.Builder, rows []row) {
	b.WriteString("\n| key | type | default | what it does |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", r.key, r.kind, r.value, r.doc)
	}
}

// rows returns the lines for fields and, below a section, for its keys.
func rows(prefix string, fields []Field) []row {
	var list []row
	for i := range fields {
		f := &fields[i]
		key := prefix + f.Name
		list = append(list, row{"`" + key + "`", f.Type, f.defaultCell(), f.docCell()})
		switch {
		case f.form == sectionForm:
			list = append(list, rows(key+".", f.Fields)...)
		case f.form == listForm && f.Elem.form == sectionForm:
			list = append(list, rows(key+"[].", f.Elem.Fields)...)
		case f.form == mapForm && f.Elem.form == sectionForm:
			list = append(list, rows(key+".*.", f.Elem.Fields)...)
		}
	}
	return list
}

func (f *Field) defaultCell() string {
	switch {
	case f.Required:
		return "**required**"
	case f.Default == "" || f.told():
		return cell(f.Default)
	}
	return "`" + cell(f.Default) + "`"
}

func (f *Field) docCell() string {
	doc := f.Doc
	if f.OneOf != nil {
		doc += " One of `" + strings.Join(f.OneOf, "`, `") + "`."
	}
	if f.Min != "" {
		doc += " At least " + f.Min + "."
	}
	if f.Max != "" {
		doc += " At most " + f.Max + "."
	}
	if f.Secret {
		doc += " Secret."
	}
	return cell(doc)
}

// cell escapes what would end a cell.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}

func typeList(plugins []Plugin) string {
	var list []string
	for _, p := range plugins {
		list = append(list, "`"+p.Type+"`")
	}
	return strings.Join(list, ", ")
}

// sharedRows returns the lines that every plugin has, when there are several.
func sharedRows(plugins []Plugin) []row {
	if len(plugins) < 2 {
		return nil
	}
	shared := rows("", Fields(plugins[0].Settings))
	for _, p := range plugins[1:] {
		its := rows("", Fields(p.Settings))
		shared = slices.DeleteFunc(shared, func(r row) bool { return !slices.Contains(its, r) })
	}
	return shared
}

// connectorPage writes what one type has beyond the shared lines.
func connectorPage(b *strings.Builder, p *Plugin, shared []row) {
	fmt.Fprintf(b, "\n## `type: %s`\n\n%s\n", p.Type, p.Doc)
	own := slices.DeleteFunc(rows("", Fields(p.Settings)), func(r row) bool { return slices.Contains(shared, r) })
	if len(own) > 0 {
		table(b, own)
	}
	for i, s := range p.Streams {
		same := func(o PluginStream) bool { return reflect.TypeOf(o.Settings) == reflect.TypeOf(s.Settings) }
		if slices.IndexFunc(p.Streams, same) < i {
			continue // told with the first stream of this kind
		}
		var group []string
		for _, o := range p.Streams {
			if same(o) {
				group = append(group, "`"+o.Name+"`")
			}
		}
		fmt.Fprintf(b, "\nStreams: %s.", strings.Join(group, ", "))
		streamPage(b, rows("", Fields(s.Settings)), shared)
	}
}

// streamPage writes the settings of a stream's own map: the names of those that
// connectors share, and a table of the others.
func streamPage(b *strings.Builder, fields, shared []row) {
	var again []string
	fields = slices.DeleteFunc(fields, func(r row) bool {
		if !slices.Contains(shared, r) {
			return false
		}
		again = append(again, r.key)
		return true
	})
	switch {
	case len(again) == 0 && len(fields) == 0:
		b.WriteString(" No settings of their own.\n")
	case len(fields) == 0:
		fmt.Fprintf(b, " Settings of their own: %s.\n", strings.Join(again, ", "))
	case len(again) == 0:
		b.WriteString(" Settings of their own:\n")
	default:
		fmt.Fprintf(b, " Settings of their own: %s, and:\n", strings.Join(again, ", "))
	}
	if len(fields) > 0 {
		table(b, fields)
	}
}
