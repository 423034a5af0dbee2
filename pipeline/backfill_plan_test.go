package pipeline

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/ledger"
)

var midnight = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// at is a time of that day, such as 12:30:00.
func at(clock string) time.Time {
	t, err := time.Parse(time.TimeOnly, clock)
	if err != nil {
		panic(err)
	}
	return midnight.Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second)
}

func rangeOf(from, to string) ledger.Range { return ledger.Range{From: at(from), To: at(to)} }

// standing is a stream that began at 10:07 and has come to 20:02; the ids of what
// was published before 18:00 are forgotten.
func standing() *ledger.Checkpoint {
	return &ledger.Checkpoint{
		Commits: 7, Since: at("10:07:00"), Live: ledger.Lane{At: at("20:02:00")}, Forgotten: at("18:00:00"),
		Covered: []ledger.Range{rangeOf("10:07:00", "20:02:00")},
	}
}

func TestBackfillRanges(t *testing.T) {
	now := at("20:05:00")
	for name, c := range map[string]struct {
		from, to string // of the request; "" for long ago, and for none
		oldest   string
		change   func(*ledger.Checkpoint)
		replay   bool
		want     string // from and to, or
		refused  string // what the refusal says
	}{
		"rounded outward":            {from: "03:01:00", to: "04:16:00", want: "03:00:00 04:30:00"},
		"to since, inside a quarter": {from: "03:00:00", to: "10:07:00", want: "03:00:00 10:15:00"},
		"to the second quarter":      {from: "03:00:00", to: "10:15:01", refused: "possible without is --from 2026-11-01T03:00:00Z --to 2026-11-01T10:00:00Z"},
		"the middle is lost":         {from: "03:00:00", to: "20:00:00", refused: "--to 2026-11-01T10:00:00Z, and --from 2026-11-01T18:15:00Z --to 2026-11-01T20:00:00Z"},
		"lost":                       {from: "12:00:00", to: "13:00:00", refused: "2026-11-01T12:00:00Z to 2026-11-01T13:00:00Z is not remembered"},
		"all of it is lost":          {from: "12:00:00", to: "13:00:00", refused: "nothing of it can be read again without"},
		"lost, with replay":          {from: "12:00:00", to: "13:00:00", replay: true, want: "12:00:00 13:00:00"},
		"remembered, to the present": {from: "18:15:00", want: "18:15:00 20:02:00"},
		"no further than live reads": {from: "18:15:00", to: "20:04:00", want: "18:15:00 20:02:00"},
		"what live reads will read":  {from: "20:03:00", to: "20:04:00", want: "20:00:00 20:02:00"},
		"nothing left to read":       {from: "20:03:00", change: func(c *ledger.Checkpoint) { c.Live.At = at("20:00:00") }, refused: "live reads have come to"},
		"the future":                 {from: "21:00:00", refused: "future"},
		"before all":                 {refused: "before 1970"},
		"the wrong way round":        {from: "04:00:00", to: "03:00:00", refused: "not behind"},
		"not read yet":               {from: "03:00:00", change: func(c *ledger.Checkpoint) { c.Live.At = time.Time{} }, refused: "not been read yet"},
		"further than the API":       {from: "03:00:00", to: "09:00:00", oldest: "05:00:00", want: "05:00:00 09:00:00"},
		"all before the API":         {from: "03:00:00", to: "05:00:00", oldest: "05:00:00", refused: "cannot be asked"},
		"an older version's start":   {from: "03:00:00", to: "10:00:00", change: lostStart, want: "03:00:00 10:00:00"},
		"up to an older one's start": {from: "03:00:00", to: "10:07:00", change: lostStart, refused: "--to 2026-11-01T10:00:00Z"},
		"its tie, where it is at one": {from: "03:00:00", to: "10:00:00", change: func(c *ledger.Checkpoint) {
			lostStart(c)
			c.Covered[0].From, c.StartsLost[0] = at("10:00:00"), at("10:00:00")
		}, refused: "--to 2026-11-01T09:45:00Z"},
		"a hole":           {from: "12:05:00", to: "12:20:00", change: hole, want: "12:00:00 12:30:00"},
		"more than a hole": {from: "11:40:00", to: "12:20:00", change: hole, refused: "possible without is --from 2026-11-01T12:00:00Z"},
		"too many":         {from: "03:00:00", to: "04:00:00", change: many, refused: "20 backfills"},
	} {
		t.Run(name, func(t *testing.T) {
			stands := standing()
			if c.change != nil {
				c.change(stands)
			}
			r := BackfillRequest{Do: BackfillBegin, From: time.Unix(-1, 0), Replay: c.replay}
			if c.from != "" {
				r.From = at(c.from)
			}
			if c.to != "" {
				r.To = at(c.to)
			}
			var oldest time.Time
			if c.oldest != "" {
				oldest = at(c.oldest)
			}
			p, err := beginBackfill(stands, r, now, oldest)
			if c.refused != "" {
				if !isRefused(err) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v is no refusal that says %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := p.From.Format(time.TimeOnly) + " " + p.To.Format(time.TimeOnly); got != c.want {
				t.Errorf("it reads %s, want %s", got, c.want)
			}
			b := stands.BackfillOf(p.Numbers[0])
			if b.Number != 7 || !b.At.Equal(p.From) || (len(b.Unknown) > 0) != c.replay || p.Oldest.IsZero() != (c.oldest == "") {
				t.Errorf("it begins as %+v, by %+v", b, p)
			}
		})
	}
}

func lostStart(c *ledger.Checkpoint) { c.StartsLost = []time.Time{at("10:07:00")} }

func hole(c *ledger.Checkpoint) {
	c.Covered = []ledger.Range{rangeOf("10:07:00", "12:05:00"), rangeOf("12:20:00", "20:02:00")}
}

func many(c *ledger.Checkpoint) {
	for n := range maxBackfills {
		c.SetBackfill(ledger.Backfill{Number: uint64(n + 100), From: at("01:00:00"), To: at("02:00:00"), Paused: true})
	}
}

// The same again goes on with the one that there is.
func TestTheSameBackfillAgain(t *testing.T) {
	c := standing()
	ask := func(from, to string) *BackfillPlan {
		t.Helper()
		r := BackfillRequest{Do: BackfillBegin, From: at(from)}
		if to != "" {
			r.To = at(to)
		}
		c.Commits++
		p, err := beginBackfill(c, r, at("20:05:00"), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := ask("03:00:00", "05:00:00")
	for _, again := range [][2]string{{"03:00:00", "05:00:00"}, {"03:10:00", "04:50:00"}, {"03:30:00", "04:00:00"}} {
		if p := ask(again[0], again[1]); !p.Resumed || p.Numbers[0] != first.Numbers[0] || !p.From.Equal(first.From) {
			t.Errorf("%q: %+v", again, p)
		}
	}
	if _, err := stopBackfills(c, BackfillRequest{Do: BackfillPause, Number: first.Numbers[0]}, midnight); err != nil || !c.BackfillOf(first.Numbers[0]).Paused {
		t.Fatalf("%+v, %v", c.Backfills, err)
	}
	if p := ask("03:30:00", "04:00:00"); p.Resumed { // a part of one that is paused
		t.Errorf("%+v", p)
	}
	if p := ask("03:00:00", "05:00:00"); !p.Resumed || c.BackfillOf(first.Numbers[0]).Paused {
		t.Errorf("%+v", p)
	}
	for _, do := range []string{BackfillPause, BackfillResume} {
		if _, err := stopBackfills(c, BackfillRequest{Do: do, Number: first.Numbers[0]}, midnight); err != nil || c.BackfillOf(first.Numbers[0]).Paused != (do == BackfillPause) {
			t.Errorf("%s: %+v, %v", do, c.Backfills, err)
		}
	}
	paused := *c.BackfillOf(first.Numbers[0])
	paused.Paused, paused.Begun = true, paused.Begun.Add(-time.Hour)
	c.SetBackfill(paused)
	if p := ask("04:10:00", "05:00:00"); !p.Resumed || p.Numbers[0] != first.Numbers[0] { // 17 hours ago, an hour later
		t.Errorf("%+v", p)
	}
	present := ask("18:15:00", "")
	c.Live.At = at("20:04:00")
	if p := ask("18:20:00", ""); !p.Resumed || p.Numbers[0] != present.Numbers[0] || p.Before != 2 {
		t.Errorf("%+v", p)
	}
}

// Invariant 12: what is kept at the edges is no reason to refuse a move, and all
// else is.
func TestEdgesAreNotLost(t *testing.T) {
	c := standing()
	c.Forgotten = at("10:12:00") // within the first quarter
	if p, err := PlanMove(c, Move{To: at("10:07:00")}, at("20:05:00")); err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	c.Forgotten = at("10:16:00")
	if _, err := PlanMove(c, Move{To: at("10:07:00")}, at("20:05:00")); !isRefused(err) {
		t.Errorf("%v", err)
	}
	hole(c)
	c.Forgotten = at("13:00:00")
	if got := lostIn(c, rangeOf("00:00:00", "20:00:00")); !slices.Equal(got, []ledger.Range{rangeOf("10:15:00", "11:50:00"), {From: at("12:30:00"), To: at("13:00:00").Add(slack)}}) {
		t.Errorf("lost is %v", got)
	}
}

// A backfill that was cancelled behind nothing that was covered leaves an edge.
func TestCancelledBackfillsKeepAnEdge(t *testing.T) {
	for _, records := range []int64{0, 1} {
		c := standing()
		b := ledger.Backfill{Number: 1, From: at("03:00:00"), To: at("04:00:00"), Lane: ledger.Lane{At: at("03:00:00")}}
		b.Counts.Records = records
		c.SetBackfill(b)
		if _, err := stopBackfills(c, BackfillRequest{Do: BackfillCancel}, midnight); err != nil {
			t.Fatal(err)
		}
		kept := slices.ContainsFunc(edges(c), func(r ledger.Range) bool { return r.Overlaps(rangeOf("02:59:59", "03:00:01")) })
		if kept != (records > 0) || !c.Backfills[0].Cancelled || len(c.OpenBackfills()) > 0 {
			t.Errorf("%d records: edges %v, %+v", records, edges(c), c.Backfills)
		}
	}
}

// Ids are kept behind a backfill that has not ended, paused or not.
func TestCutoffIsBehindBackfills(t *testing.T) {
	te := tenure{Ingest: &Ingest{opts: Options{Horizon: time.Hour}}}
	c := standing()
	c.SetBackfill(ledger.Backfill{Number: 1, Lane: ledger.Lane{At: at("03:00:00")}, Paused: true})
	if got := te.cutoff(c); !got.Equal(at("02:00:00")) {
		t.Errorf("with a paused backfill: %s", got)
	}
	c.SetBackfill(ledger.Backfill{Number: 1, Lane: ledger.Lane{At: at("03:00:00")}, Done: midnight})
	if got := te.cutoff(c); !got.Equal(at("19:02:00")) {
		t.Errorf("when it is over: %s", got)
	}
}

// isRefused says whether a command was refused, and nothing was changed.
func isRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}
