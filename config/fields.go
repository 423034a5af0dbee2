package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Field describes one setting, as its struct field and tags say.
type Field struct {
	Name     string   // the key
	Type     string   // "duration", "list of string", "section", ...
	Doc      string   // what it does
	Default  string   // as written in the file, or in parentheses where it is told in words; empty for none
	Required bool     // the key must be there, and not empty
	Secret   bool     // its values are never shown
	OneOf    []string // the values that are taken; nil for any
	Min, Max string   // inclusive bounds as written in the file; empty for none
	Fields   []Field  // the keys of a section
	Elem     *Field   // what a list or map holds

	form   form
	index  []int   // of the struct field
	scalar *scalar // how a scalar is written
	bounds [2]any  // Min and Max; nil for none
}

// form is what a setting looks like in the file.
type form int

const (
	scalarForm form = iota
	sectionForm
	listForm
	mapForm
)

// Fields returns the settings of a struct, or of a pointer to one: those of
// embedded structs in their place, fields without a mapstructure tag left out.
// It panics on a type or a tag that the package does not know: that is a mistake
// in the program, which its first test shows.
func Fields(settings any) []Field {
	if settings == nil {
		return nil
	}
	return fieldsOf(indirect(reflect.TypeOf(settings)))
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func fieldsOf(t reflect.Type) []Field {
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: %s is no struct of settings", t))
	}
	var fields []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, option, _ := strings.Cut(sf.Tag.Get("mapstructure"), ",")
		switch {
		case option == "squash":
			for _, f := range fieldsOf(sf.Type) {
				f.index = append(slices.Clone(sf.Index), f.index...)
				fields = append(fields, f)
			}
		case name != "" && name != "-":
			fields = append(fields, fieldOf(t, sf, name))
		}
	}
	return fields
}

func fieldOf(t reflect.Type, sf reflect.StructField, name string) Field {
	f := Field{
		Name: name, Doc: sf.Tag.Get("doc"), Default: sf.Tag.Get("default"),
		Required: sf.Tag.Get("required") == "true", Secret: sf.Tag.Get("secret") == "true",
		Min: sf.Tag.Get("min"), Max: sf.Tag.Get("max"), index: sf.Index,
	}
	if oneof := sf.Tag.Get("oneof"); oneof != "" {
		f.OneOf = strings.Split(oneof, "|")
	}
	f.shape(sf.Type)
	if _, ok := f.defaultValue(); f.Default != "" && !f.told() && !ok {
		panic(fmt.Sprintf("config: %s.%s: default %q is not a value it takes", t, sf.Name, f.Default))
	}
	return f
}

// shape fills in what follows from the Go type.
func (f *Field) shape(t reflect.Type) {
	optional := t.Kind() == reflect.Pointer
	t = indirect(t)
	if f.scalar = scalarOf(t); f.scalar != nil {
		f.Type = f.scalar.word
		f.bounds = [2]any{f.bound(f.Min), f.bound(f.Max)}
		return
	}
	switch {
	case t.Kind() == reflect.Struct:
		f.form, f.Type, f.Fields = sectionForm, "section", fieldsOf(t)
		if optional {
			f.noDefaults()
		}
		return
	case t.Kind() == reflect.Slice:
		f.form, f.Type = listForm, "list of "
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		f.form, f.Type = mapForm, "map of "
	default:
		panic(fmt.Sprintf("config: setting %s: no setting can be a %s", f.Name, t))
	}
	f.Elem = &Field{Secret: f.Secret, OneOf: f.OneOf, Min: f.Min, Max: f.Max}
	f.Elem.shape(t.Elem())
	f.Elem.noDefaults()
	f.Type += f.Elem.Type
}

// noDefaults panics when a section that comes into being in [Decode], after
// [SetDefaults], has defaults: they would be told and not applied.
func (f *Field) noDefaults() {
	for _, inner := range f.Fields {
		if _, ok := inner.defaultValue(); ok {
			panic(fmt.Sprintf("config: setting %s: the section may be absent, so its defaults can only be told, in parentheses", inner.Name))
		}
	}
}

func (f *Field) bound(text string) any {
	if text == "" {
		return nil
	}
	v, ok := f.scalar.parse(text)
	if _, comparable := number(v); !ok || !comparable {
		panic(fmt.Sprintf("config: setting %s: %q is no bound of a %s", f.Name, text, f.Type))
	}
	return v
}

// told says whether the default is told in words and not a value.
func (f *Field) told() bool { return strings.HasPrefix(f.Default, "(") }

// accept parses a scalar's text and checks it against OneOf, Min and Max. What
// is not accepted comes back as advice that does not repeat it.
func (f *Field) accept(text string) (v any, problem string) {
	v, ok := f.scalar.parse(text)
	if !ok {
		return nil, "wants " + f.scalar.example
	}
	if f.OneOf != nil && !slices.Contains(f.OneOf, text) {
		return nil, "is not a known value; " + Suggest("values", text, f.OneOf)
	}
	got, _ := number(v)
	if low, ok := number(f.bounds[0]); f.bounds[0] != nil && ok && got < low {
		return nil, "wants at least " + f.Min
	}
	if high, ok := number(f.bounds[1]); f.bounds[1] != nil && ok && got > high {
		return nil, "wants at most " + f.Max
	}
	if f.Required && text == "" {
		return nil, "is required, but empty"
	}
	return v, ""
}

// defaultValue returns the default as [Decode] takes it. That of a list is
// written with commas; sections and maps have none of their own.
func (f *Field) defaultValue() (any, bool) {
	switch {
	case f.Default == "" || f.told():
		return nil, false
	case f.form == scalarForm:
		v, problem := f.accept(f.Default)
		return v, problem == ""
	case f.form == listForm && f.Elem.form == scalarForm:
		var list []any
		for text := range strings.SplitSeq(f.Default, ",") {
			v, problem := f.Elem.accept(strings.TrimSpace(text))
			if problem != "" {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	}
	return nil, false
}

// defaults returns the defaults of fields as [Decode] takes them, but for those
// whose value in s is not zero.
func defaults(fields []Field, s reflect.Value) map[string]any {
	raw := map[string]any{}
	for i := range fields {
		f := &fields[i]
		v := s.FieldByIndex(f.index)
		if f.form == sectionForm && v.Kind() == reflect.Struct {
			raw[f.Name] = defaults(f.Fields, v)
		} else if d, ok := f.defaultValue(); ok && v.IsZero() {
			raw[f.Name] = d
		}
	}
	return raw
}

// SetDefaults sets the fields that are zero to their default tags; into is a
// pointer to a struct of settings. Sections behind nil pointers stay nil. Call
// it before [Decode], which leaves alone what the file does not have.
func SetDefaults(into any) {
	raw := defaults(Fields(into), reflect.ValueOf(into).Elem())
	if err := Decode(raw, into); err != nil {
		panic(err) // the values are of the fields' own types
	}
}

var keyForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Lint says what is wrong with the declaration of plugins: settings without a
// description, keys that are not snake_case, twice there or taken by the file
// itself, types and streams that are twice there. It is for tests.
func Lint(plugins Plugins) error {
	errs := lint("transforms", Fields(plugins.Transform))
	types := map[string]bool{}
	for _, p := range plugins.Connectors {
		if types[p.Type] || p.Type == "" || p.Doc == "" {
			errs = append(errs, fmt.Errorf("plugin %q: wants a type of its own and a doc", p.Type))
		}
		types[p.Type] = true
		errs = append(errs, lint(p.Type, Fields(p.Settings), "type", "streams")...)
		streams := map[string]bool{}
		for _, s := range p.Streams {
			if streams[s.Name] || !plainKey.MatchString(s.Name) {
				errs = append(errs, fmt.Errorf("plugin %q: wants a plain name for each stream", p.Type))
			}
			streams[s.Name] = true
			errs = append(errs, lint(p.Type+"."+s.Name, Fields(s.Settings))...)
		}
	}
	return errors.Join(errs...)
}

func lint(section string, fields []Field, reserved ...string) []error {
	var errs []error
	seen := map[string]bool{}
	for _, name := range reserved {
		seen[name] = true
	}
	for _, f := range fields {
		key := section + "." + f.Name
		if f.Doc == "" {
			errs = append(errs, fmt.Errorf("%s: has no doc tag", key))
		}
		if seen[f.Name] || !keyForm.MatchString(f.Name) {
			errs = append(errs, fmt.Errorf("%s: is not snake_case, or is there already", key))
		}
		seen[f.Name] = true
		inner := f.Fields
		if f.Elem != nil {
			inner = f.Elem.Fields
		}
		errs = append(errs, lint(key, inner)...)
	}
	return errs
}
