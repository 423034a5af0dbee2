// Package deploy holds nothing but tests of what millrace is deployed with: the
// Compose file, the Dockerfile, and what watches the service.
package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// top is the project's folder, as seen from here.
const top = ".."

// loadProject reads the Compose file as docker compose does, which checks it
// against the official schema: with the .env beside it and, instead of the
// environment of this process, nothing. Without profiles those of .env count.
func loadProject(t *testing.T, file string, profiles ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{file},
		cli.WithWorkingDirectory(absolute(t, top)),
		cli.WithEnvFiles(), cli.WithDotEnv, cli.WithDefaultProfiles(profiles...))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

// project is the project of the Compose file.
func project(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	p, err := loadProject(t, filepath.Join(top, "docker-compose.yml"), profiles...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write writes a file into a new folder and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tool returns the path of a program that make tools has built. Where it is
// missing the test skips, and fails with CI set.
func tool(t *testing.T, name string) string {
	t.Helper()
	path := absolute(t, filepath.Join(top, "bin", name))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("bin/%s is missing: make tools builds it", name)
		}
		t.Skipf("bin/%s is missing: make tools builds it", name)
	}
	return path
}

// lastLines shortens what a program said to what a person reads.
func lastLines(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
