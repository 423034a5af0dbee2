package kafka

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

var (
	kafkaVersions = flag.String("kafka.versions", "", "versions of Apache Kafka, with commas, that tests start to kill them and those who use them; empty: the usual one")
	brokerKills   = flag.Int("kafka.broker-kills", 6, "how often TestBrokerIsKilled kills the broker: six times is once at each step")
	ownerKills    = flag.Int("kafka.owner-kills", 10, "how often TestOwnersAreKilled kills a process of five owners")
)

// onVersions runs a test with brokers of our own.
func onVersions(t *testing.T, test func(t *testing.T, version kafkatest.Options)) {
	versions := []string{kafkatest.Version()}
	if *kafkaVersions != "" {
		versions = strings.Split(*kafkaVersions, ",")
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, kafkatest.Options{Version: version})
		})
	}
}

// short lets a member of a group be given up earlier than brokers would as they
// come.
var short = kafkatest.Options{Properties: map[string]string{"group.min.session.timeout.ms": "100"}}

// The broker is killed in the middle of transactions, at every step, and comes
// back: all is there once.
func TestBrokerIsKilled(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, version kafkatest.Options) {
		server := kafkatest.Start(t, version)
		w := new(wire)
		b := open(t, Options{Brokers: []string{server.Addr()}, Partitions: 3, dial: w.dial, session: time.Minute})
		s := begin(t, b, testKey, "a")
		steps := []struct {
			key    protocol.ApiKey
			before bool // it is killed before it hears of the request, else as it hears
		}{
			{protocol.EndTxn, false}, {protocol.EndTxn, true}, {protocol.Produce, true}, {protocol.Produce, false},
			{protocol.AddPartitionsToTxn, false}, {protocol.InitProducerId, false},
		}
		page := 0
		for i := range *brokerKills {
			for range 2 + rand.IntN(3) {
				commit(t, s, numbered(testKey, page, childPage))
				page++
			}
			step := steps[i%len(steps)]
			reached := make(chan struct{})
			w.use(func(r request) fate {
				select {
				case <-reached:
				default:
					if r.key == step.key {
						if step.before {
							server.Kill()
						}
						close(reached)
					}
				}
				return pass
			})
			back := make(chan struct{})
			go func() {
				defer close(back)
				<-reached
				server.Restart()
			}()
			for done := false; !done; {
				select {
				case <-back:
					done = true
				default:
				}
				s, page = commitSome(t, s, page)
			}
			w.use(nil)
		}
		judge(t, b.names.prefix, server.Addr(), result{key: testKey, commits: page, size: childPage})
	})
}

// commitSome commits a page, or learns where to go on; it returns which comes
// next, and who commits it. A coordinator that begins again has forgotten which
// epoch came before its last: an owner that asks again, because that answer was
// lost, is refused as if it was overtaken, and takes the stream anew.
func commitSome(t *testing.T, s *stream, page int) (*stream, int) {
	t.Helper()
	err := s.Commit(t.Context(), numbered(testKey, page, childPage))
	if err == nil {
		return s, page + 1
	}
	for deadline := time.Now().Add(2 * patience); ; {
		if errors.Is(err, topics.ErrFenced) {
			s.Release()
			s = acquire(t, s.b, testKey, "a")
		}
		var text []byte
		if text, err = s.Checkpoint(t.Context()); err == nil {
			page, err := strconv.Atoi(string(text))
			if err != nil {
				t.Fatal(err)
			}
			return s, page + 1
		}
		if time.Now().After(deadline) {
			t.Fatalf("the checkpoint after page %d: %v", page, err)
		}
	}
}

// Processes that commit are killed again and again. Others go on.
func TestOwnersAreKilled(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, version kafkatest.Options) {
		server := kafkatest.Start(t, version, short)
		order := childOrder{Addr: server.Addr(), Prefix: "killed", Session: 300 * time.Millisecond, Transaction: 30 * time.Second}
		for i := range 5 {
			order.Streams = append(order.Streams, fmt.Sprint("s", i))
		}
		for i := range *ownerKills {
			order.Owner = fmt.Sprint("owner", i)
			c := startChild(t, order)
			for range 1 + rand.IntN(60) {
				c.says("committed")
			}
			c.kill()
		}
		b := open(t, Options{Brokers: []string{server.Addr()}, Prefix: order.Prefix, session: order.Session})
		var want []result
		for _, name := range order.Streams {
			s := begin(t, b, streamKey(name), "last")
			next := 0
			if last := s.state.checkpoint.data; last != nil {
				var err error
				if next, err = strconv.Atoi(string(last)); err != nil {
					t.Fatal(err)
				}
				next++
			}
			commit(t, s, numbered(s.key, next, childPage))
			want = append(want, result{key: s.key, commits: next + 1, size: childPage})
		}
		judge(t, order.Prefix, server.Addr(), want...)
	})
}

// A process is stopped in the middle of a commit for longer than its transaction
// may last, and another takes its stream. When it goes on it is refused, and does
// the other no harm.
func TestStoppedOwner(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, version kafkatest.Options) {
		server := kafkatest.Start(t, version, short)
		for _, place := range []string{beforeProduce, beforeEnd, afterEnd} {
			t.Run(place, func(t *testing.T) {
				order := childOrder{
					Addr: server.Addr(), Prefix: prefixOn(t, server.Addr()), Owner: "zombie", Streams: []string{"s"},
					Session: 500 * time.Millisecond, Transaction: time.Second, PauseAt: place, Skip: 3,
				}
				zombie := startChild(t, order)
				zombie.says("paused")
				stop(t, zombie, syscall.SIGSTOP)
				if _, err := zombie.stdin.Write([]byte("!")); err != nil { // it will read it when it goes on
					t.Fatal(err)
				}
				w := new(wire)
				b := open(t, Options{Brokers: []string{order.Addr}, Prefix: order.Prefix, session: order.Session, dial: w.dial})
				s := begin(t, b, testKey, "successor")
				page := 0
				if last := s.state.checkpoint.data; last != nil {
					page, _ = strconv.Atoi(string(last))
					page++
				}
				for until := time.Now().Add(2 * order.Transaction); time.Now().Before(until); page++ {
					commit(t, s, numbered(testKey, page, childPage))
				}
				// It goes on while a transaction of the successor's is open, which an epoch
				// that it asked for would end.
				w.use(func(r request) fate {
					if r.key == protocol.EndTxn {
						w.use(nil)
						stop(t, zombie, syscall.SIGCONT)
						zombie.says("fenced")
					}
					return pass
				})
				for range 3 {
					commit(t, s, numbered(testKey, page, childPage))
					page++
				}
				judge(t, order.Prefix, order.Addr, result{key: testKey, commits: page, size: childPage})
			})
		}
	})
}

func stop(t *testing.T, c *child, signal syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(signal); err != nil {
		t.Error(err)
	}
}
