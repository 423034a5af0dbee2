package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// clock is ahead of the machine's, by as much as a test says.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) add(d time.Duration) { c.ahead.Add(int64(d)) }

// open builds the service of a configuration, with a clock.
func open(t *testing.T, path string, c *clock, once bool) (*app.App, *lockedBuffer) {
	t.Helper()
	file, err := config.Load(path, app.Plugins(), nil)
	if err != nil {
		t.Fatal(err)
	}
	notes := &lockedBuffer{}
	log := app.NewLogger(notes, slog.LevelInfo, app.NewRedactor(file.Secrets()))
	a, err := app.New(t.Context(), app.Options{Config: file, Log: log, Once: once, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return a, notes
}

// onceAt is run --once by a clock.
func onceAt(t *testing.T, path string, c *clock) {
	t.Helper()
	a, notes := open(t, path, c, true)
	err := a.Run(t.Context())
	if closed := a.Close(); err != nil || closed != nil {
		t.Fatalf("%v, %v:\n%s", err, closed, notes)
	}
}

// wantNothing runs once more and wants no event more.
func wantNothing(t *testing.T, path, dir string, c *clock, there int) {
	t.Helper()
	onceAt(t, path, c)
	if again := len(readTopics(t, dir)); again != there {
		t.Errorf("another run published %d events more", again-there)
	}
}

// clicked is a row of urlTracker, with a user and a time or without.
func clicked(at time.Time, timestamped bool) []byte {
	const fields = `"domain":"shop.example.com","url":"https://shop.example.com/sale"}`
	if !timestamped {
		return []byte("{" + fields)
	}
	return fmt.Appendf(nil, `{"userId":"u-1","timestamp":%d,`+fields, at.Unix())
}

// put puts equal rows into a log that has neither users nor times by the
// vendor's documentation, and into one that has them.
func (w *world) put(t *testing.T, at time.Time, timestamped bool, copies int) {
	t.Helper()
	for endpoint, timed := range map[string]bool{"feedyou/urlTracker": timestamped, "feedyou/nlpLog": timestamped, "feedyou/outgoingEmail": true} {
		if err := w.Put(endpoint, at, clicked(at, timed), copies); err != nil {
			t.Fatal(err)
		}
	}
}

// Invariants 1 and 8: whatever the bounds of the vendor's windows mean, and in
// whatever order it answers, records that turn up late within the overlap are
// published once, those at the edges of windows and of quarters too.
func TestBoundsOrderAndLateRecords(t *testing.T) {
	for i, bounds := range []simulator.Bounds{simulator.HalfOpen, simulator.Inclusive, simulator.Exclusive, simulator.OpenStart} {
		for _, timestamped := range []bool{false, true} {
			unsorted := (i%2 == 0) == timestamped
			t.Run(fmt.Sprintf("%s,timestamped=%v,unsorted=%v", bounds, timestamped, unsorted), func(t *testing.T) {
				t.Parallel()
				lateRecords(t, simulator.Options{
					Seed: uint64(20 + i), Backlog: 100, Span: time.Hour, Rate: 0.1, LateShare: 0.3, LateBy: 8 * time.Minute,
					Identical: 0.2, Bounds: bounds, Unsorted: unsorted, Timestamped: timestamped,
				})
			})
		}
	}
}

func lateRecords(t *testing.T, o simulator.Options) {
	c := &clock{}
	o.Now = c.Now
	w := startBoth(t, o)
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast + "overlap: 40m\n"})
	onceAt(t, path, c)
	for range 2 {
		read := c.Now().UTC().Truncate(time.Second)
		quarter := read.Truncate(15 * time.Minute)
		c.add(11 * time.Minute)
		for _, edge := range []time.Time{read, read.Add(time.Second), quarter, quarter.Add(-15 * time.Minute)} {
			for _, off := range []time.Duration{-time.Second, -time.Millisecond, 0, time.Millisecond, 999 * time.Millisecond} {
				w.put(t, edge.Add(off), o.Timestamped, 2)
			}
		}
		onceAt(t, path, c)
	}
	w.Pause()
	c.add(20 * time.Minute)
	onceAt(t, path, c)
	all := readTopics(t, dir)
	compareLate(t, all, w.Account())
	validate(t, all)
	wantNothing(t, path, dir, c, len(all))
}

// A month in quarters of an hour is very many requests, and shows no more than
// thirty short days with a dedup_horizon of seven of them.
var day = flag.Duration("day", 12*time.Minute, "length of a day in the test of a service that was off for a month")

// Invariant 12: a service that was off for longer than ids are remembered
// repeats nothing, and what came meanwhile and what comes is published.
func TestAMonthLater(t *testing.T) {
	for _, timestamped := range []bool{false, true} {
		t.Run(fmt.Sprintf("timestamped=%v", timestamped), func(t *testing.T) {
			t.Parallel()
			c := &clock{}
			w := startBoth(t, simulator.Options{
				Seed: 30, Backlog: 300, Span: time.Hour, Rate: 5, Identical: 0.2, Timestamped: timestamped, Now: c.Now,
			})
			w.Pause() // a conversation that went on after a month would not be read again
			dir, listen := filepath.Join(t.TempDir(), "data"), ports.Addr(t)
			path := w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", dir, listen), extra: live})
			rewrite(t, path, "\nconnectors:", fmt.Sprintf("\ndedup_horizon: %s\nconnectors:", 7**day))
			onceAt(t, path, c)
			off := c.Now()
			c.add(30 * *day)
			for _, days := range []int{1, 6, 8, 20, 29} {
				w.put(t, off.Add(time.Duration(days)**day), timestamped, 3)
			}
			w.Resume()

			a, notes := open(t, path, c, false)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			done := make(chan error)
			go func() { done <- a.Run(ctx) }()
			awaitTopics(t, natsURL("nats://"+listen), func(l *ledgerOf) string {
				if l.of["deepconverse/messages"].events < 310 {
					return "ten messages more than there were a month ago"
				}
				return ""
			})
			w.Pause()
			awaitAll(t, natsURL("nats://"+listen), w.Account())
			stop()
			if err := <-done; err != nil {
				t.Errorf("%v:\n%s", err, notes)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			all := readTopics(t, dir)
			compareAll(t, all, w.Account())
			wantNothing(t, path, dir, c, len(all))
			if strings.Contains(notes.String(), "level=ERROR") || strings.Contains(notes.String(), simulator.DefaultAPIKey) {
				t.Errorf("the service says:\n%s", notes)
			}
		})
	}
}
