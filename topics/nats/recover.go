package nats

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-io/millrace/topics"
)

// room returns an error that is [topics.ErrFull] when the embedded server's disk
// has no room for size more bytes. The disk must never fill while a batch is
// written: JetStream would store its beginning and show it. A batch is written
// twice, staged and in the store, and the store's own files come on top.
func (b *Broker) room(size int64) error {
	free, err := b.opts.free(b.opts.Dir)
	if err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", b.opts.Dir, err)
	}
	if needed := 3*size + b.opts.Reserve; free < needed {
		return fmt.Errorf("%w: %s has %d MiB free, %d MiB are needed: free some space there, or shorten topics.retention", topics.ErrFull, b.opts.Dir, free>>20, (needed+1<<20-1)>>20)
	}
	return nil
}

// restart replaces a session of the embedded server that may have stored half a
// batch (nil: the one that could not be started): it shuts the server down,
// starts it again, which completes what the server can complete, and removes
// what is left of a torn batch. The next one to use the broker tries again
// where it fails.
func (b *Broker) restart(ctx context.Context, bad *session) error {
	if b.embedded == nil {
		return errors.New("the session is gone")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session != bad {
		return nil // another has done it
	}
	if b.ctx.Err() != nil {
		return errClosed
	}
	// A repair writes too: without room it would fail, or fill the disk again.
	if err := b.room(0); err != nil {
		return err
	}
	if bad != nil {
		bad.close()
		b.session = nil
	}
	s, err := b.serveEmbedded(ctx)
	if err != nil {
		return fmt.Errorf("restart the embedded NATS server: %w", err)
	}
	b.session = s
	return nil
}
