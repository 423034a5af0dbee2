package transforms_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/transforms"
)

// parse makes a chain of the transforms of a file.
func parse(t testing.TB, name, text string) (*transforms.Chain, error) {
	t.Helper()
	list, _, err := config.ParseTransforms(name, []byte(text), transforms.Settings{}, variables)
	if err != nil {
		return nil, err
	}
	return transforms.New(list, transforms.Known{Connectors: []string{"support", "acme"}, Streams: []string{"support/messages", "messages", "acme/integrationLog", "integrationLog"}})
}

// The gallery of docs/transforms.md: each example gives what it says.
func TestGallery(t *testing.T) {
	files, err := filepath.Glob("testdata/gallery/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no gallery (%v)", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			chain, err := parse(t, name, string(text))
			if err != nil {
				t.Fatal(err)
			}
			examples, err := transforms.ReadExamples(name, text)
			if err != nil {
				t.Fatal(err)
			}
			for i := range examples {
				if r := examples[i].Run(t.Context(), chain); r.Diff != nil {
					t.Errorf("%s:\n%s", r.Example.Name, strings.Join(r.Diff, "\n"))
				}
			}
		})
	}
}
