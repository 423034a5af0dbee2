package topictest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics"
)

func testTailTypes(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	c := &topics.Commit{ID: "1", Checkpoint: []byte("1"), Entries: []topics.Entry{{Name: "e", Data: []byte("{}")}}}
	for i, eventType := range []string{"sms", "click", "user", "user_snapshot", "sms"} {
		c.Messages = append(c.Messages, message(eventType, "k", i))
	}
	commit(t, s, c)
	for _, test := range []struct {
		types []string
		want  []int
	}{
		{nil, []int{0, 1, 2, 3, 4}},
		{[]string{"sms"}, []int{0, 4}},
		{[]string{"user"}, []int{2}},
		{[]string{"click", "user_snapshot"}, []int{1, 3}},
		{[]string{"email"}, nil},
	} {
		got := published(t, b, test.types...)
		slices.Sort(got) // not every broker keeps an order between types
		if !slices.Equal(got, test.want) {
			t.Errorf("types %q: %v, want %v", test.types, got, test.want)
		}
	}
}

// testTailNew reads live, only what is published from Ready on.
func testTailNew(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	commit(t, s, batch("1", 0, 10))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, full := make(chan struct{}), make(chan struct{})
	var got []int
	ended := make(chan error, 1)
	go func() {
		ended <- b.Tail(ctx, topics.TailOptions{Ready: func() { close(ready) }}, func(r topics.Received) error {
			if got = append(got, number(t, &r)); len(got) == 20 {
				close(full)
			}
			return nil
		})
	}()
	wait(t, "the tail is ready", ready)
	commit(t, s, batch("2", 10, 10))
	commit(t, s, batch("3", 20, 10))
	wait(t, "20 events", full)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the tail ended with %v", err)
	}
	if !slices.Equal(got, numbers(10, 20)) {
		t.Errorf("read %v", got)
	}
}

func testTailFrom(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	commit(t, s, batch("1", 0, 3))
	// Time must pass, in the coarsest resolution of a broker's clock.
	<-time.After(5 * time.Millisecond)
	commit(t, s, batch("2", 3, 3))
	var from time.Time
	err := b.Tail(t.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
		if number(t, &r) == 3 {
			from = r.Stored
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	err = b.Tail(t.Context(), topics.TailOptions{From: from, Stop: true}, func(r topics.Received) error {
		got = append(got, number(t, &r))
		return nil
	})
	if err != nil || !slices.Equal(got, numbers(3, 3)) {
		t.Errorf("read %v, %v", got, err)
	}
}

func testTailError(t *testing.T, be Backend) {
	b := be.Open(t)
	s := begin(t, b, key, "a")
	commit(t, s, batch("1", 0, 3))
	stop := errors.New("enough")
	calls := 0
	err := b.Tail(t.Context(), topics.TailOptions{Beginning: true}, func(topics.Received) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("ended with %v after %d calls", err, calls)
	}
}

func testOperating(t *testing.T, be Backend) {
	operating(t, be.Open(t))
}

func testOperatingBetweenBrokers(t *testing.T, be Backend) {
	operating(t, be.Open(t), be.Open(t))
}

func operating(t *testing.T, servers ...topics.Broker) {
	b := servers[0]
	if answers, err := b.Ask(t.Context(), []byte("anybody?")); err != nil || len(answers) != 0 {
		t.Errorf("nobody serves: %q, %v", answers, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for i, server := range servers {
		go func() {
			ended <- server.Serve(ctx, func(ctx context.Context, request []byte) []byte {
				if string(request) == "work" && i == len(servers)-1 { // the last takes its time, the others answer at once
					select {
					case <-time.After(1500 * time.Millisecond):
					case <-ctx.Done():
					}
				}
				return fmt.Appendf(nil, "%d heard %s", i, request)
			})
		}()
	}
	var answers [][]byte
	deadline := time.Now().Add(patience)
	for len(answers) < len(servers) && time.Now().Before(deadline) {
		var err error
		if answers, err = b.Ask(t.Context(), []byte("hello")); err != nil {
			t.Fatalf("ask: %v", err)
		}
	}
	var got []string
	for _, a := range answers {
		got = append(got, string(a))
	}
	slices.Sort(got)
	want := []string{"0 heard hello", "1 heard hello"}[:len(servers)]
	if !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	if answers, err := b.Ask(t.Context(), []byte("work")); err != nil || len(answers) != len(servers) {
		t.Errorf("who works is not waited for: %q, %v", answers, err)
	}
	short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := b.Ask(short, []byte("work")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asking does not end with its context: %v", err)
	}
	cancel()
	for range servers {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("serve ended with %v", err)
		}
	}
}
