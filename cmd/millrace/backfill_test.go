package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// backfills lists those of a connector or a stream.
func backfills(t *testing.T, path, name string) []app.ListedBackfill {
	t.Helper()
	var all []app.ListedBackfill
	if err := json.Unmarshal([]byte(must(t, "backfill", "list", name, "-o", "json", "-c", path)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// one is the only backfill of a stream.
func one(t *testing.T, path, name string) app.ListedBackfill {
	t.Helper()
	all := backfills(t, path, name)
	if len(all) != 1 {
		t.Fatalf("%s has %d backfills: %+v", name, len(all), all)
	}
	return all[0]
}

// awaitBackfills waits until all of some connectors have ended.
func awaitBackfills(t *testing.T, path string, c *child, names ...string) (last time.Time) {
	t.Helper()
	await(t, c, func() bool {
		for _, name := range names {
			for _, b := range backfills(t, path, name) {
				if b.State != app.BackfillDone {
					return false
				}
				if b.Done.After(last) {
					last = b.Done
				}
			}
		}
		return true
	})
	return last
}

// paced is a service that reads the present every few seconds, at a rate that
// lets a backfill take a while.
const paced = `rate: 8/s
settle: 0s
overlap: 10s
sweep: {every: 20s, back: 1h}
`

// A backfill of 30 days that is killed five times, with records coming in, ends
// with each record once. Live reads are less than two polls behind meanwhile, and
// the rate limit is kept (invariants 1, 2, 5 and 8).
func TestBackfillKilledFiveTimes(t *testing.T) {
	const days, poll = 30, 10 * time.Second
	// The request of the backfill that each kill is in: by then windows have become
	// long, and by twice as many all would have been read.
	const killAt = 30
	// The limit is a little above the rate: on a busy machine requests do not
	// arrive as evenly as they are sent.
	w := startBoth(t, simulator.Options{Seed: 50, Backlog: 8_000, Span: days * 24 * time.Hour, Rate: 5, Limit: 10, Identical: 0.05, Timestamped: true})
	from := w.since.Add(-time.Hour)
	w.since = time.Now().Add(-time.Hour)
	stop := newStop()
	w.between(t, func(r *http.Request) {
		if began, _ := strconv.ParseInt(r.URL.Query().Get("start_time"), 10, 64); strings.HasSuffix(r.URL.Path, "/messages") && began < w.since.Add(-2*time.Hour).Unix() {
			stop.pass(r.Context())
		}
	})
	dir, listen := filepath.Join(t.TempDir(), "data"), ports.Addr(t)
	path := w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", dir, listen), extra: paced + "poll: " + poll.String() + "\n"})
	c := startChild(t, "run", "-c", path)
	await(t, c, func() bool { return strings.Contains(c.notes.String(), "running") })
	begin := func(name string) {
		await(t, c, func() bool { return !standing(t, path, name+"/"+firstStream[name]).Cursor.IsZero() })
		must(t, "backfill", name, "--from", from.UTC().Format(time.RFC3339), "--detach", "-c", path)
	}
	begin("demo")
	stop.at(killAt)
	begin("support")
	for n := range 5 {
		stop.await(t, c)
		c.kill()
		b := one(t, path, "support/messages")
		if b.State == app.BackfillDone {
			t.Fatalf("it was over before kill %d: the test shows nothing", n)
		}
		t.Logf("kill %d at %.1f%%", n, b.Percent)
		if n < 4 {
			stop.at(killAt)
		}
		c = startChild(t, "run", "-c", path)
	}
	up := time.Now().Add(3 * time.Second)
	over := awaitBackfills(t, path, c, "support", "demo")
	w.Pause()
	account := w.Account()
	awaitAll(t, natsURL("nats://"+listen), account, c)
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	all := readTopics(t, dir)
	compareAll(t, all, account)
	for name, e := range account.Endpoints {
		if e.Refused > 0 {
			t.Errorf("%s refused %d requests beyond its limit", name, e.Refused)
		}
	}
	wantNoLag(t, all, up, over, 2*poll)
	if b := one(t, path, "support/messages"); b.Percent != 100 || b.Counts.Events == 0 || b.Counts.Lateness != (ledger.Histogram{}) {
		t.Errorf("in the end it is %+v", b)
	}
}

// stop holds one of the requests of a service until the service is killed.
type stop struct {
	left atomic.Int64 // requests up to the one that is held
	held chan struct{}
}

func newStop() *stop { return &stop{held: make(chan struct{})} }

// at has the n-th request from now on held.
func (s *stop) at(n int64) { s.left.Store(n) }

// pass is called with each request.
func (s *stop) pass(ctx context.Context) {
	if s.left.Add(-1) != 0 {
		return
	}
	select {
	case s.held <- struct{}{}:
		<-ctx.Done() // who asked is dead
	case <-ctx.Done():
	}
}

// await waits until a request is held.
func (s *stop) await(t *testing.T, c *child) {
	t.Helper()
	select {
	case <-s.held:
	case <-c.done:
		t.Fatalf("the program ended with code %d:\n%s", c.cmd.ProcessState.ExitCode(), c.notes)
	case <-time.After(5 * time.Minute):
		t.Fatalf("no request came to be held within five minutes; the program said:\n%s", c.notes)
	}
}

// firstStream is the one of each connector whose cursor tells that it was read.
var firstStream = map[string]string{"support": "messages", "demo": "integrationLog"}

// wantNoLag wants what occurred in a time to have been published soon after.
func wantNoLag(t *testing.T, all []event, from, to time.Time, most time.Duration) {
	t.Helper()
	n, worst := 0, time.Duration(0)
	for _, e := range all {
		if e.Type == events.TypeMessage && e.Time.After(from) && e.Time.Before(to) {
			n++
			worst = max(worst, e.Recorded.Sub(e.Time))
		}
	}
	if n == 0 {
		t.Errorf("no message occurred from %s to %s: the test shows nothing of lag", from, to)
	}
	if worst >= most {
		t.Errorf("a message was published %s after it occurred, want less than %s", worst, most)
	}
	t.Logf("%d live messages during the backfill, the latest after %s", n, worst)
}

// Records that turned up later than every overlap come through a backfill, and
// nothing that is published comes again; without a service the command reads.
func TestBackfillFindsWhatWasLate(t *testing.T) {
	w := startBoth(t, simulator.Options{Seed: 51, Backlog: 400, Span: 6 * time.Hour, Identical: 0.2})
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: fast})
	fails(t, 2, []string{"has not been read yet"}, "backfill", "demo", "--from", "5h", "-c", path)
	must(t, "run", "--once", "-c", path)
	published := len(readTopics(t, dir))
	at := time.Now().Add(-3 * time.Hour).UTC().Truncate(15 * time.Minute)
	for _, off := range []time.Duration{-time.Second, 0, time.Minute} {
		w.put(t, at.Add(off), false, 2)
	}
	out, notes := mustSay(t, "backfill", "demo", "--from", "5h", "-c", path)
	if !strings.Contains(notes, "no service runs") || !strings.Contains(out, "demo/urlTracker: backfill") || strings.Contains(notes+out, "\r") {
		t.Errorf("it says:\n%s%s", notes, out)
	}
	all := readTopics(t, dir)
	if n := len(all) - published; n != 3*3*2 {
		t.Errorf("%d events are new, want %d", n, 3*3*2)
	}
	compareLate(t, all, w.Account())
	for _, e := range all {
		if e.Replay {
			t.Errorf("%s is marked replay", e.ID)
		}
	}
	must(t, "backfill", "demo", "--from", "5h", "-c", path)
	must(t, "run", "--once", "-c", path)
	if n := len(readTopics(t, dir)); n != len(all) {
		t.Errorf("another backfill published %d events more", n-len(all))
	}
}

// forgetful is a configuration whose ids are soon forgotten.
const forgetful = fast + "overlap: 1m\nquiet: 1m\nsweep: {back: 1m}\n"

// Invariant 12: what is not remembered is refused, with what is possible; with
// --replay it is published once more, each record once and marked, also over a
// kill; and the same command goes on.
func TestBackfillReplays(t *testing.T) {
	t.Parallel()
	w := startWorld(t, simulator.Options{Seed: 52, Backlog: 6_000, Span: 8 * time.Hour})
	dir := filepath.Join(t.TempDir(), "data")
	path := w.configure(t, settings{broker: embeddedIn(dir), extra: forgetful})
	rewrite(t, path, "\nconnectors:", "\ndedup_horizon: 1h\nconnectors:")
	must(t, "run", "--once", "-c", path)
	first := ids(readTopics(t, dir))
	from := time.Now().Add(-6 * time.Hour).UTC().Truncate(15 * time.Minute).Format(time.RFC3339)
	to := time.Now().Add(-time.Minute).UTC().Truncate(15 * time.Minute).Format(time.RFC3339) // live reads are past it
	fails(t, 2, []string{"not remembered", "--replay", "possible without is --from", "--to " + to}, "backfill", "support/messages", "--from", from, "--to", to, "-c", path)
	must(t, "backfill", "support/messages", "--from", "30m", "-c", path)
	rewrite(t, path, "rate: 5000/s", "rate: 5/s")
	before := w.since.Add(-6 * time.Hour).Format(time.RFC3339)
	since := w.since.Truncate(15 * time.Minute).Format(time.RFC3339)
	must(t, "backfill", "support", "--from", before, "--to", since, "-c", path)
	if again := ids(readTopics(t, dir)); !slices.Equal(again, first) {
		t.Fatalf("backfills without --replay published %d events more", len(again)-len(first))
	}

	begin := []string{"backfill", "support/messages", "--from", from, "--to", to, "--replay", "-c", path}
	c := startChild(t, begin...)
	await(t, c, func() bool { return strings.Contains(c.notes.String(), "begins") })
	<-time.After(1200 * time.Millisecond) // some requests' time: it may be anywhere
	c.kill()
	rewrite(t, path, "rate: 5/s", "rate: 5000/s")
	_, notes := mustSay(t, begin...)
	if !strings.Contains(notes, "goes on") {
		t.Errorf("the same command again says:\n%s", notes)
	}
	times, marked := map[events.ID]int{}, 0
	for _, e := range readTopics(t, dir) {
		times[e.ID]++
		if e.Replay {
			marked++
		}
		if (times[e.ID] > 1) != e.Replay || times[e.ID] > 2 {
			t.Errorf("%s is there for the time %d, marked: %v", e.RecordID, times[e.ID], e.Replay)
		}
	}
	if marked == 0 || len(times) != len(first) {
		t.Errorf("%d events were published again, of %d", marked, len(times))
	}
}

// A backfill is paused, gone on with and cancelled beside a service, and one that
// was stopped in its own process is gone on with by the service.
func TestBackfillPauseAndCancel(t *testing.T) {
	t.Parallel()
	w := startWorld(t, simulator.Options{Seed: 53, Backlog: 20_000, Span: 10 * 24 * time.Hour})
	from := w.since.UTC().Format(time.RFC3339)
	w.since = time.Now().Add(-time.Hour)
	dir, listen := filepath.Join(t.TempDir(), "data"), ports.Addr(t)
	path := w.configure(t, settings{broker: fmt.Sprintf("dir: %q, listen: %q", dir, listen), extra: paced + "poll: 4s\n"})
	rewrite(t, path, "\nconnectors:", "\ndedup_horizon: 720h\nconnectors:") // so that what was cancelled can be read again
	must(t, "run", "--once", "-c", path)
	begin := []string{"backfill", "support/messages", "--from", from, "-c", path}

	own := startChild(t, begin...)
	await(t, own, func() bool { return strings.Contains(own.notes.String(), "read here, in this process") })
	if code := own.stop(); code != 1 || !strings.Contains(own.notes.String(), "goes on with it when it runs, or millrace backfill support/messages --from") {
		t.Errorf("stopped, it ends with %d and says:\n%s", code, own.notes)
	}

	c := startChild(t, "run", "-c", path)
	await(t, c, func() bool { return strings.Contains(c.notes.String(), "running") })
	await(t, c, func() bool { return one(t, path, "support/messages").State == app.BackfillReading })
	follower := startChild(t, begin...)
	await(t, follower, func() bool { return strings.Contains(follower.notes.String(), "goes on") })
	other := startChild(t, begin...)
	await(t, other, func() bool { return strings.Contains(other.notes.String(), "goes on") })
	if code := other.stop(); code != 0 || !strings.Contains(other.notes.String(), "the service goes on with backfill") {
		t.Errorf("who stops to follow it ends with %d and says:\n%s", code, other.notes)
	}
	said := must(t, "backfill", "pause", "support/messages", "-c", path)
	if !strings.Contains(said, "is paused") {
		t.Errorf("pause says %q", said)
	}
	if code := follower.wait(10 * time.Second); code != 0 || !strings.Contains(follower.notes.String(), "is paused") {
		t.Errorf("who followed it ends with %d and says:\n%s", code, follower.notes)
	}
	paused := one(t, path, "support/messages")
	if paused.State != app.BackfillPaused || !strings.Contains(must(t, "status", "-c", path), ": paused, ") {
		t.Errorf("it is %+v", paused)
	}
	number := fmt.Sprint(paused.Number)
	follower = startChild(t, "backfill", "resume", "support/messages", number, "-c", path)
	await(t, follower, func() bool {
		return strings.Contains(follower.notes.String(), "backfill "+number+" is resumed") && one(t, path, "support/messages").State == app.BackfillReading
	})
	must(t, "backfill", "pause", "support/messages", "-c", path)
	if code := follower.wait(10 * time.Second); code != 0 || !strings.Contains(follower.notes.String(), "backfill "+number+" is paused") {
		t.Errorf("who resumed it ends with %d and says:\n%s", code, follower.notes)
	}
	if out, notes := mustSay(t, "backfill", "resume", "support/messages", number, "--detach", "-c", path); !strings.Contains(out, "backfill "+number+" is resumed") || notes != "" {
		t.Errorf("resume --detach says:\n%s%s", out, notes)
	}
	must(t, "backfill", "pause", "support/messages", "-c", path)
	must(t, append(begin, "--detach")...)
	await(t, c, func() bool { return one(t, path, "support/messages").At.After(paused.At) })
	must(t, "backfill", "cancel", "support/messages", fmt.Sprint(paused.Number), "-c", path)
	if b := one(t, path, "support/messages"); b.State != app.BackfillCancelled {
		t.Errorf("it is %+v", b)
	}
	fails(t, 2, []string{"no backfill that has not ended"}, "backfill", "cancel", "support/messages", "-c", path)
	fails(t, 2, []string{"no backfill 99"}, "backfill", "pause", "support/messages", "99", "-c", path)
	fails(t, 2, []string{"name one"}, "backfill", "pause", "support", "-c", path)
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	rewrite(t, path, "rate: 8/s", "rate: 5000/s")
	begin[1] = "support"
	must(t, append(begin, "--detach")...)
	must(t, "backfill", "pause", "support/messages", "-c", path)
	_, said = mustSay(t, "backfill", "resume", "support/messages", "--detach", "-c", path)
	if list := must(t, "backfill", "list", "support/messages", "-c", path); !strings.Contains(said, "it is read when one does") || !strings.Contains(list, app.BackfillWaiting) {
		t.Errorf("resume --detach without a service says:\n%s%s", said, list)
	}
	out, said := mustSay(t, "backfill", "resume", "support/messages", "-c", path)
	if !strings.Contains(said, "it is read here") || !strings.Contains(out, "is done") {
		t.Errorf("resume without a service says:\n%s%s", said, out)
	}
	must(t, begin...)
	compareAll(t, readTopics(t, dir), w.Account())
}

// On a server of yours the command asks the service over the network, and takes
// the stream itself where none answers.
func TestBackfillOnAServerOfYours(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.await()
	backfillOnAServerOfYours(t, server)
}

func backfillOnAServerOfYours(t *testing.T, on target) {
	w := startWorld(t, simulator.Options{Seed: 55, Backlog: 600, Span: 2 * 24 * time.Hour})
	from := w.since.UTC().Format(time.RFC3339)
	w.since = time.Now().Add(-time.Hour)
	path := w.configure(t, settings{on: on, extra: "rate: 100/s\n"})
	must(t, "run", "--once", "-c", path)
	_, notes := mustSay(t, "backfill", "support/conversations", "--from", from, "-c", path)
	if !strings.Contains(notes, "no service runs") {
		t.Errorf("without a service it says:\n%s", notes)
	}
	c := startChild(t, "run", "-c", path)
	await(t, c, func() bool { return strings.Contains(must(t, "status", "-c", path), "reading") })
	out, notes := mustSay(t, "backfill", "support/messages", "--from", from, "-c", path)
	if strings.Contains(notes, "no service runs") || !strings.Contains(out, "is done") {
		t.Errorf("beside a service it says:\n%s%s", notes, out)
	}
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.notes)
	}
	compareAll(t, on.events(t), w.Account())
}
