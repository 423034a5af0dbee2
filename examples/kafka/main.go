// Command kafka reads a millrace topic with nothing but a Kafka client, and
// handles each event once although a consumer group delivers it at least once.
//
// Handling an event is, here, to write it on a line of a file behind its id. The
// line is the work and the memory of it in one, so there is no moment between
// the two. Whoever writes into a database puts the id into the same transaction;
// then several of these may share the topic, too.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// options are what makes a client read a millrace topic well.
var options = []kgo.Opt{
	// A topic that is not there yet is waited for.
	kgo.ConsumeTopics("millrace.message"),
	// The group's place is kept by Kafka while we are away.
	kgo.ConsumerGroup("example"),
	// Not what an aborted transaction has left on the topic.
	kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	// The place moves on when we say so, and no partition goes to another member
	// before that.
	kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
	// So soon the partitions of one that died are given out again.
	kgo.SessionTimeout(10 * time.Second),
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kafka HOST:PORT[,HOST:PORT...] FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := consume(ctx, strings.Split(os.Args[1], ","), os.Args[2]); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func consume(ctx context.Context, brokers []string, path string) error {
	handled, file, err := open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, options...)...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if err := client.Ping(ctx); err != nil {
		return err
	}
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		// The client tries again by itself.
		fetches.EachError(func(topic string, partition int32, err error) { log.Printf("%s/%d: %v", topic, partition, err) })
		for _, r := range fetches.Records() {
			if id := header(r, "ce_id"); !handled[id] {
				if _, err := fmt.Fprintf(file, "%s %s\n", id, oneLine(r.Value)); err != nil {
					return err
				}
				handled[id] = true
			}
		}
		// First on disk, then committed: what is lost in between comes again, and
		// its id is known.
		if err := file.Sync(); err != nil {
			return err
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
			log.Printf("the place of the group is not stored, so what was handled comes again: %v", err)
		}
		client.AllowRebalance()
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
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
