// Package exampletest is for the tests of examples: brokers with events for them to
// read, and examples in processes that may be killed.
package exampletest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-io/millrace/examples/router"
)

// childEnv makes the test binary the example itself: its prefix, group and takeover.
const childEnv = "MILLRACE_TEST_CHILD"

// Main is a package's TestMain. Where the process is a [Child] it runs the example,
// with what the test has said in o.
func Main(m *testing.M, o *router.Options, main func()) {
	if set := os.Getenv(childEnv); set != "" {
		var wait string
		_, err := fmt.Sscan(set, &o.Prefix, &o.Group, &wait)
		if err == nil {
			o.Takeover, err = time.ParseDuration(wait)
		}
		if err != nil {
			panic(err)
		}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Child is the example in a process of its own.
type Child struct {
	cmd           *exec.Cmd
	printed, said output
	over          context.Context // ends when it has had its time
}

// output is what a process says, read while it still speaks.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start starts the example of this package with arguments. It has a minute, and is
// killed at the end of the test.
func Start(t *testing.T, o router.Options, args ...string) *Child {
	t.Helper()
	c := &Child{}
	var cancel context.CancelFunc
	c.over, cancel = context.WithTimeout(t.Context(), time.Minute)
	c.cmd = exec.CommandContext(c.over, os.Args[0], args...)
	c.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", childEnv, o.Prefix, o.Group, o.Takeover))
	c.cmd.Stdout, c.cmd.Stderr = &c.printed, &c.said
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.cmd.Wait()
	})
	return c
}

// Printed is what the example has written to its standard output.
func (c *Child) Printed() string { return c.printed.String() }

// Said is what the example has written to its standard error.
func (c *Child) Said() string { return c.said.String() }

// Kill ends the example with SIGKILL.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// Stop ends the example in order, and wants it to have said nothing.
func (c *Child) Stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil || c.said.String() != "" {
		t.Errorf("the example ended with %v; it said: %s", err, c.said.String())
	}
}

// Await waits for what the example brings about.
func (c *Child) Await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !reached() {
		select {
		case <-ticker.C:
		case <-c.over.Done():
			_ = c.cmd.Wait()
			t.Fatalf("%s did not come; the example said: %s", what, c.said.String())
		}
	}
}
