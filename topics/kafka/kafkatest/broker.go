package kafkatest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say what a broker of one's own is like. The zero value is one of the
// pinned version that asks clients for nothing.
type Options struct {
	// Version of Apache Kafka; "" is that of the run, see [Version].
	Version string
	// Properties are lines of server.properties that outrank ours.
	Properties map[string]string
}

// Broker is a broker of a test's own, on loopback, that may be killed. It ends
// with the test. Kill, Stop and Restart may be called by any goroutine, and
// return when it is done; what goes wrong fails the test.
type Broker struct {
	t  testing.TB
	mu sync.Mutex
	p  *process
}

// Start starts a broker, which takes about 3 s. Several options are taken
// together. Where no broker can be started the test is skipped; with CI set it
// fails.
func Start(t testing.TB, options ...Options) *Broker {
	t.Helper()
	if os.Getenv(given) == "off" {
		none(t, given+" is off")
	}
	in, missing := installed()
	if missing != "" {
		none(t, missing)
	}
	o := together(options)
	if missing := in.fetch(o.Version); missing != "" {
		none(t, missing)
	}
	b := &Broker{t: t}
	folder := t.TempDir()
	var err error
	b.p, err = in.launch(o.Version, folder, nil, func(int) error { return o.write(folder) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.p.kill()
		if t.Failed() {
			t.Logf("Apache Kafka on %s said:\n%s", b.p.addr(), b.Log())
		}
	})
	return b
}

// together makes one of several options.
func together(options []Options) Options {
	all := Options{Version: Version(), Properties: map[string]string{
		// A broker that was killed comes back only when the controller has given
		// up its predecessor: after 9 s, if this were not shorter.
		"broker.session.timeout.ms":    "2000",
		"broker.heartbeat.interval.ms": "200",
	}}
	for _, o := range options {
		if o.Version != "" {
			all.Version = o.Version
		}
		maps.Copy(all.Properties, o.Properties)
	}
	return all
}

// write puts the properties where serve.sh reads them.
func (o Options) write(folder string) error {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.Properties)) {
		fmt.Fprintf(&text, "%s=%s\n", name, strings.ReplaceAll(o.Properties[name], `\`, `\\`))
	}
	return os.WriteFile(filepath.Join(folder, "more.properties"), []byte(text.String()), 0o600)
}

// Addr returns where clients connect, as host:port; it stays the same.
func (b *Broker) Addr() string { return b.p.addr() }

// Kill ends the broker by SIGKILL and waits until it is gone.
func (b *Broker) Kill() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.p.kill()
}

// Stop ends the broker by SIGTERM and waits until it is gone.
func (b *Broker) Stop() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.p.stop(30 * time.Second); err != nil {
		b.t.Error(err)
	}
}

// Restart starts a broker again that was killed or stopped, on the same port
// and data, and returns when it serves: after about 4 s. One that runs is
// stopped first.
func (b *Broker) Restart() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.p.stop(30 * time.Second); err != nil {
		b.t.Error(err)
	}
	if err := b.p.start(); err != nil {
		b.t.Error(err)
	}
}

// Log returns what the broker has logged since Start.
func (b *Broker) Log() string {
	text, err := os.ReadFile(b.p.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}
