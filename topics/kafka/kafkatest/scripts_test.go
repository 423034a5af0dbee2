package kafkatest

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// script is one of deploy/kafka, with a temporary folder of its own.
func script(t *testing.T, in installation, temp, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(in.dir, name), args...)
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, given+"=", version+"=", "CI=")
	return cmd
}

// output runs a script that must succeed.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, problems.String())
	}
	return strings.TrimSpace(string(out))
}

// gone waits until nobody listens at an address.
func gone(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for answers(addr, time.Second) == nil {
		if !pause(ctx) {
			t.Fatalf("the broker on %s lives on", addr)
		}
	}
}

// empty waits until nothing is left in a folder.
func empty(t *testing.T, folder string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
		if !pause(ctx) {
			t.Fatalf("%v stays in %s", entries, folder)
		}
	}
}

func TestUpAndDown(t *testing.T) {
	in := mustBeAble(t)
	port, letGo, err := ports.Keep(2)
	if err != nil {
		t.Fatal(err)
	}
	defer letGo()
	temp, addr := t.TempDir(), ports.Loopback(port)
	run := func(name string) string {
		t.Helper()
		return output(t, script(t, in, temp, name, Version(), strconv.Itoa(port)))
	}
	run("down.sh") // nothing to stop is no error
	defer run("down.sh")
	if said := run("up.sh"); said != addr {
		t.Errorf("up.sh says %q, want %q", said, addr)
	}
	topic := Topic(t, addr, 1)
	produce(t, addr, topic, "a")
	if said := run("up.sh"); said != addr {
		t.Errorf("up.sh says %q of a broker that runs", said)
	}
	want(t, Committed(t, addr, topic), "a")
	other := script(t, in, temp, "up.sh", "1.2.3", strconv.Itoa(port))
	if said, err := other.CombinedOutput(); err == nil || !strings.Contains(string(said), "is Apache Kafka "+Version()) {
		t.Errorf("up.sh of another version says %q, %v", said, err)
	}
	run("down.sh")
	gone(t, addr)
	empty(t, temp)
}

// emptyCache has the jars, and knows of no broker that make kafka-up started.
func emptyCache(t *testing.T, in installation) string {
	t.Helper()
	jars := output(t, exec.Command(filepath.Join(in.dir, "jars.sh"), Version()))
	cache := t.TempDir()
	if err := os.Mkdir(filepath.Join(cache, "millrace-kafka"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(jars, filepath.Join(cache, "millrace-kafka", filepath.Base(jars))); err != nil {
		t.Fatal(err)
	}
	return cache
}

// A command has a broker of its own, which ends with it: when it ends, and when
// the script is killed.
func TestWith(t *testing.T) {
	in := mustBeAble(t)
	for _, killed := range []bool{false, true} {
		t.Run("killed="+strconv.FormatBool(killed), func(t *testing.T) {
			temp := t.TempDir()
			cmd := script(t, in, temp, "with.sh", Version(), "bash", "-c", "echo $"+given+" $"+version+"; read; exit 7")
			cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+emptyCache(t, in))
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := bufio.NewScanner(stdout)
			said.Scan()
			line := said.Text()
			said.Scan()
			addr, v, _ := strings.Cut(said.Text(), " ")
			if !strings.Contains(line, addr) || !strings.Contains(line, "started for this run") || v != Version() {
				t.Errorf("it says %q, and the command has %q", line, said.Text())
			}
			if err := answers(addr, 10*time.Second); err != nil {
				t.Error(err)
			}
			if killed {
				cmd.Process.Kill()
			}
			stdin.Close()
			if err := cmd.Wait(); !killed && cmd.ProcessState.ExitCode() != 7 {
				t.Errorf("it ends with %v, not as its command", err)
			}
			gone(t, addr)
			empty(t, temp)
		})
	}
}

// with.sh says in one line which Kafka there is, and fails in CI without.
func TestWithWhatIsThere(t *testing.T) {
	in := mustBeAble(t)
	for _, test := range []struct {
		kafka, ci, says string
		fails           bool
	}{
		{kafka: "127.0.0.1:1", says: "Kafka: 127.0.0.1:1, which is there already\n127.0.0.1:1\n"},
		{kafka: off, says: "Kafka: NONE (MILLRACE_TEST_KAFKA is off): the tests that need it are skipped\noff\n"},
		{kafka: off, ci: "true", says: "Kafka: none (MILLRACE_TEST_KAFKA is off), but CI needs it\n", fails: true},
	} {
		cmd := script(t, in, t.TempDir(), "with.sh", Version(), "bash", "-c", "echo $"+given)
		cmd.Env = append(cmd.Env, given+"="+test.kafka, "CI="+test.ci)
		out, err := cmd.CombinedOutput()
		if string(out) != test.says || (err != nil) != test.fails {
			t.Errorf("with %q and CI=%q it says %q, %v", test.kafka, test.ci, out, err)
		}
	}
}
