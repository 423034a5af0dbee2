package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// What simulate prints is a configuration of all connectors that works as it
// is printed.
func TestSimulatePrintsAConfigurationThatWorks(t *testing.T) {
	t.Parallel() // it waits for the rate that is printed
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	address := ports.Addr(t)
	out, notes, done := &lockedBuffer{}, &lockedBuffer{}, make(chan int)
	go func() {
		done <- run(ctx, []string{"simulate", "--listen", address, "--backlog", "60", "--span", "20m", "--rate", "0", "--limit", "0"}, out, notes)
	}()
	var account simulator.Account
	for tick := time.NewTicker(20 * time.Millisecond); len(account.Endpoints) == 0; {
		select {
		case code := <-done:
			t.Fatalf("simulate ended with code %d:\n%s", code, notes)
		case <-tick.C:
			account, _ = simulator.ReadAccount(ctx, http.DefaultClient, "http://"+address)
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(t.TempDir(), "millrace.yaml")
	text := fmt.Sprintf("broker: {nats: {%s}}\nhttp: {listen: \"\"}\n%s", embeddedIn(dir), out)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	table := must(t, "check", "--connect", "-c", path)
	for _, vendor := range app.Types {
		if !strings.Contains(table, vendor.Name) {
			t.Errorf("check does not know a connector of %s:\n%s", vendor.Name, table)
		}
	}
	must(t, "run", "--once", "-c", path)
	compareAll(t, readTopics(t, dir), account)
	stop()
	if code := <-done; code != 0 {
		t.Errorf("simulate ended with code %d:\n%s", code, notes)
	}
}

// The demo shows events of all connectors.
func TestDemoShowsAllConnectors(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var notes bytes.Buffer
	out := &firstOf{end: cancel, wanted: map[string]bool{"message": true, "conversation": true, "user": true, "email": true, "usage": true, "support": true, "bot": true, "shop": true, "chat": true}}
	if code := run(ctx, []string{"demo"}, out, &notes); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, notes.String())
	}
	if len(out.wanted) > 0 {
		t.Errorf("three minutes did not show %v:\n%s", out.wanted, notes.String())
	}
}

// firstOf ends what prints events when each of the wanted types and connectors was printed.
type firstOf struct {
	wanted map[string]bool
	end    func()
}

func (f *firstOf) Write(p []byte) (int, error) {
	for _, word := range strings.Fields(string(p)) {
		delete(f.wanted, word)
	}
	if len(f.wanted) == 0 {
		f.end()
	}
	return len(p), nil
}
