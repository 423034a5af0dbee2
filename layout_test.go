// Package millrace_test holds what the tree as a whole promises: who may import
// whom, and that the generated pages of docs/ are those of this code.
package millrace_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/connectors/connectortest"
)

// rule says what a folder's files may import of this project. A pattern that
// ends in /... stands for a folder and all below it, /* for one level below it.
type rule struct {
	imports string // in all files
	tests   string // in test files as well
}

// layout is the table of folders. Each knows the stations that it needs and no
// more; pipeline joins them, app builds the program.
var layout = map[string]rule{
	".":                        {imports: "", tests: "..."}, // has nothing but tests of the whole
	"events":                   {},
	"events/eventtest":         {imports: "events"},
	"config":                   {},
	"simulator":                {},
	"transforms":               {imports: "config events transforms/detect"},
	"transforms/detect":        {},
	"connectors":               {imports: "config events"},
	"connectors/*":             {imports: "connectors config events"},
	"connectors/connectortest": {imports: "connectors/... simulator config events"},
	"consumers":                {imports: "events"},
	"ledger":                   {imports: "events"},
	"topics":                   {imports: "events ledger"},
	"topics/nats":              {imports: "topics events ledger"},
	"topics/kafka":             {imports: "topics events ledger"},
	"topics/kafka/kafkatest":   {imports: "topics/topictest/ports"}, // starts Kafka and reads it, and knows nothing of us
	"topics/topictest":         {imports: "topics/... events ledger"},
	"topics/topictest/ports":   {},
	"pipeline":                 {imports: "events connectors transforms ledger topics", tests: "topics/nats"},
	"app":                      {imports: "..."},
	"cmd/millrace":             {imports: "app config events simulator topics transforms", tests: "..."},
	"deploy":                   {}, // tests of its files alone
	"examples/*":               {imports: "", tests: "events topics/..."},
	"examples/router":          {imports: "topics/nats topics/kafka"},
	"examples/watermill":       {imports: "examples/router", tests: "examples/exampletest"},
	"examples/alert":           {imports: "consumers examples/router", tests: "events examples/exampletest"},
	"examples/sqlite":          {imports: "consumers examples/router", tests: "events examples/exampletest"},
	"examples/exampletest":     {imports: "examples/router events topics/..."},
}

// everyTest is what the test files of every folder may import besides.
const everyTest = "events/eventtest simulator connectors/connectortest topics/topictest topics/topictest/ports topics/kafka/kafkatest"

// shapeless names say nothing about what is inside.
var shapeless = []string{"util", "utils", "common", "types", "core", "pkg"}

// The files are read here, in this process, and not with go list: the test
// cache notices what a test opens, but not what a child of it reads.
func TestLayout(t *testing.T) {
	module := modulePath(t)
	folders := goFiles(t)
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		for _, problem := range problemsOf(t, module, folder, folders[folder]) {
			t.Error(problem)
		}
	}
}

// A connector counts only when the conformance suite tries it.
func TestEveryConnectorHasACase(t *testing.T) {
	cases := connectortest.Cases()
	for _, c := range app.Types {
		if _, ok := cases[c.Name]; !ok {
			t.Errorf("the connector %s has no case in connectors/connectortest", c.Name)
		}
	}
}

// problemsOf tells what is wrong with the files of one folder.
func problemsOf(t *testing.T, module, folder string, files []string) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	may, known := ruleOf(folder)
	if !known {
		complain("%s is a folder that the table does not know: add it to layout, with what it may import", folder)
	}
	documented, onlyTests := false, true
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(shapeless, strings.TrimSuffix(file.Name.Name, "_test")) {
			complain("%s: a package named %s says nothing about what it holds", name, file.Name.Name)
		}
		test := strings.HasSuffix(name, "_test.go")
		if !test {
			onlyTests = false
			documented = documented || commented(file)
		}
		if !known {
			continue
		}
		allowed := may.imports
		if test {
			// An outer test package imports the package that it tests.
			allowed = strings.Join([]string{may.imports, may.tests, everyTest, folder}, " ")
		}
		for _, spec := range file.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			if rest, ok := within(module, target); ok && !permits(allowed, rest) {
				complain("%s imports %s; %s may import of this project: %s", name, rest, folder, allowed)
			}
		}
	}
	if !documented && !onlyTests {
		complain("%s has no package comment: say in a sentence what it is", folder)
	}
	return problems
}

func ruleOf(folder string) (rule, bool) {
	if r, ok := layout[folder]; ok {
		return r, true
	}
	r, ok := layout[path.Dir(folder)+"/*"]
	return r, ok
}

// within returns an imported package's folder, when it is one of ours.
func within(module, target string) (string, bool) {
	if target == module {
		return ".", true
	}
	return strings.CutPrefix(target, module+"/")
}

// permits says whether one of the patterns, separated by spaces, takes a folder.
func permits(patterns, folder string) bool {
	return slices.ContainsFunc(strings.Fields(patterns), func(pattern string) bool {
		if above, ok := strings.CutSuffix(pattern, "/..."); ok {
			return folder == above || strings.HasPrefix(folder, above+"/")
		}
		if above, ok := strings.CutSuffix(pattern, "/*"); ok {
			return path.Dir(folder) == above
		}
		return pattern == "..." || pattern == folder
	})
}

// commented says whether a file has a package comment in the usual form.
func commented(file *ast.File) bool {
	text := file.Doc.Text()
	return strings.HasPrefix(text, "Package "+file.Name.Name+" ") || file.Name.Name == "main" && text != ""
}

// goFiles returns the Go files of the project by folder.
func goFiles(t *testing.T) map[string][]string {
	folders := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".go"):
			folder := filepath.ToSlash(filepath.Dir(name))
			folders[folder] = append(folders[folder], filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

func modulePath(t *testing.T) string {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	t.Fatal("go.mod names no module")
	return ""
}
