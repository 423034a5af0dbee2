package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
)

const whyNotExport = "stop it first. What it commits meanwhile would not be in the file, and whoever goes on from there would publish it again"

// ExportState writes the state of the streams that CONNECTOR[/STREAM] names, with
// "" of all that the broker knows, to out. It holds the streams until all is
// written, so it is refused where a service reads one of them. What was written
// counts only when the error is nil.
func ExportState(ctx context.Context, file *config.File, name string, out io.Writer, log *slog.Logger) ([]StateStream, error) {
	o, streams, err := openStreams(ctx, file, name, toOperate, log)
	if err != nil {
		return nil, err
	}
	defer o.close()
	stored, err := o.broker.Checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	var keys []events.StreamKey
	for _, s := range stored {
		if name == "" || slices.ContainsFunc(streams, func(one *connectors.Stream) bool { return one.Key == s.Key }) {
			keys = append(keys, s.Key)
		}
	}
	if len(keys) == 0 {
		return nil, &UsageError{errors.New("the broker has no state of what is to be exported: nothing of it was read there yet")}
	}
	slices.SortFunc(keys, byKey)
	held, release, err := o.holdAll(ctx, keys, whyNotExport)
	if err != nil {
		return nil, err
	}
	defer release()
	e := exporter{operator: o, held: held}
	if err := e.write(ctx, out); err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	return e.told, nil
}

// exporter writes an archive of streams that are held.
type exporter struct {
	*operator
	held    []heldStream
	archive ledger.Archive
	told    []StateStream
}

func (e *exporter) write(ctx context.Context, out io.Writer) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	e.archive = ledger.Archive{ID: hex.EncodeToString(id[:]), Made: time.Now().UTC().Truncate(time.Second)}
	for _, s := range e.held {
		if err := e.look(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", e.name(s.key), err)
		}
	}
	w, err := ledger.NewArchiveWriter(out, &e.archive)
	if err != nil {
		return err
	}
	for n, s := range e.held {
		if err := e.entries(ctx, w, n); err != nil {
			return fmt.Errorf("%s: %w", e.name(s.key), err)
		}
	}
	return w.Close()
}

// look reads what the archive says of a stream before its entries.
func (e *exporter) look(ctx context.Context, s heldStream) error {
	data, err := s.Checkpoint(ctx)
	if err != nil {
		return err
	}
	c, err := ledger.DecodeCheckpoint(data)
	if err != nil {
		return err
	}
	names, err := s.Entries(ctx)
	if err != nil {
		return err
	}
	e.archive.Streams = append(e.archive.Streams, ledger.ArchivedStream{Key: s.key, Entries: len(names), Checkpoint: data})
	e.told = append(e.told, StateStream{Connector: e.connectorOf(s.key), Stream: s.key.String(), Cursor: c.Live.At, Entries: len(names)})
	return nil
}

// entries writes the ledger of a stream, and wants it to be that of the checkpoint
// still.
func (e *exporter) entries(ctx context.Context, w *ledger.ArchiveWriter, n int) error {
	s, stream := e.held[n], &e.archive.Streams[n]
	names, err := s.Entries(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := s.Entry(ctx, name)
		if err != nil {
			return err
		}
		if err := w.Entry(n, name, data); err != nil {
			return err
		}
	}
	now, err := s.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, stream.Checkpoint) || len(names) != stream.Entries {
		return errors.New("a service has written the stream meanwhile: stop it, and export again")
	}
	return nil
}
