package kafka

import (
	"context"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics"
)

// TestTailEmptiedBatches reads what a cleaner left, which this cluster cannot
// make: batches whose last records are gone, and empty ones.
func TestTailEmptiedBatches(t *testing.T) {
	type batch struct{ base, last, records int }
	for name, test := range map[string]struct {
		batches []batch
		from    int64
		want    string
	}{
		"the last records of a batch are gone": {[]batch{{0, 9, 3}, {10, 11, 2}}, 0, "[0 1 2 10 11]"},
		"of the last batch":                    {[]batch{{0, 1, 2}, {2, 9, 1}}, 0, "[0 1 2]"},
		"an empty batch":                       {[]batch{{0, 4, 0}, {5, 5, 1}}, 0, "[5]"},
		"nothing but an empty batch":           {[]batch{{0, 4, 0}}, 0, "[]"},
		"nothing at all":                       {nil, 0, "[]"},
		"a batch that is not there any more":   {[]batch{{0, 1, 2}, {8, 9, 2}}, 0, "[0 1 8 9]"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := readCluster(t, 1, []string{"sms"})
			end := 12
			if n := len(test.batches); n > 0 {
				end = test.batches[n-1].last + 1
			}
			plain := writer(t, cluster.ListenAddrs(), "")
			for range end { // so that the cluster knows the offsets
				write(t, plain, smsTopic, 0, "x")
			}
			cluster.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				asked := request.(*kmsg.FetchRequest).Topics[0].Partitions[0]
				answer := request.ResponseKind().(*kmsg.FetchResponse)
				topic := kmsg.NewFetchResponseTopic()
				topic.Topic = smsTopic
				p := kmsg.NewFetchResponseTopicPartition()
				p.HighWatermark, p.LastStableOffset, p.RecordBatches = int64(end), int64(end), []byte{}
				room := int(asked.PartitionMaxBytes) / 1000 // little room, so that a batch comes alone at first
				for _, b := range test.batches {
					if int64(b.last) < asked.FetchOffset || room < readPart/1000 {
						continue
					}
					p.RecordBatches = append(p.RecordBatches, emptied(b.base, b.last, b.records)...)
					room -= readPart / 1000
				}
				topic.Partitions = append(topic.Partitions, p)
				answer.Topics = append(answer.Topics, topic)
				return answer, nil, true
			})
			got := []uint64{}
			ctx, cancel := context.WithTimeout(t.Context(), readPatience)
			defer cancel()
			err := readBroker(t, cluster.ListenAddrs()).Tail(ctx, topics.TailOptions{Beginning: true, Stop: true}, func(r topics.Received) error {
				got = append(got, r.Sequence)
				return nil
			})
			if err != nil || fmt.Sprint(got) != test.want {
				t.Errorf("read %v, want %v: %v", got, test.want, err)
			}
		})
	}
}

// emptied is a batch that held records for the offsets from base to last, of
// which the first few are left.
func emptied(base, last, records int) []byte {
	var body []byte
	for i := range records {
		r := kmsg.Record{OffsetDelta: int32(i), Value: []byte("x")}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		body = r.AppendTo(body)
	}
	b := kmsg.RecordBatch{
		FirstOffset: int64(base), PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(last - base),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(records), Records: body,
	}
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - 12)
	raw = b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}
