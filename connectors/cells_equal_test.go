package connectors

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Of more equal records than a batch holds, and of those whose answer is asked for
// twice, in a piece of a cell or in all of it, each is one of its own.
func TestManyEqualRecords(t *testing.T) {
	for name, tt := range map[string]struct {
		text   string
		equal  int
		pieces bool
	}{
		"batches": {`{"click":1}`, 2*MaxBatchRecords + 5, false},
		"pieces":  {`{"click":1}`, 2*MaxBatchRecords + 5, true},
		"long":    {`{"click":"` + strings.Repeat("x", 100<<10) + `"}`, 200, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now().Truncate(events.Quarter)
			time.Sleep(time.Until(began.Add(events.Quarter)))
			api := &fakeAPI{page: 1e9, number: mixed, within: bounds["[]"]}
			for n := range tt.equal {
				at := began.Add(time.Minute + time.Duration(n%800)*time.Second)
				api.records = append(api.records, fakeRecord{at: at, text: tt.text})
			}
			if tt.pieces {
				api.fail = func(_ int, r Request) error {
					if r.To.Sub(r.From) > 9*time.Minute {
						return errors.New("too much")
					}
					return nil
				}
			}
			stream := fakeStream(t, api, func(o *Options) { o.Since = began })
			kept := store{Progress: Progress{Cells: true}}
			got, err := readOnce(t, stream, &kept, nil)
			if want := countsOf("[]", api.records); err != nil || !maps.Equal(published(got), want) {
				n := 0
				for _, of := range published(got) {
					n += of
				}
				t.Errorf("%s: %d are told apart of %d; %v", name, n, tt.equal, err)
			}
		})
	}
}

// A record that is gone when an answer is read again takes no number from those of
// the next piece.
func TestGoneBetweenTwoReadsOfAPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now().Truncate(events.Quarter)
		time.Sleep(time.Until(began.Add(events.Quarter)))
		text := `{"click":"` + strings.Repeat("x", 100<<10) + `"}`
		api := &fakeAPI{page: 1e9, number: mixed}
		for n := range 100 {
			api.records = append(api.records, fakeRecord{at: began.Add(time.Duration(n) * time.Second), text: text})
		}
		api.records = append(api.records, fakeRecord{at: began.Add(10 * time.Minute), text: text})
		asked := 0
		api.fail = func(_ int, r Request) error {
			switch long := r.To.Sub(r.From); {
			case long > 9*time.Minute:
				return errors.New("too much")
			case long > time.Minute && r.To.Before(began.Add(8*time.Minute)):
				if asked++; asked == 2 {
					api.mu.Lock()
					api.records = api.records[1:]
					api.mu.Unlock()
				}
			}
			return nil
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since = began })
		kept := store{Progress: Progress{Cells: true}}
		got, err := readOnce(t, stream, &kept, nil)
		if want := countsOf("[)", api.records); err != nil || asked != 2 || !maps.Equal(published(got), want) {
			n := 0
			for _, of := range published(got) {
				n += of
			}
			t.Errorf("%d are told apart of %d, asked %d times; %v", n, len(api.records), asked, err)
		}
	})
}
