package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/simulator"
)

var everyFault = []simulator.Fault{
	simulator.TooMany, simulator.Broken, simulator.Reset, simulator.Truncated,
	simulator.Slow, simulator.SignIn, simulator.Redirect, simulator.Poison,
}

// Invariants 1, 9 and 10, with each fault alone and with all of them.
func TestOnceWithEveryFault(t *testing.T) { onceWithEveryFault(t, newEmbedded) }

func onceWithEveryFault(t *testing.T, newTarget func(*testing.T) target) {
	for i, fault := range everyFault {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			withFaults(t, newTarget(t), simulator.Options{
				Seed: uint64(50 + i), Backlog: 300, Span: 4 * time.Hour, Identical: 0.1, Faults: simulator.Faults{fault: 0.05},
			})
		})
	}
	for _, timestamped := range []bool{false, true} {
		t.Run(fmt.Sprintf("all,timestamped=%v", timestamped), func(t *testing.T) {
			t.Parallel()
			faults := simulator.Faults{}
			for _, fault := range everyFault {
				faults[fault] = 0.05
			}
			withFaults(t, newTarget(t), simulator.Options{
				Seed: 60, Backlog: *backlog / 4, Span: *span / 2, Corpus: *corpus, Identical: 0.1, Faults: faults, Timestamped: timestamped,
			})
		})
	}
}

// withFaults reads a world of which requests go wrong.
func withFaults(t *testing.T, on target, o simulator.Options) {
	w := startBoth(t, o)
	cut := new(unheard)
	if !o.Timestamped {
		cut = listen(t, w)
	}
	path := w.configure(t, settings{on: on, extra: fast})
	logged := ""
	for met := false; !met; { // each reads at least the overlap again
		_, notes := mustSay(t, "run", "--once", "--give-up", "2m", "-c", path)
		logged += notes
		met = true
		for fault := range o.Faults {
			met = met && w.injured(fault) > 0
		}
	}
	all, account := on.events(t), w.Account()
	compareAll(t, all, account)
	compareDead(t, all, account, o.Timestamped)
	compareIncidents(t, logged, account, cut)
}

// injured is how many requests met a fault.
func (w *world) injured(fault simulator.Fault) (n int) {
	for _, e := range w.Account().Endpoints {
		n += e.Faults[fault]
	}
	return n
}

// quarters are the endpoints that are read in quarters of an hour where rows have
// no time.
var quarters = []string{"feedyou/nlpLog", "feedyou/outgoingSms", "feedyou/urlTracker"}

// compareDead wants each element that was poison among the dead letters, once
// however often the same bytes came. That nothing else is there compareAll has
// seen. Logs that are read in quarters are exempt: of a quarter's two answers
// the smaller one only tells what to leave out, and an answer that shows that
// quarters are needed is read again as such.
func compareDead(t *testing.T, all []event, a simulator.Account, timestamped bool) {
	t.Helper()
	l := newLedgerOf(t)
	for i := range all {
		l.add(&all[i])
	}
	for name, e := range a.Endpoints {
		if !timestamped && slices.Contains(quarters, name) {
			continue
		}
		for _, raw := range e.Poison {
			if !l.of[name].dead[string(raw)] {
				t.Errorf("%s: no dead letter holds the poison %.200q", name, raw)
			}
		}
	}
}

var (
	incidentLine = regexp.MustCompile(`msg="requests failed and were repeated with success" .*stream=(\w+) failed=(\d+) `)
	failingLine  = regexp.MustCompile(`msg="stream is failing, its requests are repeated" .*stream=(\w+) `)
	quietLine    = regexp.MustCompile(`msg=(running|"read up to the present") `)
)

// compareIncidents wants one line for each row of failures that ended with a
// success, and one more for a long one; nothing else, and no failure forgotten but
// those that nobody hears of.
func compareIncidents(t *testing.T, logged string, a simulator.Account, cut *unheard) {
	t.Helper()
	secretsOf(a).absent(t, "the log", []byte(logged))
	failed, incidents, long := map[string]int{}, map[string]int{}, map[string]int{}
	for line := range strings.Lines(logged) {
		if found := incidentLine.FindStringSubmatch(line); found != nil {
			n, _ := strconv.Atoi(found[2])
			failed[found[1]] += n
			incidents[found[1]]++
		} else if found := failingLine.FindStringSubmatch(line); found != nil {
			long[found[1]]++
		} else if !quietLine.MatchString(line) {
			t.Errorf("the log has a line of another kind: %s", line)
		}
	}
	for name, e := range a.Endpoints {
		_, stream, _ := strings.Cut(name, "/")
		most := e.Refused
		for fault, n := range e.Faults {
			if fault != simulator.Slow && fault != simulator.Poison {
				most += n
			}
		}
		// Where a connection is torn before the answer the transport itself may
		// ask again, so that nobody hears of it.
		least := most - e.Faults[simulator.Reset] - cut.of(name)
		if got := failed[stream]; got < least || got > most {
			t.Errorf("%s: the log tells of %d failed requests, there were %d to %d", name, got, least, most)
		}
		if long[stream] > incidents[stream] || incidents[stream] > failed[stream] {
			t.Errorf("%s: %d long incidents of %d, with %d failures", name, long[stream], incidents[stream], failed[stream])
		}
	}
}
