package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/examples/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, &options, main) }

// Killed between the handling and its acknowledgement, the handler writes each
// event once, on either broker.
func TestKilledBeforeTheAcknowledgement(t *testing.T) {
	for name, serve := range map[string]func(*testing.T) exampletest.Server{"nats": exampletest.OnNATS, "kafka": exampletest.OnKafka} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killedBeforeTheAcknowledgement(t, serve(t))
		})
	}
}

func killedBeforeTheAcknowledgement(t *testing.T, s exampletest.Server) {
	path := filepath.Join(t.TempDir(), "handled")
	want := s.KillBetween(t, func() int { return lines(t, path) }, "message", path)
	tear(t, path)
	c := exampletest.Start(t, s.Options, s.URL, "message", path)
	c.Await(t, "the last event", func() bool { return lines(t, path) >= len(want) })
	c.Stop(t)
	if n := s.Acknowledged(t, len(want)); n != len(want) {
		t.Errorf("%d of %d events are acknowledged after an end in order", n, len(want))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	once(t, string(data), want)

	// Only what is new is printed.
	want = exampletest.Publish(t, s, exampletest.Messages(len(want), 200))
	c = exampletest.Start(t, s.Options, s.URL, "message")
	c.Await(t, "the last line", func() bool { return strings.Count(c.Printed(), "\n") >= len(want) })
	c.Stop(t)
	once(t, c.Printed(), want)
}

// What comes again is known. What cannot be written ends the program, and nothing
// is written or acknowledged after that.
func TestHandle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handled")
	written, file, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	w := &writer{out: file, sync: file.Sync, written: written, stop: func() { stopped = true }}
	event := func(id string) *message.Message {
		m := message.NewMessage(id, []byte("{}"))
		m.Metadata = message.Metadata{"ce_type": "type", "ce_id": id}
		return m
	}
	for _, id := range []string{"a", "b", "a"} {
		if err := w.handle(event(id)); err != nil || stopped {
			t.Errorf("handling %s: %v", id, err)
		}
	}
	file.Close()
	for _, id := range []string{"c", "a"} {
		if err := w.handle(event(id)); err == nil || !stopped {
			t.Errorf("handling %s when the file is lost: %v", id, err)
		}
	}
	if data, err := os.ReadFile(path); string(data) != "type a {}\ntype b {}\n" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

// once checks that there is one line for each event.
func once(t *testing.T, text string, want []string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(text) {
		words := strings.SplitN(line, " ", 3)
		if len(words) < 3 || words[0] != "io.millrace.message.v1" || !json.Valid([]byte(words[2])) {
			t.Errorf("a line is damaged: %q", line)
			continue
		}
		got = append(got, words[1])
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%d events handled, %d of them different; want %d", len(got), len(slices.Compact(got)), len(want))
	}
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

// lines counts those of the file, which need not be there yet.
func lines(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}
