package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// child is the example in a process of its own.
type child struct {
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

func start(t *testing.T, env, url string, file ...string) *child {
	t.Helper()
	c := &child{}
	var cancel context.CancelFunc
	c.over, cancel = context.WithTimeout(t.Context(), time.Minute)
	c.cmd = exec.CommandContext(c.over, os.Args[0], append([]string{url, "message"}, file...)...)
	c.cmd.Env = append(os.Environ(), childEnv+"="+env)
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

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// terminated ends the child in order.
func (c *child) terminated(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil || c.said.String() != "" {
		t.Errorf("the example ended with %v; it said: %s", err, c.said.String())
	}
}

// await waits for what the child brings about.
func (c *child) await(t *testing.T, what string, reached func() bool) {
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
