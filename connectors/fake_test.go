package connectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/events"
)

// fakeAPI is a pager over records in memory, in pages along a cursor that is the
// number of the next record.
type fakeAPI struct {
	records []fakeRecord // by time
	page    int          // records on a page
	latency func(Request) time.Duration
	life    time.Duration                     // of a cursor; 0: for ever
	wait    func(context.Context) error       // the budget; nil: none
	fail    func(n int, r Request) error      // called for each request, from 1
	cursor  func(next string) string          // replaces cursors; nil: as they are
	number  func(fakeRecord) events.Record    // maps; nil: id and text
	within  func(at, from, to time.Time) bool // what a window means; nil: [from, to)

	mu       sync.Mutex
	requests []fakeRequest
	given    int // bytes of records
}

type fakeRecord struct {
	at   time.Time
	id   string
	text string
}

type fakeRequest struct {
	Request
	at   time.Time
	lane Lane
}

// every makes a record for each step of a time.
func every(from, to time.Time, step time.Duration) []fakeRecord {
	var list []fakeRecord
	for at := from; at.Before(to); at = at.Add(step) {
		list = append(list, fakeRecord{at, strconv.Itoa(len(list)), `{"n":` + strconv.Itoa(len(list)) + `}`})
	}
	return list
}

func (f *fakeAPI) Page(ctx context.Context, r Request) (*Page, error) {
	if f.wait != nil {
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
	}
	lane, _ := ctx.Value(laneKey{}).(Lane)
	began := time.Now()
	f.mu.Lock()
	f.requests = append(f.requests, fakeRequest{r, began, lane})
	n := len(f.requests)
	f.mu.Unlock()
	if f.latency != nil {
		if err := sleep(ctx, f.latency(r)); err != nil {
			return nil, err
		}
	}
	if f.fail != nil {
		if err := f.fail(n, r); err != nil {
			return nil, err
		}
	}
	start, err := f.start(r)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	records := f.records // may be replaced meanwhile, or appended to
	f.mu.Unlock()
	within, to := f.within, r.To
	if within == nil {
		within = func(at, from, to time.Time) bool { return !at.Before(from) && at.Before(to) }
	}
	if to.IsZero() {
		to = r.From.AddDate(1000, 0, 0)
	}
	var all []fakeRecord
	for _, x := range records {
		if within(x.at, r.From, to) {
			all = append(all, x)
		}
	}
	all = all[min(start, len(all)):]
	some := all[:min(len(all), max(1, f.page))]
	return &Page{
		Began: began, Took: time.Since(began), Close: func() {},
		Records: func(yield func(events.Record, error) bool) {
			for _, x := range some {
				f.mu.Lock()
				f.given += len(x.text)
				f.mu.Unlock()
				record := events.Record{Raw: []byte(x.text), ID: x.id, Type: events.TypeMessage}
				if f.number != nil {
					record = f.number(x)
				}
				if !yield(record, nil) {
					return
				}
			}
		},
		Next: func() (json.RawMessage, error) {
			if len(some) == len(all) {
				return nil, nil
			}
			next := strconv.Itoa(start + len(some))
			if f.cursor != nil {
				return json.Marshal(f.cursor(next) + "@0")
			}
			return json.Marshal(next + "@" + strconv.FormatInt(time.Now().UnixNano(), 10))
		},
	}, nil
}

func (f *fakeAPI) start(r Request) (int, error) {
	if r.Cursor == nil {
		return 0, nil
	}
	var text string
	var n int
	var issued int64
	if json.Unmarshal(r.Cursor, &text) != nil {
		return 0, errors.New("what cursor?")
	}
	if _, err := fmt.Sscanf(text, "%d@%d", &n, &issued); err != nil {
		return 0, err
	}
	if f.life > 0 && time.Since(time.Unix(0, issued)) > f.life {
		return 0, &Error{Kind: Restart, Op: "listing", Err: errors.New("the cursor has ended")}
	}
	return n, nil
}

func (f *fakeAPI) asked() []fakeRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// fakeStream is a stream of the fake API, without sweeps unless they are asked for.
func fakeStream(t testing.TB, api *fakeAPI, change func(*Options)) *Stream {
	o := Defaults()
	o.SweepBack, o.Overlap = 0, 0
	if change != nil {
		change(&o)
	}
	client := testClient(t, roundTrip(nil), func(base *Options) { base.Timeout = o.Timeout })
	return &Stream{
		Key: events.StreamKey{Vendor: "v", Account: "a", Stream: "s"}, Connector: "c",
		Options: o, Pager: api, client: client, budget: NewBudget(0), metrics: NewMetrics(nil).of("c", "s"),
	}
}

// store keeps progress over several subscribers.
type store struct {
	Progress
	saves int
}

func (s *store) Load(context.Context) (Progress, error) { return s.Progress, nil }

func (s *store) Save(_ context.Context, p Progress) error {
	s.Progress = p
	s.saves++
	return nil
}

// take receives batches until the channel closes or accept returns an error,
// which stops the subscriber; errNacked only refuses the batch.
func take(sub *Subscriber, out <-chan *message.Message, accept func(*Batch) error) {
	for msg := range out {
		b, ok := BatchOf(msg.Context())
		if !ok {
			panic("a message without a batch")
		}
		switch err := accept(b); {
		case err == nil:
			msg.Ack()
		case errors.Is(err, errNacked):
			msg.Nack()
		default:
			sub.Close()
			return
		}
	}
}

// readOnce reads a stream up to the present and returns what was accepted.
func readOnce(t testing.TB, stream *Stream, s ProgressStore, accept func(*Batch) error) (batches []*Batch, err error) {
	t.Helper()
	return readLanes(t, stream, SubscriberOptions{Store: s, Once: true}, accept)
}

// fillOnce carries out a backfill and nothing else.
func fillOnce(t testing.TB, stream *Stream, s ProgressStore, accept func(*Batch) error) (batches []*Batch, err error) {
	t.Helper()
	return readLanes(t, stream, SubscriberOptions{Store: s, Once: true, Only: Backfill}, accept)
}

func readLanes(t testing.TB, stream *Stream, o SubscriberOptions, accept func(*Batch) error) (batches []*Batch, err error) {
	t.Helper()
	sub := NewSubscriber(stream, o)
	out, err := sub.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	take(sub, out, func(b *Batch) error {
		if accept != nil {
			if err := accept(b); err != nil {
				return err
			}
		}
		batches = append(batches, b)
		return nil
	})
	return batches, sub.Err()
}

// distinct returns the ids in batches, each once, in order of coming.
func distinct(batches []*Batch) (ids []string) {
	seen := map[events.Identity]bool{}
	for _, b := range batches {
		for _, r := range b.Records {
			if !seen[r.Identity] {
				seen[r.Identity] = true
				ids = append(ids, r.ID)
			}
		}
	}
	return ids
}

func idsOf(records []fakeRecord) (ids []string) {
	for _, r := range records {
		ids = append(ids, r.id)
	}
	return ids
}

type brokenStore struct{ store }

func (brokenStore) Load(context.Context) (Progress, error) {
	return Progress{}, errors.New("no such file")
}
