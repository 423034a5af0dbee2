package connectors

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/events"
)

// bounds are the four things that a window can mean.
var bounds = map[string]func(at, from, to time.Time) bool{
	"[]": func(at, from, to time.Time) bool { return !at.Before(from) && !at.After(to) },
	"()": func(at, from, to time.Time) bool { return at.After(from) && at.Before(to) },
	"[)": func(at, from, to time.Time) bool { return !at.Before(from) && at.Before(to) },
	"(]": func(at, from, to time.Time) bool { return at.After(from) && !at.After(to) },
}

// mixed maps records whose text says what they are: those with "at" have a time,
// as fine as seconds, those with "null" are dead, the others have nothing.
func mixed(x fakeRecord) events.Record {
	r := events.Record{Type: events.TypeMessage, Raw: []byte(x.text)}
	switch {
	case x.text == "null":
		r.Dead = &events.Dead{Reason: events.ReasonNotObject}
	case strings.Contains(x.text, `"at"`):
		r.Time = x.at.Truncate(time.Second)
	}
	return r
}

// cellOf is the cell of a moment: it ends where a window ends.
func cellOf(kind string, at time.Time) time.Time {
	start := at.Truncate(events.Quarter)
	if strings.HasSuffix(kind, "]") && at.Equal(start) {
		return start.Add(-events.Quarter)
	}
	return start
}

// counts are how many records of equal text there are in each cell; cell zero is
// for records with a time, which need none.
type counts map[[2]string]int

func countsOf(kind string, records []fakeRecord) counts {
	c := counts{}
	for _, x := range records {
		switch {
		case x.text == "null":
		case strings.Contains(x.text, `"at"`):
			c[[2]string{x.text, ""}]++
		default:
			c[[2]string{x.text, cellOf(kind, x.at).Format(time.TimeOnly)}]++
		}
	}
	return c
}

// published counts the distinct identities of what was accepted.
func published(batches []*Batch) counts {
	c := counts{}
	seen := map[events.Identity]bool{}
	for _, b := range batches {
		for _, r := range b.Records {
			if seen[r.Identity] || r.Dead != nil {
				continue
			}
			seen[r.Identity] = true
			cell := ""
			if r.Time.IsZero() {
				cell = b.Window.From.Format(time.TimeOnly)
			}
			c[[2]string{string(r.Raw), cell}]++
		}
	}
	return c
}

// scatter makes records of all kinds, many of them equal, some at the edges of
// cells, over the time since began.
func scatter(dice *rand.Rand, began time.Time, over time.Duration, n int) []fakeRecord {
	var list []fakeRecord
	for range n {
		at := began.Add(time.Duration(dice.Int64N(int64(over/time.Millisecond))) * time.Millisecond)
		switch dice.IntN(5) {
		case 0: // an edge
			at = later(began.Add(time.Second), at.Truncate(events.Quarter).Add(time.Duration(dice.IntN(3)-1)*time.Millisecond))
		case 1:
			at = at.Truncate(time.Second)
		}
		text := fmt.Sprintf(`{"click":%d}`, dice.IntN(3))
		switch dice.IntN(6) {
		case 0:
			text = "null"
		case 1, 2:
			text = fmt.Sprintf(`{"at":%d}`, at.Unix())
		}
		for range 1 + dice.IntN(3) {
			list = append(list, fakeRecord{at: at, text: text})
		}
	}
	return list
}

// Equal records without an id and a time are counted right: whatever the bounds
// of a window mean, wherever the reading stops, and when more turn up late.
func TestCells(t *testing.T) {
	for kind, within := range bounds {
		for seed := range uint64(6) {
			synctest.Test(t, func(t *testing.T) {
				dice := rand.New(rand.NewPCG(seed, 2))
				began := time.Now().Add(time.Duration(dice.IntN(900)) * time.Second)
				time.Sleep(time.Until(began.Add(3 * time.Hour)))
				records := scatter(dice, began.Add(time.Second), 3*time.Hour-2*time.Second, 150)
				dice.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
				api := &fakeAPI{records: records[:len(records)-20], page: []int{40, 1e9}[seed%2], number: mixed, within: within}
				stream := fakeStream(t, api, func(o *Options) { o.Since, o.Overlap = began, 4*time.Hour })
				var kept store
				var all []*Batch
				for range 12 {
					left := dice.IntN(20)
					some, _ := readOnce(t, stream, &kept, func(*Batch) error {
						if left--; left < 0 {
							return errors.New("killed")
						}
						return nil
					})
					all = append(all, some...)
				}
				for range 2 {
					some, err := readOnce(t, stream, &kept, nil)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, some...)
					if got, want := published(all), countsOf(kind, api.records); !maps.Equal(got, want) {
						t.Errorf("%s, seed %d:\n%v\nwant\n%v", kind, seed, got, want)
					}
					api.records = records // twenty more turn up
				}
				if !kept.Cells || !kept.Live.At.Equal(ceilSecond(time.Now())) {
					t.Errorf("it stands at %+v", kept.Progress)
				}
			})
		}
	}
}

// A record that turns up between the two answers of a cell waits for the next
// read; it is never taken for one of another cell.
func TestTurnsUpBetweenTwoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now().Truncate(events.Quarter)
		time.Sleep(40 * time.Minute)
		edge := began.Add(events.Quarter)
		api := &fakeAPI{records: []fakeRecord{{at: edge.Add(time.Minute), text: `{"click":1}`}}, page: 1e9, number: mixed}
		late := fakeRecord{at: edge.Add(-time.Second / 2), text: `{"click":1}`}
		asked := 0
		api.fail = func(_ int, r Request) error {
			if r.From.Equal(edge.Add(-time.Second)) { // both answers of the cell behind the edge
				if asked++; asked == 2 {
					api.mu.Lock()
					defer api.mu.Unlock()
					api.records = append(api.records, late)
				}
			}
			return nil
		}
		stream := fakeStream(t, api, func(o *Options) { o.Since, o.Overlap = began, time.Hour })
		kept := store{Progress: Progress{Cells: true}}
		first, err := readOnce(t, stream, &kept, nil)
		if err != nil || len(api.records) != 2 {
			t.Fatalf("%d records there are, %v", len(api.records), err)
		}
		if got := published(first); got[[2]string{`{"click":1}`, edge.Format(time.TimeOnly)}] > 1 {
			t.Errorf("after the first read: %v", got)
		}
		second, err := readOnce(t, stream, &kept, nil)
		if got, want := published(append(first, second...)), countsOf("[)", api.records); err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, want %v, %v", got, want, err)
		}
	})
}

// A cell of which an answer cannot be held in memory is read by counting, and
// one that the API cannot answer for in time in pieces.
func TestLargeCells(t *testing.T) {
	for _, pieces := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			time.Sleep(30*time.Minute - time.Second)
			dice := rand.New(rand.NewPCG(1, 1))
			api := &fakeAPI{records: scatter(dice, began.Add(time.Second), 29*time.Minute, 60), page: 1e9, number: mixed, within: bounds["[]"]}
			long := strings.Repeat("x", 100<<10)
			for n := range 7 { // equal ones in the second before a piece may begin
				at := began.Truncate(events.Quarter).Add(time.Duration(n+1)*225*time.Second - time.Second/2)
				x := fakeRecord{at: at, text: fmt.Sprintf(`{"at":%d}`, at.Unix())}
				api.records = append(api.records, x, x)
			}
			for i, x := range api.records {
				api.records[i].text = strings.Replace(x.text, `{"click"`, `{"x":"`+long+`","click"`, 1)
			}
			if pieces {
				api.fail = func(_ int, r Request) error {
					if r.To.Sub(r.From) > 5*time.Minute {
						return errors.New("too much")
					}
					return nil
				}
			}
			stream := fakeStream(t, api, func(o *Options) { o.Since = began })
			sub := NewSubscriber(stream, SubscriberOptions{Once: true, GiveUp: time.Hour})
			out, err := sub.Subscribe(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var batches []*Batch
			take(sub, out, func(b *Batch) error { batches = append(batches, b); return nil })
			for _, b := range batches {
				asked := func(r fakeRequest) bool { return r.From.Equal(b.Origin.From) && r.To.Equal(b.Origin.To) }
				if b.Origin.Cell != b.cells || !slices.ContainsFunc(api.asked(), asked) {
					t.Errorf("no request was made that gave the batch of %v: %+v", b.Window, b.Origin)
				}
			}
			if got, want := published(batches), countsOf("[]", api.records); sub.Err() != nil || !maps.Equal(got, want) {
				t.Errorf("pieces %v: %d kinds, want %d; %v", pieces, len(got), len(want), sub.Err())
			}
		})
	}
}

// Where nothing needs a cell, many are read with one request.
func TestQuietCells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		time.Sleep(20 * 24 * time.Hour)
		api := &fakeAPI{records: []fakeRecord{{at: began.Add(time.Hour), text: `{"click":1}`}}, page: 1e9, number: mixed}
		stream := fakeStream(t, api, func(o *Options) { o.Since = began })
		var kept store
		batches, err := readOnce(t, stream, &kept, nil)
		if n := len(api.asked()); err != nil || n > 200 || !maps.Equal(published(batches), countsOf("[)", api.records)) {
			t.Errorf("%d requests, %v, %v", n, published(batches), err)
		}
	})
}

// The same while time goes on: each read comes to a moment inside of a cell or to
// its end, and reads little again.
func TestCellsAsTimeGoesOn(t *testing.T) {
	for kind, within := range bounds {
		for seed := range uint64(8) {
			synctest.Test(t, func(t *testing.T) { cellsAsTimeGoesOn(t, kind, within, seed) })
		}
	}
}

func cellsAsTimeGoesOn(t *testing.T, kind string, within func(at, from, to time.Time) bool, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 7))
	began := time.Now().Add(time.Duration(dice.IntN(900)) * time.Second)
	end := began.Add(3 * time.Hour)
	records := scatter(dice, began.Add(time.Second), end.Sub(began)-2*time.Second, 150)
	api := &fakeAPI{page: []int{40, 1e9}[seed%2], number: mixed, within: within}
	api.fail = func(n int, _ Request) error {
		if (uint64(n)+seed)*0x9e3779b97f4a7c15>>32%6 == 0 {
			return errors.New("a failure")
		}
		return nil
	}
	stream := fakeStream(t, api, func(o *Options) { o.Since, o.Overlap = began, 2*time.Second+time.Duration(dice.IntN(3))*time.Minute })
	kept := store{Progress: Progress{Cells: seed%4 == 3}}
	var all []*Batch
	for now := began; now.Before(end); {
		if now = now.Add(time.Duration(1+dice.IntN(1500)) * time.Second); dice.IntN(3) == 0 {
			now = now.Truncate(events.Quarter).Add(events.Quarter)
		}
		time.Sleep(time.Until(now))
		var visible []fakeRecord
		for _, x := range records {
			if !x.at.After(time.Now()) {
				visible = append(visible, x)
			}
		}
		api.mu.Lock()
		api.records = visible
		api.mu.Unlock()
		left := dice.IntN(60)
		some, _ := readOnce(t, stream, &kept, func(*Batch) error {
			if left--; left < 0 {
				return errors.New("killed")
			}
			return nil
		})
		all = append(all, some...)
	}
	api.records, api.fail = records, nil
	time.Sleep(time.Hour)
	some, err := readOnce(t, stream, &kept, nil)
	if got, want := published(append(all, some...)), countsOf(kind, records); err != nil || !maps.Equal(got, want) {
		t.Errorf("%s, seed %d: %v\nwant\n%v, %v", kind, seed, got, want, err)
	}
}
