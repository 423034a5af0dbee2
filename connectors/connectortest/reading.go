package connectortest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// reading is one read of a stream up to the present.
type reading struct {
	batches []*connectors.Batch
	err     error
	log     bytes.Buffer
}

var errStop = errors.New("stop")

// read reads a stream with Once; accept may refuse a batch, which ends the read.
func read(t *testing.T, stream *connectors.Stream, kept connectors.ProgressStore, giveUp time.Duration, accept func(n int) error) *reading {
	t.Helper()
	r := &reading{}
	sub := connectors.NewSubscriber(stream, connectors.SubscriberOptions{
		Store: kept, Once: true, GiveUp: giveUp, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	out, err := sub.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for msg := range out {
		if accept != nil && accept(len(r.batches)) != nil {
			_ = sub.Close()
			break
		}
		batch, _ := connectors.BatchOf(msg.Context())
		r.batches = append(r.batches, batch)
		msg.Ack()
	}
	r.err = sub.Err()
	text := r.log.String() + sub.Health().Cause
	if r.err != nil {
		text += r.err.Error()
	}
	if strings.Contains(text, Secret) {
		t.Errorf("the credential is shown: %s", text)
	}
	return r
}

// compare compares what was read with the account: each record, its id, and the
// bytes of its last version.
func compare(t *testing.T, want []simulator.Record, readings ...*reading) {
	t.Helper()
	got := map[string]events.Record{}
	identities := map[events.Identity]string{}
	for _, r := range readings {
		for _, b := range r.batches {
			for _, record := range b.Records {
				if record.Dead != nil || record.ID == "" || !events.KnownType(record.Type) {
					t.Fatalf("%s: %+v, %+v", record.Raw, record, record.Dead)
				}
				if other, ok := identities[record.Identity]; ok && other != record.ID {
					t.Fatalf("%s and %s have one identity", other, record.ID)
				}
				identities[record.Identity] = record.ID
				got[record.ID] = record.Record
			}
		}
	}
	missing, wrong := 0, 0
	for _, w := range want {
		record, ok := got[w.ID]
		if !ok {
			missing++
			continue
		}
		if sum := sha256.Sum256(record.Raw); hex.EncodeToString(sum[:]) != w.SHA256 || record.Key != w.Key || record.Time.IsZero() {
			wrong++
		}
	}
	if missing > 0 || wrong > 0 || len(got) != len(want) {
		t.Errorf("of %d records %d are missing and %d are not what the API gave; %d were read", len(want), missing, wrong, len(got))
	}
}

// each runs a test for every stream of a connector over a simulator.
func (h Harness) each(t *testing.T, o simulator.Options, keys map[string]any, test func(t *testing.T, stream *connectors.Stream, want func() []simulator.Record)) {
	t.Helper()
	s, address := simulate(t, o)
	for _, stream := range h.connect(t, address, keys).Streams {
		want := func() []simulator.Record {
			records := s.Account().Endpoints[h.Endpoint(stream.Key.Stream)].Records
			if len(records) == 0 {
				t.Fatalf("the account has no records of %s", stream.Key.Stream)
			}
			return records
		}
		t.Run(stream.Key.Stream, func(t *testing.T) { test(t, stream, want) })
	}
}

func readsAll(t *testing.T, h Harness) {
	for _, bounds := range []simulator.Bounds{simulator.HalfOpen, simulator.Inclusive, simulator.Exclusive} {
		h.each(t, simulator.Options{Seed: 1, Backlog: 5000, Bounds: bounds}, nil, func(t *testing.T, stream *connectors.Stream, want func() []simulator.Record) {
			began := time.Now()
			var kept store
			r := read(t, stream, &kept, 0, nil)
			if r.err != nil || kept.Live.At.Before(began.Truncate(time.Second).Add(-2*time.Second)) || !kept.Live.Window.To.IsZero() {
				t.Errorf("it stands at %+v, %v", kept.Live, r.err)
			}
			compare(t, want(), r)
		})
	}
}

func resumes(t *testing.T, h Harness) {
	h.each(t, simulator.Options{Seed: 2, Backlog: 5000}, nil, func(t *testing.T, stream *connectors.Stream, want func() []simulator.Record) {
		whole := read(t, stream, nil, 0, nil)
		var kept store
		half := len(whole.batches) / 2
		first := read(t, stream, &kept, 0, func(n int) error {
			if n == half {
				return errStop
			}
			return nil
		})
		stood := kept.Live.At
		second := read(t, stream, &kept, 0, nil)
		if len(first.batches) != half || second.err != nil || len(second.batches) == 0 {
			t.Fatalf("%d batches, then %d, of %d; %v", len(first.batches), len(second.batches), len(whole.batches), second.err)
		}
		if from := second.batches[0].Window.From; half > 0 && from.Before(stood.Add(-stream.Options.Overlap)) {
			t.Errorf("it stood at %s and begins again at %s", stood, from)
		}
		compare(t, want(), first, second)
	})
}

// faults: one request in four goes wrong, in each of the ways there are.
func faults(t *testing.T, h Harness) {
	all := simulator.Faults{simulator.TooMany: .05, simulator.Broken: .05, simulator.Reset: .05, simulator.Truncated: .05, simulator.Slow: .05}
	o := simulator.Options{Seed: 3, Backlog: 3000, Faults: all}
	h.each(t, o, nil, func(t *testing.T, stream *connectors.Stream, want func() []simulator.Record) {
		r := read(t, stream, nil, 5*time.Minute, nil)
		if r.err != nil {
			t.Fatal(r.err)
		}
		compare(t, want(), r)
	})
}

// ties: cursors that end, and records that share an instant where windows meet.
func ties(t *testing.T, h Harness) {
	for _, bounds := range []simulator.Bounds{simulator.Inclusive, simulator.Exclusive} {
		s, address := simulate(t, simulator.Options{Seed: 4, Backlog: 400, Bounds: bounds})
		for _, stream := range h.connect(t, address, nil).Streams {
			records := s.Account().Endpoints[h.Endpoint(stream.Key.Stream)].Records
			at := records[len(records)/2].Time.Truncate(time.Second)
			found := map[string]int{}
			for _, w := range []connectors.Window{{From: at.Add(-backlog * 2), To: at}, {From: at, To: at.Add(backlog * 2)}} {
				for cursor := []byte(nil); ; {
					page, err := stream.Pager.Page(t.Context(), connectors.Request{From: w.From.Add(-time.Second), To: w.To.Add(time.Second), Cursor: cursor})
					if err != nil {
						t.Fatal(err)
					}
					for record, err := range page.Records {
						if err != nil {
							t.Fatal(err)
						}
						found[record.ID]++
					}
					next, err := page.Next()
					page.Close()
					if err != nil {
						t.Fatal(err)
					}
					if cursor = next; next == nil {
						break
					}
				}
			}
			if len(found) != len(records) {
				t.Errorf("%s, %s: two windows that meet at %s hold %d of %d records", stream.Key.Stream, bounds, at, len(found), len(records))
			}
		}
	}
}
