package topictest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/topics"
)

// Routed are the topics that are no event type's and that the suite commits to.
// A broker that must know such topics beforehand is opened with them.
func Routed() []string { return []string{"vip", "7-audit_log"} }

// mixed is a commit of n messages, numbered from first, that go to topics of event
// types and to others in turn, each topic with three keys.
func mixed(id string, first, n int) *topics.Commit {
	to := append([]string{"sms", "click"}, Routed()...)
	c := &topics.Commit{ID: id, Checkpoint: []byte(id), Entries: []topics.Entry{{Name: "entry." + id, Data: []byte("ledger of " + id)}}}
	for i := first; i < first+n; i++ {
		c.Messages = append(c.Messages, message(to[i%4], fmt.Sprint("key", i/4%3), i))
	}
	return c
}

// every lists the numbers below end that leave one of the rests when divided by 4,
// so those on the topics of mixed with these places.
func every(end int, rests ...int) []int {
	var want []int
	for i := range end {
		if slices.Contains(rests, i%4) {
			want = append(want, i)
		}
	}
	return want
}

// wantMixed reads what commits of mixed have left below end: each topic alone, some
// together, and all.
func wantMixed(t *testing.T, b topics.Broker, end int) {
	t.Helper()
	routed := Routed()
	for _, test := range []struct {
		names []string
		want  []int
	}{
		{nil, every(end, 0, 1, 2, 3)},
		{[]string{"sms"}, every(end, 0)},
		{routed[:1], every(end, 2)},
		{routed[1:], every(end, 3)},
		{routed, every(end, 2, 3)},
		{[]string{routed[0], "click", routed[0]}, every(end, 1, 2)},
	} {
		got := published(t, b, test.names...)
		slices.Sort(got) // wantKept looks at the order
		if !slices.Equal(got, test.want) {
			t.Errorf("topics %q hold %v, want %v", test.names, brief(got), brief(test.want))
		}
	}
}

// testRouted commits to topics that are no event type's: they are written with the
// others or not at all, and read like them.
func testRouted(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	commit(t, s, mixed("1", 0, 100))
	s.Release()
	fresh := begin(t, b, key, "b")
	commit(t, fresh, mixed("2", 100, 20))
	wantFenced(t, s.Commit(t.Context(), mixed("3", 120, 40)))
	wantMixed(t, b, 120)
	closeBroker(t, b)

	b = be.Open(t)
	s = begin(t, b, key, "c")
	if c := checkpoint(t, s); c != "2" {
		t.Errorf("the checkpoint is %q, want 2", c)
	}
	commit(t, s, mixed("4", 120, 4))
	commit(t, s, &topics.Commit{ID: "5", Checkpoint: []byte("5"), Messages: []topics.Message{message("vip", "alone", 126)}})
	commit(t, s, &topics.Commit{ID: "6", Checkpoint: []byte("6")})
	wantKept(t, b, append(mixed("", 0, 124).Messages, message("vip", "alone", 126)))
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
}

// wantKept reads all topics and compares each message, in the order of its topic and
// key.
func wantKept(t *testing.T, b topics.Broker, all []topics.Message) {
	t.Helper()
	want := map[string][]string{}
	for _, m := range all {
		want[m.Topic+" "+m.Key] = append(want[m.Topic+" "+m.Key], fmt.Sprintf("%s %s %d", m.Connector, m.Data, len(m.Attributes)))
	}
	got := map[string][]string{}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := b.Tail(ctx, topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
		got[r.Topic+" "+r.Key] = append(got[r.Topic+" "+r.Key], fmt.Sprintf("%s %s %d", r.Connector, r.Data, len(r.Attributes)))
		if !strings.HasSuffix(r.FullTopic, "."+r.Topic) || r.Stored.IsZero() {
			t.Errorf("topic %s is called %q, stored %v", r.Topic, r.FullTopic, r.Stored)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for at, list := range want {
		if !slices.Equal(got[at], list) {
			t.Errorf("%s: read\n%q, want\n%q", at, got[at], list)
		}
		delete(got, at)
	}
	if len(got) > 0 {
		t.Errorf("nobody committed %v", got)
	}
}

// testRoutedNew reads a topic that is no event type's, and one that is, live.
func testRoutedNew(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	commit(t, s, mixed("1", 0, 20))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, full := make(chan struct{}), make(chan struct{})
	var got []int
	ended := make(chan error, 1)
	go func() {
		ended <- b.Tail(ctx, topics.TailOptions{Topics: []string{"vip", "sms"}, Ready: func() { close(ready) }}, func(r topics.Received) error {
			if got = append(got, number(t, &r)); len(got) == 20 {
				close(full)
			}
			return nil
		})
	}()
	wait(t, "the tail is ready", ready)
	commit(t, s, mixed("2", 20, 20))
	commit(t, s, mixed("3", 40, 20))
	wait(t, "20 events", full)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the tail ended with %v", err)
	}
	if slices.Sort(got); !slices.Equal(got, every(60, 0, 2)[10:]) {
		t.Errorf("read %v", got)
	}
}

// testRoutedCut loses commits, and answers to them.
func testRoutedCut(t *testing.T, be Backend) {
	b, cutter := be.OpenCut(t)
	s := begin(t, b, key, "a")
	commit(t, s, mixed("0", 0, 100))
	for i, cut := range []func(){cutter.CutBefore, cutter.CutAfter} {
		cut()
		commit(t, s, mixed(fmt.Sprint(i+1), 100*(i+1), 100))
	}
	if cutter.Cuts() != 2 {
		t.Fatalf("the connection was cut %d times, want 2", cutter.Cuts())
	}
	wantMixed(t, b, 300)
	wantKept(t, b, mixed("", 0, 300).Messages)
}
