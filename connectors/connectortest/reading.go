package connectortest

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
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
	if strings.Contains(text, core) {
		t.Errorf("the credential is shown: %s", text)
	}
	return r
}

// each runs a test for every stream of a connector over a simulator, side by side.
func (h Harness) each(t *testing.T, o simulator.Options, keys map[string]any, test func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint)) {
	t.Helper()
	var s *simulator.Simulator
	serve := func() (address string) {
		s, address = simulate(t, o)
		return address
	}
	h.apart(t, keys, serve, func(stream *connectors.Stream) {
		s := s
		want := func() simulator.Endpoint {
			e := s.Account().Endpoints[h.Endpoint(stream.Key.Stream)]
			if len(e.Records) == 0 {
				t.Fatalf("the account has no records of %s", stream.Key.Stream)
			}
			return e
		}
		t.Run(stream.Key.Stream, func(t *testing.T) {
			t.Parallel()
			test(t, stream, want)
		})
	})
}

func readsAll(t *testing.T, h Harness) {
	for _, bounds := range []simulator.Bounds{simulator.HalfOpen, simulator.Inclusive, simulator.Exclusive, simulator.OpenStart} {
		asIs := func(*simulator.Options) {}
		for i, vary := range append([]func(*simulator.Options){asIs}, h.Variants...) {
			o := simulator.Options{Seed: 1, Backlog: h.less(1500), Bounds: bounds}
			vary(&o)
			t.Run(fmt.Sprintf("%s, variant %d", bounds, i), func(t *testing.T) {
				h.each(t, o, nil, func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint) {
					began := time.Now()
					var kept store
					r := read(t, stream, &kept, 0, nil)
					if r.err != nil || kept.Live.At.Before(began.Truncate(time.Second).Add(-2*time.Second)) || !kept.Live.Window.To.IsZero() {
						t.Errorf("it stands at %+v, %v", kept.Live, r.err)
					}
					h.compare(t, want(), r)
				})
			})
		}
	}
}

func resumes(t *testing.T, h Harness) {
	h.each(t, simulator.Options{Seed: 2, Backlog: h.less(5000), Identical: .3}, nil, func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint) {
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
		again := stream.Options.Overlap
		if kept.Cells { // a cell is always read from its beginning
			again += events.Quarter
		}
		if from := second.batches[0].Window.From; half > 0 && from.Before(stood.Add(-again)) {
			t.Errorf("it stood at %s and begins again at %s", stood, from)
		}
		h.compare(t, want(), first, second)
	})
}

// nuisances are the faults that a reader has to wait out. The shares are of all
// requests.
var nuisances = []simulator.Faults{
	{simulator.TooMany: .05}, {simulator.Broken: .1}, {simulator.Reset: .1}, {simulator.Truncated: .1}, {simulator.Slow: .1},
	{simulator.SignIn: .1}, {simulator.Redirect: .1},
	{
		simulator.TooMany: .02, simulator.Broken: .02, simulator.Reset: .02, simulator.Truncated: .02, simulator.Slow: .02,
		simulator.SignIn: .02, simulator.Redirect: .02, simulator.Poison: .02,
	},
}

func faults(t *testing.T, h Harness) {
	for _, faults := range nuisances {
		t.Run(faults.String(), func(t *testing.T) {
			t.Parallel()
			o := simulator.Options{Seed: 3, Backlog: h.less(1500), Faults: faults}
			h.each(t, o, nil, func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint) {
				r := read(t, stream, nil, 5*time.Minute, nil)
				if r.err != nil {
					t.Fatal(r.err)
				}
				h.compare(t, want(), r)
			})
		})
	}
}

// poison: what is no JSON object becomes a dead letter, with its bytes, and
// nothing else is lost or becomes one.
func poison(t *testing.T, h Harness) {
	// Rows without a time are read as the difference of two answers, of which the
	// smaller is not published: what is in it alone, which no API does, is not seen.
	o := simulator.Options{Seed: 6, Backlog: 1500, Timestamped: true, NetcoreSmallPages: true, Faults: simulator.Faults{simulator.Poison: .7}}
	h.each(t, o, nil, func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint) {
		if slices.Contains(h.Single, stream.Key.Stream) {
			t.Skip("its answers hold no elements")
		}
		r := read(t, stream, nil, 0, nil)
		if r.err != nil {
			t.Fatal(r.err)
		}
		account := want()
		if len(account.Poison) == 0 {
			t.Fatal("nothing was poisoned")
		}
		h.compare(t, account, r)
		there := map[string]bool{}
		for _, element := range account.Poison {
			there[string(element)] = true
		}
		dead, unseen := deadLetters(r), 0
		if h.Looks {
			unseen = 5
		}
		for element := range dead {
			if !there[element] {
				t.Errorf("a dead letter of what was not poison: %.200q", element)
			}
		}
		if len(dead) < len(there)-unseen {
			t.Errorf("%d elements were poisoned, and %d are dead letters", len(there), len(dead))
		}
	})
}

// deadLetters are the bytes of what became one.
func deadLetters(r *reading) map[string]bool {
	dead := map[string]bool{}
	for _, b := range r.batches {
		for _, record := range b.Records {
			if record.Dead != nil {
				dead[string(record.Raw)] = true
			}
		}
	}
	return dead
}

// ways: however the credential is sent, it is nowhere to be seen, also where a
// redirect repeats the request's address.
func ways(t *testing.T, h Harness) {
	for _, keys := range h.Ways {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			o := simulator.Options{Seed: 7, Backlog: h.less(1000), Faults: simulator.Faults{simulator.Redirect: .05, simulator.Reset: .05}}
			h.each(t, o, keys, func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint) {
				r := read(t, stream, nil, 5*time.Minute, nil)
				if r.err != nil {
					t.Fatal(r.err)
				}
				h.compare(t, want(), r)
			})
			other := serve(t, answer(http.StatusOK, h.Empty))
			strayed := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other+r.URL.String(), http.StatusTemporaryRedirect)
			}))
			for _, address := range []string{serve(t, answer(http.StatusUnauthorized, Secret)), strayed} {
				if err := h.connect(t, address, keys).Probe(t.Context()); err == nil || strings.Contains(err.Error(), core) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

// newerStreams: an account that does not have them is read all the same.
func newerStreams(t *testing.T, h Harness) {
	if h.Newer == nil {
		t.Skip("all accounts have all streams")
	}
	h.each(t, simulator.Options{Seed: 8, Backlog: 300, OldBot: true}, nil, func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint) {
		r := read(t, stream, nil, 0, nil)
		if !slices.Contains(h.Newer, stream.Key.Stream) {
			if r.err != nil {
				t.Error(r.err)
			}
			h.compare(t, want(), r)
		} else if connectors.KindOf(r.err) != connectors.Unavailable || len(r.batches) > 0 {
			t.Errorf("%d batches, %v", len(r.batches), r.err)
		}
	})
}

// ties: cursors that end, and records that share an instant where windows meet.
func ties(t *testing.T, h Harness) {
	for _, bounds := range []simulator.Bounds{simulator.Inclusive, simulator.Exclusive} {
		h.each(t, simulator.Options{Seed: 4, Backlog: 400, Bounds: bounds}, nil, func(t *testing.T, stream *connectors.Stream, want func() simulator.Endpoint) {
			account := want()
			at := account.Records[len(account.Records)/2].Time.Truncate(time.Second)
			found := map[string]bool{}
			for _, w := range []connectors.Window{{From: at.Add(-backlog * 2), To: at}, {From: at, To: at.Add(backlog * 2)}} {
				h.pages(t, stream, w, found)
			}
			there := map[string]bool{}
			for _, record := range account.Records {
				there[record.SHA256] = true
			}
			if !maps.Equal(found, there) {
				t.Errorf("%s: two windows that meet at %s hold %d of %d records", bounds, at, len(found), len(there))
			}
		})
	}
}

// pages reads all pages of a window, of all keys where there are any, and keeps
// the hashes of what they show.
func (h Harness) pages(t *testing.T, stream *connectors.Stream, w connectors.Window, found map[string]bool) {
	t.Helper()
	ask := connectors.Request{From: w.From.Add(-time.Second), To: w.To.Add(time.Second)}
	if stream.Walk == nil {
		h.follow(t, stream, ask, found)
		return
	}
	list := connectors.KeysRequest{From: ask.From, To: ask.To, All: true}
	for {
		keys, err := stream.Walk.Keys(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		for _, ask.Key = range keys.Keys {
			h.follow(t, stream, ask, found)
		}
		if list.Cursor = keys.Next; keys.Next == nil {
			return
		}
	}
}

// follow reads the pages that follow a cursor.
func (h Harness) follow(t *testing.T, stream *connectors.Stream, ask connectors.Request, found map[string]bool) {
	t.Helper()
	for {
		page, err := stream.Pager.Page(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		for record, err := range page.Records {
			if err != nil {
				t.Fatal(err)
			}
			shown := record.Raw
			if record.Masked != nil {
				shown = record.Masked
			}
			if !h.blank(shown) {
				found[hashOf(shown)] = true
			}
		}
		next, err := page.Next()
		page.Close()
		if err != nil {
			t.Fatal(err)
		}
		if ask.Cursor = next; next == nil {
			return
		}
	}
}
