package kafka

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics"
)

// behind reads a topic from a broker that does not know yet that it leads no
// more: it gives nothing from an offset on, for some requests.
type behind struct {
	kafkago.RoundTripper
	topic string

	mu   sync.Mutex
	end  int64
	left int // how often the end is still told wrong; negative: always
}

// stand has the broker fall behind from now on.
func (b *behind) stand(end int64, times int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end, b.left = end, times
}

func (b *behind) RoundTrip(ctx context.Context, addr net.Addr, r kafkago.Request) (kafkago.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(ctx, addr, r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil || b.left == 0 {
		return answer, err
	}
	switch answer := answer.(type) {
	case *listoffsets.Response:
		if answer.Topics[0].Topic == b.topic && answer.Topics[0].Partitions[0].Offset > b.end {
			answer.Topics[0].Partitions[0].Offset = b.end
			b.left--
		}
	case *fetch.Response:
		for _, t := range answer.Topics {
			for i := range t.Partitions {
				if stream, ok := t.Partitions[i].RecordSet.Records.(*protocol.RecordStream); ok && t.Topic == b.topic {
					stream.Records = b.before(stream.Records)
				}
			}
		}
	}
	return answer, err
}

func (b *behind) before(batches []protocol.RecordReader) (kept []protocol.RecordReader) {
	for _, batch := range batches {
		switch one := batch.(type) {
		case *protocol.ControlBatch:
			if one.BaseOffset < b.end {
				kept = append(kept, batch)
			}
		case *protocol.RecordBatch:
			if one.BaseOffset < b.end {
				kept = append(kept, batch)
			}
		}
	}
	return kept
}

// openBehind opens a broker whose reads of state can fall behind.
func openBehind(t *testing.T, opts Options) (*Broker, *behind) {
	t.Helper()
	b := open(t, opts)
	late := &behind{RoundTripper: b.client.trip, topic: b.names.state()}
	b.client.trip = late
	return b, late
}

// What was committed is not committed again when it cannot be seen yet.
func TestCommitIsNotSeenYet(t *testing.T) {
	h := newHanging(t)
	h.f.lost = nil
	late := &behind{RoundTripper: h.b.client.trip, topic: h.b.names.state()}
	h.b.client.trip = late
	late.stand(h.s.state.next, 3)
	h.end(true)
	commit(t, h.s, numbered(testKey, 1, 10))
	commit(t, h.s, numbered(testKey, 2, 10))
	if late.left != 0 {
		t.Errorf("its end was not told wrong %d times", late.left)
	}
	judge(t, h.b.names.prefix, h.cluster.ListenAddrs()[0], result{key: testKey, commits: 3, size: 10})
}

// overtaken commits two pages, and returns where the state ended after the first.
func overtaken(t *testing.T) (opts Options, old int64) {
	t.Helper()
	opts = Options{Brokers: fake(t, kfake.NumBrokers(1)).ListenAddrs(), session: fakeSession}
	s := begin(t, open(t, opts), testKey, "a")
	commit(t, s, numbered(testKey, 0, 10))
	if _, err := s.Entries(t.Context()); err != nil {
		t.Fatal(err)
	}
	old = s.state.next
	commit(t, s, numbered(testKey, 1, 10))
	s.Release()
	return opts, old
}

// Whoever takes a stream and is shown an old checkpoint commits nothing from there.
func TestOldCheckpointIsShown(t *testing.T) {
	opts, old := overtaken(t)
	b, late := openBehind(t, opts)
	late.stand(old, 2) // before and after the stream is taken
	s := begin(t, b, testKey, "b")
	if text := string(s.state.checkpoint.data); text != "0" {
		t.Fatalf("the checkpoint is %s, want the old one", text)
	}
	if err := s.Commit(t.Context(), numbered(testKey, 1, 10)); !errors.Is(err, topics.ErrFenced) {
		t.Errorf("what is built on an old checkpoint was committed: %v", err)
	}
	s.Release()
	s = begin(t, b, testKey, "c")
	commit(t, s, numbered(testKey, 2, 10))
	judge(t, b.names.prefix, opts.Brokers[0], result{key: testKey, commits: 3, size: 10})
}

// unplaced answers what was written as a duplicate, of which nobody knows any more
// where it lies.
type unplaced struct {
	kafkago.RoundTripper
	written int    // requests
	enough  func() // called when the second is answered
}

func (u *unplaced) RoundTrip(ctx context.Context, addr net.Addr, r kafkago.Request) (kafkago.Response, error) {
	answer, err := u.RoundTripper.RoundTrip(ctx, addr, r)
	if written, ok := answer.(*produce.Response); ok && err == nil {
		if u.written++; u.written == 2 {
			u.enough()
		}
		for _, t := range written.Topics {
			for i := range t.Partitions {
				t.Partitions[i].ErrorCode, t.Partitions[i].BaseOffset = int16(kafkago.DuplicateSequenceNumber), -1
			}
		}
	}
	return answer, err
}

// Where nobody tells where the state was written to, an old checkpoint is not found
// out, and nothing is committed.
func TestOldCheckpointAndNoPlace(t *testing.T) {
	opts, old := overtaken(t)
	b, late := openBehind(t, opts)
	late.stand(old, -1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.client.trip = &unplaced{RoundTripper: late, enough: cancel}
	s := begin(t, b, testKey, "b")
	// One commit writes one request, so the second is another attempt.
	state := &topics.Commit{ID: "1", Checkpoint: []byte("1")}
	if err := s.Commit(ctx, state); !errors.Is(err, context.Canceled) {
		t.Errorf("what is built on an old checkpoint was committed: %v", err)
	}
}

// A place is not given up because a broker that leads no more does not have it.
func TestPlaceIsNotThereYet(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	b := readBroker(t, cluster.ListenAddrs())
	late := &behind{RoundTripper: b.client.trip, topic: smsTopic}
	b.client.trip = late
	c := writer(t, cluster.ListenAddrs(), "")
	write(t, c, smsTopic, 0, "0", "1", "2")
	ctx, cancel := context.WithTimeout(t.Context(), readPatience)
	defer cancel()
	r := newReader(ctx, b.client, b.log)
	defer r.close()
	r.add(partition{smsTopic, 0}, 0)
	var got []string
	read := func(n int) {
		for len(got) < n {
			err := r.read(func(_ *cursor, rec *record) error {
				got = append(got, string(rec.value))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	read(3)
	late.stand(1, 1)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.OffsetOutOfRange})
	write(t, c, smsTopic, 0, "3")
	read(4)
	if got[3] != "3" {
		t.Errorf("read %q", got)
	}
}

// A topic that was made anew is read from its start.
func TestTopicIsMadeAnew(t *testing.T) {
	t.Parallel()
	cluster := fake(t, kfake.NumBrokers(1))
	makeTopic := func() {
		if err := cluster.CreateTopic(smsTopic, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	makeTopic()
	c := writer(t, cluster.ListenAddrs(), "")
	write(t, c, smsTopic, 0, "0", "1", "2")
	messages := subscribed(t, t.Context(), newSubscriber(t, Options{Brokers: cluster.ListenAddrs()}, shortly("")), smsTopic)
	for range 3 {
		received(t, messages).Ack()
	}
	deleteTopics(t, cluster.ListenAddrs()[0], smsTopic)
	makeTopic()
	write(t, writer(t, cluster.ListenAddrs(), ""), smsTopic, 0, "anew")
	m := received(t, messages)
	if string(m.Payload) != "anew" {
		t.Errorf("read %q", m.Payload)
	}
	m.Ack()
}
