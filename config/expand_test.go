package config

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestExpand(t *testing.T) {
	for _, tt := range []struct{ text, want, problem string }{
		{text: "", want: ""},
		{text: "plain", want: "plain"},
		{text: "${FEEDYOU_KEY}", want: "feedyou-key"},
		{text: "a${POLL}b${POLL}c", want: "a90sb90sc"},
		{text: "${EMPTY}", want: ""},
		{text: "${EMPTY:-default}", want: "default"},
		{text: "${NOT_SET:-default}", want: "default"},
		{text: "${NOT_SET:-}", want: ""},
		{text: "${NOT_SET:-a:-b $c}", want: "a:-b $c"},
		{text: "${POLL:-default}", want: "90s"},
		{text: "${NESTED}", want: "${FEEDYOU_KEY}"},
		{text: "${file:/run/secrets/alerts}", want: "alerts-password"},
		{text: "${file:/run/secrets/netcore}", want: "netcore-secret"},
		{text: "$$", want: "$"},
		{text: "$${POLL}", want: "${POLL}"},
		{text: "$$$${POLL}", want: "$${POLL}"},
		{text: "$$${POLL}", want: "$90s"},
		{text: "$POLL costs 5$", want: "$POLL costs 5$"},
		{text: "}{", want: "}{"},
		{text: "${NOT_SET}", problem: "the variable NOT_SET is not set"},
		{text: "${POLL", problem: "cannot be read"},
		{text: "${", problem: "cannot be read"},
		{text: "${}", problem: "cannot be read"},
		{text: "${1A}", problem: "cannot be read"},
		{text: "${A-b}", problem: "cannot be read"},
		{text: "${NOT_SET:-${POLL}}", problem: "cannot be read"},
		{text: "${file:/absent}", problem: `cannot read the file "/absent": file does not exist`},
	} {
		c := newChecker("f.yaml", Plugins{}, fakeEnv, fakeFile)
		got, ok := c.expand(&yaml.Node{Kind: yaml.ScalarNode, Value: tt.text, Line: 3, Column: 5}, "key")
		switch {
		case tt.problem == "":
			if !ok || got != tt.want {
				t.Errorf("%s: got %q, %v, want %q", tt.text, got, joined(c.errs), tt.want)
			}
		case ok || len(c.errs) != 1 || !strings.HasPrefix(c.errs[0].Error(), "f.yaml:3:5: key: ") || !strings.Contains(c.errs[0].Problem, tt.problem):
			t.Errorf("%s: got %v, want %q", tt.text, joined(c.errs), tt.problem)
		}
	}
}
