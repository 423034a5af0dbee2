package kafka

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// A broker that holds a client back to its quota gives nothing, though there is
// something: nothing of it is left out.
func TestReadingUnderAQuota(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1))
	opts := Options{Brokers: cluster.ListenAddrs(), session: fakeSession}
	b := open(t, opts)
	s := begin(t, b, testKey, "a")
	var want []string
	for n := range 3 {
		commit(t, s, numbered(testKey, n, 3))
		want = append(want, fmt.Sprint("entry.", n))
	}
	s.Release()
	var held atomic.Int32
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if held.Add(1)%3 == 0 {
			return nil, nil, false
		}
		answer := r.ResponseKind().(*kmsg.FetchResponse)
		answer.ThrottleMillis = 1
		return answer, nil, true
	})
	s = acquire(t, b, testKey, "b")
	if c := checkpoint(t, s); c != "2" {
		t.Errorf("the checkpoint is %q, want 2", c)
	}
	if got, err := s.Entries(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("entries %q, %v, want %q", got, err, want)
	}
	for _, name := range want {
		for range 2 { // the second time it is no more in memory
			if data, err := s.Entry(t.Context(), name); err != nil || len(data) == 0 {
				t.Errorf("entry %s: %q, %v", name, data, err)
			}
		}
	}
	if held.Load() < 3 {
		t.Errorf("%d requests were held back", held.Load())
	}
}

// A broker answers that a transaction is committed before it shows: whoever has
// committed sees it nevertheless.
func TestLedgerShowsWhatWasJustCommitted(t *testing.T) {
	t.Parallel()
	addr := kafkatest.Addr(t)
	b := open(t, Options{Brokers: []string{addr}, Partitions: 3, Prefix: prefixOn(t, addr)})
	s := begin(t, b, testKey, "a")
	for n := range 100 {
		commit(t, s, numbered(testKey, n, 3))
		name := fmt.Sprint("entry.", n)
		if got, err := s.Entries(t.Context()); err != nil || !slices.Contains(got, name) {
			t.Fatalf("%s is not among %d entries (%v)", name, len(got), err)
		}
		if n%10 == 9 {
			if err := s.Forget(t.Context(), []string{name}); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Entries(t.Context()); err != nil || slices.Contains(got, name) {
				t.Fatalf("%s was forgotten and is there (%v)", name, err)
			}
		}
	}
}

// Ready asks the cluster, and does not only remember it.
func TestReadyWithoutACluster(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1))
	w := new(wire)
	b := open(t, Options{Brokers: cluster.ListenAddrs(), dial: w.dial})
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	w.sever()
	if err := b.Ready(t.Context()); err == nil {
		t.Error("it is ready without a cluster")
	}
	w.mend()
	for b.Ready(t.Context()) != nil {
		if !pause(t.Context(), 10*time.Millisecond) {
			return
		}
	}
}
