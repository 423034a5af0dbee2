// Package topictest is the suite that every broker passes: what a commit
// promises, put to the test through the contract alone.
package topictest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// Harness makes backends for the suite.
type Harness struct {
	// New starts an empty backend that lasts as long as its test.
	New func(t *testing.T) Backend
	// Shared says that several brokers may be open on one backend at once.
	Shared bool
	// Cut says that backends have OpenCut.
	Cut bool
}

// Backend is where brokers keep what they commit.
type Backend struct {
	// Open opens a broker, closed with the test at the latest.
	Open func(t *testing.T) topics.Broker
	// OpenCut opens a broker whose connection can be cut.
	OpenCut func(t *testing.T) (topics.Broker, Cutter)
}

// Cutter stands between a broker and its backend. Each cut happens once.
type Cutter interface {
	// CutBefore cuts the connection before the next commit reaches the backend.
	CutBefore()
	// CutAfter cuts it when the next commit has taken effect, before the answer
	// reaches the broker.
	CutAfter()
	// Cuts returns how many cuts have happened.
	Cuts() int
	// Sever cuts the connection for good, as if the broker's machine were gone.
	Sever()
}

// Run runs the suite, but for what a kind of backend cannot do.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Backend)
		can  bool
	}{
		{"Commit", testCommit, true},
		{"Resume", testResume, true},
		{"Fencing", testFencing, true},
		{"FencingBetweenBrokers", testFencingBetweenBrokers, h.Shared},
		{"Unread", testUnread, true},
		{"Advance", testAdvance, true},
		{"Ledger", testLedger, true},
		{"Headers", testHeaders, true},
		{"Oversize", testOversize, true},
		{"Order", testOrder, true},
		{"TailTypes", testTailTypes, true},
		{"TailNew", testTailNew, true},
		{"TailFrom", testTailFrom, true},
		{"TailError", testTailError, true},
		{"Routed", testRouted, true},
		{"RoutedNew", testRoutedNew, true},
		{"RoutedCut", testRoutedCut, h.Cut},
		{"Operating", testOperating, true},
		{"OperatingBetweenBrokers", testOperatingBetweenBrokers, h.Shared},
		{"Held", testHeld, true},
		{"Lease", testLease, h.Shared},
		{"LeaseOfTheDead", testLeaseOfTheDead, h.Shared && h.Cut},
		{"CutBefore", testCutBefore, h.Cut},
		{"CutAfter", testCutAfter, h.Cut},
	} {
		if test.can {
			t.Run(test.name, func(t *testing.T) { test.run(t, h.New(t)) })
		}
	}
}

// patience is how long the suite waits for what must come.
const patience = 30 * time.Second

// Key is the polled stream that most of the suite commits.
var key = events.StreamKey{Vendor: "feedyou", Account: "localhost:8080/bot a%b", Stream: "outgoingSms"}

func acquire(t *testing.T, b topics.Broker, k events.StreamKey, owner string) topics.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := b.Acquire(ctx, k, owner, nil)
	if err != nil {
		t.Fatalf("acquire %s: %v", k, err)
	}
	return s
}

// begin acquires a stream and reads its checkpoint.
func begin(t *testing.T, b topics.Broker, k events.StreamKey, owner string) topics.Stream {
	t.Helper()
	s := acquire(t, b, k, owner)
	checkpoint(t, s)
	return s
}

func checkpoint(t *testing.T, s topics.Stream) string {
	t.Helper()
	c, err := s.Checkpoint(t.Context())
	if err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return string(c)
}

// message is one event on a topic, numbered.
func message(topic, k string, n int) topics.Message {
	return topics.Message{
		Topic: topic, Connector: "support", Key: k,
		Attributes: []events.Attribute{
			{Name: "specversion", Value: "1.0"}, {Name: "id", Value: strconv.Itoa(n)},
			{Name: "partitionkey", Value: k}, {Name: "connector", Value: "support"},
		},
		Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

// batch is a commit of n messages, numbered from first, with a ledger entry.
func batch(id string, first, n int) *topics.Commit {
	c := &topics.Commit{ID: id, Checkpoint: []byte(id), Entries: []topics.Entry{{Name: "entry." + id, Data: []byte("ledger of " + id)}}}
	for i := first; i < first+n; i++ {
		c.Messages = append(c.Messages, message("sms", "k", i))
	}
	return c
}

func commit(t *testing.T, s topics.Stream, c *topics.Commit) {
	t.Helper()
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatalf("commit %s: %v", c.ID, err)
	}
}

func numbers(first, n int) []int {
	var want []int
	for i := first; i < first+n; i++ {
		want = append(want, i)
	}
	return want
}

func number(t *testing.T, r *topics.Received) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(string(r.Data), `{"n":%d`, &n); err != nil {
		t.Fatalf("data %.100q: %v", r.Data, err)
	}
	return n
}

// published reads what is on the topics.
func published(t *testing.T, b topics.Broker, names ...string) []int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []int
	err := b.Tail(ctx, topics.TailOptions{Topics: names, Beginning: true, Stop: true}, func(r topics.Received) error {
		got = append(got, number(t, &r))
		return nil
	})
	if err != nil {
		t.Fatalf("tail: %v", err)
	}
	return got
}

func wantPublished(t *testing.T, b topics.Broker, want []int) {
	t.Helper()
	if got := published(t, b); !slices.Equal(got, want) {
		t.Errorf("the topics hold %v, want %v", brief(got), brief(want))
	}
}

// brief shortens a long list.
func brief(list []int) string {
	if len(list) <= 40 {
		return fmt.Sprint(list)
	}
	return fmt.Sprintf("%d events from %v to %v", len(list), list[:3], list[len(list)-3:])
}

func closeBroker(t *testing.T, b topics.Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// wait fails the test when a channel is not closed in time.
func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

func wantFenced(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, topics.ErrFenced) {
		t.Errorf("got %v, want %v", err, topics.ErrFenced)
	}
}
