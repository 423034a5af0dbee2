package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
)

func (p *program) backfill() *cobra.Command {
	var o app.BackfillOptions
	var from, to string
	c := &cobra.Command{
		Use: "backfill CONNECTOR[/STREAM] --from TIME", Short: "Read a range of the past, beside the live reads", Args: cobra.ExactArgs(1),
		ValidArgsFunction: p.completeStreams,
		Long: `Read a range of the past, beside the live reads: what lies before since, or once
more what was read already. What is published is not published again. It goes on
after a kill where it stood, and takes no more of the rate limit than live reads
leave. Where a service runs, that reads it, and this command shows how it goes; else
this command reads it itself. The same command again goes on with one that was
paused or stopped.`,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if from == "" {
				return &app.UsageError{Err: errors.New("say with --from where the range begins, such as --from 2026-01-01 or --from 30d")}
			}
			now := time.Now() // one for both: a range from 2d to 2d is none
			if o.From, err = timeFlag("--from", from, now); err != nil {
				return err
			}
			if to != "" {
				if o.To, err = timeFlag("--to", to, now); err != nil {
					return err
				}
			}
			o.Show = p.bar()
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			return app.Backfill(c.Context(), file, args[0], o, log)
		},
	}
	c.Flags().StringVar(&from, "from", "", "where the range begins: a `time` such as 2026-01-01T00:00:00Z, a date (UTC), or a duration back from now such as 30d")
	c.Flags().StringVar(&to, "to", "", "where it ends, a `time` like --from (default: as far as live reads have come)")
	c.Flags().BoolVar(&o.Replay, "replay", false, "publish what is published once more, marked replay")
	detachFlag(c, &o.Follow)
	c.AddCommand(p.backfillList(), p.backfillChange("pause", app.PauseBackfill, "paused"), p.backfillResume(), p.backfillChange("cancel", app.CancelBackfill, "cancelled"))
	return p.configFlag(c)
}

// bar shows how backfills go. The log goes through it from now on, so that it does
// not stand in the middle of the bar, and holds less, as the bar tells most of it.
func (p *program) bar() *app.Bar {
	bar := app.NewBar(p.out, p.notes, isTerminal(p.notes))
	p.notes, p.quiet = bar, true
	return bar
}

// isTerminal says whether somebody sees what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

func (p *program) backfillList() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "list [CONNECTOR[/STREAM]]", Short: "List backfills: those that have not ended, and the latest that have", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeStreams,
		RunE: func(c *cobra.Command, args []string) error {
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			all, err := app.ListBackfills(c.Context(), file, first(args), log)
			if err != nil {
				return err
			}
			return p.list(format, all, func(w io.Writer) error { return app.WriteBackfills(w, all) })
		},
	}
	return p.configFlag(outputFlag(c, &format))
}

// backfillChange is a command that pauses or cancels backfills.
func (p *program) backfillChange(name, do, done string) *cobra.Command {
	long := ofNumber + done + "."
	if do == app.PauseBackfill {
		long += " A paused one goes on with backfill resume, or with the same millrace backfill command as before."
	}
	return p.numbered(name, done, long, func(c *cobra.Command, args []string, number uint64) error {
		file, log, err := p.loadForBroker()
		if err != nil {
			return err
		}
		stream, plan, err := app.ChangeBackfills(c.Context(), file, args[0], do, number, log)
		if err != nil {
			return err
		}
		return app.WriteChanged(p.out, stream, plan, done)
	})
}

// backfillResume is a command that follows what it has going on, as backfill does.
func (p *program) backfillResume() *cobra.Command {
	var o app.Follow
	long := ofNumber + "resumed. As with millrace backfill, the service reads them and this command shows\nhow they go; where none runs this command reads them itself."
	c := p.numbered("resume", "resumed", long, func(c *cobra.Command, args []string, number uint64) error {
		o.Show = p.bar()
		file, log, err := p.loadForBroker()
		if err != nil {
			return err
		}
		return app.ResumeBackfills(c.Context(), file, args[0], number, o, log)
	})
	detachFlag(c, &o)
	return c
}

func detachFlag(c *cobra.Command, o *app.Follow) {
	c.Flags().BoolVar(&o.Detach, "detach", false, "do not wait for its end")
}

const ofNumber = "The number is that of backfill list; without one all that have not ended are "

// numbered is a command about backfills of a stream, or the one of a number.
func (p *program) numbered(name, done, long string, do func(c *cobra.Command, args []string, number uint64) error) *cobra.Command {
	return p.configFlag(&cobra.Command{
		Use: name + " CONNECTOR/STREAM [NUMBER]", Short: "Have backfills " + done, Long: long, Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: p.completeStreams,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return do(c, args, 0)
			}
			number, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil || number == 0 {
				return &app.UsageError{Err: fmt.Errorf("%q is no number of a backfill: backfill list shows them", args[1])}
			}
			return do(c, args, number)
		},
	})
}
