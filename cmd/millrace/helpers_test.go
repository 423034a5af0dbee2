package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/nats"
)

// childEnv makes the test binary the program itself, so that tests can kill it.
const childEnv = "MILLRACE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// child is the program in a process of its own.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	notes *lockedBuffer
	done  chan struct{}
}

func startChild(t *testing.T, args ...string) *child {
	t.Helper()
	return startChildWith(t, nil, args...)
}

// startChildWith is startChild with a standard input; nil: none.
func startChildWith(t *testing.T, in *os.File, args ...string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0], args...), notes: &lockedBuffer{}, done: make(chan struct{})}
	if in != nil {
		c.cmd.Stdin = in
	}
	c.cmd.Env = append(os.Environ(), childEnv+"=1")
	c.cmd.Stderr, c.cmd.Stdout = c.notes, c.notes
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait()
	}()
	t.Cleanup(c.kill)
	return c
}

// kill ends the child with SIGKILL and waits for it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// stop ends the child as an operator does and returns its exit code.
func (c *child) stop() int {
	c.t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	return c.wait(10 * time.Second)
}

// wait returns the child's exit code.
func (c *child) wait(limit time.Duration) int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(limit):
		c.t.Fatalf("the program did not end within %s; it said:\n%s", limit, c.notes)
	}
	return c.cmd.ProcessState.ExitCode()
}

// lockedBuffer is a buffer that a process writes to while a test reads it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// world is a simulator that is served and produces.
type world struct {
	*simulator.Simulator
	url     string
	since   time.Time
	vendors []string // of the APIs that are read; none: DeepConverse
}

const (
	deepConverse = "deepconverse"
	feedyou      = "feedyou"
	netcore      = "netcore"
	nativeChat   = "nativechat"
)

// startAll starts a world of which all APIs are read.
func startAll(t *testing.T, o simulator.Options) *world {
	t.Helper()
	return startSome(t, o, deepConverse, feedyou, netcore, nativeChat)
}

// startSome starts a world of which some APIs are read.
func startSome(t *testing.T, o simulator.Options, vendors ...string) *world {
	t.Helper()
	o.Vendors = vendors
	w := startWorld(t, o)
	w.vendors = vendors
	return w
}

// startBoth starts a world of which both APIs are read.
func startBoth(t *testing.T, o simulator.Options) *world {
	t.Helper()
	return startSome(t, o, deepConverse, feedyou)
}

// read returns the vendors of the APIs that are read.
func (w *world) read() []string {
	if len(w.vendors) == 0 {
		return []string{deepConverse}
	}
	return w.vendors
}

// Account is the account of the APIs that are read. A test that configures
// another API than the world's wants the simulator's own.
func (w *world) Account() simulator.Account {
	account := w.Simulator.Account()
	maps.DeleteFunc(account.Endpoints, func(name string, _ simulator.Endpoint) bool {
		vendor, _, _ := strings.Cut(name, "/")
		return !slices.Contains(w.read(), vendor)
	})
	return account
}

func startWorld(t *testing.T, o simulator.Options) *world {
	t.Helper()
	if o.Span == 0 {
		o.Span = simulator.DefaultSpan
	}
	sim, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- sim.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	return &world{Simulator: sim, url: server.URL, since: now().Add(-o.Span - time.Minute)}
}

// settings are what tests vary in the configuration.
type settings struct {
	name   string // the connector's
	on     target // the broker
	broker string // without it: the broker section's nats map, without braces
	http   string
	extra  string            // more keys of each connector
	only   map[string]string // more keys of a vendor's
}

// configure writes a configuration and returns its path. The connectors are
// support for DeepConverse, demo for Feedyou, shop for Netcore and chat for
// NativeChat, or have another name and that name with a number.
func (w *world) configure(t *testing.T, s settings) string {
	t.Helper()
	names := map[string]string{deepConverse: "support", feedyou: "demo", netcore: "shop", nativeChat: "chat"}
	if s.name != "" {
		names = map[string]string{deepConverse: s.name, feedyou: s.name + "2", netcore: s.name + "3", nativeChat: s.name + "4"}
	}
	keys := map[string]string{
		deepConverse: fmt.Sprintf("api_key: %s\nbot_name: %s\n", simulator.DefaultAPIKey, simulator.DefaultBotName),
		feedyou:      fmt.Sprintf("function_key: %s\nbot_id: acme\n", simulator.DefaultAPIKey),
		netcore:      fmt.Sprintf("app_id: %s\napp_secret: %s\nchannels: [1010, 1014, 1016, 1021]\n", simulator.DefaultAppID, simulator.DefaultAPIKey),
		nativeChat:   fmt.Sprintf("access_token: %s\nbot_id: %s\n", simulator.DefaultAPIKey, simulator.DefaultBotName),
	}
	broker := natsConfig(s.broker)
	if s.on != nil {
		broker = s.on.config()
	}
	text := fmt.Sprintf("%shttp: {listen: %q}\nconnectors:\n", broker, s.http)
	for _, vendor := range w.read() {
		text += "  " + names[vendor] + ":\n" + indent(fmt.Sprintf("type: %s\nbase_url: %s\n%ssince: %s\n%s",
			vendor, w.url, keys[vendor], w.since.UTC().Format(time.RFC3339), s.extra+s.only[vendor]))
	}
	path := filepath.Join(t.TempDir(), "millrace.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func indent(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString("    " + strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// embeddedIn is the broker section of an embedded server without a listener.
func embeddedIn(dir string) string { return fmt.Sprintf(`dir: %q, listen: ""`, dir) }

// must runs the program in this process and wants it to succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := mustSay(t, args...)
	return out
}

// mustSay is must for a test that wants to see what was logged, too.
func mustSay(t *testing.T, args ...string) (said, logged string) {
	t.Helper()
	var out, notes bytes.Buffer
	if code := run(t.Context(), args, &out, &notes); code != 0 {
		t.Fatalf("millrace %s: exit code %d\n%s", strings.Join(args, " "), code, notes.String())
	}
	return out.String(), notes.String()
}

// readTopics returns all that the topics of an embedded server hold.
func readTopics(t *testing.T, dir string) []event {
	t.Helper()
	return readBroker(t, nats.Options{Dir: dir})
}

func readBroker(t *testing.T, o nats.Options) []event {
	t.Helper()
	b, err := nats.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var all []event
	err = b.Tail(t.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(m topics.Received) error {
		all = append(all, eventOf(t, m.Attributes, bytes.Clone(m.Data), m.Sequence, m.FullTopic))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// event is one event as a consumer sees it.
type event struct {
	events.Event
	data     []byte
	sequence uint64
	topic    string
}

func (e *event) raw(t *testing.T) []byte {
	t.Helper()
	var d struct{ Raw json.RawMessage }
	if err := json.Unmarshal(e.data, &d); err != nil {
		t.Fatalf("event %s: its data is no JSON: %v", e.ID, err)
	}
	return d.Raw
}

// record returns the bytes that a dead letter keeps.
func (e *event) record(t *testing.T) []byte {
	t.Helper()
	var d struct {
		Record *string
		Base64 []byte `json:"record_base64"`
		Parts  int
	}
	if err := json.Unmarshal(e.data, &d); err != nil || d.Parts > 1 {
		t.Fatalf("the dead letter %s, in %d parts: %v", e.ID, d.Parts, err)
	}
	if d.Record != nil {
		return []byte(*d.Record)
	}
	return d.Base64
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
