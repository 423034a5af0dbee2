package pipeline_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/pipeline"
)

// The log names what was asked for, and of which backfills.
func TestBackfillLog(t *testing.T) {
	o := options(open(t, t.TempDir()))
	s, _ := hourly(t, &o)
	ingest(t, s("a"), o)
	var text log
	o.Log = slog.New(slog.NewTextHandler(&text, nil))
	begin(t, s("a"), o, start.Add(-2*time.Hour), start, false)
	for _, c := range []struct{ do, want string }{
		{pipeline.BackfillPause, "backfills are paused"},
		{pipeline.BackfillResume, "backfills are resumed"},
		{pipeline.BackfillCancel, "backfills are cancelled"},
	} {
		if _, err := asks(t, s("a"), o, pipeline.BackfillRequest{Do: c.do}); err != nil {
			t.Fatal(err)
		}
		if said := text.String(); !strings.Contains(said, c.want) || strings.Contains(said, "0001-01-01") {
			t.Errorf("%s: %q", c.do, said)
		}
	}
}
