package config

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestNoErrorShowsAValue puts a secret in the place of each value of a file, in
// every shape that makes YAML or a setting stumble, and looks for it in errors.
// (In some shapes it becomes a key: those are shown, so it looks beside them.)
func TestNoErrorShowsAValue(t *testing.T) {
	const secret = "hunter2"
	data, err := os.ReadFile("testdata/full.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	failed := 0
	for _, n := range values(&doc) {
		for _, shape := range []string{
			"~", `"~`, "'~", "'x'~", `"\q~"`, "*~", "&~ x", "!~ x", "!!~ x", "@~", "`~", "%~", "[~", "[[~]]", "{~", "- ~",
			"~: x", "x: ~: x", "|\n~", ">\n ~", "\t~", "? ~", "~\x01", "~\xff", "${~", "$~", "${A:-${~}}", "x\n~\n", "x\n ~: x", "<<: ~",
		} {
			line := lines[n.Line-1]
			text := strings.ReplaceAll(shape, "~", secret)
			bad := bytes.Join([][]byte{
				bytes.Join(lines[:n.Line-1], nil), line[:n.Column-1], []byte(text),
				line[min(len(line), n.Column-1+len(n.Value)):], bytes.Join(lines[n.Line:], nil),
			}, nil)
			_, err := parse("f.yaml", bad)
			if err == nil {
				continue
			}
			failed++
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				if e := e.(*Error); strings.Contains(e.Problem, secret) {
					t.Errorf("line %d as %q: %v", n.Line, shape, e)
				}
			}
		}
	}
	if failed < 500 {
		t.Errorf("only %d of the files had errors", failed)
	}
}

// values returns the scalars that are not keys.
func values(n *yaml.Node) []*yaml.Node {
	var list []*yaml.Node
	for i, inner := range n.Content {
		if inner.Kind != yaml.ScalarNode {
			list = append(list, values(inner)...)
		} else if n.Kind != yaml.MappingNode || i%2 == 1 {
			list = append(list, inner)
		}
	}
	return list
}

func TestSecretsInURLs(t *testing.T) {
	for _, tt := range []struct {
		url  string
		want []string
	}{
		{"nats://nats.example:4222", []string{}},
		{"nats://me:one@a.example,nats://me:three@b.example", []string{"three", "one"}},
		{"nats://a-token@a.example", []string{"a-token"}},
		{"nats://me:p%40ss@a.example", []string{"p%40ss", "p@ss"}},
		{"nats://me:p@ss@a.example/x@y", []string{"p@ss"}},
	} {
		c := newChecker("", Plugins{}, nil, nil)
		c.urlSecrets(tt.url)
		if got := longestFirst(c.secrets); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.url, got, tt.want)
		}
	}
}
