package kafkatest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A group has read what is committed and lies before its place; what is aborted
// counts for nothing.
func TestRead(t *testing.T) {
	addr := Addr(t)
	topic, group := Topic(t, addr, 2), Name(t)
	produce(t, addr, topic, "a", "b", "c", "d") // to both partitions, in turn
	Abort(t, addr, topic, 3)
	want(t, Committed(t, addr, topic), "a", "c", "1:b", "1:d")
	if n := len(Written(t, addr, topic)); n != 10 {
		t.Errorf("%d records are written, want 4 and 6 that are aborted", n)
	}
	if n := Read(t, addr, group, topic); n != 0 {
		t.Errorf("a group that is new has read %d", n)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	cl.PollFetches(t.Context())
	for _, test := range []struct {
		at   map[int32]int64
		want int
	}{{map[int32]int64{0: 1}, 1}, {map[int32]int64{1: 2}, 3}, {map[int32]int64{0: 5}, 4}} {
		offsets := map[string]map[int32]kgo.EpochOffset{topic: {}}
		for p, at := range test.at {
			offsets[topic][p] = kgo.EpochOffset{Epoch: -1, Offset: at}
		}
		var failed error
		cl.CommitOffsetsSync(t.Context(), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
			failed = err
		})
		if n := Read(t, addr, group, topic); n != test.want || failed != nil {
			t.Errorf("at %v it has read %d, want %d (%v)", test.at, n, test.want, failed)
		}
	}
}
