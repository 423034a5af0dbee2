package kafka

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// forgetful reads from a broker that has lost the ends of some transactions in
// one topic: where they were there is nothing.
type forgetful struct {
	kafkago.RoundTripper
	topic string

	mu   sync.Mutex
	lost map[int16]bool // by epoch
}

func (f *forgetful) lose(epoch int16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost[epoch] = true
}

func (f *forgetful) RoundTrip(ctx context.Context, addr net.Addr, r kafkago.Request) (kafkago.Response, error) {
	answer, err := f.RoundTripper.RoundTrip(ctx, addr, r)
	found, ok := answer.(*fetch.Response)
	if !ok || err != nil {
		return answer, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range found.Topics {
		for _, p := range t.Partitions {
			stream, ok := p.RecordSet.Records.(*protocol.RecordStream)
			if !ok || t.Topic != f.topic {
				continue
			}
			for i, b := range stream.Records {
				if marker, ok := b.(*protocol.ControlBatch); ok && f.lost[marker.ProducerEpoch] {
					stream.Records[i] = &protocol.RecordBatch{BaseOffset: marker.BaseOffset, Records: protocol.NewRecordReader()}
				}
			}
		}
	}
	return answer, err
}

// hanging is a stream whose next transaction ends without a marker in the topic
// of state.
type hanging struct {
	cluster *kfake.Cluster
	w       *wire
	b       *Broker
	s       *stream
	f       *forgetful
	log     *logged
}

func newHanging(t *testing.T) *hanging {
	t.Helper()
	h := &hanging{cluster: fake(t, kfake.NumBrokers(1)), w: new(wire), log: new(logged)}
	h.b, h.f = h.open(t)
	h.s = begin(t, h.b, testKey, "a")
	commit(t, h.s, numbered(testKey, 0, 10))
	if _, err := h.s.Entries(t.Context()); err != nil { // the next epoch is taken
		t.Fatal(err)
	}
	h.f.lose(h.s.producer.epoch)
	return h
}

func (h *hanging) open(t *testing.T) (*Broker, *forgetful) {
	t.Helper()
	b := open(t, Options{Brokers: h.cluster.ListenAddrs(), session: fakeSession, dial: h.w.dial, Logger: h.log.logger()})
	f := &forgetful{RoundTripper: b.client.trip, topic: b.names.state(), lost: map[int16]bool{}}
	b.client.trip = f
	return b, f
}

// wantRepaired holds what is there against n commits, and wants the repair told.
func (h *hanging) wantRepaired(t *testing.T, n int) {
	t.Helper()
	judge(t, h.b.names.prefix, h.cluster.ListenAddrs()[0], result{key: testKey, commits: n, size: 10})
	if !h.log.has("KAFKA-20734") {
		t.Errorf("the log does not tell of the repair")
	}
}

// end has the next commit's end fail, whether it was decided or not, in a way
// after which it is not asked for again.
func (h *hanging) end(decided bool) {
	asked, refused := 0, 1
	if decided {
		h.w.once(protocol.EndTxn, cutAfter)
		refused = 2
	}
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, When: func(r kmsg.Request) bool {
		if r.(*kmsg.EndTxnRequest).Commit {
			asked++
		}
		return asked == refused
	}})
}

// A lost end is written again as it was decided, and the commit is through, or is
// made again.
func TestHangingTransactionIsRepaired(t *testing.T) {
	for _, how := range []string{"committed", "aborted"} {
		t.Run(how, func(t *testing.T) {
			h := newHanging(t)
			h.end(how == "committed")
			commit(t, h.s, numbered(testKey, 1, 10))
			commit(t, h.s, numbered(testKey, 2, 10))
			h.wantRepaired(t, 3)
		})
	}
}

// How it was decided is remembered while the repair fails: later nobody can tell.
func TestRepairFailsAtFirst(t *testing.T) {
	for _, how := range []string{"committed", "aborted"} {
		for _, at := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.EndTxn, kmsg.InitProducerID} {
			t.Run(how+"/"+at.Name(), func(t *testing.T) {
				h := newHanging(t)
				epoch := h.s.producer.epoch
				h.end(how == "committed")
				// The repair's own requests carry later epochs than that of the page.
				h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{at}, Err: kerr.UnknownServerError, Count: 2, When: func(r kmsg.Request) bool {
					switch r := r.(type) {
					case *kmsg.AddPartitionsToTxnRequest:
						return r.ProducerEpoch > epoch
					case *kmsg.EndTxnRequest:
						return r.ProducerEpoch > epoch
					case *kmsg.InitProducerIDRequest:
						return r.ProducerEpoch > epoch
					}
					return false
				}})
				err := h.s.Commit(t.Context(), numbered(testKey, 1, 10))
				if err == nil {
					t.Fatal("the repair has not failed")
				}
				var text string
				for err != nil {
					var c []byte
					c, err = h.s.Checkpoint(t.Context())
					text = string(c)
					if hang := (*HangingError)(nil); errors.As(err, &hang) {
						t.Fatal(err)
					}
				}
				n := 2
				if want := map[string]string{"committed": "1", "aborted": "0"}[how]; text != want {
					t.Errorf("the checkpoint is %q, want %s", text, want)
				}
				if text == "0" {
					n = 1
				}
				for ; n < 3; n++ {
					commit(t, h.s, numbered(testKey, n, 10))
				}
				h.wantRepaired(t, 3)
			})
		}
	}
}

// Whoever takes the stream from a dead owner repairs what that one has left.
func TestSuccessorRepairs(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fate{"committed": cutAfter, "aborted": cutBefore} {
		t.Run(name, func(t *testing.T) {
			h := newHanging(t)
			epoch := h.s.producer.epoch
			ctx, cancel := context.WithCancel(t.Context())
			h.w.use(func(r request) fate {
				if r.key == protocol.EndTxn && ctx.Err() == nil {
					cancel()
					return f
				}
				if ctx.Err() != nil {
					return cutBefore
				}
				return pass
			})
			if err := h.s.Commit(ctx, numbered(testKey, 1, 10)); err == nil {
				t.Fatal("the owner is not dead")
			}
			h.w.sever()
			h.w = new(wire)
			b, forget := h.open(t)
			forget.lose(epoch)
			s := begin(t, b, testKey, "b")
			for n := int(s.state.checkpoint.data[0]-'0') + 1; n < 3; n++ {
				commit(t, s, numbered(testKey, n, 10))
			}
			h.wantRepaired(t, 3)
		})
	}
}

// Where nobody can tell how it was decided, the stream stops and says what to do.
func TestHangingTransactionIsUndecided(t *testing.T) {
	h := newHanging(t)
	met := h.w.once(protocol.EndTxn, cutAfter)
	refused := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, Count: -1, When: func(kmsg.Request) bool {
		select {
		case <-met:
			return true
		default:
			return false
		}
	}})
	if err := h.s.Commit(t.Context(), numbered(testKey, 1, 10)); err == nil {
		t.Fatal("it was committed")
	}
	thief := newProducer(h.b.client, h.b.names.transaction(testKey), h.b.opts.TransactionTimeout)
	if err := thief.init(t.Context(), -1, -1, true); err != nil {
		t.Fatal(err)
	}
	epoch := h.s.producer.epoch
	h.s.Release()
	refused.Remove()
	b, forget := h.open(t)
	forget.lose(epoch)
	s := acquire(t, b, testKey, "b")
	for range 2 { // it stays so
		_, err := s.Checkpoint(t.Context())
		var hang *HangingError
		if !errors.As(err, &hang) {
			t.Fatalf("got %v, want a HangingError", err)
		}
		for _, want := range []string{"KAFKA-20734", b.names.state(), "kafka-transactions.sh --bootstrap-server 127.0.0.1:"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not hold %s", err, want)
			}
		}
	}
}

// A commit that was answered may have lost its end as well. After trouble with the
// cluster it is looked for, before an abort could take what is committed back.
func TestAnsweredCommitIsRepaired(t *testing.T) {
	h := newHanging(t)
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.NotCoordinator})
	commit(t, h.s, numbered(testKey, 1, 10))
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownServerError})
	commit(t, h.s, numbered(testKey, 2, 10))
	h.wantRepaired(t, 3)
}
