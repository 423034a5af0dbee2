package kafkatest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// Options say what a broker of one's own is like. The zero value is one of the
// pinned version that asks clients for nothing.
type Options struct {
	// Version of Apache Kafka; "" is that of the run, see [Version].
	Version string
	// Properties are lines of server.properties that outrank ours.
	Properties map[string]string
	// Users are those who may log in; without any, clients do not. See [SASL].
	Users []User
	// ACLs says that users may do only what [Broker.Allow] allowed. See [ACLs].
	ACLs bool
	// Certificates make clients speak TLS; nil for none. See [TLS].
	Certificates *Certificates
	// ClientCertificates says that clients must present one. See [MutualTLS].
	ClientCertificates bool
}

// Broker is a broker of a test's own, on loopback, that may be killed. It ends
// with the test. Kill, Stop and Restart may be called by any goroutine, and
// return when it is done; what goes wrong fails the test.
type Broker struct {
	t       testing.TB
	mu      sync.Mutex
	p       *process
	guarded bool
}

// Start starts a broker, which takes about 3 s. Several options are taken
// together. Where no broker can be started the test is skipped; with CI set it
// fails.
func Start(t testing.TB, options ...Options) *Broker {
	t.Helper()
	o := together(options)
	in, missing := able(o.Version)
	if missing != "" {
		none(t, missing)
	}
	b := &Broker{t: t}
	folder := t.TempDir()
	var err error
	b.guarded = o.guarded()
	b.p, err = in.launch(o.Version, folder, o.formatArguments(), func(port int) error { return o.write(folder, port) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.p.kill()
		b.p.letGo()
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
		all.Users = append(all.Users, o.Users...)
		all.ACLs = all.ACLs || o.ACLs
		if o.Certificates != nil {
			all.Certificates = o.Certificates
		}
		all.ClientCertificates = all.ClientCertificates || o.ClientCertificates
	}
	return all
}

// write puts the properties where serve.sh reads them.
func (o Options) write(folder string, port int) error {
	properties := o.guards(port)
	maps.Copy(properties, o.Properties)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", name, strings.ReplaceAll(properties[name], `\`, `\\`))
	}
	return os.WriteFile(filepath.Join(folder, "more.properties"), []byte(text.String()), 0o600)
}

// Addr returns where clients connect, as host:port; it stays the same.
func (b *Broker) Addr() string { return b.p.addr() }

// Admin returns the address of a listener that asks clients for nothing and lets
// them do everything, for what the test does itself: making topics, reading what
// is there. A broker that asks nobody for anything has only Addr.
func (b *Broker) Admin() string {
	if b.guarded {
		return ports.Loopback(adminPort(b.p.port))
	}
	return b.Addr()
}

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
	err := b.p.start()
	for attempt := 1; errors.Is(err, errPortTaken) && attempt < 5; attempt++ {
		err = b.p.start() // its ports are kept, but not every program asks
	}
	if err != nil {
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
