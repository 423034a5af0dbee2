package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// Environment variables that make the test binary the example itself.
const (
	topicEnv = "MILLRACE_TEST_TOPIC" // what it reads, as a group of the same name
	dieEnv   = "MILLRACE_TEST_DIE"   // when it is killed, at its first commit of offsets
)

const (
	before = "before it is sent"
	after  = "when it is answered"
	never  = ""
)

func TestMain(m *testing.M) {
	if topic := os.Getenv(topicEnv); topic != "" {
		options = append(options, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic), kgo.Dialer(dial),
			kgo.SessionTimeout(6*time.Second)) // the least that a broker takes
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Killed between the handling and the commit of its offset, and just behind the
// commit, the consumer handles each event once, and nothing that was aborted.
func TestKilledAtTheCommit(t *testing.T) {
	const each = 250
	addr, prefix := kafkatest.Addr(t), kafkatest.Name(t)
	broker, err := kafka.Open(t.Context(), kafka.Options{Brokers: []string{addr}, Prefix: prefix, Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	topic, path := prefix+".message", filepath.Join(t.TempDir(), "handled")
	want := publish(t, broker, 0, each)
	for i, moment := range []string{after, before} {
		kafkatest.Abort(t, addr, topic, 5)
		start(t, addr, path, topic, moment).killed(t)
		handled, read := lines(t, path), kafkatest.Read(t, addr, topic, topic)
		if moment == after && (read == 0 || handled < read-1) { // one is there twice
			t.Fatalf("the group has read %d, %d of them handled", read, handled)
		}
		if moment == before && handled <= read {
			t.Fatalf("%d are handled, and the group has read %d: the kill came at the wrong moment, so the test shows nothing", handled, read)
		}
		want = append(want, publish(t, broker, (i+1)*each, each)...)
	}
	tear(t, path)
	c := start(t, addr, path, topic, never)
	commits := len(want) / each
	c.await(t, "the last commit", func() bool { return kafkatest.Read(t, addr, topic, topic) == len(want)+commits })
	c.interrupted(t)
	got := ids(t, path)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d events handled, %d of them different; want %d", len(got), len(slices.Compact(got)), len(want))
	}
}

// dial connects as the environment says.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if moment := os.Getenv(dieEnv); err == nil && moment != never {
		c = &deadly{Conn: c, moment: moment}
	}
	return c, err
}

// deadly is a connection that kills its process.
type deadly struct {
	net.Conn
	moment string
	sent   atomic.Bool // a commit of offsets
}

// Write gets one request at a time.
func (c *deadly) Write(request []byte) (int, error) {
	const offsetCommit = 8
	commit := len(request) > 6 && binary.BigEndian.Uint16(request[4:]) == offsetCommit
	if commit && c.moment == before {
		die()
	}
	n, err := c.Conn.Write(request)
	if commit {
		c.sent.Store(true)
	}
	return n, err
}

func (c *deadly) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.sent.Load() {
		die()
	}
	return n, err
}

// die is SIGKILL, so nothing of this process goes on.
func die() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {}
}

// publish commits messages as the service does, and returns their ids. The first
// is there twice, as after a replay.
func publish(t *testing.T, broker topics.Broker, first, n int) (published []string) {
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
		// The keys are on all partitions.
		e := events.Event{Source: key, Type: events.TypeMessage, Connector: "support", Key: fmt.Sprint("key", i%20), RecordID: fmt.Sprint(i), Recorded: time.Now()}
		e.ID = events.ID{byte(i >> 8), byte(i), 1}
		published = append(published, e.ID.String())
		c.Messages = append(c.Messages, topics.Message{
			Topic: e.Type, Connector: e.Connector, Key: e.Key,
			Attributes: encoder.AppendAttributes(nil, &e), Data: fmt.Appendf(nil, "{\"text\":\"%d\",\n\"raw\":{}}", i),
		})
	}
	c.Messages = append(c.Messages, c.Messages[0])
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

func lines(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
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
	over context.Context // ends when it has had its time
}

func start(t *testing.T, addr, path, topic, moment string) *child {
	t.Helper()
	c := &child{}
	var cancel context.CancelFunc
	c.over, cancel = context.WithTimeout(t.Context(), time.Minute)
	c.cmd = exec.CommandContext(c.over, os.Args[0], addr, path)
	c.cmd.Env = append(os.Environ(), topicEnv+"="+topic, dieEnv+"="+moment)
	c.cmd.Stderr = &c.said
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.cmd.Wait()
	})
	return c
}

// killed waits until the child has killed itself.
func (c *child) killed(t *testing.T) {
	t.Helper()
	err := c.cmd.Wait()
	if c.over.Err() != nil || c.cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the consumer was not killed at its first commit (%v); it said: %s", err, &c.said)
	}
}

// interrupted ends the child in order.
func (c *child) interrupted(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil || c.said.Len() > 0 {
		t.Errorf("the consumer ended with %v; it said: %s", err, &c.said)
	}
}

// await waits for what the child brings about.
func (c *child) await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !reached() {
		select {
		case <-ticker.C:
		case <-c.over.Done():
			_ = c.cmd.Wait()
			t.Fatalf("%s did not come; the consumer said: %s", what, &c.said)
		}
	}
}
