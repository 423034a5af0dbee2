package millrace_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

const galleryMark = "<!-- gallery -->\n"

// transformsPage is docs/transforms.md with the gallery that its examples make.
func transformsPage(t *testing.T) string {
	page, err := os.ReadFile("docs/transforms.md")
	if err != nil {
		t.Fatal(err)
	}
	written, _, found := strings.Cut(string(page), galleryMark)
	if !found {
		t.Fatalf("docs/transforms.md has no line %s", galleryMark)
	}
	files, err := filepath.Glob("transforms/testdata/gallery/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("REDACT_KEY", "an example key of 32 characters.")
	t.Chdir("transforms") // where the files that examples name are
	var b strings.Builder
	for _, name := range files {
		galleryEntry(t, &b, strings.TrimPrefix(name, "transforms/"))
	}
	t.Chdir("..")
	return written + galleryMark + b.String()
}

// galleryEntry writes a step, what it is given and what it makes of it.
func galleryEntry(t *testing.T, b *strings.Builder, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := config.ParseTransforms(name, text, transforms.Settings{}, func(name string) (string, bool) {
		return "an example key of 32 characters.", name == "REDACT_KEY"
	})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := transforms.New(list, transforms.Known{})
	if err != nil {
		t.Fatal(err)
	}
	examples, err := transforms.ReadExamples(name, text)
	if err != nil {
		t.Fatal(err)
	}
	about, rest, _ := strings.Cut(string(text), "\n")
	steps, _, _ := strings.Cut(rest, "examples:\n")
	title := strings.TrimSuffix(filepath.Base(name), ".yaml")[len("01-"):]
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n```yaml\n%s```\n", strings.Replace(title, "-", ": ", 1), strings.TrimPrefix(about, "# "), steps)
	for i := range examples {
		r := examples[i].Run(t.Context(), chain)
		if r.Diff != nil {
			t.Errorf("%s: %s: %s", name, r.Example.Name, r.Diff)
		}
		fmt.Fprintf(b, "\n%s%s:\n\n```\n%s\n", strings.ToUpper(r.Example.Name[:1]), r.Example.Name[1:], brief(t, &r.Example.In))
		for n := range r.Out {
			fmt.Fprintf(b, "→ %s\n", brief(t, &r.Out[n]))
		}
		switch {
		case r.Err != nil:
			fmt.Fprintf(b, "→ a dead letter: %s\n", r.Err)
		case len(r.Out) == 0:
			b.WriteString("→ nothing\n")
		}
		b.WriteString("```\n")
	}
}

// brief writes of an event its topic, its data and, where it has one, its key.
func brief(t *testing.T, e *events.Event) string {
	var data bytes.Buffer
	if err := json.Compact(&data, e.AppendData(nil)); err != nil {
		t.Fatal(err)
	}
	key := ""
	if e.Key != "key" {
		key = " key " + e.Key
	}
	return transforms.TopicOf(e) + key + " " + data.String()
}
