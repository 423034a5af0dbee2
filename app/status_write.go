package app

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
)

// WriteStatus writes a table that fits in 100 columns, or a wide one with all
// there is, and below it what somebody has to know.
func WriteStatus(w io.Writer, streams []StreamStatus, wide bool) error {
	if len(streams) == 0 {
		_, err := fmt.Fprintln(w, "No stream was read yet: millrace run reads them.")
		return err
	}
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	row := (*StreamStatus).row
	if wide {
		fmt.Fprintln(t, "STREAM\tKEY\tSTATE\tCURSOR\tLAG\tEVENTS\tEVENTS/S\tREQUESTS/S\tBUDGET LEFT\tDUPLICATES\tSEEN 50%\tSEEN 99%\tLATE\tDEAD LETTERS\tOPEN")
		row = (*StreamStatus).wideRow
	} else {
		fmt.Fprintln(t, "STREAM\tSTATE\tLAG\tEVENTS\tEVENTS/S\tSEEN 99%\tOPEN LETTERS")
	}
	for n := range streams {
		fmt.Fprint(t, row(&streams[n]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	writeInstances(w, streams)
	for n := range streams {
		streams[n].writeNotes(w)
	}
	writeCauses(w, streams)
	return nil
}

// writeInstances tells who has which streams, where several instances share them.
func writeInstances(w io.Writer, streams []StreamStatus) {
	held := map[string][]string{}
	var order []string
	for _, s := range streams {
		if held[s.Instance] == nil {
			order = append(order, s.Instance)
		}
		held[s.Instance] = append(held[s.Instance], s.name())
	}
	if len(order) < 2 {
		return
	}
	for _, instance := range order {
		if instance != "" {
			fmt.Fprintf(w, "\nwith the instance %s: %s", instance, strings.Join(held[instance], ", "))
		}
	}
	fmt.Fprintln(w)
}

// exact tells a time as the configuration takes it.
func exact(s ledger.Seconds) string {
	text := s.Duration().String()
	for _, nothing := range []string{"0s", "0m"} {
		if rest := strings.TrimSuffix(text, nothing); rest != text && strings.ContainsAny(rest[len(rest)-1:], "hm") {
			text = rest
		}
	}
	return text
}

// name is what commands call the stream.
func (s *StreamStatus) name() string { return shortName(s.Connector, s.Stream) }

// shortName is what commands call a stream: CONNECTOR/STREAM; or its key, where no
// connector of the configuration reads it.
func shortName(connector, key string) string {
	if connector == "" {
		return key
	}
	return connector + "/" + key[strings.LastIndexByte(key, '/')+1:]
}

// called is what commands call a stream of the configuration.
func called(s *connectors.Stream) string { return shortName(s.Connector, s.Key.String()) }

// row is the stream's line of the narrow table.
func (s *StreamStatus) row() string {
	_, within := s.seen()
	return fmt.Sprintf("%s\t%s\t%s\t%d\t%.1f\t%s\t%s\n", s.name(), s.shownState(), s.lag(), s.Counts.Events, s.Events, within, s.open())
}

// wideRow is its line of the wide one.
func (s *StreamStatus) wideRow() string {
	cursor, left := "-", "-"
	if !s.Cursor.IsZero() {
		cursor = when(s.Cursor)
	}
	switch {
	case s.PausedFor > 0:
		left = "paused for " + s.pause()
	case s.Rate > 0:
		left = fmt.Sprintf("%.1f of %.1f/s", s.BudgetLeft, s.Rate)
	}
	half, within := s.seen()
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%d\t%.1f\t%.1f\t%s\t%d\t%s\t%s\t%d\t%d\t%s\n", s.name(), s.Stream, s.shownState(), cursor, s.lag(),
		s.Counts.Events, s.Events, s.Requests, left, s.Counts.Duplicates, half, within, s.Counts.Late, s.Counts.DeadLetters, s.open())
}

// shownState says that a stream is paused before it says how it reads.
func (s *StreamStatus) shownState() string {
	if s.PausedFor > 0 && s.State == pipeline.StateReading {
		return "paused"
	}
	return s.State
}

func (s *StreamStatus) pause() string {
	return brief(time.Duration(s.PausedFor * float64(time.Second)))
}

func (s *StreamStatus) lag() string {
	if s.Cursor.IsZero() {
		return "-"
	}
	return brief(time.Duration(s.LagSeconds * float64(time.Second)))
}

// seen is within what time half of the records, and 99 of 100, were seen.
func (s *StreamStatus) seen() (half, most string) {
	if s.Lateness == nil {
		return "-", "-"
	}
	return s.Lateness.P50.String(), s.Lateness.P99.String()
}

func (s *StreamStatus) open() string {
	if s.OpenMore {
		return fmt.Sprintf("at least %d", s.Open)
	}
	return fmt.Sprint(s.Open)
}

// writeNotes writes what does not fit in a table.
func (s *StreamStatus) writeNotes(w io.Writer) {
	if s.PausedFor > 0 {
		fmt.Fprintf(w, "\n%s: the API lets no request through for %s more\n", s.name(), s.pause())
	}
	for n := range s.Backfills {
		if b := &s.Backfills[n]; b.Done.IsZero() {
			fmt.Fprintf(w, "\n%s: backfill %d of %s to %s: %s, %s, %s", s.name(), b.Number, when(b.From), when(b.To), b.shownState(), b.shownPercent(), counted(b.Counts.Records, "record", "records"))
			if b.SecondsLeft > 0 {
				fmt.Fprintf(w, ", %s to go", b.left())
			}
			fmt.Fprintln(w)
			if b.Cause != "" {
				fmt.Fprintln(w, b.Cause)
			}
		}
	}
	if s.Counts.Late > 0 && !s.LateByNature {
		fmt.Fprintf(w, "\n%s: sweeps found %s that polls had missed; overlap: %s would have caught them\n", s.name(), counted(s.Counts.Late, "record", "records"), exact(s.Counts.Overlap))
		if s.Late.Records > 0 && s.Late.Records < s.Counts.Late {
			fmt.Fprintf(w, "  the latest that found any ended at %s and found %d; overlap: %s would have caught these\n", when(s.Late.At), s.Late.Records, exact(s.Late.Overlap))
		}
	}
	if !s.OpenUntil.IsZero() && time.Until(s.OpenUntil) < 24*time.Hour {
		fmt.Fprintf(w, "\n%s: dead letters that nobody has dealt with are deleted from %s on (topics.retention): millrace dead-letters list shows them\n", s.name(), when(s.OpenUntil))
	}
}

// writeCauses writes why streams fail, once what several of them meet.
func writeCauses(w io.Writer, streams []StreamStatus) {
	var causes []string
	names := map[string][]string{}
	for n := range streams {
		s := &streams[n]
		if s.Cause == "" {
			continue
		}
		if names[s.Cause] == nil {
			causes = append(causes, s.Cause)
		}
		names[s.Cause] = append(names[s.Cause], s.name())
	}
	for _, cause := range causes {
		fmt.Fprintf(w, "\n%s: %s\n", strings.Join(names[cause], ", "), cause)
	}
}

// counted is a number with its noun.
func counted[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprint(n) + " " + many
}
