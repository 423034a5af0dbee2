package deploy

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// instruction is one of the Dockerfile, such as FROM, and what follows it on its
// line and on those that continue it.
type instruction struct{ name, rest string }

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var all []instruction
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, "Dockerfile"), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all = append(all, instruction{name, strings.Join(strings.Fields(rest), " ")})
		}
	}
	return all
}

// stages cuts the Dockerfile before each FROM.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	var all [][]instruction
	for _, i := range dockerfile(t) {
		if i.name == "FROM" {
			all = append(all, nil)
		}
		if len(all) == 0 {
			t.Fatalf("%s %s stands before the first FROM", i.name, i.rest)
		}
		all[len(all)-1] = append(all[len(all)-1], i)
	}
	return all
}

// The image is small, its bases stay what they are, and it is nobody's root.
func TestDockerfile(t *testing.T) {
	all := stages(t)
	for _, stage := range all {
		from := strings.Fields(stage[0].rest)
		if strings.HasPrefix(from[0], "--platform") {
			from = from[1:]
		}
		if !pinned.MatchString(from[0]) {
			t.Errorf("FROM %s is none of one version", from[0])
		}
	}
	toolchain := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindStringSubmatch(read(t, filepath.Join(top, "go.mod")))
	if toolchain == nil || !strings.Contains(all[0][0].rest, " golang:"+toolchain[1]+"-") {
		t.Errorf("it builds with %s, go.mod wants %q", all[0][0].rest, toolchain)
	}
	image := all[len(all)-1]
	for _, want := range []instruction{
		{"USER", "65532:65532"},
		{"ENTRYPOINT", `["/usr/local/bin/millrace"]`},
		{"COPY", "--from=build /out/millrace /usr/local/bin/millrace"},
		{"COPY", "--from=build --chown=65532:65532 /out/data /var/lib/millrace"},
	} {
		if !slices.Contains(image, want) {
			t.Errorf("its last stage has no %s %s", want.name, want.rest)
		}
	}
	for _, i := range image {
		if i.name == "RUN" || i.name == "ADD" {
			t.Errorf("the image has no shell: %s %s", i.name, i.rest)
		}
	}
	services := project(t, "nats").Services
	if got := services["millrace-nats"].User; got != "65532:65532" {
		t.Errorf("Compose runs it as %s, the image's folder belongs to 65532:65532", got)
	}
	check := strings.Join(services["millrace-nats"].HealthCheck.Test[1:], `", "`)
	if !slices.ContainsFunc(image, func(i instruction) bool {
		return i.name == "HEALTHCHECK" && strings.HasSuffix(i.rest, `CMD ["`+check+`"]`)
	}) {
		t.Errorf("its health check is not that of the Compose file: %q", check)
	}
}

// buildCommand is the line of the Dockerfile that builds the program, without
// the caches that it mounts.
func buildCommand(t *testing.T) string {
	t.Helper()
	for _, i := range dockerfile(t) {
		if i.name == "RUN" && strings.Contains(i.rest, "go build") {
			return regexp.MustCompile(`--mount=\S+ `).ReplaceAllString(i.rest, "")
		}
	}
	t.Fatal("the Dockerfile has no RUN with go build")
	return ""
}

// buildContext copies what docker build would send: the project without what
// .dockerignore names.
func buildContext(t *testing.T) string {
	t.Helper()
	list, err := os.Open(filepath.Join(top, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	patterns, err := ignorefile.ReadAll(list)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		skip, err := ignored.MatchesOrParentMatches(name)
		switch {
		case err != nil:
			return err
		case skip && entry.IsDir():
			return filepath.SkipDir // no pattern takes anything back
		case skip || !entry.IsDir() && !entry.Type().IsRegular():
			return nil
		case entry.IsDir():
			return os.Mkdir(filepath.Join(dir, name), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// built is the program, for all tests that run it.
var built struct {
	sync.Mutex
	dir, path string // dir is there from the start and goes at the end
}

func TestMain(m *testing.M) {
	var err error
	if built.dir, err = os.MkdirTemp("", "millrace-deploy-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(code)
}

// buildProgram builds the program as the Dockerfile does, from what .dockerignore
// leaves in, and returns its path.
func buildProgram(t *testing.T) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.path != "" {
		return built.path
	}
	build := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(buildCommand(t), "/out/", built.dir+"/"))
	build.Dir = buildContext(t)
	build.Env = append(os.Environ(), "VERSION=v1.2.3-test", "TARGETOS=", "TARGETARCH=", "GOFLAGS=")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", buildCommand(t), err, said)
	}
	built.path = filepath.Join(built.dir, "millrace")
	return built.path
}

// wasBuiltAsInTheImage wants a program that needs no library of the image's, and
// that knows its version.
func wasBuiltAsInTheImage(t *testing.T, program string) {
	said, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), "millrace v1.2.3-test ") {
		t.Errorf("version: %v: %s", err, said)
	}
	if said := goVersion(t, program); !strings.Contains(said, "CGO_ENABLED=0") || !strings.Contains(said, "-trimpath=true") {
		t.Errorf("it was not built static and without the builder's paths:\n%s", said)
	}
}

func goVersion(t *testing.T, program string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), "go", "version", "-m", program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return string(said)
}
