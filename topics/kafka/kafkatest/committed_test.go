package kafkatest

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// writer is a transactional producer.
type writer struct {
	*kgo.Client
	t     *testing.T
	topic string
}

func newWriter(t *testing.T, addr, topic string) writer {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(Name(t)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return writer{cl, t, topic}
}

func (w writer) begin() {
	w.t.Helper()
	if err := w.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
}

func (w writer) write(partition int32, value string) {
	w.t.Helper()
	r := &kgo.Record{Topic: w.topic, Partition: partition, Value: []byte(value)}
	if err := w.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w writer) end(commit kgo.TransactionEndTry) {
	w.t.Helper()
	if err := w.EndTransaction(w.t.Context(), commit); err != nil {
		w.t.Fatal(err)
	}
}

// What was aborted or is open is not committed, and what comes behind an open
// transaction in its partition is hidden.
func TestCommitted(t *testing.T) {
	addr := Addr(t)
	topic := Topic(t, addr, 2)
	w := newWriter(t, addr, topic)
	for i, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		w.begin()
		w.write(0, "a"+strconv.Itoa(i))
		w.write(1, "b"+strconv.Itoa(i))
		w.end(commit)
	}
	want(t, Committed(t, addr, topic), "a0", "a2", "1:b0", "1:b2")
	want(t, Written(t, addr, topic), "a0", "a1", "a2", "a3", "1:b0", "1:b1", "1:b2", "1:b3")

	w.begin()
	w.write(1, "b4")
	produce(t, addr, topic, "c", "c", "c", "c") // to both partitions, in turn
	want(t, Committed(t, addr, topic), "a0", "a2", "c", "c", "1:b0", "1:b2")
	w.end(kgo.TryCommit)
	want(t, Committed(t, addr, topic), "a0", "a2", "c", "c", "1:b0", "1:b2", "1:b4", "1:c", "1:c")
}

// The end of a transaction is acknowledged before its markers are written; one
// reads what was acknowledged all the same.
func TestCommittedSeesWhatWasAcknowledged(t *testing.T) {
	addr := Addr(t)
	topic := Topic(t, addr, 4)
	w := newWriter(t, addr, topic)
	for i := range 100 {
		w.begin()
		for p := range int32(4) {
			w.write(p, strconv.Itoa(i))
		}
		w.end(kgo.TryCommit)
		if n := len(Committed(t, addr, topic)); n != 4*(i+1) {
			t.Fatalf("%d records are committed after %d transactions of 4", n, i+1)
		}
	}
}

func TestRecordIsWhole(t *testing.T) {
	addr := Addr(t)
	topic := Topic(t, addr, 1)
	w := newWriter(t, addr, topic)
	w.begin()
	sent := &kgo.Record{Topic: topic, Key: []byte("key"), Headers: []kgo.RecordHeader{
		{Key: "ce_id", Value: []byte("1")}, {Key: "ce_id", Value: []byte("2")},
	}}
	if err := w.ProduceSync(t.Context(), sent).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.end(kgo.TryCommit)
	w.begin()
	w.write(0, "after a marker")
	w.end(kgo.TryCommit)
	got := Committed(t, addr, topic)
	if len(got) != 2 {
		t.Fatalf("got %v", got)
	}
	r := got[0]
	if string(r.Key) != "key" || r.Value != nil || len(r.Headers) != 2 || r.Header("ce_id") != "1" ||
		string(r.Headers[1].Value) != "2" || r.Header("other") != "" || !r.Time.Equal(sent.Timestamp) {
		t.Errorf("got %+v of %+v", r, sent)
	}
	if got[0].Offset != 0 || got[1].Offset != 2 || got[1].Key != nil {
		t.Errorf("got %+v", got)
	}
}

func TestTopicThatIsNotThere(t *testing.T) {
	if _, err := read(Addr(t), Name(t), true); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reading it says %v", err)
	}
}
