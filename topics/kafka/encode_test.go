package kafka

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// decoded reads batches as kafka-go reads them, which checks their sums.
func decoded(t *testing.T, p *page) map[partition][]string {
	t.Helper()
	all := map[partition][]string{}
	for _, to := range p.parts {
		sequence := int32(0)
		for i := range to.batches {
			b := &to.batches[i]
			b.sign(77, 5, sequence)
			if len(b.data)-sizeBytes > p.limit {
				t.Errorf("a batch of %d bytes, where %d are the limit", len(b.data), p.limit)
			}
			var set protocol.RecordSet
			if _, err := set.ReadFrom(bytes.NewReader(b.data)); err != nil {
				t.Fatalf("%s/%d: %v", to.topic, to.id, err)
			}
			for _, r := range set.Records.(*protocol.RecordStream).Records {
				batch := r.(*protocol.RecordBatch)
				if batch.ProducerID != 77 || batch.ProducerEpoch != 5 || batch.BaseSequence != sequence || !batch.Attributes.Transactional() {
					t.Errorf("a batch of producer %d epoch %d sequence %d", batch.ProducerID, batch.ProducerEpoch, batch.BaseSequence)
				}
				all[to.partition] = append(all[to.partition], records(t, batch)...)
			}
			sequence += b.records
		}
	}
	return all
}

func records(t *testing.T, b *protocol.RecordBatch) (all []string) {
	t.Helper()
	for {
		r, err := b.ReadRecord()
		if err != nil {
			return all
		}
		text := "deleted"
		key, _ := protocol.ReadAll(r.Key)
		if r.Value != nil {
			value, _ := protocol.ReadAll(r.Value)
			text = string(value)
		}
		all = append(all, fmt.Sprintf("%s=%s %q", key, text, r.Headers))
	}
}

func TestEncode(t *testing.T) {
	for name := range codecs {
		t.Run(name, func(t *testing.T) {
			p, err := newPage(name, 10_000)
			if err != nil {
				t.Fatal(err)
			}
			for round := range 3 { // the memory is used again
				p.reset()
				want := map[partition][]string{}
				for i := range 300 {
					at := partition{"events", int32(i % 3)}
					m := topics.Message{Key: strings.Repeat("k", i%140), Data: fmt.Appendf(nil, `{"n":%d,"round":%d}`, i, round),
						Attributes: []events.Attribute{{Name: "id", Value: fmt.Sprint(i)}, {Name: "subject", Value: strings.Repeat("Ž", i%90)}}}
					p.event(at, &m)
					headers := []protocol.Header{{Key: "content-type", Value: []byte("application/json")}, {Key: "ce_id", Value: []byte(fmt.Sprint(i))}, {Key: "ce_subject", Value: []byte(m.Attributes[1].Value)}}
					want[at] = append(want[at], fmt.Sprintf("%s=%s %q", m.Key, m.Data, headers))
				}
				home := partition{"state", 0}
				p.state(home, "gone", nil)
				p.state(home, "checkpoint", []byte("c"), header{"h", "v"})
				want[home] = []string{`gone=deleted []`, fmt.Sprintf("checkpoint=c %q", []protocol.Header{{Key: "h", Value: []byte("v")}})}
				if err := p.finish(); err != nil {
					t.Fatal(err)
				}
				got := decoded(t, p)
				for at, records := range want {
					if !slices.Equal(got[at], records) {
						t.Fatalf("round %d: %v holds %.300q, want %.300q", round, at, got[at], records)
					}
				}
			}
		})
	}
}

// What does not get smaller is sent as it is: a limit on what is written is one
// on what was packed too.
func TestEncodeOfNoise(t *testing.T) {
	p, err := newPage("zstd", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	p.reset()
	p.state(partition{"state", 0}, "a", []byte("b"))
	if err := p.finish(); err != nil {
		t.Fatal(err)
	}
	if got := decoded(t, p); len(got) != 1 {
		t.Errorf("read %q", got)
	}
	if n := len(p.parts[0].batches[0].data); n > headerBytes+20 {
		t.Errorf("a record of two bytes takes %d", n)
	}
}

// A key lies where the Java client puts it (values of its own tests).
func TestPartitionOf(t *testing.T) {
	for key, want := range map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "abc": 479470107} {
		const partitions = 1000
		if got := partitionOf([]byte(key), upTo(partitions)); got != (want&0x7fffffff)%partitions {
			t.Errorf("%s lies in %d", key, got)
		}
	}
	if got := statePartition(events.StreamKey{Vendor: "feedyou", Account: "acme", Stream: "integrationLog"}); got != 7 {
		t.Errorf("the state of a stream has moved to partition %d", got)
	}
}

// A page keeps the memory of large commits as long as there are such, however small
// they are when they are compressed.
func TestPageKeepsItsMemory(t *testing.T) {
	p, err := newPage("zstd", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	// fill returns the memory that the page has then.
	fill := func(messages int) (kept map[*byte]int) {
		p.reset()
		for i := range messages {
			p.event(partition{"topic", int32(i % 6)}, &topics.Message{Key: "key", Data: bytes.Repeat([]byte("again "), 1000)})
		}
		if err := p.finish(); err != nil {
			t.Fatal(err)
		}
		kept = map[*byte]int{}
		for _, to := range slices.Concat(p.parts, p.spare) {
			for _, b := range to.batches[:cap(to.batches)] {
				kept[unsafe.SliceData(b.data)] = cap(b.data)
			}
		}
		return kept
	}
	const large = 2 * keepBytes / 6000
	if first, second := fill(large), fill(large); !maps.Equal(first, second) {
		t.Errorf("a second large page has other memory than the first: %v and %v", first, second)
	}
	fill(1)
	left := 0
	for _, size := range fill(1) {
		left += size
	}
	if left > keepBytes {
		t.Errorf("%d bytes are kept for small pages", left)
	}
}
