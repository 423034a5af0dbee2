package nats

import (
	"fmt"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// page is a commit of a thousand events of about a kilobyte, with all the
// attributes that an event has.
func page(n int) *topics.Commit {
	c := &topics.Commit{ID: fmt.Sprint(n), Checkpoint: []byte(`{"n":1}`), Entries: []topics.Entry{{Name: fmt.Sprint("e", n), Data: make([]byte, 33_000)}}}
	for i := range 998 {
		id := fmt.Sprintf("%032x", n*1000+i)
		c.Messages = append(c.Messages, topics.Message{
			Topic: "message", Connector: "support", Key: "conversation 17", Data: []byte(`{"text":"` + strings.Repeat("x", 990) + `"}`),
			Attributes: []events.Attribute{
				{Name: "specversion", Value: "1.0"}, {Name: "id", Value: id}, {Name: "source", Value: "/netcore/acme/transcripts"},
				{Name: "type", Value: "io.millrace.message.v1"}, {Name: "subject", Value: "conversation 17"},
				{Name: "dataschema", Value: "urn:millrace:message:v1"}, {Name: "partitionkey", Value: "conversation 17"},
				{Name: "recordid", Value: id}, {Name: "recordedtime", Value: "2026-11-20T10:00:00.123456789Z"},
				{Name: "connector", Value: "support"}, {Name: "time", Value: "2026-11-20T09:59:00Z"},
			},
		})
	}
	return c
}

func BenchmarkCommit(b *testing.B) {
	broker, err := Open(b.Context(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Close()
	s, err := broker.Acquire(b.Context(), testKey, "bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Checkpoint(b.Context()); err != nil {
		b.Fatal(err)
	}
	c := page(0)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		c.ID, c.Entries[0].Name = fmt.Sprint(n), fmt.Sprint("e", n)
		if err := s.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n*len(c.Messages))/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRawBatch is the same batch without this package: what the server and
// the client library cost by themselves.
func BenchmarkRawBatch(b *testing.B) {
	broker, err := Open(b.Context(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Close()
	c := page(0)
	headers := make([]natsgo.Header, len(c.Messages))
	for i := range c.Messages {
		headers[i] = natsgo.Header{headerContentType: {events.ContentType}, headerBatchSeq: {fmt.Sprint(i + 1)}}
		for _, a := range c.Messages[i].Attributes {
			headers[i]["ce-"+a.Name] = []string{strings.ReplaceAll(a.Value, " ", "%20")}
		}
	}
	nc := broker.session.nc
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		id := []string{fmt.Sprint("raw", n)}
		for i := range c.Messages {
			headers[i][headerBatchID] = id
			m := &natsgo.Msg{Subject: "millrace.message.support", Header: headers[i], Data: c.Messages[i].Data}
			if i < len(c.Messages)-1 {
				err = nc.PublishMsg(m)
			} else {
				headers[i][headerBatchCommit] = []string{"1"}
				_, err = broker.session.request(b.Context(), m, readWait)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(n*len(c.Messages))/b.Elapsed().Seconds(), "events/s")
}
