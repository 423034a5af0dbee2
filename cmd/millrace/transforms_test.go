package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// Invariants 1 and 5: what a wrong transform has sent to the dead letters is
// published once when it is mended and the letters are replayed, whatever is killed
// in the middle of it.
func TestWrongTransformIsMendedAndReplayed(t *testing.T) {
	t.Parallel()
	wrongTransform(t, func(t *testing.T) target {
		s := startServer(t)
		s.await()
		return s
	})
}

func TestWrongTransformIsMendedAndReplayedOnKafka(t *testing.T) {
	t.Parallel()
	wrongTransform(t, newKafka)
}

func wrongTransform(t *testing.T, newTarget func(*testing.T) target) {
	w := startWorld(t, simulator.Options{Seed: 61, Backlog: 1_500, Span: time.Hour})
	on := newTarget(t)
	path := w.configure(t, settings{on: on, extra: fast + "streams: [messages]\n"})
	const mended = "transforms:\n- {name: numbers, types: [message], set: {number: len(raw.conversationId)}}\n"
	const wrong = "transforms:\n- {name: numbers, types: [message], set: {number: raw.conversationId / 2}}\n"
	rewrite(t, path, "http: {", wrong+"http: {")
	must(t, "run", "--once", "-c", path)
	records := len(w.Account().Endpoints["deepconverse/messages"].Records)
	all := causes(t, path)
	if len(all) != 1 || all[0].Count != records || records < 1000 || all[0].Reason != events.ReasonTransform || all[0].Stage != events.StageTransform || !strings.Contains(all[0].Detail, "the transform numbers failed") {
		t.Fatalf("of %d records the letters are %+v", records, all)
	}
	if still := must(t, "dead-letters", "replay", all[0].Example, "-c", path); !strings.Contains(still, "1 still dead: the transform numbers failed") {
		t.Errorf("a replay on the transform that is wrong says\n%s", still)
	}
	rewrite(t, path, wrong, mended)
	inTheMiddle := 0
	for range *kills {
		published := committed(t, on)
		c := startChild(t, "dead-letters", "replay", "--all", "-c", path)
		published(c)
		c.kill()
		n := len(causesOrNone(t, path))
		if n == 0 {
			break
		}
		if inTheMiddle++; inTheMiddle == 2 { // a broker of its own gives the stream away after a while only
			break
		}
	}
	if inTheMiddle == 0 {
		t.Error("no replay was killed in the middle")
	}
	must(t, "dead-letters", "replay", "--all", "-c", path)
	if again := must(t, "dead-letters", "replay", "--all", "-c", path); strings.Contains(again, "replayed") {
		t.Errorf("a replay of what was replayed says\n%s", again)
	}
	if out := must(t, "run", "--once", "-c", path); out != "" {
		t.Errorf("it says %s", out)
	}
	replayedOnce(t, w, on, records)
}

// replayedOnce compares the topics with the account: each record is a dead letter
// and, once, an event.
func replayedOnce(t *testing.T, w *world, on target, records int) {
	t.Helper()
	letters, messages := map[events.ID]bool{}, map[string]bool{}
	ids := map[events.ID]bool{}
	for _, e := range on.events(t) {
		if ids[e.ID] {
			t.Errorf("%s is there twice", e.ID)
		}
		ids[e.ID] = true
		if e.Type == events.TypeDeadLetter {
			letters[e.ID] = true
			continue
		}
		messages[hash(e.raw(t))] = true
		if !strings.Contains(string(e.data), `"number":`) {
			t.Errorf("the mended transform left no trace in %s", e.data)
		}
	}
	if len(letters) != records || len(messages) != records || len(ids) != 2*records {
		t.Errorf("%d letters, %d messages, %d ids of %d records", len(letters), len(messages), len(ids), records)
	}
	for _, r := range w.Account().Endpoints["deepconverse/messages"].Records {
		if !messages[r.SHA256] {
			t.Errorf("the record %s is missing", r.ID)
		}
	}
}

// causesOrNone lists the causes of open letters.
func causesOrNone(t *testing.T, path string) []string {
	t.Helper()
	var names []string
	for _, c := range causes(t, path) {
		names = append(names, c.Example)
	}
	return names
}

// committed returns a function that waits until something new is on the topics, or
// the child has ended.
func committed(t *testing.T, on target) func(*child) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	server, ok := on.(*natsServer)
	if !ok {
		next := on.follow(t)
		for len(next(ctx)) > 0 { // what is there already
			continue
		}
		return func(c *child) {
			for ctx.Err() == nil && len(next(ctx)) == 0 {
				select {
				case <-c.done:
					return
				default:
				}
			}
		}
	}
	nc, err := natsgo.Connect("nats://" + server.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	heard := make(chan *natsgo.Msg, 10_000)
	if _, err := nc.ChanSubscribe("millrace.message.>", heard); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return func(c *child) {
		select {
		case <-heard:
		case <-c.done:
		case <-ctx.Done():
		}
	}
}

// What steps do to events is what their configuration says, on the way through the
// program: other topics, parts, ids that stay.
func TestTransformsOnTheWay(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 62, Backlog: 200, Span: time.Hour})
	on := newEmbedded(t)
	path := w.configure(t, settings{on: on, extra: fast})
	must(t, "run", "--once", "-c", path)
	plain := map[string]events.ID{}
	for _, e := range on.events(t) {
		plain[e.RecordID] = e.ID
	}
	other := newEmbedded(t)
	path = w.configure(t, settings{on: other, extra: fast})
	rewrite(t, path, "http: {", `transforms:
- {route: inbound_only, types: [message], when: direction == "inbound"}
- {rename: {text: body}, types: [message]}
- {keep: [body, sender, direction, status]}
- {set: {words: 'split(body, " ")'}, types: [message]}
- {filter: 'len(words) > 1', types: [message]}
http: {`)
	must(t, "run", "--once", "-c", path)
	said := must(t, "run", "--once", "-c", path)
	topics := map[string]int{}
	for _, e := range other.events(t) {
		if plain[e.RecordID] != e.ID {
			t.Errorf("the record %s has the id %s with transforms, %s without", e.RecordID, e.ID, plain[e.RecordID])
		}
		topics[strings.Split(e.topic, ".")[1]]++
	}
	if topics["inbound_only"] == 0 || topics["message"] == 0 || topics["conversation"] == 0 || said != "" {
		t.Errorf("by topic: %v, said %q", topics, said)
	}
	for _, args := range [][]string{{"tail", "inbound_only", "--from", "beginning", "-n", "1"}, {"tail", "inbound_only", "message", "--from", "beginning", "--where", `direction == "inbound"`, "-n", "1"}} {
		if out := must(t, append(args, "-c", path)...); strings.Count(out, "\n") != 1 {
			t.Errorf("%v printed\n%s", args, out)
		}
	}
	for topic, want := range map[string]bool{"inbound_only": true, "message": true, "nowhere": false} {
		if out := must(t, "tail", "--from", "beginning", "--where", `event.topic == "`+topic+`"`, "-n", "1", "-c", path); (out != "") != want {
			t.Errorf("on the topic %s there is %q", topic, out)
		}
	}
	if out := must(t, "tail", "message", "--from", "beginning", "--where", `direction == "inbound"`, "-c", path); out != "" {
		t.Errorf("what was routed away is on the topic: %s", out)
	}
	fails(t, 2, []string{`--where: unknown name "sendr"; did you mean "sender"?`}, "tail", "--where", `sendr == "bot"`, "--from", "beginning", "-c", path)
	fails(t, 2, []string{"there is no topic", `did you mean "inbound_only"?`}, "tail", "inboundonly", "-c", path)
	if out := must(t, "transforms", "try", "--topic", "message", "-c", path); !strings.Contains(out, "published: 1 event") {
		t.Errorf("try says\n%s", out)
	}
}

func TestExamplesOfTransforms(t *testing.T) {
	w := startWorld(t, simulator.Options{Seed: 63})
	path := w.configure(t, settings{on: newEmbedded(t)})
	rewrite(t, path, "http: {", "transforms:\n- {filter: 'sender != \"bot\"', types: [message]}\nhttp: {")
	file := filepath.Join(t.TempDir(), "examples.yaml")
	write := func(out string) {
		t.Helper()
		text := "examples:\n- name: a bot\n  in: {type: message, data: {sender: bot, text: Hi}}\n  out: " + out + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[]")
	if out := must(t, "transforms", "test", file, "-c", path); !strings.HasPrefix(out, "ok ") {
		t.Errorf("it says\n%s", out)
	}
	write("[{data: {sender: bot}}]")
	fails(t, 1, []string{"1 of 1 example did not come out as expected"}, "transforms", "test", file, "-c", path)
	write("{}")
	fails(t, 2, []string{"examples.yaml"}, "transforms", "test", file, "-c", path)
	rewrite(t, path, "sender !=", "sendr !=")
	fails(t, 2, []string{`millrace.yaml:`, `unknown name "sendr"; did you mean "sender"?`}, "check", "-c", path)
	fails(t, 2, []string{`unknown name "sendr"`}, "run", "--once", "-c", path)
}
