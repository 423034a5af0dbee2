// Command consumer reads a millrace topic with nothing but a NATS client, and
// handles each event once although a broker delivers it at least once.
//
// Handling an event is, here, to write it on a line of a file behind its id. The
// line is the work and the memory of it in one, so there is no moment between
// the two. Whoever writes into a database puts the id into the same transaction.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ackWait is how soon an event that was not acknowledged is delivered again.
var ackWait = 30 * time.Second

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: consumer nats://HOST:PORT FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := consume(ctx, os.Args[1], os.Args[2]); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func consume(ctx context.Context, url, path string) error {
	handled, file, err := open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	// The consumer is durable: the broker keeps its place while we are away.
	consumer, err := js.CreateOrUpdateConsumer(ctx, "MILLRACE", jetstream.ConsumerConfig{
		Durable: "example", FilterSubject: "millrace.message.*", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(100, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		var done []jetstream.Msg
		for m := range batch.Messages() {
			if id := m.Headers().Get("ce-id"); !handled[id] {
				if _, err := fmt.Fprintf(file, "%s %s\n", id, oneLine(m.Data())); err != nil {
					return err
				}
				handled[id] = true
			}
			done = append(done, m)
		}
		if err := batch.Error(); err != nil {
			return err
		}
		// First on disk, then acknowledged: what is lost in between comes again,
		// and its id is known.
		if err := file.Sync(); err != nil {
			return err
		}
		for _, m := range done {
			if err := m.Ack(); err != nil {
				return err
			}
		}
	}
	return nil
}

// oneLine is a JSON object without the line breaks that it may have between its
// members.
func oneLine(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\n"), []byte(" ")) }

// open reads the ids in the file, and cuts off a last line that was not written
// to its end.
func open(path string) (map[string]bool, *os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, nil, err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	handled := map[string]bool{}
	for line := range bytes.Lines(data[:whole]) {
		id, _, _ := bytes.Cut(line, []byte(" "))
		handled[string(id)] = true
	}
	return handled, file, file.Truncate(int64(whole))
}
