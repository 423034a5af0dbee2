package kafka

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/millrace-io/millrace/topics"
)

// The test binary runs itself as another process where a test needs an owner that
// it can stop or kill.
const childEnv = "MILLRACE_TEST_CHILD"

// childOrder is what a child does: it takes streams and commits numbered pages.
type childOrder struct {
	Addr, Prefix, Owner string
	Streams             []string
	Session             time.Duration
	Transaction         time.Duration
	// PauseAt is where the child says so and waits until it is told to go on: once,
	// when Skip such places have passed. "" for nowhere.
	PauseAt string
	Skip    int
}

const childPage = 6 // events

// Where a child can be told to pause.
const (
	beforeProduce = "before produce"
	beforeEnd     = "before the end"
	afterEnd      = "after the end" // the answer is there, and not yet read
)

// asChild does the work of a child process.
func asChild() (code int, is bool) {
	text, is := os.LookupEnv(childEnv)
	if !is {
		return 0, false
	}
	var order childOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		fmt.Println("broken", err)
		return 2, true
	}
	if err := order.run(context.Background()); err != nil {
		fmt.Println("broken", err)
		return 2, true
	}
	return 0, true
}

func (o *childOrder) run(ctx context.Context) error {
	w := new(wire)
	o.pause(w)
	b, err := Open(ctx, Options{Brokers: []string{o.Addr}, Prefix: o.Prefix, Partitions: 3, session: o.Session, TransactionTimeout: o.Transaction, dial: w.dial})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	failed := make(chan error, len(o.Streams))
	for _, name := range o.Streams {
		all.Go(func() { failed <- o.commit(ctx, b, name) })
	}
	all.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return errors.Join(err, b.Close())
}

// pause has the wire stop at a place.
func (o *childOrder) pause(w *wire) {
	places := map[string]protocol.ApiKey{beforeProduce: protocol.Produce, beforeEnd: protocol.EndTxn, afterEnd: protocol.EndTxn}
	key, ok := places[o.PauseAt]
	if !ok {
		return
	}
	passed := 0
	at := func(k protocol.ApiKey) {
		if k != key {
			return
		}
		if passed++; passed == o.Skip+1 {
			fmt.Println("paused")
			_, _ = io.ReadFull(os.Stdin, make([]byte, 1))
		}
	}
	if o.PauseAt == afterEnd {
		w.listen(at)
		return
	}
	w.use(func(r request) fate { at(r.key); return pass })
}

// commit goes on committing, and says what it has done, until it is fenced.
func (o *childOrder) commit(ctx context.Context, b *Broker, name string) error {
	key := streamKey(name)
	s, err := b.Acquire(ctx, key, o.Owner, nil)
	if err != nil {
		return err
	}
	page := -1
	for {
		if page < 0 {
			text, err := s.Checkpoint(ctx)
			if errors.Is(err, topics.ErrFenced) {
				fmt.Println("fenced", name)
				return nil
			}
			if err != nil {
				fmt.Println("error", name, strings.ReplaceAll(err.Error(), "\n", "; "))
				continue
			}
			page = 0
			if text != nil {
				if page, err = strconv.Atoi(string(text)); err != nil {
					return err
				}
				page++
			}
		}
		c := numbered(key, page, childPage)
		c.ID = fmt.Sprint(o.Owner, "/", page)
		err := s.Commit(ctx, c)
		switch {
		case err == nil:
			fmt.Println("committed", name, page)
			page++
		case errors.Is(err, topics.ErrFenced):
			fmt.Println("fenced", name)
			return nil
		default:
			fmt.Println("error", name, strings.ReplaceAll(err.Error(), "\n", "; "))
			page = -1
		}
	}
}

// child is a child process of a test.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // what it says; closed when it has ended
}

func startChild(t *testing.T, order childOrder) *child {
	t.Helper()
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(os.Args[0]), lines: make(chan string, 100_000)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(c.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			c.lines <- scan.Text()
		}
	})
	t.Cleanup(func() {
		c.kill()
		reading.Wait()
	})
	return c
}

// kill ends the child at once, as a power switch would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// says waits for a line that begins like this.
func (c *child) says(what string) {
	c.t.Helper()
	timeout := time.NewTimer(2 * patience)
	defer timeout.Stop()
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.t.Fatalf("the child has ended and not said %q", what)
			}
			if strings.HasPrefix(line, what) {
				return
			}
			if strings.HasPrefix(line, "broken") {
				c.t.Fatalf("the child says %q", line)
			}
		case <-timeout.C:
			c.t.Fatalf("the child does not say %q", what)
		}
	}
}
