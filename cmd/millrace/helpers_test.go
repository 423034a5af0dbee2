package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

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
	c := &child{t: t, cmd: exec.Command(os.Args[0], args...), notes: &lockedBuffer{}, done: make(chan struct{})}
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
	url   string
	since time.Time
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
	return &world{sim, server.URL, time.Now().Add(-o.Span - time.Minute)}
}

// settings are what tests vary in the configuration.
type settings struct {
	name   string // the connector's
	broker string // the broker section's nats map, without braces
	http   string
	extra  string // more keys of the connector
}

// configure writes a configuration and returns its path.
func (w *world) configure(t *testing.T, s settings) string {
	t.Helper()
	if s.name == "" {
		s.name = "support"
	}
	text := fmt.Sprintf(`broker:
  nats: {%s}
http: {listen: %q}
connectors:
  %s:
    type: deepconverse
    base_url: %s
    api_key: %s
    bot_name: %s
    since: %s
%s`, s.broker, s.http, s.name, w.url, simulator.DefaultAPIKey, simulator.DefaultBotName, w.since.UTC().Format(time.RFC3339), indent(s.extra))
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

// freePort returns an address that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// must runs the program in this process and wants it to succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	var out, notes bytes.Buffer
	if code := run(t.Context(), args, &out, &notes); code != 0 {
		t.Fatalf("millrace %s: exit code %d\n%s", strings.Join(args, " "), code, notes.String())
	}
	return out.String()
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
		e, err := events.FromAttributes(m.Attributes)
		if err != nil {
			return err
		}
		all = append(all, event{e, bytes.Clone(m.Data), m.Sequence, m.Topic})
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

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// ledgerOf follows events as they come and compares them with what the
// simulator produced.
type ledgerOf struct {
	t        *testing.T
	ids      map[events.ID]uint64
	messages map[string]string // record id: hash of raw
	position map[string]int    // conversation: the last message's position
	last     map[string]string // conversation: hash of its last version
	versions map[string]map[string]bool
	order    map[string][]string // conversation: its messages in the topic's order
}

func newLedgerOf(t *testing.T) *ledgerOf {
	return &ledgerOf{
		t: t, ids: map[events.ID]uint64{}, messages: map[string]string{}, position: map[string]int{},
		last: map[string]string{}, versions: map[string]map[string]bool{}, order: map[string][]string{},
	}
}

// add takes an event in; it reports repeated ids, records and versions.
func (l *ledgerOf) add(e *event) {
	l.t.Helper()
	if first, ok := l.ids[e.ID]; ok {
		l.t.Errorf("the event %s of record %s is there twice, at %d and %d", e.ID, e.RecordID, first, e.sequence)
	}
	l.ids[e.ID] = e.sequence
	sum := hash(e.raw(l.t))
	switch e.Type {
	case events.TypeMessage:
		if _, ok := l.messages[e.RecordID]; ok {
			l.t.Errorf("the message %s is there twice", e.RecordID)
		}
		l.messages[e.RecordID] = sum
		l.order[e.Key] = append(l.order[e.Key], e.RecordID)
	case events.TypeConversation:
		if l.versions[e.RecordID] == nil {
			l.versions[e.RecordID] = map[string]bool{}
		}
		if l.versions[e.RecordID][sum] {
			l.t.Errorf("a version of the conversation %s is there twice", e.RecordID)
		}
		l.versions[e.RecordID][sum] = true
		l.last[e.RecordID] = sum
	default:
		l.t.Errorf("an event of type %s: %s", e.Type, e.data)
	}
}

// missing returns what the account has and the topics have not, "" for nothing.
func (l *ledgerOf) missing(a simulator.Account) string {
	for _, r := range a.Endpoints["deepconverse/messages"].Records {
		if l.messages[r.ID] != r.SHA256 {
			return fmt.Sprintf("message %s of %s", r.ID, r.Time)
		}
	}
	for _, r := range a.Endpoints["deepconverse/conversations"].Records {
		if l.last[r.ID] != r.SHA256 {
			return fmt.Sprintf("the last version of conversation %s (%d versions there were, %d are there)", r.ID, len(r.Versions), len(l.versions[r.ID]))
		}
	}
	return ""
}

// compare wants exactly what the account has: nothing lost, nothing repeated,
// nothing else, the order kept for each key.
func (l *ledgerOf) compare(a simulator.Account) {
	l.t.Helper()
	if what := l.missing(a); what != "" {
		l.t.Errorf("lost: %s", what)
	}
	messages := a.Endpoints["deepconverse/messages"].Records
	if len(l.messages) != len(messages) {
		l.t.Errorf("%d messages, the API had %d", len(l.messages), len(messages))
	}
	conversations := a.Endpoints["deepconverse/conversations"].Records
	if len(l.last) != len(conversations) {
		l.t.Errorf("%d conversations, the API had %d", len(l.last), len(conversations))
	}
	position := map[string]int{}
	for _, r := range messages {
		position[r.ID] = r.Position
	}
	for key, ids := range l.order {
		for i := 1; i < len(ids); i++ {
			if position[ids[i-1]] > position[ids[i]] {
				l.t.Errorf("conversation %s: message %d comes before message %d", key, position[ids[i-1]], position[ids[i]])
			}
		}
	}
	for _, r := range conversations {
		known := map[string]bool{}
		for _, v := range r.Versions {
			known[v] = true
		}
		for v := range l.versions[r.ID] {
			if !known[v] {
				l.t.Errorf("conversation %s has a version that there never was", r.ID)
			}
		}
	}
}

// compareAll reads the topics and compares them with the account.
func compareAll(t *testing.T, all []event, a simulator.Account) {
	t.Helper()
	l := newLedgerOf(t)
	for i := range all {
		l.add(&all[i])
	}
	l.compare(a)
}

// validate wants every event's data to be as its schema says.
func validate(t *testing.T, all []event) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schemas := map[string]*jsonschema.Schema{}
	for _, et := range events.Catalogue() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(et.Schema))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(events.SchemaURN(et.Name), doc); err != nil {
			t.Fatal(err)
		}
		if schemas[et.Name], err = compiler.Compile(events.SchemaURN(et.Name)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range all {
		data, err := jsonschema.UnmarshalJSON(bytes.NewReader(all[i].data))
		if err != nil {
			t.Fatalf("event %s: %v", all[i].ID, err)
		}
		if err := schemas[all[i].Type].Validate(data); err != nil {
			t.Fatalf("event %s is not what its schema says: %v", all[i].ID, err)
		}
	}
}
