package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics"
)

const smsTopic = "millrace.sms"

// TestTailCommitted reads what another client takes for committed.
func TestTailCommitted(t *testing.T) {
	cluster := readCluster(t, 3, []string{"sms", "click"}, kfake.NumBrokers(3))
	interleave(t, cluster.ListenAddrs(), smsTopic, "millrace.click")
	wantCommitted(t, readBroker(t, cluster.ListenAddrs()))
}

// wantCommitted compares what a tail reads with what another client does.
func wantCommitted(t *testing.T, b *Broker) {
	t.Helper()
	want := kgoCommitted(t, b.opts.Brokers, b.names.topic("sms"), b.names.topic("click"))
	got := tailed(t, b, topics.TailOptions{Beginning: true})
	slices.Sort(got) // the order within a partition is that of the offsets, which are shown
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
}

// kgoCommitted is what franz-go reads, sorted.
func kgoCommitted(t *testing.T, addresses []string, names ...string) []string {
	t.Helper()
	c := writer(t, addresses, "", kgo.ConsumeTopics(names...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends := map[string]int64{}
	for _, name := range names {
		request := kmsg.NewPtrListOffsetsRequest()
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for p := range int32(3) {
			partition := kmsg.NewListOffsetsRequestTopicPartition()
			partition.Partition, partition.Timestamp = p, -1
			topic.Partitions = append(topic.Partitions, partition)
		}
		request.Topics = append(request.Topics, topic)
		for _, shard := range c.RequestSharded(t.Context(), request) {
			for _, answer := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
				for _, p := range answer.Partitions {
					if p.Offset > 0 {
						ends[fmt.Sprintf("%s/%d", name, p.Partition)] = p.Offset
					}
				}
			}
		}
	}
	var got []string
	for len(ends) > 0 {
		ctx, cancel := context.WithTimeout(t.Context(), readPatience)
		fetches := c.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				got = append(got, fmt.Sprintf("%s/%d@%d=%s", r.Topic, r.Partition, r.Offset, r.Value))
			}
			if at := fmt.Sprintf("%s/%d", r.Topic, r.Partition); r.Offset+1 >= ends[at] {
				delete(ends, at)
			}
		})
	}
	slices.Sort(got)
	return got
}

func TestTailOrderWithinAPartition(t *testing.T) {
	cluster := readCluster(t, 2, []string{"sms"}, kfake.NumBrokers(2))
	w := writer(t, cluster.ListenAddrs(), "w")
	for range 5 {
		beginTx(t, w)
		write(t, w, smsTopic, 0, "a", "b")
		write(t, w, smsTopic, 1, "c")
		endTx(t, w, kgo.TryCommit)
	}
	last := map[string]uint64{}
	ctx, cancel := context.WithTimeout(t.Context(), readPatience)
	defer cancel()
	err := readBroker(t, cluster.ListenAddrs()).Tail(ctx, topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
		part := map[string]string{"a": "0", "b": "0", "c": "1"}[string(r.Data)]
		if before, ok := last[part]; ok && r.Sequence <= before {
			t.Errorf("partition %s: %d after %d", part, r.Sequence, before)
		}
		last[part] = r.Sequence
		return nil
	})
	if err != nil || len(last) != 2 {
		t.Errorf("read %v, %v", last, err)
	}
}

// TestTailStopWaits ends only when what was open at the call is decided, and
// reads nothing that came after the call.
func TestTailStopWaits(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	b := readBroker(t, cluster.ListenAddrs())
	open, other := writer(t, cluster.ListenAddrs(), "open"), writer(t, cluster.ListenAddrs(), "other")
	beginTx(t, open)
	write(t, open, smsTopic, 0, "1", "2")
	beginTx(t, other)
	write(t, other, smsTopic, 0, "3")
	endTx(t, other, kgo.TryCommit)
	fetched := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Observe: true})
	defer fetched.Remove()
	var end sync.WaitGroup
	defer end.Wait()
	end.Go(func() {
		_ = fetched.Wait(context.Background(), 2)
		beginTx(t, other)
		write(t, other, smsTopic, 0, "too late")
		endTx(t, other, kgo.TryCommit)
		endTx(t, open, kgo.TryCommit)
	})
	want := []string{smsTopic + "/0@0=1", smsTopic + "/0@1=2", smsTopic + "/0@2=3"}
	if got := tailed(t, b, topics.TailOptions{Beginning: true}); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

// TestTailStopGivesUp ends with what is decided where a transaction hangs.
func TestTailStopGivesUp(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms", "click"})
	b := readBroker(t, cluster.ListenAddrs(), func(o *Options) { o.TransactionTimeout = time.Second - endGrace })
	plain, open := writer(t, cluster.ListenAddrs(), ""), writer(t, cluster.ListenAddrs(), "open")
	write(t, plain, smsTopic, 0, "1")
	beginTx(t, open)
	write(t, open, smsTopic, 0, "2")
	write(t, open, "millrace.click", 0, "2")
	defer endTx(t, open, kgo.TryAbort)
	if got := tailed(t, b, topics.TailOptions{Beginning: true}); !slices.Equal(got, []string{smsTopic + "/0@0=1"}) {
		t.Errorf("read %q", got)
	}
}

// TestTailReadyWaits is ready only when all that was written before is decided:
// what commits after Ready is read, what committed before is not.
func TestTailReadyWaits(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	b := readBroker(t, cluster.ListenAddrs())
	open := writer(t, cluster.ListenAddrs(), "open")
	beginTx(t, open)
	write(t, open, smsTopic, 0, "before")
	asked := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Count: -1, Observe: true})
	defer asked.Remove()
	var end sync.WaitGroup
	end.Go(func() {
		_ = asked.Wait(context.Background(), 4) // the end, and more than once how far all is decided
		endTx(t, open, kgo.TryCommit)
	})
	values := live(t, b, topics.TailOptions{})
	if asked.Hits() < 4 {
		t.Errorf("it was ready after %d looks", asked.Hits())
	}
	end.Wait()
	beginTx(t, open)
	write(t, open, smsTopic, 0, "after")
	endTx(t, open, kgo.TryCommit)
	if got := next(t, values); got != smsTopic+"@2=after" {
		t.Errorf("read %q", got)
	}
}

func TestTailFromATime(t *testing.T) {
	cluster := readCluster(t, 2, []string{"sms"})
	c := writer(t, cluster.ListenAddrs(), "")
	at := time.UnixMilli(1_700_000_000_000)
	for i := range 6 {
		r := &kgo.Record{Topic: smsTopic, Partition: int32(i % 2), Value: fmt.Append(nil, i), Timestamp: at.Add(time.Duration(i) * time.Second)}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	b := readBroker(t, cluster.ListenAddrs())
	for from, want := range map[int][]string{
		-3: {"0", "1", "2", "3", "4", "5"}, 3: {"3", "4", "5"}, 5: {"5"}, 6: nil,
	} {
		var got []string
		for _, line := range tailed(t, b, topics.TailOptions{From: at.Add(time.Duration(from) * time.Second)}) {
			got = append(got, line[strings.Index(line, "=")+1:])
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("from second %d: %q, want %q", from, got, want)
		}
	}
}

func TestTailFollowsNewTopicsAndPartitions(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	b := readBroker(t, cluster.ListenAddrs())
	c := writer(t, cluster.ListenAddrs(), "")
	write(t, c, smsTopic, 0, "old")
	if got := tailed(t, b, topics.TailOptions{Topics: []string{"click"}, Beginning: true}); got != nil {
		t.Errorf("a topic that is not there holds %q", got)
	}
	values := live(t, b, topics.TailOptions{Topics: []string{"sms", "click"}})
	if err := cluster.CreateTopic("millrace.click", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, c, "millrace.click", 0, "first")
	if got := next(t, values); got != "millrace.click@0=first" {
		t.Errorf("read %q", got)
	}
	request := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = smsTopic, 2
	request.Topics, request.TimeoutMillis = append(request.Topics, topic), 1000
	answer, err := request.RequestWith(t.Context(), c)
	if err != nil || answer.Topics[0].ErrorCode != 0 {
		t.Fatalf("%v, %+v", err, answer)
	}
	c2 := writer(t, cluster.ListenAddrs(), "")
	write(t, c2, smsTopic, 1, "second")
	if got := next(t, values); got != smsTopic+"@0=second" {
		t.Errorf("read %q", got)
	}
}

// TestTailGoesOnAtWhatIsLeft reads on behind what retention took.
func TestTailGoesOnAtWhatIsLeft(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	var log logged
	b := readBroker(t, cluster.ListenAddrs(), func(o *Options) { o.Logger = log.logger() })
	c := writer(t, cluster.ListenAddrs(), "")
	write(t, c, smsTopic, 0, "0")
	values := live(t, b, topics.TailOptions{Beginning: true})
	if got := next(t, values); got != smsTopic+"@0=0" {
		t.Fatalf("read %q", got)
	}
	// While requests are refused the tail falls behind.
	behind := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Err: kerr.NotLeaderForPartition})
	if err := behind.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	write(t, c, smsTopic, 0, "1", "2")
	write(t, c, smsTopic, 0, "3")
	if err := cluster.DeleteRecords(smsTopic, 0, 3); err != nil {
		t.Fatal(err)
	}
	behind.Remove()
	if got := next(t, values); got != smsTopic+"@3=3" {
		t.Errorf("read %q", got)
	}
	if !log.has("deleted before they were read") {
		t.Errorf("nothing is said of it: %q", log.lines)
	}
}

// TestTailFollowsLeaders reads everything once while partitions move and
// connections break.
func TestTailFollowsLeaders(t *testing.T) {
	cluster := readCluster(t, 4, []string{"sms"}, kfake.NumBrokers(3))
	b := readBroker(t, cluster.ListenAddrs())
	c := writer(t, cluster.ListenAddrs(), "tx")
	values := live(t, b, topics.TailOptions{})
	for round := range 4 {
		beginTx(t, c)
		for p := range int32(4) {
			write(t, c, smsTopic, p, fmt.Sprint(round))
		}
		endTx(t, c, kgo.TryCommit)
		got := map[string]int{}
		for range 4 {
			_, value, _ := strings.Cut(next(t, values), "=")
			got[value]++
		}
		if got[fmt.Sprint(round)] != 4 {
			t.Errorf("round %d: %v", round, got)
		}
		cluster.ShufflePartitionLeaders()
		if round == 1 { // the next answers die with their connections
			lost := 0
			cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				lost++
				return nil, errors.New("cut"), lost <= 3
			})
		}
	}
}

func TestTailEndsAtOnce(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	b := readBroker(t, cluster.ListenAddrs())
	fetched := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Observe: true})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- b.Tail(ctx, topics.TailOptions{}, func(topics.Received) error { return nil })
	}()
	if err := fetched.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(at) > readWait/2 {
		t.Errorf("ended with %v after %v", err, time.Since(at))
	}
	go func() {
		ended <- b.Tail(t.Context(), topics.TailOptions{}, func(topics.Received) error { return nil })
	}()
	if err := fetched.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := <-ended; !errors.Is(err, errClosed) {
		t.Errorf("ended with %v", err)
	}
}

func TestTailRefused(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	b := readBroker(t, cluster.ListenAddrs())
	write(t, writer(t, cluster.ListenAddrs(), ""), smsTopic, 0, "1")
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Err: kerr.TopicAuthorizationFailed})
	err := b.Tail(t.Context(), topics.TailOptions{Beginning: true}, func(topics.Received) error { return nil })
	if err == nil || !strings.Contains(err.Error(), smsTopic) || again(err) {
		t.Errorf("ended with %v", err)
	}
}

// TestTailMessage reads every part of a message.
func TestTailMessage(t *testing.T) {
	cluster := readCluster(t, 1, []string{"sms"})
	c := writer(t, cluster.ListenAddrs(), "")
	at := time.UnixMilli(1_700_000_000_123)
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	for _, id := range []string{"1", "2"} {
		r := &kgo.Record{Topic: smsTopic, Key: []byte("customer"), Value: []byte(`{"a":` + id + `}`), Timestamp: at, Headers: []kgo.RecordHeader{
			header("ce_specversion", "1.0"), header("content-type", "application/json"), header("ce_id", id), header("ce_subject", "é%20\""),
			header("ce_connector", "support"),
		}}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := readBroker(t, cluster.ListenAddrs()).Tail(t.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
		if !r.Stored.Equal(at) || r.Stored.Location() != time.UTC {
			t.Errorf("stored %v", r.Stored)
		}
		got = append(got, fmt.Sprintln(r.Topic, r.Connector, r.Key, r.Attributes, string(r.Data), r.FullTopic, r.Sequence))
		return nil
	})
	want := "sms support customer [{specversion 1.0} {id 1} {subject é%20\"} {connector support}] {\"a\":1} millrace.sms 0\n"
	if err != nil || !slices.Equal(got, []string{want, strings.NewReplacer("id 1", "id 2", `:1`, `:2`, "sms 0", "sms 1").Replace(want)}) {
		t.Errorf("%v: read %s", err, got)
	}
}

// TestTailLargeRecords reads records that are larger than what is asked for, on
// several partitions.
func TestTailLargeRecords(t *testing.T) {
	cluster := readCluster(t, 3, []string{"sms"}, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "9000000"}))
	c := writer(t, cluster.ListenAddrs(), "", kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(8<<20))
	want := 0
	for p := range int32(3) {
		for i := range 3 {
			value := bytes.Repeat([]byte{byte('a' + i)}, 3<<20)
			if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: smsTopic, Partition: p, Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			want++
		}
	}
	if got := tailed(t, readBroker(t, cluster.ListenAddrs()), topics.TailOptions{Beginning: true}); len(got) != want {
		t.Errorf("%d records, want %d", len(got), want)
	}
}
