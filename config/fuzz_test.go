package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// FuzzParse holds any file to what is promised of all: it never panics; what is
// accepted has known keys only and decodes; every error names a line of the
// file, and none shows what a variable or secret file holds.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	const secret = "Xyzzy-plugh-4711"
	env := func(string) (string, bool) { return secret, true }
	file := func(string) (string, error) { return secret, nil }
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), secret) {
			return
		}
		got, err := newChecker("f.yaml", fakePlugins(), env, file).file(data)
		if err != nil {
			checkErrors(t, data, err, secret)
			return
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Fatalf("accepted what is no YAML: %v", err)
		}
		checkKnown(t, doc.Content[0], "", Fields(File{}), []string{"connectors", "transforms"})
		for i := range got.Connectors {
			checkAccepted(t, doc.Content[0], &got.Connectors[i])
		}
	})
}

func checkErrors(t *testing.T, data []byte, err error, secret string) {
	t.Helper()
	lines := lineCount(data)
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var e *Error
		if !errors.As(err, &e) || e.Line < 1 || e.Line > lines || e.Column < 1 || e.Problem == "" {
			t.Errorf("an error without a place in %d lines: %#v", lines, err)
		} else if !strings.HasPrefix(e.Error(), fmt.Sprintf("f.yaml:%d:%d: ", e.Line, e.Column)) {
			t.Errorf("an error that does not begin with its place: %v", e)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("an error shows a secret: %v", err)
		}
	}
}

// checkKnown is the other way to find unknown keys: a walk over a section's
// nodes that knows nothing of the checker.
func checkKnown(t *testing.T, section *yaml.Node, key string, fields []Field, own []string) {
	t.Helper()
	for i := 0; i+1 < len(section.Content); i += 2 {
		name := section.Content[i].Value
		at := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		switch {
		case at >= 0 && fields[at].Fields != nil:
			checkKnown(t, section.Content[i+1], key+"."+name, fields[at].Fields, nil)
		case at < 0 && !slices.Contains(own, name):
			t.Errorf("accepted the unknown key %s.%q", key, name)
		}
	}
}

func checkAccepted(t *testing.T, root *yaml.Node, c *Connector) {
	t.Helper()
	section := lookup(lookup(root, "connectors"), c.Name)
	plugins := fakePlugins().Connectors
	plugin := plugins[slices.IndexFunc(plugins, func(p Plugin) bool { return p.Type == c.Type })]
	checkKnown(t, section, c.Name, Fields(plugin.Settings), []string{"type", "streams"})
	into := map[string]any{"feedyou": &feedyou{}, "netcore": &netcore{}}[c.Type]
	if err := Decode(c.Raw, into); err != nil {
		t.Errorf("accepted what does not decode: %v", err)
	}
	if key, ok := c.Raw["function_key"].(string); c.Type == "feedyou" && (!ok || key == "") {
		t.Error("accepted a connector without its required key")
	}
	for _, s := range c.Streams {
		if s.Raw == nil {
			continue
		}
		if err := Decode(s.Raw, &feedyouUsers{}); err != nil {
			t.Errorf("accepted what does not decode: %v", err)
		}
	}
}
