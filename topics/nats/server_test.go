package nats

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// process is a real nats-server of its own.
type process struct {
	binary, config, addr string
	store                string
	cmd                  *exec.Cmd
	out                  bytes.Buffer
}

// binary finds a program that `make tools` has built. Where it is missing the
// test is skipped, but in CI it fails.
func binary(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "bin", name)
	if _, err := os.Stat(path); err != nil {
		missing(t, fmt.Sprintf("%s is missing: run `make tools`", path))
	}
	return path
}

// missing skips a test that cannot run here, and fails it in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// startServer runs a nats-server with JetStream on a fresh directory, and what
// more its configuration file should say.
func startServer(t *testing.T, name, more string) *process {
	t.Helper()
	p := &process{binary: binary(t, name)}
	dir := t.TempDir()
	p.addr = ports.Addr(t)
	p.store = filepath.Join(dir, "store")
	p.config = filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\n%s\n", p.addr, more)
	if !strings.Contains(more, "server_name") {
		text += "server_name: one\n"
	}
	if !strings.Contains(more, "jetstream") {
		text += fmt.Sprintf("jetstream { store_dir: %q, sync: always }\n", p.store)
	}
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	t.Cleanup(func() { p.kill(t) })
	return p
}

func (p *process) url() string { return "nats://" + p.addr }

// start runs the process and waits until it takes clients.
func (p *process) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.binary, "-c", p.config)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nats-server takes clients", func() bool {
		nc, err := natsgo.Connect(p.url(), natsgo.Timeout(time.Second))
		if err == nil {
			nc.Close()
		}
		return err == nil || errors.Is(err, natsgo.ErrAuthorization)
	})
}

// kill ends the process as a power switch would, and waits for it.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.cmd = nil
	if t.Failed() {
		t.Logf("nats-server said:\n%s", p.out.String())
	}
}
