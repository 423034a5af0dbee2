package config

import (
	"strings"
	"testing"
)

// An error inside of a text has its place in the file, however the text is written;
// where that cannot be told, the place where the text begins.
func TestTextErrorf(t *testing.T) {
	type step struct {
		Text string            `mapstructure:"text"`
		Map  map[string]string `mapstructure:"map"`
	}
	env := func(name string) (string, bool) { return "first\nsecond", name == "TWO" }
	for _, c := range []struct {
		name, yaml   string
		key          string
		line, column int
		want         string
	}{
		{"plain", "  - text: a > b", "text", 1, 5, "t.yaml:2:15"},
		{"plain, of two lines", "  - text: a >\n      b", "text", 1, 5, "t.yaml:2:11"},
		{"behind letters of two bytes", "  - text: é > b", "text", 1, 5, "t.yaml:2:15"},
		{"single quotes", "  - text: 'a > b'", "text", 1, 5, "t.yaml:2:16"},
		{"single quotes with one inside", "  - text: 'a''s > b'", "text", 1, 5, "t.yaml:2:11"},
		{"double quotes", "  - text: \"a > b\"", "text", 1, 5, "t.yaml:2:16"},
		{"escapes", "  - text: \"a \\u003e b\"", "text", 1, 5, "t.yaml:2:11"},
		{"literal", "  - text: |\n      a\n      > b", "text", 2, 3, "t.yaml:4:9"},
		{"literal, kept", "  - text: |+\n      a\n\n      > b\n\n", "text", 3, 1, "t.yaml:5:7"},
		{"literal, deeper", "  - text: |2\n        a\n         > b", "text", 2, 2, "t.yaml:4:8"},
		{"literal, an empty line first", "  - text: |\n\n      a > b", "text", 2, 5, "t.yaml:4:11"},
		{"literal, of Windows", "  - text: |\r\n      a\r\n      > b\r\n", "text", 2, 3, "t.yaml:4:9"},
		{"folded", "  - text: >\n      a\n      > b", "text", 1, 3, "t.yaml:2:11"},
		{"a line that is not there", "  - text: a", "text", 7, 1, "t.yaml:2:11"},
		{"no such key", "  - text: a", "other", 1, 1, "t.yaml:2:5"},
		{"with a variable", "  - text: a ${TWO} > b", "text", 2, 5, "t.yaml:2:11"},
		{"with a dollar sign", "  - text: a $$ > b", "text", 1, 5, "t.yaml:2:11"},
		{"in a map", "  - {map: {a: b, \"c.d\": 'e > f'}}", `map."c.d"`, 1, 3, "t.yaml:2:28"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, there, err := ParseTransforms("t.yaml", []byte("transforms:\n"+c.yaml), step{}, env)
			if err != nil || !there || len(list) != 1 {
				t.Fatal(list, there, err)
			}
			err = list[0].TextErrorf(c.key, c.line, c.column, "is %s", "wrong")
			if want := c.want + ": transforms[0]." + c.key + ": is wrong"; err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	}
	var none Transform
	if err := none.TextErrorf("text", 1, 1, "is wrong"); err == nil || none.Written("text") != "" {
		t.Error(err)
	}
}

// What is written of a text is what stands in the file, with no variable's value.
func TestWritten(t *testing.T) {
	type step struct {
		Map map[string]string `mapstructure:"map"`
	}
	list, _, err := ParseTransforms("t.yaml", []byte("transforms: [{map: {'a.b': \"x ${VAR}\"}}]"), step{}, func(string) (string, bool) { return "secret", true })
	if err != nil || list[0].Written(Key("map", "a.b")) != "x ${VAR}" || !strings.Contains(list[0].Raw["map"].(map[string]any)["a.b"].(string), "secret") {
		t.Error(list, err)
	}
}

// ParseTransforms refuses what is no list of steps.
func TestParseTransforms(t *testing.T) {
	type step struct {
		Text string `mapstructure:"text"`
	}
	for yaml, want := range map[string]string{
		"transforms: a":             `t.yaml:1:13: transforms: wants a list of steps, each on a line with a dash, such as - filter: sender != "bot"`,
		"transforms: {text: a}":     `t.yaml:1:13: transforms: wants a list of steps, each on a line with a dash, such as - filter: sender != "bot"`,
		"transforms: [~]":           "t.yaml:1:14: transforms[0]: is empty: remove it",
		"transforms: [a]":           "t.yaml:1:14: transforms[0]: wants keys with values, one on each line, as in key: value",
		"transforms: [{txt: a}]":    `t.yaml:1:15: transforms[0].txt: unknown key; did you mean "text"?`,
		"transforms: [{text: [a]}]": "t.yaml:1:21: transforms[0].text: wants a string",
	} {
		if _, _, err := ParseTransforms("t.yaml", []byte(yaml), step{}, nil); err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", yaml, err, want)
		}
	}
	for yaml, there := range map[string]bool{"other: 1": false, "transforms: []": true, "transforms:": true, "transforms: [{text: a}]": true} {
		list, got, err := ParseTransforms("t.yaml", []byte(yaml), step{}, nil)
		if err != nil || got != there || (len(list) > 0) != strings.Contains(yaml, "text") {
			t.Errorf("%s: %v %v %v", yaml, list, got, err)
		}
	}
}
