package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/nats"
)

var kills = flag.Int("kills", 10, "how often each kill test kills")

// live makes streams follow a simulator that is in a hurry.
const live = `rate: 500/s
poll: 50ms
settle: 0s
overlap: 10s
sweep: {every: 1s, back: 10m}
`

// moment is a random time to kill at: half of them during start-up.
func moment(n int) <-chan time.Time {
	if n%2 == 0 {
		return time.After(rand.N(120 * time.Millisecond))
	}
	return time.After(200*time.Millisecond + rand.N(time.Second))
}

// Invariants 1, 2, 3 and 7: killed at any moment, with records coming in,
// nothing is lost and nothing repeated.
func TestKilledAtRandomMoments(t *testing.T) {
	w := startAll(t, simulator.Options{Seed: 3, Backlog: 1_000, Span: time.Hour, Rate: 20, Identical: 0.1, ChangeBack: 0.3, Ties: 5, NetcoreSmallPages: true})
	dir, listen := filepath.Join(t.TempDir(), "data"), freePort(t)
	path := w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", dir, listen), extra: live})
	for n := range *kills {
		c := startChild(t, "run", "-c", path)
		select {
		case <-moment(n):
		case <-c.done:
			t.Fatalf("the service ended by itself with code %d:\n%s", c.cmd.ProcessState.ExitCode(), c.notes)
		}
		c.kill()
	}
	c := startChild(t, "run", "-c", path)
	// That conversations change, and are read again, is part of the test.
	read := w.Account().Endpoints
	awaitTopics(t, "nats://"+listen, func(l *ledgerOf) string {
		for name := range read {
			if p := l.of[name]; changes(name) && len(p.versions) == p.events {
				return "a second version of any record of " + name
			}
		}
		return ""
	}, c)
	w.Pause()
	account := w.Account()
	awaitAll(t, "nats://"+listen, account, c)
	if code := c.stop(); code != 0 {
		t.Errorf("SIGTERM ended the service with code %d:\n%s", code, c.notes)
	}
	all := readTopics(t, dir)
	compareAll(t, all, account)
	t.Logf("%d kills, %d events of %d records", *kills, len(all), records(account))
}

// records is how many records an account has.
func records(a simulator.Account) (n int) {
	for _, e := range a.Endpoints {
		n += len(e.Records)
	}
	return n
}

// awaitAll waits until all that the account has is in the topics.
func awaitAll(t *testing.T, url string, account simulator.Account, children ...*child) {
	t.Helper()
	awaitTopics(t, url, func(l *ledgerOf) string { return l.missing(account) }, children...)
}

// awaitTopics reads the topics as a stranger does, until nothing is missing.
func awaitTopics(t *testing.T, url string, missing func(*ledgerOf) string, children ...*child) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	nc, err := natsgo.Connect(url, natsgo.RetryOnFailedConnect(true), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var consumer jetstream.Consumer
	for consumer == nil { // until the stream is there
		consumer, err = js.OrderedConsumer(ctx, "MILLRACE", jetstream.OrderedConsumerConfig{FilterSubjects: recordTopics()})
		if err != nil && ctx.Err() != nil {
			t.Fatalf("reading %s: %v\n%s", url, err, said(children))
		}
	}
	l := newLedgerOf(t)
	for {
		what := missing(l)
		if what == "" {
			return
		}
		batch, err := consumer.Fetch(5000, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil && ctx.Err() == nil {
			continue
		}
		if ctx.Err() != nil {
			t.Fatalf("missing: %s\n%s", what, said(children))
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			var attrs []events.Attribute
			for name := range m.Headers() {
				if len(name) > 3 && name[:3] == "ce-" {
					attrs = append(attrs, events.Attribute{Name: name[3:], Value: m.Headers().Get(name)})
				}
			}
			e, err := events.FromAttributes(attrs)
			if err != nil {
				t.Fatal(err)
			}
			l.add(&event{e, m.Data(), meta.Sequence.Stream, m.Subject()})
		}
	}
}

// recordTopics are the subjects of all events that records became.
func recordTopics() []string {
	var subjects []string
	for _, name := range typeOf {
		subjects = append(subjects, "millrace."+name+".>")
	}
	slices.Sort(subjects)
	return slices.Compact(subjects) // filters must not overlap
}

func said(children []*child) string {
	text := ""
	for _, c := range children {
		text += c.notes.String()
	}
	return text
}

// natsServer is a real nats-server in a process of its own.
type natsServer struct {
	t    *testing.T
	path string
	addr string
	dir  string
	cmd  *exec.Cmd
}

// serverBinary finds nats-server, which make tools puts into bin.
func serverBinary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/nats-server")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("bin/nats-server is missing: make tools builds it")
		}
		t.Skip("bin/nats-server is missing: make tools builds it")
	}
	return path
}

func startServer(t *testing.T) *natsServer {
	t.Helper()
	s := &natsServer{t: t, path: serverBinary(t), addr: freePort(t), dir: t.TempDir()}
	conf := fmt.Sprintf("listen: %q\njetstream {store_dir: %q, sync_interval: always}\n", s.addr, s.dir)
	if err := os.WriteFile(filepath.Join(s.dir, "nats.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.path, "-c", filepath.Join(s.dir, "nats.conf"))
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *natsServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *natsServer) url() string { return "nats://" + s.addr }

// The same with a broker that is itself killed, again and again, while two
// instances of the service are killed too: one of them holds a stream, the other
// waits and takes over.
func TestBrokerAndInstancesKilled(t *testing.T) {
	server := startServer(t)
	w := startAll(t, simulator.Options{Seed: 4, Backlog: 1_000, Span: time.Hour, Rate: 20, Identical: 0.1, ChangeBack: 0.3, NetcoreSmallPages: true, UsersBy: simulator.UsersDescending})
	path := w.configure(t, settings{broker: fmt.Sprintf("url: %q", server.url()), extra: live})
	var instances [2]*child
	awake := func(n int) {
		if instances[n] == nil {
			instances[n] = startChild(t, "run", "-c", path)
			return
		}
		select {
		case <-instances[n].done:
			// It could not reach the broker when it began: that ends it.
			instances[n] = startChild(t, "run", "-c", path)
		default:
		}
	}
	for n := range *kills {
		awake(0)
		awake(1)
		<-moment(n)
		server.kill()
		if n%3 == 0 {
			instances[n%2].kill()
		}
		<-moment(0)
		server.start()
	}
	awaitServer(t, server.addr)
	awake(0)
	awake(1)
	w.Pause()
	account := w.Account()
	awaitAll(t, server.url(), account, instances[:]...)
	for _, c := range instances {
		if code := c.stop(); code != 0 {
			t.Errorf("SIGTERM ended an instance with code %d:\n%s", code, c.notes)
		}
	}
	all := readBroker(t, nats.Options{URL: server.url()})
	compareAll(t, all, account)
	t.Logf("%d kills of the broker, %d events", *kills, len(all))
}

func awaitServer(t *testing.T, addr string) {
	t.Helper()
	connected := make(chan struct{})
	nc, err := natsgo.Connect("nats://"+addr, natsgo.RetryOnFailedConnect(true), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond),
		natsgo.ConnectHandler(func(*natsgo.Conn) { close(connected) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	select {
	case <-connected:
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not answer")
	}
}
