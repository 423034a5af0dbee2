package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// partition is one of a topic.
type partition struct {
	topic string
	id    int32
}

// page is what one transaction writes: record batches of format 2, whole but for
// who writes them. It is used again for the next transaction.
type page struct {
	attributes protocol.Attributes
	codec      compress.Codec // nil: none
	limit      int            // bytes of a batch
	now        int64          // Unix milliseconds, of all records

	parts []*part // as many as are used, in the order of their first record
	spare []*part
	index map[partition]*part

	packed bytes.Buffer // what was compressed last
}

// part is what goes to one partition: batches, the last of which may be open.
type part struct {
	partition
	batches []batch
	written int   // how many of them are in the transaction
	offset  int64 // of the last of these; -1 where the broker does not tell
}

// batch is one record batch: the size that a request wants in front of it, the
// header, and the records.
type batch struct {
	data    []byte
	records int32
	plain   int // bytes before they were compressed
}

// Where fields of a record batch's header are, behind the four bytes of size
// (https://kafka.apache.org/documentation/#recordbatch).
const (
	sizeBytes   = 4
	atLength    = sizeBytes + 8
	atMagic     = sizeBytes + 16
	atCRC       = sizeBytes + 17
	atAttribute = sizeBytes + 21
	atLastDelta = sizeBytes + 23
	atFirstTime = sizeBytes + 27
	atLastTime  = sizeBytes + 35
	atProducer  = sizeBytes + 43
	atEpoch     = sizeBytes + 51
	atSequence  = sizeBytes + 53
	atCount     = sizeBytes + 57
	headerBytes = sizeBytes + 61
)

// recordRoom is what a record's lengths and the batch around it may take beside
// what it holds, without its headers' lengths.
const recordRoom = headerBytes + 64

// codecs are the compressions by their names in the configuration.
var codecs = map[string]compress.Compression{
	"none": compress.None, "gzip": compress.Gzip, "snappy": compress.Snappy, "lz4": compress.Lz4, "zstd": compress.Zstd,
}

// packer packs with zstd as kafka-go does, in a tenth of the memory: each of that
// one's encoders looks back for 8 MiB, which takes 16, and a batch has 1 MB at most
// as a rule. It is for concurrent use.
var packer = sync.OnceValue(func() *zstd.Encoder {
	// Without a writer, and with options that are always valid, it cannot fail.
	e, _ := zstd.NewWriter(nil, zstd.WithWindowSize(1<<20), zstd.WithEncoderConcurrency(min(4, runtime.GOMAXPROCS(0))))
	return e
})

func newPage(compression string, limit int) (*page, error) {
	c, ok := codecs[compression]
	if !ok {
		return nil, fmt.Errorf("there is no compression %q: use zstd, lz4, snappy, gzip or none", compression)
	}
	p := &page{attributes: protocol.Transactional | protocol.Attributes(c), limit: limit, index: map[partition]*part{}}
	if c != compress.None {
		p.codec = c.Codec()
	}
	return p, nil
}

// reset empties the page. Its memory is used again, so nothing of it may be on
// its way any more.
func (p *page) reset() {
	p.now = time.Now().UnixMilli()
	p.spare = append(p.spare, p.parts...)
	if kept, used := p.memory(); kept > keepBytes && used < kept/4 {
		p.spare, p.packed = nil, bytes.Buffer{}
	}
	p.parts = p.parts[:0]
	clear(p.index)
}

// keepBytes is how large a page's memory may be that is kept, however little of it
// was used.
const keepBytes = 4 << 20

// memory is how many bytes a page keeps, and how many of them its last batches took.
func (p *page) memory() (kept, used int) {
	for _, to := range p.parts {
		for i := range to.batches {
			used += to.batches[i].plain
		}
	}
	for _, to := range p.spare {
		for _, b := range to.batches[:cap(to.batches)] {
			kept += cap(b.data)
		}
	}
	return kept, used
}

// forget gives up the memory of batches that may still be read.
func (p *page) forget() {
	for _, parts := range [][]*part{p.parts, p.spare} {
		for _, to := range parts {
			for i := range to.batches {
				to.batches[i].data = bytes.Clone(to.batches[i].data)
			}
			clear(to.batches[len(to.batches):cap(to.batches)])
		}
	}
}

// partitions are those that the page writes to.
func (p *page) partitions() []partition {
	all := make([]partition, len(p.parts))
	for i, to := range p.parts {
		all[i] = to.partition
	}
	return all
}

// to returns the open batch of a partition with room for a record.
func (p *page) to(at partition, room int) *batch {
	to := p.index[at]
	if to == nil {
		to = new(part)
		if n := len(p.spare); n > 0 {
			to, p.spare = p.spare[n-1], p.spare[:n-1]
		}
		to.partition, to.batches = at, to.batches[:0]
		p.index[at] = to
		p.parts = append(p.parts, to)
	}
	if n := len(to.batches); n == 0 || len(to.batches[n-1].data)+room > p.limit {
		if n < cap(to.batches) { // its memory is used again
			to.batches = to.batches[:n+1]
		} else {
			to.batches = append(to.batches, batch{})
		}
		b := &to.batches[n]
		if cap(b.data) < headerBytes {
			b.data = make([]byte, headerBytes, 16<<10)
		}
		b.data, b.records = b.data[:headerBytes], 0
	}
	return &to.batches[len(to.batches)-1]
}

// event adds an event, in the CloudEvents binding for Kafka, binary mode
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md).
func (p *page) event(at partition, m *topics.Message) {
	headers := 0
	for i := range m.Attributes {
		a := &m.Attributes[i]
		headers += textLen(len(attributePrefix)+len(a.Name)) + textLen(len(a.Value))
	}
	headers += textLen(len(headerContentType)) + textLen(len(events.ContentType))
	room := headers + len(m.Key) + len(m.Data) + recordRoom
	b := p.to(at, room)
	b.begin(len(m.Key), len(m.Data), len(m.Attributes)+1, headers)
	b.data = appendText(b.data, m.Key)
	b.data = binary.AppendVarint(b.data, int64(len(m.Data)))
	b.data = append(b.data, m.Data...)
	b.data = binary.AppendVarint(b.data, int64(len(m.Attributes)+1))
	b.data = appendText(b.data, headerContentType)
	b.data = appendText(b.data, events.ContentType)
	for i := range m.Attributes {
		a := &m.Attributes[i]
		b.data = binary.AppendVarint(b.data, int64(len(attributePrefix)+len(a.Name)))
		b.data = append(append(b.data, attributePrefix...), a.Name...)
		b.data = appendText(b.data, a.Value)
	}
}

// header is one of a record of state.
type header struct{ name, value string }

// state adds a record of state; a nil value deletes its key.
func (p *page) state(at partition, key string, value []byte, headers ...header) {
	size := 0
	for _, h := range headers {
		size += textLen(len(h.name)) + textLen(len(h.value))
	}
	b := p.to(at, size+len(key)+len(value)+recordRoom)
	length := len(value)
	if value == nil {
		length = -1
	}
	b.begin(len(key), length, len(headers), size)
	b.data = appendText(b.data, key)
	b.data = binary.AppendVarint(b.data, int64(length))
	b.data = append(b.data, value...)
	b.data = binary.AppendVarint(b.data, int64(len(headers)))
	for _, h := range headers {
		b.data = appendText(appendText(b.data, h.name), h.value)
	}
}

// begin writes what stands in front of a record: its length, and its place.
func (b *batch) begin(key, value, headers, headerBytes int) {
	size := 1 + 1 + varintLen(int64(b.records)) + textLen(key) + varintLen(int64(value)) + max(value, 0) + varintLen(int64(headers)) + headerBytes
	b.data = binary.AppendVarint(b.data, int64(size))
	b.data = append(b.data, 0, 0) // attributes; the time's distance from the first
	b.data = binary.AppendVarint(b.data, int64(b.records))
	b.records++
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendVarint(dst, int64(len(s))), s...)
}

// textLen is how long a text of n bytes is with its length.
func textLen(n int) int { return varintLen(int64(n)) + n }

func varintLen(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// finish compresses the batches and completes their headers, but for what sign
// adds.
func (p *page) finish() error {
	for _, to := range p.parts {
		for i := range to.batches {
			if err := p.finishBatch(&to.batches[i]); err != nil {
				return fmt.Errorf("compressing a batch for %s/%d: %w", to.topic, to.id, err)
			}
		}
	}
	return nil
}

func (p *page) finishBatch(b *batch) error {
	attributes := p.attributes
	b.plain = len(b.data)
	if p.codec != nil {
		packed, err := p.pack(b.data[headerBytes:])
		if err != nil {
			return err
		}
		if packed == nil {
			attributes &^= 7
		} else {
			b.data = append(b.data[:headerBytes], packed...)
		}
	}
	h := b.data
	clear(h[:headerBytes])
	binary.BigEndian.PutUint32(h, uint32(len(h)-sizeBytes))
	binary.BigEndian.PutUint32(h[atLength:], uint32(len(h)-atLength-4))
	binary.BigEndian.PutUint32(h[atLength+4:], ^uint32(0)) // the leader's epoch: the broker sets it
	h[atMagic] = 2
	binary.BigEndian.PutUint16(h[atAttribute:], uint16(attributes))
	binary.BigEndian.PutUint32(h[atLastDelta:], uint32(b.records-1))
	binary.BigEndian.PutUint64(h[atFirstTime:], uint64(p.now))
	binary.BigEndian.PutUint64(h[atLastTime:], uint64(p.now))
	binary.BigEndian.PutUint32(h[atCount:], uint32(b.records))
	return nil
}

// pack compresses; nil where that makes it no smaller. What it returns is valid
// until the next call.
func (p *page) pack(records []byte) ([]byte, error) {
	out := &p.packed
	out.Reset()
	if p.codec.Code() == int8(compress.Zstd) {
		out.Write(packer().EncodeAll(records, out.AvailableBuffer()))
	} else {
		w := p.codec.NewWriter(out)
		if _, err := w.Write(records); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	if out.Len() >= len(records) {
		return nil, nil
	}
	return out.Bytes(), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sign says who writes a batch, and as the how-manieth record of the epoch it
// begins.
func (b *batch) sign(producer int64, epoch int16, sequence int32) {
	binary.BigEndian.PutUint64(b.data[atProducer:], uint64(producer))
	binary.BigEndian.PutUint16(b.data[atEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b.data[atSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(b.data[atCRC:], crc32.Checksum(b.data[atAttribute:], castagnoli))
}
