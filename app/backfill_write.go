package app

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/pipeline"
)

const (
	redrawEvery = 250 * time.Millisecond
	lineEvery   = 10 * time.Second // where lines cannot be redrawn
	barWidth    = 24
)

// Bar shows how backfills go: on a terminal as one line that is redrawn, else as
// a line now and then. What else is written there goes through it, so that it
// does not stand in the middle of the line. Its methods may be called
// concurrently.
type Bar struct {
	out, notes io.Writer
	terminal   bool

	mu    sync.Mutex
	drawn bool      // the line is there
	shown time.Time // when the last was written
}

// NewBar returns a bar that draws to notes and writes what has come of it to out.
func NewBar(out, notes io.Writer, terminal bool) *Bar {
	return &Bar{out: out, notes: notes, terminal: terminal, shown: time.Now()}
}

// Write writes something else.
func (b *Bar) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wipe()
	return b.notes.Write(p)
}

func (b *Bar) wipe() {
	if b.drawn {
		fmt.Fprint(b.notes, "\r\x1b[K")
		b.drawn = false
	}
}

func (b *Bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wipe()
}

func (b *Bar) note(format string, args ...any) { fmt.Fprintf(b, format, args...) }

// begun tells what is read.
func (b *Bar) begun(s *connectors.Stream, a *answer) {
	p, name := a.Backfill, called(s)
	verb := "begins"
	if p.Resumed {
		verb = "goes on"
	}
	text := fmt.Sprintf("%s: backfill %d %s: %s to %s", name, p.Numbers[0], verb, when(p.From), when(p.To))
	if p.Replay {
		text += ", all published once more"
	}
	if !p.Oldest.IsZero() {
		text += "; the API cannot be asked for what lies before"
	}
	if p.Before > 0 {
		text += "; " + counted(p.Before, "other is", "others are") + " read first"
	}
	b.note("%s\n", text)
}

// unserved says what becomes of those that no service reads: they are read here, or,
// with detach, when a service runs.
func (b *Bar) unserved(all []*followed, detach bool) {
	told := map[string]bool{}
	for _, one := range all {
		if one.ingest == nil || told[one.name()] {
			continue
		}
		told[one.name()] = true
		if detach {
			b.note("%s: no service runs; it is read when one does\n", one.name())
		} else {
			b.note("%s: no service runs; it is read here, in this process\n", one.name())
		}
	}
}

// progress shows how far all are, not too often.
func (b *Bar) progress(all []*followed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.terminal && time.Since(b.shown) < lineEvery {
		return
	}
	b.shown = time.Now()
	text := total(all).String(b.terminal)
	if !b.terminal {
		fmt.Fprintln(b.notes, text)
		return
	}
	// What is longer than the terminal's line is cut, and not continued on the next
	// one, which would stay there.
	fmt.Fprint(b.notes, "\r\x1b[K\x1b[?7l"+text+"\x1b[?7h")
	b.drawn = true
}

// sums are several backfills as one.
type sums struct {
	percent           float64
	records, expected int64
	perSecond         float64
	left              time.Duration // 0: unknown
	rate, free        float64       // requests a second that are allowed, and that are left
	paused            time.Duration
	cause             string // why requests fail
}

func total(all []*followed) sums {
	var s sums
	var length, done float64
	for _, one := range all {
		b := &one.seen
		span := one.plan.To.Sub(one.plan.From).Seconds()
		length += span
		done += span * b.Percent / 100
		s.records += b.Counts.Records
		s.expected += b.Expected
		if b.State == BackfillReading {
			s.perSecond += b.Records
			s.rate += one.status.Rate
			s.free += one.status.BudgetLeft
			s.left = max(s.left, time.Duration(b.SecondsLeft*float64(time.Second)))
			s.cause = cmp.Or(s.cause, b.Cause)
			s.paused = max(s.paused, time.Duration(one.status.PausedFor*float64(time.Second)))
		}
	}
	if length > 0 {
		s.percent = 100 * done / length
	}
	return s
}

// String tells them on one line, with a bar or without.
func (s sums) String(bar bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5.1f%% ", s.percent)
	if bar {
		full := min(barWidth, max(0, int(s.percent*barWidth/100)))
		b.WriteString("[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] ")
	}
	fmt.Fprintf(&b, "%d", s.records)
	if s.expected > 0 {
		fmt.Fprintf(&b, " of about %d", s.expected)
	}
	fmt.Fprintf(&b, " records, %s/s", perSecond(s.perSecond))
	switch {
	case s.paused > 0:
		fmt.Fprintf(&b, ", paused by the API for %s", brief(s.paused))
	case s.rate > 0:
		fmt.Fprintf(&b, ", %.1f of %.1f requests/s left", s.free, s.rate)
	}
	switch {
	case s.cause != "":
		fmt.Fprintf(&b, ", failing: %s", s.cause)
	case s.left > 0:
		fmt.Fprintf(&b, ", %s to go", brief(s.left))
	}
	return b.String()
}

// perSecond is a rate: with one decimal where less would be nothing.
func perSecond(rate float64) string {
	if rate < 10 {
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

// summary tells what came of those that have ended.
func (b *Bar) summary(all []*followed) {
	b.clear()
	for _, one := range all {
		if one.err != nil {
			continue
		}
		s := &one.seen
		took := ""
		if !s.Done.IsZero() {
			took = " in " + brief(s.Done.Sub(s.Begun))
		}
		fmt.Fprintf(b.out, "%s: backfill %d is %s%s: %s, %s, %s, %s, %s\n", one.name(), s.Number, s.State, took,
			counted(s.Counts.Records, "record", "records"), counted(s.Counts.Events, "event", "events"), counted(s.Counts.Duplicates, "duplicate", "duplicates"),
			counted(s.Counts.DeadLetters, "dead letter", "dead letters"), counted(s.Counts.Requests, "request", "requests"))
	}
}

// WriteBackfills writes a table.
func WriteBackfills(w io.Writer, all []ListedBackfill) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "There are no backfills.")
		return err
	}
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "STREAM\tNUMBER\tFROM\tTO\tSTATE\tDONE\tRECORDS\tEVENTS\tLEFT")
	for n := range all {
		b := &all[n]
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", shortName(b.Connector, b.Stream), b.Number, when(b.From), when(b.To),
			b.shownState(), b.shownPercent(), b.Counts.Records, b.Counts.Events, b.left())
	}
	return t.Flush()
}

func (b *BackfillStatus) shownState() string {
	text := b.State
	if b.Cause != "" {
		text += ", failing"
	}
	if b.Replay {
		text += ", replay"
	}
	if b.Parts != nil {
		text += ", only " + strings.Join(b.Parts, " ")
	}
	return text
}

// shownPercent is how far it is. How far it is within its window only who reads
// it knows: else it is more, where it was read at all.
func (b *BackfillStatus) shownPercent() string {
	text := fmt.Sprintf("%.1f%%", b.Percent)
	if b.State != BackfillReading && b.State != BackfillDone && b.Counts.Requests > 0 {
		return ">" + text
	}
	return text
}

func (b *BackfillStatus) left() string {
	if b.SecondsLeft <= 0 {
		return "-"
	}
	return brief(time.Duration(b.SecondsLeft * float64(time.Second)))
}

// WriteChanged tells which backfills were paused, resumed or cancelled.
func WriteChanged(w io.Writer, stream string, p *pipeline.BackfillPlan, done string) error {
	for _, n := range p.Numbers {
		if _, err := fmt.Fprintf(w, "%s: backfill %d is %s\n", stream, n, done); err != nil {
			return err
		}
	}
	return nil
}
