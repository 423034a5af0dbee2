// Package config reads the one YAML file that configures millrace.
//
// The file is checked in one pass over its YAML nodes against Go structs, so
// that every mistake is reported with its file, line, column and key, all of
// them at once, and never with a value: a value may be a secret. What passed is
// typed. The sections of the file itself are decoded into [File]; a connector's
// section stays a map, which the connector's own package decodes with [Decode]
// into the same struct that it gave as [Plugin] Settings.
//
// A setting is one struct field with tags:
//
//	mapstructure:"poll"   the key; ",squash" on an embedded struct
//	doc:"..."             what it does, one sentence or two; required by [Lint]
//	default:"60s"         applied by [SetDefaults]; in parentheses it is only told: "(now)"
//	required:"true"       the key must be there, and not empty
//	secret:"true"         its values are listed by [File.Secrets]
//	oneof:"header|query"  the values that are taken
//	min:"1s" max:"24h"    bounds, inclusive
//
// Its type is a string, bool, number, [time.Duration], [time.Time], [Rate],
// [Bytes], a struct of settings, or a list of these, a map by string to them,
// or a pointer to one, which tells "absent" from zero. oneof, min, max and
// secret of a list or map are about each element.
//
// A scalar is taken as the text that was written, whatever YAML would make of
// it, and its field decides what it must be: account: 007 is the text "007".
package config

import (
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// maxFileSize bounds the file, in bytes. Real ones have a few kilobytes.
const maxFileSize = 1 << 20

// File is the checked configuration, defaults filled in.
type File struct {
	// Path is the file's path as it was given to [Load].
	Path string

	Broker       Broker        `mapstructure:"broker" doc:"Where events go, and where the state is."`
	Topics       Topics        `mapstructure:"topics" doc:"How topics are named and kept."`
	DedupHorizon time.Duration `mapstructure:"dedup_horizon" default:"168h" min:"1s" doc:"How far behind the committed cursor published ids are remembered. It counts in time that was read, not in time that passed, so a pause of any length forgets nothing."`
	HTTP         HTTP          `mapstructure:"http" doc:"The HTTP listener for /metrics, /healthz and /readyz."`

	// Connectors are in the order of the file; there is at least one.
	Connectors []Connector
	// Transforms are in the order of the file.
	Transforms []Transform

	places  *places
	secrets []string
}

// Connector is one checked section under connectors.
type Connector struct {
	Name string // [a-z0-9_-]{1,32}
	Type string // that of the [Plugin] it was checked against
	Line int    // where its name stands in the file, from 1
	// Raw holds the section without type and streams: expanded, checked
	// against the plugin's Settings and typed, so that [Decode] into the same
	// struct does not fail. Keys that the file does not have are absent.
	Raw map[string]any
	// Streams are the streams chosen by the key streams, in its order. Nil,
	// when there is no such key, means all streams of the connector.
	Streams []Stream

	places *places
}

// Stream is one stream chosen by a connector's key streams.
type Stream struct {
	Name string
	Line int            // where it is named in the file, from 1
	Raw  map[string]any // its own settings, as [Connector] Raw; nil for none
}

// Transform is one checked entry of transforms: a step.
type Transform struct {
	Line int // where it stands in the file, from 1
	// Raw holds its keys as [Connector] Raw does.
	Raw map[string]any

	key    string
	places *places
}

// Plugins are what the file's open sections may hold.
type Plugins struct {
	Connectors []Plugin
	// Transform is the struct of settings of one step, with the tags of the
	// package comment. Only its type is used; nil: there are no transforms.
	Transform any
}

// Plugin is what a connector type lets users configure.
type Plugin struct {
	// Type is the word after "type:" in the file.
	Type string
	// Doc is one sentence for the reference.
	Doc string
	// Settings is a struct with the tags of the package comment, or a pointer
	// to one. Only its type is used.
	Settings any
	// Streams are the streams that the type has.
	Streams []PluginStream
}

// PluginStream is one stream of a connector type.
type PluginStream struct {
	Name string
	// Settings are the keys that the stream's own map may have, as [Plugin]
	// Settings. Nil means that it has none.
	Settings any
}

// Load reads and checks the file at path. Variables are looked up with env, or
// with [os.LookupEnv] when it is nil.
//
// A failure is one or more [*Error], joined in the order of the lines.
func Load(path string, plugins Plugins, env func(string) (string, bool)) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Path: path, Problem: "cannot be opened: " + reason(err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, &Error{Path: path, Problem: "cannot be read: " + reason(err)}
	}
	return Parse(path, data, plugins, env)
}

// Parse is [Load] for a file that was read; path is for messages only. It reads
// no file but those named by ${file:...}.
func Parse(path string, data []byte, plugins Plugins, env func(string) (string, bool)) (*File, error) {
	if env == nil {
		env = os.LookupEnv
	}
	return newChecker(path, plugins, env, readSecret).file(data)
}

// ParseTransforms checks the key transforms of a file that may have others, such as
// one of examples; path is for messages only. There is false when the file does not
// have the key.
func ParseTransforms(path string, data []byte, step any, env func(string) (string, bool)) (list []Transform, there bool, err error) {
	if env == nil {
		env = os.LookupEnv
	}
	c := newChecker(path, Plugins{Transform: step}, env, readSecret)
	root := c.document(data)
	if root == nil {
		return nil, false, joined(c.errs)
	}
	if n := lookup(root, "transforms"); n != nil {
		list, there = c.transforms(n, "transforms"), true
	}
	return list, there, joined(c.errs)
}

// Secrets returns the values that must never be shown: those of keys that are
// marked secret, what came out of ${file:...}, and passwords and tokens inside
// URLs. The longest comes first, so that replacing them in this order leaves no
// rest of one that holds another. Short ones are in it too: who replaces them in
// text decides what is too short to be replaced.
func (f *File) Secrets() []string { return slices.Clone(f.secrets) }

// Errorf returns an [*Error] about a key of the file, written as in messages
// ("broker.nats.listen"). It names the line of the key or, when the file does
// not have it, that of the nearest section around it.
func (f *File) Errorf(key, format string, args ...any) error {
	return f.places.errorf(key, format, args...)
}

// Errorf is [File.Errorf] for a key of the step ("redact.key"); an empty key means
// the step itself.
func (t *Transform) Errorf(key, format string, args ...any) error {
	return t.places.errorf(strings.TrimSuffix(t.key+"."+key, "."), format, args...)
}

// TextErrorf is Errorf for a place inside the text of a key's value: line and
// column count its characters from 1. Where the file writes the text otherwise
// than it reads, folded, with escapes or with ${...}, the error is at the value's beginning.
func (t *Transform) TextErrorf(key string, line, column int, format string, args ...any) error {
	return t.places.textErrorf(t.key+"."+key, line, column, format, args...)
}

// Written returns the text of a key's value as it stands in the file, before ${...}
// is filled in: what is not in it may be a secret. It is empty for a key that the
// file does not have.
func (t *Transform) Written(key string) string {
	if t.places == nil {
		return ""
	}
	return t.places.texts[t.key+"."+key].value
}

// Errorf is [File.Errorf] for a key of the connector ("base_url",
// "streams.userData.where"); an empty key means the connector itself.
func (c *Connector) Errorf(key, format string, args ...any) error {
	return c.places.errorf(strings.TrimSuffix("connectors."+c.Name+"."+key, "."), format, args...)
}
