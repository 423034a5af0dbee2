package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/topictest/ports"
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
	t.Parallel()
	killedAtRandomMoments(t, newListening)
}

func killedAtRandomMoments(t *testing.T, newTarget func(*testing.T) target) {
	w := startAll(t, simulator.Options{Seed: 3, Backlog: 1_000, Span: time.Hour, Rate: 20, Identical: 0.1, ChangeBack: 0.3, Ties: 5, NetcoreSmallPages: true})
	on := newTarget(t)
	path := w.configure(t, settings{on: on, extra: live})
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
	awaitTopics(t, on, func(l *ledgerOf) string {
		for name := range read {
			if p := l.of[name]; changes(name) && len(p.versions) == p.events {
				return "a second version of any record of " + name
			}
		}
		return ""
	}, c)
	w.Pause()
	account := w.Account()
	awaitAll(t, on, account, c)
	if code := c.stop(); code != 0 {
		t.Errorf("SIGTERM ended the service with code %d:\n%s", code, c.notes)
	}
	all := on.events(t)
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
	s := &natsServer{t: t, path: serverBinary(t), addr: ports.Addr(t), dir: t.TempDir()}
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

func (s *natsServer) await() { s.t.Helper(); awaitServer(s.t, s.addr) }

func (s *natsServer) url() string { return "nats://" + s.addr }

// The same with a broker that is itself killed, again and again, while two
// instances of the service are killed too: one of them holds a stream, the other
// waits and takes over.
func TestBrokerAndInstancesKilled(t *testing.T) {
	t.Parallel()
	brokerAndInstancesKilled(t, startServer(t))
}

// server is a target that is a process of its own.
type server interface {
	target
	kill()
	start()
	await() // until it answers
}

func brokerAndInstancesKilled(t *testing.T, server server) {
	w := startAll(t, simulator.Options{Seed: 4, Backlog: 1_000, Span: time.Hour, Rate: 20, Identical: 0.1, ChangeBack: 0.3, NetcoreSmallPages: true, UsersBy: simulator.UsersDescending})
	path := w.configure(t, settings{on: server, extra: live})
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
	server.await()
	awake(0)
	awake(1)
	w.Pause()
	account := w.Account()
	awaitAll(t, server, account, instances[:]...)
	for _, c := range instances {
		if code := c.stop(); code != 0 {
			t.Errorf("SIGTERM ended an instance with code %d:\n%s", code, c.notes)
		}
	}
	all := server.events(t)
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
