package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// What tests of commits write, and how a foreign consumer judges it.

var testKey = streamKey("s")

func streamKey(stream string) events.StreamKey {
	return events.StreamKey{Vendor: "v", Account: "a/b c", Stream: stream}
}

// numberedTypes are the event types of what is numbered.
var numberedTypes = []string{events.TypeMessage, events.TypeClick}

// numbered is the nth commit of a stream: size events of several keys and types,
// an entry, and a checkpoint that is the number.
func numbered(k events.StreamKey, n, size int) *topics.Commit {
	c := &topics.Commit{ID: fmt.Sprint("c", n), Checkpoint: fmt.Append(nil, n), Entries: []topics.Entry{{Name: fmt.Sprint("entry.", n), Data: fmt.Append(nil, "of ", n)}}}
	for i := range size {
		c.Messages = append(c.Messages, topics.Message{
			Topic: numberedTypes[i%len(numberedTypes)], Connector: "test", Key: fmt.Sprintf("%s/%d", k.Stream, i%10),
			Attributes: []events.Attribute{{Name: "id", Value: fmt.Sprintf("%s/%d/%d", k.Stream, n, i)}}, Data: fmt.Appendf(nil, `{"n":%d}`, n*size+i),
		})
	}
	return c
}

// result is what a stream must have left: the numbered commits from 0 on, and
// the entries of all of them that were not forgotten.
type result struct {
	key       events.StreamKey
	commits   int
	size      int
	forgotten func(n int) bool // nil: none
}

// judge holds what a foreign consumer reads, of committed transactions only,
// against what was committed: each event once, every key in order, the ledgers
// and the last checkpoints.
func judge(t *testing.T, prefix, addr string, want ...result) {
	t.Helper()
	if problems := judged(t, prefix, addr, want...); len(problems) > 0 {
		t.Errorf("%d problems, such as\n%s", len(problems), strings.Join(problems[:min(10, len(problems))], "\n"))
	}
}

func judged(t *testing.T, prefix, addr string, want ...result) (problems []string) {
	t.Helper()
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	n := names{prefix: prefix}
	seen, last := map[string]int{}, map[string]int{}
	for _, eventType := range numberedTypes {
		for _, r := range kafkatest.Committed(t, addr, n.topic(eventType)) {
			id := r.Header(attributePrefix + "id")
			if seen[id]++; seen[id] > 1 {
				complain("%s is there %d times, again by %s at %s/%d/%d", id, seen[id], r.Header(attributePrefix+"owner"), eventType, r.Partition, r.Offset)
				continue
			}
			var at int
			if _, err := fmt.Sscanf(string(r.Value), `{"n":%d`, &at); err != nil {
				t.Fatalf("%s holds %.100q", id, r.Value)
			}
			where := eventType + " " + string(r.Key)
			if before, ok := last[where]; ok && at <= before {
				complain("%s: %d comes after %d", where, at, before)
			}
			last[where] = at
		}
	}
	wantedEvents, state := 0, map[string]string{}
	for _, w := range want {
		wantedEvents += w.commits * w.size
		for i := range w.commits {
			for _, m := range numbered(w.key, i, w.size).Messages {
				if id := m.Attributes[0].Value; seen[id] == 0 {
					complain("%s is missing", id)
				}
			}
			if w.forgotten == nil || !w.forgotten(i) {
				state[ledgerKeys(w.key)+fmt.Sprint("entry.", i)] = fmt.Sprint("of ", i)
			}
		}
		if w.commits > 0 {
			state[checkpointKey(w.key)] = fmt.Sprint(w.commits - 1)
		}
	}
	if len(seen) != wantedEvents {
		complain("%d events, want %d", len(seen), wantedEvents)
	}
	got := map[string]string{}
	for _, r := range kafkatest.Committed(t, addr, n.state()) {
		if got[string(r.Key)] = string(r.Value); r.Value == nil {
			delete(got, string(r.Key))
		}
	}
	for key, value := range state {
		if got[key] != value {
			complain("the state of %s is %q, want %q", key, got[key], value)
		}
		delete(got, key)
	}
	for key, value := range got {
		complain("the state has %s=%q, want nothing", key, value)
	}
	slices.Sort(problems)
	return problems
}
