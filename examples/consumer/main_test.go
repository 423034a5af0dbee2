package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/nats"
	"github.com/millrace-io/millrace/topics/topictest"
)

// childEnv makes the test binary the example itself, so that a test can kill it.
const childEnv = "MILLRACE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		ackWait = 300 * time.Millisecond
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Killed between the handling and its acknowledgement, again and again, the
// consumer handles each event once.
func TestKilledBeforeTheAcknowledgement(t *testing.T) {
	const kills, each = 3, 250
	broker, err := nats.Open(t.Context(), nats.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	path := filepath.Join(t.TempDir(), "handled")
	want := publish(t, broker, 0, each)
	for n := range kills {
		// Nothing that the consumer sends from its first acknowledgement on
		// reaches the server.
		proxy := topictest.NewProxy(t, broker.Addr(), "$JS.ACK.", "no answer is waited for")
		proxy.CutBefore()
		c := start(t, proxy.Addr(), path)
		await(t, c, "an acknowledgement", func() bool { return proxy.Cuts() > 0 })
		c.kill()
		want = append(want, publish(t, broker, (n+1)*each, each)...)
	}
	tear(t, path)
	c := start(t, broker.Addr(), path)
	nc, err := natsgo.Connect("nats://" + broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var info *jetstream.ConsumerInfo
	await(t, c, "the last acknowledgement", func() bool {
		consumer, err := js.Consumer(t.Context(), "MILLRACE", "example")
		if err != nil {
			return false
		}
		info = consumer.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0
	})
	c.kill()
	if again := int(info.Delivered.Consumer) - len(want); again < kills {
		t.Errorf("%d events were delivered again: the kills came at the wrong moments, so the test shows nothing", again)
	}
	got := ids(t, path)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d events handled, %d of them different; want %d", len(got), len(slices.Compact(got)), len(want))
	}
}

// publish commits messages as the service does, and returns their ids.
func publish(t *testing.T, broker *nats.Broker, first, n int) (published []string) {
	t.Helper()
	key := events.StreamKey{Vendor: "vendor", Account: "account", Stream: "messages"}
	stream, err := broker.Acquire(t.Context(), key, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Release()
	if _, err := stream.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &topics.Commit{ID: fmt.Sprint("commit-", first), Checkpoint: []byte("{}")}
	var encoder events.Encoder
	for i := first; i < first+n; i++ {
		e := events.Event{Source: key, Type: events.TypeMessage, Connector: "support", Key: "k", RecordID: fmt.Sprint(i), Recorded: time.Now()}
		e.ID = events.ID{byte(i >> 8), byte(i), 1}
		published = append(published, e.ID.String())
		c.Messages = append(c.Messages, topics.Message{
			Topic: e.Type, Connector: e.Connector, Key: e.Key,
			Attributes: encoder.AppendAttributes(nil, &e), Data: fmt.Appendf(nil, "{\"text\":\"%d\",\n\"raw\":{}}", i),
		})
	}
	if err := stream.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return published
}

// tear leaves the file as a crash in the middle of a line does.
func tear(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, data[:len(data)-5], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ids returns the ids of the lines in the file, all of which must be whole.
func ids(t *testing.T, path string) (all []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		id, text, _ := strings.Cut(line, " ")
		if !json.Valid([]byte(text)) {
			t.Errorf("a line is damaged: %q", line)
		}
		all = append(all, id)
	}
	return all
}

// child is the example in a process of its own.
type child struct {
	cmd  *exec.Cmd
	said strings.Builder
}

func start(t *testing.T, addr, path string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0], "nats://"+addr, path)}
	c.cmd.Env = append(os.Environ(), childEnv+"=1")
	c.cmd.Stderr = &c.said
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// await waits for what the child brings about.
func await(t *testing.T, c *child, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !reached() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			c.kill()
			t.Fatalf("%s did not come; the consumer said: %s", what, &c.said)
		}
	}
}
