package app

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// widest is how wide the narrow table may be.
const widest = 100

func statusOf(c *ledger.Checkpoint) StreamStatus {
	s := StreamStatus{Connector: "support", Stream: "feedyou/acme/fuzzyQuestionAnswerLog", State: pipeline.StateUnavailable}
	s.fill(c, time.Now())
	return s
}

func written(t *testing.T, wide bool, streams ...StreamStatus) string {
	t.Helper()
	var b strings.Builder
	if err := WriteStatus(&b, streams, wide); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The table fits, also with large numbers and long words.
func TestStatusIsReadable(t *testing.T) {
	c := &ledger.Checkpoint{Live: ledger.Lane{At: time.Now().Add(-1000 * time.Hour)}, Counts: ledger.Counts{Events: 12_345_678, Duplicates: 7, DeadLetters: 9}}
	c.Counts.Lateness.Observe(60 * 24 * time.Hour)
	s := statusOf(c)
	s.Open, s.OpenMore, s.Events = 9, true, 1234.5
	text := written(t, false, s)
	for line := range strings.Lines(text) {
		if len(line) > widest+1 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	for _, what := range []string{"support/fuzzyQuestionAnswerLog  unavailable  41d16h  12345678  1234.5    >30d      at least 9"} {
		if !strings.Contains(text, what) {
			t.Errorf("the table has no %q:\n%s", what, text)
		}
	}
	if text := written(t, true, s); !strings.Contains(text, "feedyou/acme/fuzzyQuestionAnswerLog") || !strings.Contains(text, when(c.Live.At)) {
		t.Errorf("the wide table is\n%s", text)
	}
}

func TestStatusTellsLateness(t *testing.T) {
	c := &ledger.Checkpoint{}
	if s := statusOf(c); s.Lateness != nil {
		t.Errorf("nothing was seen, and its lateness is %+v", s.Lateness)
	}
	for range 98 {
		c.Counts.Lateness.Observe(4 * time.Second)
	}
	c.Counts.Lateness.Observe(10 * time.Minute)
	c.Counts.Lateness.Observe(100 * 24 * time.Hour)
	data, err := json.Marshal(statusOf(c))
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{
		`"p50":{"seconds":5},"p99":{"seconds":600}`, `{"up_to_seconds":5,"records":98}`, `{"up_to_seconds":600,"records":1}`, `{"up_to_seconds":null,"records":1}`,
	} {
		if !strings.Contains(string(data), what) {
			t.Errorf("the JSON has no %s: %s", what, data)
		}
	}
	c.Counts.Lateness.Observe(100 * 24 * time.Hour)
	if got := statusOf(c).Lateness.P99; got != (LatenessBound{Seconds: 30 * 24 * 3600, Beyond: true}) {
		t.Errorf("99 of 100 were seen within %+v", got)
	}
}

func TestStatusTellsWhatSweepsFound(t *testing.T) {
	c := &ledger.Checkpoint{Counts: ledger.Counts{Late: 12, Overlap: 5415}, Late: ledger.Late{Records: 12, Overlap: 5415, At: time.Unix(0, 0)}}
	const all = "support/fuzzyQuestionAnswerLog: sweeps found 12 records that polls had missed; overlap: 1h30m15s would have caught them\n"
	if text := written(t, false, statusOf(c)); !strings.Contains(text, all) || strings.Contains(text, "the latest") {
		t.Error(text)
	}
	c.Late.Records, c.Late.Overlap = 2, 7200
	if text := written(t, false, statusOf(c)); !strings.Contains(text, "ended at 1970-01-01T00:00:00Z and found 2; overlap: 2h would") {
		t.Error(text)
	}
	s := statusOf(c)
	s.LateByNature = true
	if text := written(t, false, s); strings.Contains(text, "overlap") {
		t.Errorf("advice that does not help:\n%s", text)
	}
}

func TestStatusTellsOfAPause(t *testing.T) {
	s := StreamStatus{Stream: "feedyou/acme/userData", State: pipeline.StateReading, PausedFor: 3599.6}
	text := written(t, false, s)
	if !strings.Contains(text, "feedyou/acme/userData  paused") || !strings.Contains(text, "no request through for 1h more") {
		t.Error(text)
	}
	s.State, s.Cause = pipeline.StateFailing, "reading userData: the API answered 429"
	if text := written(t, true, s); !strings.Contains(text, "failing") || !strings.Contains(text, "paused for 1h") || !strings.Contains(text, s.Cause) {
		t.Error(text)
	}
}

// stored is a broker whose topic of dead letters gives them in the order of its
// partitions.
type stored struct {
	topics.Broker
	at []time.Time
}

func (s stored) Tail(_ context.Context, _ topics.TailOptions, fn func(topics.Received) error) error {
	for n, at := range s.at {
		e := events.Event{Type: events.TypeDeadLetter, Source: s.key(), Recorded: at, ID: events.ID{byte(n + 1)}, RecordID: "r", Key: "k"}
		var encoder events.Encoder
		m := topics.Message{Topic: e.Type, Attributes: encoder.AppendAttributes(nil, &e), Data: []byte(`{"reason":"not_json","record":"x"}`)}
		if err := fn(topics.Received{Message: m, Stored: at}); err != nil {
			return err
		}
	}
	return nil
}

func (stored) key() events.StreamKey {
	return events.StreamKey{Vendor: "feedyou", Account: "acme", Stream: "nlpLog"}
}

func (stored) Ledger(events.StreamKey) topics.Ledger { return none{} }

type none struct{ topics.Ledger }

func (none) Entries(context.Context) ([]string, error) { return nil, nil }

// The first letter to go is not the first that is read.
func TestStatusTellsWhenTheFirstLetterGoes(t *testing.T) {
	now := time.Now()
	b := stored{at: []time.Time{now, now.Add(-time.Hour), now.Add(-time.Minute)}}
	streams := map[string]StreamStatus{b.key().String(): {Counts: ledger.Counts{DeadLetters: 3}}}
	if err := openLetters(t.Context(), b, streams, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if s := streams[b.key().String()]; s.Open != 3 || !s.OpenUntil.Equal(now.Add(23*time.Hour)) {
		t.Errorf("%d letters, the first of them until %s; it is %s now", s.Open, s.OpenUntil, now)
	}
}

// What several streams fail for is told once; a cursor in the future is not late.
func TestStatusTellsACauseOnce(t *testing.T) {
	s := statusOf(&ledger.Checkpoint{Live: ledger.Lane{At: time.Now().Add(time.Hour)}})
	if s.LagSeconds != 0 {
		t.Errorf("a lag of %v s", s.LagSeconds)
	}
	s.Cause = "refused"
	other, third := s, s
	other.Stream, third.Stream, third.Cause = "feedyou/acme/userData", "feedyou/acme/nlpLog", "away"
	text := written(t, false, s, third, other)
	if want := "\nsupport/fuzzyQuestionAnswerLog, support/userData: refused\n\nsupport/nlpLog: away\n"; !strings.HasSuffix(text, want) {
		t.Errorf("it says\n%s", text)
	}
}

// Who has which streams is told once for each instance, and not where one has all.
func TestStatusTellsWhoHasWhat(t *testing.T) {
	s := statusOf(&ledger.Checkpoint{})
	s.Instance = "one"
	second, third, nobody := s, s, s
	second.Stream, third.Stream, nobody.Stream = "feedyou/acme/userData", "feedyou/acme/nlpLog", "feedyou/acme/urlTracker"
	if text := written(t, false, s, second); strings.Contains(text, "instance") {
		t.Errorf("one has all:\n%s", text)
	}
	third.Instance, nobody.Instance = "two", ""
	text := written(t, false, s, third, second, nobody)
	want := "\nwith the instance one: support/fuzzyQuestionAnswerLog, support/userData\nwith the instance two: support/nlpLog\n"
	if !strings.HasSuffix(text, want) {
		t.Errorf("it says\n%s", text)
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0s", 59600 * time.Millisecond: "1m", 61 * time.Second: "1m1s", time.Hour: "1h",
		25*time.Hour + 59*time.Minute: "1d1h", 24*time.Hour + time.Minute: "1d", -5 * time.Second: "-5s",
	} {
		if got := brief(d); got != want {
			t.Errorf("%s is told as %s, not %s", d, got, want)
		}
	}
}
