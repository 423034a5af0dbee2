package deploy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// stack runs the services of the Compose file as processes of this machine, with
// the commands, the environment and the files that it gives them. What differs is
// where things are, and nothing else: the replacer is the whole list.
type stack struct {
	services types.Services
	here     *strings.Replacer
	dir      string
	// Where the services are on this machine, as host:port.
	simulator, nats, http, prometheus string
}

// newStack chooses free ports and folders for the services of a profile. more are
// pairs of what else differs: old, new.
func newStack(t *testing.T, program, profile string, more ...string) *stack {
	t.Helper()
	s := &stack{
		services: project(t, profile).Services, dir: t.TempDir(),
		simulator: ports.Addr(t), nats: ports.Addr(t), http: ports.Addr(t), prometheus: ports.Addr(t),
	}
	s.here = strings.NewReplacer(append(more,
		// Files of the images and volumes.
		"/usr/local/bin/millrace", program,
		"/etc/millrace/millrace.yaml", filepath.Join(s.dir, "millrace.yaml"),
		"/var/lib/millrace", filepath.Join(s.dir, "millrace-data"),
		"/bin/promtool", absolute(t, filepath.Join(top, "bin", "promtool")),
		"/bin/prometheus", absolute(t, filepath.Join(top, "bin", "prometheus")),
		"/etc/prometheus", filepath.Join(s.dir, "prometheus"),
		"path=/prometheus", "path="+filepath.Join(s.dir, "prometheus-data"),
		// Names of the Compose network, and what a container listens on.
		"simulator:8081", s.simulator, "0.0.0.0:8081", s.simulator, "127.0.0.1:8081", s.simulator,
		"millrace:8080", s.http, "0.0.0.0:8080", s.http, "127.0.0.1:8080", s.http,
		"0.0.0.0:4222", s.nats,
		"127.0.0.1:9090", s.prometheus,
		// So that the test need not wait for it.
		"scrape_interval: 10s", "scrape_interval: 1s", "evaluation_interval: 10s", "evaluation_interval: 1s",
	)...)
	return s
}

// mount puts the files that a service mounts where they are expected here.
func (s *stack) mount(t *testing.T, service string) {
	t.Helper()
	for _, v := range s.services[service].Volumes {
		if v.Type == types.VolumeTypeVolume {
			continue
		}
		files := map[string]string{"": v.Source}
		if entries, err := os.ReadDir(v.Source); err == nil {
			files = map[string]string{}
			for _, e := range entries {
				files[e.Name()] = filepath.Join(v.Source, e.Name())
			}
		}
		for name, source := range files {
			target := filepath.Join(s.here.Replace(v.Target), name)
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(target, []byte(s.here.Replace(read(t, source))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// start starts a service: the image's entry point, with its command behind it.
func (s *stack) start(t *testing.T, service string, entry ...string) *process {
	t.Helper()
	s.mount(t, service)
	return startProcess(t, s.command(t, service, append(slices.Clone(entry), s.services[service].Command...)))
}

// command is a command line of a service's, with the environment that it has, and
// with no folder to write to but its volumes.
func (s *stack) command(t *testing.T, service string, line []string) *exec.Cmd {
	line = slices.Clone(line)
	for i, word := range line {
		line[i] = s.here.Replace(word)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), line[0], line[1:]...)
	c.Dir = t.TempDir()
	c.Env = []string{"TMPDIR=/nonexistent", "HOME=/nonexistent"}
	for name, value := range s.services[service].Environment {
		if value != nil {
			c.Env = append(c.Env, name+"="+*value)
		}
	}
	return c
}

// healthy runs a service's health check.
func (s *stack) healthy(t *testing.T, service string) error {
	t.Helper()
	said, err := s.command(t, service, s.services[service].HealthCheck.Test[1:]).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// process is a service that runs.
type process struct {
	cmd  *exec.Cmd
	said *output
	done chan struct{}
}

func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, said: &output{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.said, p.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	return p
}

// stop ends a service as docker compose down does, and returns its exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end:\n%s", lastLines(p.said.String()))
	}
	return p.cmd.ProcessState.ExitCode()
}

// until waits for something to come true while a service runs. The error says
// what is not true yet.
func (p *process) until(t *testing.T, what string, ask func() error) {
	t.Helper()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for err := ask(); err != nil; err = ask() {
		select {
		case <-tick.C:
		case <-p.done:
			t.Fatalf("waiting for %s: it has ended:\n%s", what, lastLines(p.said.String()))
		case <-limit.C:
			t.Fatalf("waiting for %s: %v\n%s", what, err, lastLines(p.said.String()))
		}
	}
}

// get returns the body of an answer with status 200.
func get(t *testing.T, url string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(body), err
}

// output is what a process has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
