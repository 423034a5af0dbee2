// Command watermill reads a millrace topic with one Watermill handler, from NATS
// or from Kafka: events are the same on both. It prints one line for each, or
// writes it to a file.
//
// Handling an event is, here, to write that line, which holds its id. In a file
// the line is the work and the memory of it in one, so each event is handled once
// although a broker delivers it at least once; what is printed only is remembered
// until the program ends.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/examples/router"
)

// options say who reads.
var options = router.Reader("example-watermill")

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: watermill nats://HOST:PORT|kafka://HOST:PORT[,HOST:PORT...] TYPE [FILE]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, stop, os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, stop func(), url, eventType string, file []string) error {
	w := &writer{out: os.Stdout, written: map[string]bool{}, stop: stop}
	if len(file) > 0 {
		var err error
		if w.written, w.out, err = open(file[0]); err != nil {
			return err
		}
		defer w.out.Close()
		w.sync = w.out.Sync
	}
	// It ends with ctx, when what is being handled is written and acknowledged.
	err := router.Run(ctx, url, options, []string{eventType}, w.handle)
	return errors.Join(err, w.err)
}

// writer writes events, each once.
type writer struct {
	mu      sync.Mutex // Kafka's partitions are handled side by side
	out     *os.File
	sync    func() error // nil for what is no file
	written map[string]bool
	err     error
	stop    func() // ends the program
}

// handle has an event acknowledged when it returns nil. That it did not return,
// or returned an error, makes the event come again, and its id is known then.
func (w *writer) handle(m *message.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := m.Metadata["ce_id"]
	if w.err != nil || w.written[id] {
		return w.err
	}
	// Line breaks between the members of a JSON object are white space.
	payload := bytes.ReplaceAll(m.Payload, []byte("\n"), []byte(" "))
	_, err := fmt.Fprintf(w.out, "%s %s %s\n", m.Metadata["ce_type"], id, payload)
	if err == nil && w.sync != nil {
		err = w.sync()
	}
	if err != nil {
		// The line may be there in part: the next start cuts it off.
		w.err = err
		w.stop()
		return err
	}
	w.written[id] = true
	return nil
}

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
	written := map[string]bool{}
	for line := range bytes.Lines(data[:whole]) {
		if words := bytes.Fields(line); len(words) > 1 {
			written[string(words[1])] = true
		}
	}
	return written, file, file.Truncate(int64(whole))
}
