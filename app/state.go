package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// StateStream is one stream whose state was exported or imported.
type StateStream struct {
	Connector string    `json:"connector,omitempty"` // "" where the configuration has none that reads it
	Stream    string    `json:"stream"`
	Cursor    time.Time `json:"cursor,omitzero"` // everything before it was read
	Entries   int       `json:"entries"`         // of the ledger
	// Result is, of an import, what was done: one of the words below.
	Result string `json:"result,omitempty"`
}

// What an import does with a stream.
const (
	StateImported = "imported"
	StateReplaced = "replaced"         // what the broker knew of it is forgotten
	StateKnown    = "imported already" // from this very file; it is left alone
)

// WriteStates writes a table.
func WriteStates(w io.Writer, all []StateStream) error {
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "STREAM\tCURSOR\tENTRIES\tRESULT")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", shortName(s.Connector, s.Stream), when(s.Cursor), s.Entries, s.Result)
	}
	return t.Flush()
}

// heldStream is a stream that this process holds, so that nobody else writes its
// state.
type heldStream struct {
	topics.Stream
	key events.StreamKey
}

// holders is how many streams are taken at a time: on some brokers each takes a
// while.
const holders = 8

// holdAll takes streams that no service has, until release. Why says what a service
// that goes on would do.
func (o *operator) holdAll(ctx context.Context, keys []events.StreamKey, why string) (held []heldStream, release func(), err error) {
	if err := o.noService(ctx, keys, why); err != nil {
		return nil, nil, err
	}
	owner := newOwner()
	held = make([]heldStream, len(keys))
	release = func() {
		for _, s := range held {
			if s.Stream != nil {
				s.Release()
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(holders)
	for n, key := range keys {
		group.Go(func() error {
			s, err := o.hold(ctx, key, owner, why)
			if err == nil {
				held[n] = heldStream{s, key}
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		release()
		return nil, nil, err
	}
	return held, release, nil
}

func (o *operator) hold(ctx context.Context, key events.StreamKey, owner, why string) (topics.Stream, error) {
	waiting, cancel := context.WithTimeout(ctx, holdWait)
	defer cancel()
	holder := ""
	s, err := o.broker.Acquire(waiting, key, owner, func(other string) { holder = other })
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() == nil && holder != "":
		return nil, &answeredError{fmt.Sprintf("%s is held by %s: %s", o.name(key), holder, why), ExitOurs}
	}
	return nil, fmt.Errorf("taking %s: %w", o.name(key), err)
}

// noService wants no service that reads one of the streams, or waits for it.
func (o *operator) noService(ctx context.Context, keys []events.StreamKey, why string) error {
	if offline(o.broker) {
		return nil
	}
	if !o.foreign() { // the directory is in another process's hands
		return &answeredError{fmt.Sprintf("a service runs on the directory %s: %s", o.file.Broker.NATS.Dir, why), ExitOurs}
	}
	question, _ := json.Marshal(request{Ask: askStatus})
	replies, err := o.broker.Ask(ctx, question)
	if err != nil {
		return err
	}
	for _, reply := range replies {
		var a answer
		if err := json.Unmarshal(reply, &a); err != nil {
			return fmt.Errorf("a service answered what this version cannot read: %w", err)
		}
		for _, s := range a.Streams {
			if n := slices.IndexFunc(keys, func(k events.StreamKey) bool { return k.String() == s.Stream }); n >= 0 {
				return &answeredError{fmt.Sprintf("%s is read by the service %s: %s", o.name(keys[n]), a.Owner, why), ExitOurs}
			}
		}
	}
	return nil
}

// name is what people call a stream, which the configuration may not have.
func (o *operator) name(key events.StreamKey) string {
	return shortName(o.connectorOf(key), key.String())
}

// connectorOf is the name of the connector that reads a stream; "" for none.
func (o *operator) connectorOf(key events.StreamKey) string {
	if s := o.stream(key); s != nil {
		return s.Connector
	}
	return ""
}

// byKey orders streams as tables and archives have them.
func byKey(a, b events.StreamKey) int { return strings.Compare(a.String(), b.String()) }
