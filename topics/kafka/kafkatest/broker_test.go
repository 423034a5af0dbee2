package kafkatest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// produce writes records without a transaction.
func produce(t *testing.T, addr, topic string, values ...string) {
	t.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(addr), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	transport := &kafka.Transport{}
	w.Transport = transport
	defer transport.CloseIdleConnections()
	defer w.Close()
	for _, v := range values {
		if err := w.WriteMessages(t.Context(), kafka.Message{Key: []byte("k"), Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
}

// values are those of records, with their partitions where these differ from 0.
func values(records []Record) (all []string) {
	for _, r := range records {
		v := string(r.Value)
		if r.Partition != 0 {
			v = fmt.Sprintf("%d:%s", r.Partition, v)
		}
		all = append(all, v)
	}
	return all
}

func want(t *testing.T, records []Record, want ...string) {
	t.Helper()
	if got := values(records); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

// mustBeAble ends a test where no broker can be started.
func mustBeAble(t *testing.T) installation {
	t.Helper()
	in, missing := able(Version())
	if missing != "" {
		none(t, missing)
	}
	return in
}

func TestSharedBroker(t *testing.T) {
	addr := Addr(t)
	if again := Addr(t); again != addr {
		t.Errorf("Addr says %s and then %s", addr, again)
	}
	topic := Topic(t, addr, 1)
	produce(t, addr, topic, "a", "b")
	want(t, Committed(t, addr, topic), "a", "b")
}

// A broker that was killed or stopped comes back with what it acknowledged.
func TestKillAndRestart(t *testing.T) {
	b := Start(t)
	addr := b.Addr()
	topic := Topic(t, addr, 1)
	produce(t, addr, topic, "a")

	b.Kill()
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		conn.Close()
		t.Fatal("it listens after Kill")
	}
	b.Restart()
	if b.Addr() != addr {
		t.Errorf("it is at %s after Restart, was at %s", b.Addr(), addr)
	}
	produce(t, addr, topic, "b")
	want(t, Committed(t, addr, topic), "a", "b")

	b.Stop()
	if err := answers(addr, time.Second); err == nil {
		t.Fatal("it answers after Stop")
	}
	b.Restart()
	want(t, Committed(t, addr, topic), "a", "b")
	if n := strings.Count(b.Log(), "Kafka Server started"); n != 3 {
		t.Errorf("its log tells of %d starts, want 3:\n%s", n, b.Log())
	}
}

func TestPropertiesOutrankOurs(t *testing.T) {
	b := Start(t, Options{Properties: map[string]string{"auto.create.topics.enable": "true", "num.partitions": "3"}},
		Options{Properties: map[string]string{"num.partitions": "2"}})
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, p := range []int32{0, 1} {
		r := &kgo.Record{Topic: "made-by-asking", Partition: p, Value: []byte("v")}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r := reader{cl: cl, topic: "made-by-asking"}
	if err := r.locate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.leaders) != 2 {
		t.Errorf("the topic has %d partitions, want the 2 of the property", len(r.leaders))
	}
}

// A broker that cannot start says why, and leaves nothing behind.
func TestStartThatFails(t *testing.T) {
	in := mustBeAble(t)
	folder := t.TempDir()
	o := together([]Options{{Properties: map[string]string{"num.io.threads": "none"}}})
	if err := o.write(folder, 0); err != nil {
		t.Fatal(err)
	}
	_, err := in.launch(Version(), folder, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "num.io.threads") {
		t.Errorf("it says %v", err)
	}
}

// A port that somebody else has is another attempt's chance.
func TestPortIsTaken(t *testing.T) {
	in := mustBeAble(t)
	folder := t.TempDir()
	var ports []int
	p, err := in.launch(Version(), folder, nil, func(port int) error {
		ports = append(ports, port)
		if len(ports) > 1 {
			return nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.letGo()
	defer p.kill()
	if len(ports) != 2 || p.port != ports[1] {
		t.Errorf("it tried the ports %v and has %d", ports, p.port)
	}
}

// Who has a broker's port while it is dead gives it back before long.
func TestPortIsTakenAtRestart(t *testing.T) {
	b := Start(t)
	b.Kill()
	l, err := net.Listen("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer l.Close()
		for !strings.Contains(b.Log(), "Address already in use") && pause(ctx) {
		}
	}()
	b.Restart()
	cancel()
	<-ended
	if err := answers(b.Addr(), 10*time.Second); err != nil {
		t.Error(err)
	}
}

// A broker ends with whoever started it, even if that one could not say so.
func TestBrokerDoesNotOutliveItsOwner(t *testing.T) {
	in := mustBeAble(t)
	folder := filepath.Join(t.TempDir(), "broker")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := in.launch(Version(), folder, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.hold.Close() // as the kernel does for a process that dies
	if !p.endedWithin(10 * time.Second) {
		t.Error("it lives on")
	}
	p.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, err := os.Stat(folder); os.IsNotExist(err) {
			return
		}
		if !pause(ctx) {
			t.Fatal("its folder stays")
		}
	}
}
