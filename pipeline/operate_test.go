package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// A command that waits for its turn does not wait for room: neither where the
// broker turns out to be full meanwhile, nor when it is not wanted any more.
func TestCommandsDoNotWaitForRoom(t *testing.T) {
	for _, full := range []bool{true, false} {
		t.Run(fmt.Sprint(full), func(t *testing.T) {
			h := &hooked{Broker: open(t, t.TempDir())}
			o := options(h)
			o.Once = false
			asked, end := context.WithCancel(t.Context())
			defer end()
			answered := make(chan error, 1)
			var i *pipeline.Ingest
			first := true
			h.commit = func(ctx context.Context, s topics.Stream, c *topics.Commit) error {
				if first { // while the batch is held
					first = false
					go func() {
						_, err := i.Move(asked, pipeline.Move{To: start.Add(-time.Hour), Set: true})
						answered <- err
					}()
					time.Sleep(50 * time.Millisecond) // so that it waits; it would be refused else
				}
				if !full {
					end()
					select {
					case err := <-answered:
						answered <- err
					case <-time.After(5 * time.Second):
					}
					return s.Commit(ctx, c)
				}
				return fmt.Errorf("no room: %w", topics.ErrFull)
			}
			i = pipeline.New(stream(t, spread(12), false), o)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- i.Run(ctx) }()
			want := context.Canceled
			if full {
				want = topics.ErrFull
			}
			select {
			case err := <-answered:
				if !errors.Is(err, want) {
					t.Errorf("it is answered with %v, want %v", err, want)
				}
			case <-time.After(10 * time.Second):
				t.Error("it is not answered")
			}
			cancel()
			<-done
		})
	}
}

// A command that finds no room itself says so, and the stream goes on.
func TestCommandsFindNoRoom(t *testing.T) {
	h := &hooked{Broker: open(t, t.TempDir())}
	o := options(h)
	ingest(t, stream(t, spread(12), false), o)
	o.Once = false
	full := true
	ids := map[string]bool{}
	h.advance = func(ctx context.Context, s topics.Stream, id string, checkpoint []byte) error {
		if ids[id] {
			t.Errorf("the commit id %s comes twice: what had no room may have been written nevertheless", id)
		}
		if ids[id] = true; full {
			return fmt.Errorf("no room: %w", topics.ErrFull)
		}
		return s.Advance(ctx, id, checkpoint)
	}
	err := offline(t, stream(t, spread(12), false), o, func(i *pipeline.Ingest) error {
		answered := make(chan error, 1)
		go func() {
			_, err := i.Move(t.Context(), pipeline.Move{By: time.Minute})
			answered <- err
		}()
		select {
		case err := <-answered:
			if !errors.Is(err, topics.ErrFull) {
				t.Errorf("it is answered with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it is not answered")
		}
		full = false
		_, err := i.Move(t.Context(), pipeline.Move{By: time.Minute})
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
