package nats

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// wantRemote checks that opening fails by the server's fault and says what it
// must, and nothing that it must not, to the log neither.
func wantRemote(t *testing.T, opts Options, secrets []string, texts ...string) {
	t.Helper()
	var log *log
	log, opts.Logger = newLog(t)
	b, err := Open(t.Context(), opts)
	if err == nil {
		b.Close()
		t.Fatal("it opened")
	}
	var oe *topics.OpenError
	if !errors.As(err, &oe) || !oe.Remote {
		t.Errorf("%v is no remote OpenError", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) || strings.Contains(log.String(), secret) {
			t.Errorf("%q or the log %q shows %q", err, log, secret)
		}
	}
}

func TestOldServerIsRefused(t *testing.T) {
	server := startServer(t, "nats-server-2.11", "")
	wantRemote(t, Options{URL: server.url()}, nil, server.addr, "2.11.4", "2.15", "update the server")
}

func TestServerWithoutJetStreamIsRefused(t *testing.T) {
	server := startServer(t, "nats-server", "# no jetstream")
	wantRemote(t, Options{URL: server.url()}, nil, server.addr, "JetStream switched off")
}

func TestNobodyListens(t *testing.T) {
	addr := ports.Addr(t)
	wantRemote(t, Options{URL: "nats://ann:s3cr%2Fet@" + addr}, []string{"s3cr", "ann"}, addr, "check broker.nats.url")
}

func TestCredentials(t *testing.T) {
	server := startServer(t, "nats-server", `authorization { user: ann, password: "s3cr/et" }`)
	good := "nats://ann:" + url.PathEscape("s3cr/et") + "@" + server.addr
	for _, opts := range []Options{{URL: good}, {URL: server.url(), User: "ann", Password: "s3cr/et"}} {
		b := open(t, opts)
		if err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		b.Close()
	}
	for _, opts := range []Options{
		{URL: server.url()},
		{URL: "nats://ann:wr0ng@" + server.addr},
		{URL: "wr0ng@" + server.addr},
		{URL: server.url(), User: "ann", Password: "wr0ng"},
		{URL: server.url(), Token: "wr0ng"},
	} {
		wantRemote(t, opts, []string{"wr0ng"}, server.addr, "check creds, user, password or token")
	}
	for _, bad := range []string{"nats://ann:wr0ng@host:port", "nats://ann:wr0ng%zz@host", "nats://"} {
		if _, err := Open(t.Context(), Options{URL: bad}); err == nil || strings.Contains(err.Error(), "wr0ng") || !strings.Contains(err.Error(), "broker.nats.url") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestSmallerBatchesAreLearned(t *testing.T) {
	server := startServer(t, "nats-server", fmt.Sprintf("jetstream { store_dir: %q, limits { batch { max_msgs: 100 } } }", t.TempDir()))
	b := open(t, Options{URL: server.url()})
	s := acquire(t, b, testKey)
	if got := b.Limits().Messages; got != foreignBatch {
		t.Errorf("at first %d messages, want %d", got, foreignBatch)
	}
	var tooLarge *topics.TooLargeError
	if err := s.Commit(t.Context(), batch("1", 0, 500)); !errors.As(err, &tooLarge) || tooLarge.Limits.Messages != 100 {
		t.Fatalf("got %v, want a TooLargeError of 100 messages", err)
	}
	if got := b.Limits().Messages; got != 100 {
		t.Errorf("learned %d messages, want 100", got)
	}
	commit(t, s, batch("2", 0, 98))
	if got := published(t, b); !slices.Equal(got, numbered(0, 98)) {
		t.Errorf("the topics hold %v", got)
	}
}

func connectAdmin(t *testing.T, server *process) jetstream.JetStream {
	t.Helper()
	nc, err := natsgo.Connect(server.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestFullStreamIsBackPressure(t *testing.T) {
	server := startServer(t, "nats-server", "")
	js := connectAdmin(t, server)
	b := open(t, Options{URL: server.url()})
	s := acquire(t, b, testKey)
	commit(t, s, batch("1", 0, 10))
	config := b.session.stream.CachedInfo().Config
	config.MaxBytes = 10_000
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), batch("2", 10, 100)); !errors.Is(err, topics.ErrFull) {
		t.Fatalf("got %v, want %v", err, topics.ErrFull)
	}
	if got := published(t, b); !slices.Equal(got, numbered(0, 10)) {
		t.Errorf("the topics hold %v", got)
	}
	config.MaxBytes = -1
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	commit(t, s, batch("2", 10, 100))
	if got := published(t, b); !slices.Equal(got, numbered(0, 110)) {
		t.Errorf("the topics hold %v", got)
	}
}

func TestForeignStreamInTheWay(t *testing.T) {
	server := startServer(t, "nats-server", "")
	js := connectAdmin(t, server)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MINE", Subjects: []string{"millrace.sms"}}); err != nil {
		t.Fatal(err)
	}
	wantRemote(t, Options{URL: server.url()}, nil, "create the JetStream stream MILLRACE", "overlap")
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MY_APP", Subjects: []string{"my.app"}}); err != nil {
		t.Fatal(err)
	}
	wantRemote(t, Options{URL: server.url(), Prefix: "my.app"}, nil, "MY_APP", "subjects", "topics.prefix")
}

// TestForeignTornBatchStops finds half a batch on a server that is not ours:
// before anything is written, and when it happens behind a running instance.
func TestForeignTornBatchStops(t *testing.T) {
	server := startServer(t, "nats-server", "")
	b := open(t, Options{URL: server.url(), ackWait: 2 * time.Second})
	s := acquire(t, b, testKey)
	commit(t, s, batch("1", 0, 100))
	commit(t, s, batch("2", 100, 100))
	server.kill(t)
	loseTail(t, server.store, 5000)
	server.start(t)
	// The checkpoint went back: that is told first, and why when it is read.
	if err := s.Commit(t.Context(), batch("3", 200, 100)); !errors.Is(err, errLate) {
		t.Errorf("a running instance: %v, want %v", err, errLate)
	}
	var oe *topics.OpenError
	if _, err := s.Checkpoint(t.Context()); !errors.Is(err, errTorn) || !errors.As(err, &oe) || !oe.Remote {
		t.Errorf("its checkpoint: %v, want %v", err, errTorn)
	}
	b.Close()
	wantRemote(t, Options{URL: server.url()}, nil, server.addr, "half-written", "delete these messages")
}

// TestLateSuccess loses a commit's answer and lets its owner try the next one
// before it looks: that is told from a fence.
func TestLateSuccess(t *testing.T) {
	b := open(t, Options{})
	s := acquire(t, b, testKey)
	commit(t, s, batch("1", 0, 3))
	before := s.seq
	commit(t, s, batch("2", 3, 3))
	s.seq = before
	err := s.Commit(t.Context(), batch("3", 6, 3))
	if !errors.Is(err, errLate) || errors.Is(err, topics.ErrFenced) {
		t.Fatalf("got %v, want %v", err, errLate)
	}
	if err := s.Commit(t.Context(), batch("3", 6, 3)); !errors.Is(err, errUnread) {
		t.Errorf("got %v, want %v", err, errUnread)
	}
	// The same commit again finds that it is there already.
	s.seq, s.known = before, true
	commit(t, s, batch("2", 3, 3))
	commit(t, s, batch("3", 6, 3))
	if got := published(t, b); !slices.Equal(got, numbered(0, 9)) {
		t.Errorf("the topics hold %v", got)
	}
}

// TestServerIsKilledInMidCommit kills a real server while batches are written,
// and goes on where the checkpoint says.
func TestServerIsKilledInMidCommit(t *testing.T) {
	server := startServer(t, "nats-server", "")
	b := open(t, Options{URL: server.url(), ackWait: 2 * time.Second})
	s := acquire(t, b, testKey)
	const size, kills = 200, 5
	next := 0
	for kill := 1; kill <= kills; kill++ {
		stop, stopped := make(chan struct{}), make(chan struct{})
		started := make(chan struct{})
		go func() {
			defer close(stopped)
			first := next
			for {
				select {
				case <-stop:
					return
				default:
				}
				next = commitOnwards(t, s, next, size)
				if next == first+5*size {
					close(started)
				}
			}
		}()
		select {
		case <-started:
		case <-stopped:
			t.FailNow()
		}
		server.kill(t)
		server.start(t)
		close(stop)
		<-stopped
	}
	if got := published(t, b); !slices.Equal(got, numbered(0, next)) {
		t.Errorf("the topics hold %d events, want %d", len(got), next)
	}
}

// commitOnwards commits until one more batch is in, as ingest would: after an
// error that leaves it open, the checkpoint says what to do.
func commitOnwards(t *testing.T, s *stream, next, size int) int {
	id := fmt.Sprint(next)
	err := s.Commit(t.Context(), batch(id, next, size))
	for err != nil {
		t.Logf("commit %s: %v", id, err)
		var checkpoint []byte
		if checkpoint, err = s.Checkpoint(t.Context()); err != nil {
			if t.Context().Err() != nil {
				return next
			}
			continue
		}
		if string(checkpoint) == string(batch(id, 0, 0).Checkpoint) {
			break
		}
		err = s.Commit(t.Context(), batch(id, next, size))
	}
	return next + size
}
