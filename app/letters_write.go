package app

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"unicode/utf8"
)

// WriteCauses writes a table of what a selection holds.
func WriteCauses(w io.Writer, causes []Cause, s Selection) error {
	if len(causes) == 0 {
		return writeNone(w, s)
	}
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "COUNT\tSTREAM\tREASON\tDETAIL\tLAST\tEXAMPLE")
	for _, c := range causes {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", c.Count, shortName(c.Connector, c.Stream), c.Reason, c.Detail, when(c.Last), c.Example)
	}
	return t.Flush()
}

// writeNone says that there are none, and of what: there may be others.
func writeNone(w io.Writer, s Selection) error {
	what := "There are no open dead letters."
	switch narrow := !s.Empty(); {
	case s.Resolved && narrow:
		what = "No dead letter that was replayed or discarded is selected."
	case s.Resolved:
		what = "No dead letter was replayed or discarded."
	case narrow:
		what = "No open dead letter is selected."
	}
	_, err := fmt.Fprintln(w, what)
	return err
}

// WriteLetters writes a table of single letters of a selection.
func WriteLetters(w io.Writer, letters []Letter, s Selection) error {
	if len(letters) == 0 {
		return writeNone(w, s)
	}
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTREAM\tREASON\tRECORDED\tSIZE\tSTATE")
	for _, l := range letters {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\n", l.ID, shortName(l.Connector, l.Stream), l.Reason, when(l.Recorded), l.Size, l.state())
	}
	return t.Flush()
}

func (l *Letter) state() string {
	switch {
	case l.Resolved != "":
		return l.Resolved
	case l.Incomplete:
		return "open, " + partsGone
	}
	return "open"
}

// WriteLetter writes a letter whole, its record as text where it is text.
func WriteLetter(w io.Writer, l *Letter) error {
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	for _, line := range [][2]string{
		{"id", l.ID}, {"state", l.state()}, {"stream", shortName(l.Connector, l.Stream)}, {"key", l.Stream}, {"stage", l.Stage}, {"reason", l.Reason},
		{"detail", l.Detail}, {"window", l.Window}, {"recorded", when(l.Recorded)}, {"size", fmt.Sprint(l.Size)}, {"sha256", l.SHA256},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if utf8.Valid(l.raw) {
		_, err := fmt.Fprintf(w, "\n%s\n", multiline(string(l.raw)))
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s", hex.Dump(l.raw))
	return err
}

// multiline makes a text safe for a terminal, and leaves its lines.
func multiline(s string) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) {
			out = utf8.AppendRune(out, r)
		} else {
			out = fmt.Appendf(out, "\\x%02x", r)
		}
	}
	return string(out)
}

// Raw returns the record's bytes.
func (l *Letter) Raw() []byte { return l.raw }

// MarshalJSON adds the record to a letter that was read whole.
func (l Letter) MarshalJSON() ([]byte, error) {
	type plain Letter
	out := struct {
		plain
		Record *string `json:"record,omitempty"`
		Base64 string  `json:"record_base64,omitempty"`
	}{plain: plain(l)}
	if text := string(l.raw); l.raw != nil && utf8.Valid(l.raw) {
		out.Record = &text
	} else if l.raw != nil {
		out.Base64 = base64.StdEncoding.EncodeToString(l.raw)
	}
	return json.Marshal(out)
}

// WriteResolutions tells what became of dead letters, for people.
func WriteResolutions(w io.Writer, all []Resolution) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "No open dead letter is selected.")
	}
	for _, r := range all {
		fmt.Fprintf(w, "%s: %d selected", r.Name, r.Selected)
		switch some := r.Replayed + r.Known + r.Dropped + r.Discarded + r.Already; {
		case r.DryRun && some > 0:
			fmt.Fprint(w, "; a dry run changes nothing; there would be")
		case r.DryRun:
			fmt.Fprint(w, "; a dry run, and nothing would be changed")
		}
		fmt.Fprintln(w)
		replayed := "replayed: published as events"
		if r.DryRun {
			replayed += ", but for those that were published since, or that transforms drop or fail on: a dry run does not try that"
		}
		for _, line := range []struct {
			n    int
			what string
		}{
			{r.Replayed, replayed}, {r.Known, "their records were published already"},
			{r.Dropped, "dropped by the transforms"}, {r.Discarded, "discarded"}, {r.Already, "dealt with before"},
		} {
			if line.n > 0 {
				fmt.Fprintf(w, "  %d %s\n", line.n, line.what)
			}
		}
		for _, why := range slices.Sorted(maps.Keys(r.Dead)) {
			fmt.Fprintf(w, "  %d still dead: %s\n", r.Dead[why], why)
		}
	}
	return nil
}
