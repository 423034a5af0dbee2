package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// requests counts what is sent, by kind.
type requests struct {
	mu   sync.Mutex
	sent map[protocol.ApiKey]int
}

func (r *requests) rule(q request) fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent == nil {
		r.sent = map[protocol.ApiKey]int{}
	}
	r.sent[q.key]++
	return pass
}

func (r *requests) count(key protocol.ApiKey) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[key]
}

// Release and Close may come in the middle of a commit.
func TestReleaseDuringACommit(t *testing.T) {
	cluster := fake(t)
	began := time.Now()
	defer func() {
		// A call that goes on without its broker would take as long as a request may.
		if took := time.Since(began); took > defaultRequestWait && !t.Failed() {
			t.Errorf("it took %v", took)
		}
	}()
	for i := range 20 {
		b := open(t, Options{Brokers: cluster.ListenAddrs(), session: fakeSession})
		s := begin(t, b, testKey, "a")
		committing, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				if n == 2 {
					close(committing)
				}
				if err := s.Commit(t.Context(), numbered(testKey, n, 5)); err != nil {
					return
				}
			}
		}()
		waitFor(t, "it commits", committing)
		if i%2 == 0 {
			s.Release()
		}
		b.Close()
		waitFor(t, "the commits end", ended)
	}
}

// What takes the next epoch is through, or given up for good, before the stream is
// another's: late it would end the other's transaction.
func TestNothingIsSentAfterRelease(t *testing.T) {
	cluster := fake(t)
	var sent requests
	w := new(wire)
	opts := Options{Brokers: cluster.ListenAddrs(), session: fakeSession}
	other := open(t, opts)
	opts.dial = w.dial
	s := begin(t, open(t, opts), testKey, "a")
	refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ConcurrentTransactions, Count: -1})
	commit(t, s, numbered(testKey, 0, 5))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := refused.Wait(ctx, 3); err != nil {
		t.Fatal(err)
	}
	s.Release()
	w.use(sent.rule)
	refused.Remove()
	successor := begin(t, other, testKey, "b")
	for n := 1; n < 5; n++ {
		commit(t, successor, numbered(testKey, n, 5))
	}
	if n := sent.count(protocol.InitProducerId); n > 0 {
		t.Errorf("%d epochs are asked for after Release", n)
	}
	judge(t, other.names.prefix, cluster.ListenAddrs()[0], result{key: testKey, commits: 5, size: 5})
}

// Whoever is not sure any more that the stream is still its own does not ask for
// an epoch before it knows.
func TestNoEpochWithoutTheLease(t *testing.T) {
	cluster := fake(t)
	w := new(wire)
	opts := Options{Brokers: cluster.ListenAddrs(), session: fakeSession}
	other := open(t, opts)
	opts.dial = w.dial
	s := begin(t, open(t, opts), testKey, "a")
	// From its commit on it hears nothing more, but takes long to notice.
	refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ConcurrentTransactions, Count: -1})
	var after requests
	lost := make(chan struct{})
	w.use(func(r request) fate {
		select {
		case <-lost:
			after.rule(r)
		default:
		}
		switch r.key {
		case protocol.Heartbeat, protocol.JoinGroup, protocol.SyncGroup:
			return cutBefore
		}
		return pass
	})
	commit(t, s, numbered(testKey, 0, 5))
	waitFor(t, "it is lost", s.Lost())
	close(lost)
	refused.Remove()
	successor := begin(t, other, testKey, "b")
	commit(t, successor, numbered(testKey, 1, 5))
	if err := s.Commit(t.Context(), numbered(testKey, 100, 5)); !errors.Is(err, topics.ErrFenced) {
		t.Errorf("who has lost the stream commits: %v", err)
	}
	commit(t, successor, numbered(testKey, 2, 5))
	if n := after.count(protocol.InitProducerId); n > 0 {
		t.Errorf("%d epochs are asked for without the lease", n)
	}
	judge(t, other.names.prefix, cluster.ListenAddrs()[0], result{key: testKey, commits: 3, size: 5})
}

// A commit that is given up in the middle leaves no transaction open, which would
// hold readers back.
func TestReleaseEndsTheTransaction(t *testing.T) {
	addr := fake(t, kfake.NumBrokers(1)).ListenAddrs()[0]
	w := new(wire)
	b := open(t, Options{Brokers: []string{addr}, session: fakeSession, dial: w.dial})
	s := begin(t, b, testKey, "a")
	commit(t, s, numbered(testKey, 0, 5))
	ctx, cancel := context.WithCancel(t.Context())
	w.use(func(r request) fate {
		if r.key == protocol.EndTxn && ctx.Err() == nil {
			cancel()
			return cutBefore
		}
		return pass
	})
	if err := s.Commit(ctx, numbered(testKey, 1, 5)); !errors.Is(err, context.Canceled) {
		t.Fatalf("the commit ended with %v", err)
	}
	s.Release()
	plain := plainRecord(t, addr, b.names.state(), s.home.id)
	for _, r := range kafkatest.Committed(t, addr, b.names.state()) {
		if string(r.Value) == plain {
			return
		}
	}
	t.Error("readers are held back")
}

// plainRecord writes outside of any transaction.
func plainRecord(t *testing.T, addr, topic string, partition int32) string {
	t.Helper()
	value := fmt.Sprint("plain ", time.Now().UnixNano())
	write(t, writer(t, []string{addr}, ""), topic, partition, value)
	return value
}

// Close does not wait for one stream after the other when the cluster is away.
func TestCloseWithoutACluster(t *testing.T) {
	cluster := fake(t)
	w := new(wire)
	b := open(t, Options{Brokers: cluster.ListenAddrs(), session: fakeSession, dial: w.dial, requestWait: time.Second})
	for i := range 20 {
		s := begin(t, b, streamKey(fmt.Sprint("s", i)), "a")
		commit(t, s, numbered(s.key, 0, 5))
	}
	w.use(func(request) fate { return hold })
	began := time.Now()
	b.Close()
	if took := time.Since(began); took > 4*fakeSession {
		t.Errorf("closing took %v", took)
	}
	w.sever()
}

// Close ends what waits for a stream, and waits for it.
func TestCloseDuringAcquire(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	opts := Options{Brokers: cluster.ListenAddrs(), session: 10 * time.Second}
	begin(t, open(t, opts), testKey, "a")
	b := open(t, opts)
	waiting, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := b.Acquire(t.Context(), testKey, "b", func(string) { close(waiting) })
		ended <- err
	}()
	waitFor(t, "it waits", waiting)
	b.Close()
	if err := <-ended; !errors.Is(err, errClosed) {
		t.Errorf("acquire ended with %v", err)
	}
	wantMembers(t, cluster, b.names.hold(testKey), 1)
}

// Release may come while the ledger is read and the next epoch is taken.
func TestReleaseWhileTheLedgerIsRead(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1))
	b := open(t, Options{Brokers: cluster.ListenAddrs(), session: fakeSession})
	for _, read := range []func(*stream) error{
		func(s *stream) error { _, err := s.Entries(t.Context()); return err },
		func(s *stream) error { _, err := s.Entry(t.Context(), "entry.0"); return err },
	} {
		s := begin(t, b, testKey, "a")
		refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ConcurrentTransactions, Count: -1})
		commit(t, s, numbered(testKey, 0, 5))
		var reading sync.WaitGroup
		reading.Go(func() { _ = read(s) }) // it may fail, as the stream is given up
		s.Release()
		reading.Wait()
		refused.Remove()
	}
}
