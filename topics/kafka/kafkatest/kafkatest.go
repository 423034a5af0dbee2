// Package kafkatest gives tests a real Apache Kafka: one that is there, or one
// that it starts from the published jars, without a container engine. It also
// tells what a foreign consumer would read. For tests only.
package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Environment variables that say which Kafka tests use.
const (
	// given is the address of a broker, as host:port, or off for none.
	given = "MILLRACE_TEST_KAFKA"
	off   = "off"
	// version is that of the brokers that are started, and should be that of
	// the given one.
	version = "MILLRACE_TEST_KAFKA_VERSION"
)

// choice is a broker for many tests, looked for once.
type choice struct {
	mu      sync.Mutex
	asked   bool
	addr    string
	missing string   // why there is none
	err     error    // why there should be one, and is not
	started *process // one that was started here; it lives while its stdin is open
}

// shared is the choice for all tests of this process.
var shared choice

// Addr returns the address of a broker that all tests share, and that stays to
// the end: topics, groups and transactional ids need names of their own (see
// [Topic] and [Name]). It is the one that MILLRACE_TEST_KAFKA names, else one
// that listens on the port of make kafka-up, else one that is started here and
// ends with this process. Where there can be none the test is skipped; with CI
// set, or when the one that was named does not answer, it fails.
func Addr(t testing.TB) string {
	t.Helper()
	return shared.get(t)
}

func (c *choice) get(t testing.TB) string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked {
		c.asked = true
		c.find()
	}
	if c.err != nil {
		t.Fatal(c.err)
	}
	if c.missing != "" {
		none(t, c.missing)
	}
	return c.addr
}

func (c *choice) find() {
	if addr := os.Getenv(given); addr != "" && addr != off {
		c.addr = addr
		if err := answers(addr, 10*time.Second); err != nil {
			c.err = fmt.Errorf("%s names the broker %s, which does not answer: %w", given, addr, err)
		}
		return
	}
	if in, missing := installed(); missing == "" && os.Getenv(version) == "" && os.Getenv(given) != off {
		c.addr = "127.0.0.1:" + in.pins["KAFKA_PORT"]
		if answers(c.addr, 5*time.Second) == nil {
			return
		}
	}
	in, missing := able(Version())
	if missing != "" {
		c.missing = missing
		return
	}
	folder, err := os.MkdirTemp("", "millrace-kafka-")
	if err != nil {
		c.err = err
		return
	}
	if c.started, c.err = in.launch(Version(), folder, nil, nil); c.err != nil {
		os.RemoveAll(folder)
		return
	}
	c.addr = c.started.addr()
}

// able finds what a broker of a version takes, or says why there can be none.
func able(version string) (in installation, missing string) {
	if os.Getenv(given) == off {
		return in, given + " is " + off
	}
	if in, missing = installed(); missing == "" {
		missing = in.fetch(version)
	}
	return in, missing
}

// none ends a test that cannot run without a broker.
func none(t testing.TB, why string) {
	t.Helper()
	why = "no Apache Kafka: " + why + " (make kafka-up starts one, " + given + " names one)"
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Version returns the version of Apache Kafka that this run is about:
// MILLRACE_TEST_KAFKA_VERSION, by default the pinned one. It is empty outside
// the project's tree.
func Version() string {
	if v := os.Getenv(version); v != "" {
		return v
	}
	in, _ := installed()
	return in.pins["KAFKA"]
}

// answers says whether a Kafka broker answers at an address, within some time.
func answers(addr string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0), kgo.DialTimeout(within))
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.Ping(ctx)
}

// installation is what brokers are started with.
type installation struct {
	dir  string            // deploy/kafka
	pins map[string]string // versions.env
}

// installed finds the scripts and the programs that they need, or says what is
// missing.
var installed = sync.OnceValues(func() (installation, string) {
	dir, err := os.Getwd()
	if err != nil {
		return installation{}, err.Error()
	}
	in := installation{}
	if runtime.GOOS == "windows" {
		return in, "it is not started on Windows"
	}
	for {
		in.dir = filepath.Join(dir, "deploy", "kafka")
		text, err := os.ReadFile(filepath.Join(in.dir, "versions.env"))
		if err == nil {
			in.pins = parsePins(string(text))
			break
		}
		if dir == filepath.Dir(dir) {
			return installation{}, "there is no deploy/kafka/versions.env above the test"
		}
		dir = filepath.Dir(dir)
	}
	for _, program := range []string{"bash", "java"} {
		if _, err := exec.LookPath(program); err != nil {
			return in, program + " is missing"
		}
	}
	return in, ""
})

// parsePins reads lines of the form NAME=value.
func parsePins(text string) map[string]string {
	pins := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			pins[name] = value
		}
	}
	return pins
}

// fetch has the jars of a version in the cache, or says why it has not.
func (in installation) fetch(version string) (missing string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(in.dir, "jars.sh"), version)
	cmd.Stderr = &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Sprintf("%s (%v)", strings.TrimSpace(out.String()), err)
	}
	return ""
}
