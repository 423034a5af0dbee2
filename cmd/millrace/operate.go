package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
)

func (p *program) cursor() *cobra.Command {
	c := &cobra.Command{Use: "cursor", Short: "Show where streams stand, or have them read from elsewhere", Args: cobra.NoArgs, RunE: needsSubcommand}
	c.AddCommand(p.cursorGet(), p.cursorSet(), p.cursorRewind())
	return c
}

// needsSubcommand is what a command that is only a group of others does.
func needsSubcommand(c *cobra.Command, _ []string) error {
	_ = c.Help()
	return &app.UsageError{Err: fmt.Errorf("millrace %s wants one of the commands above", c.Name())}
}

func (p *program) cursorGet() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "get [CONNECTOR[/STREAM]]", Short: "Show cursor, window, sweep, coverage and how far back ids are kept", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeStreams,
		RunE: func(c *cobra.Command, args []string) error {
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			cursors, err := app.Cursors(c.Context(), file, first(args), log)
			if err != nil {
				return err
			}
			return p.list(format, cursors, func(w io.Writer) error { return app.WriteCursors(w, cursors) })
		},
	}
	return p.configFlag(outputFlag(c, &format))
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (p *program) cursorSet() *cobra.Command {
	return p.mover("set CONNECTOR[/STREAM] --to TIME", "Have streams read from a time on, before or behind the cursor", func(to string, m *app.Move) (err error) {
		if to == "" {
			return &app.UsageError{Err: errors.New("say with --to where the cursor is to be put, such as --to 2026-01-01 or --to 2d")}
		}
		m.Set = true
		m.To, err = timeFlag("--to", to, time.Now())
		return err
	})
}

func (p *program) cursorRewind() *cobra.Command {
	var by string
	c := p.mover("rewind CONNECTOR[/STREAM] (--by DURATION | --to TIME)", "Have streams read the past again; what is published is not published again", func(to string, m *app.Move) (err error) {
		if (by == "") == (to == "") {
			return &app.UsageError{Err: errors.New("say how far back the cursor is to be moved: either --by a duration such as 24h or 2d, or --to a time")}
		}
		if by == "" {
			m.To, err = timeFlag("--to", to, time.Now())
			return err
		}
		var ok bool
		if m.By, ok = app.ParseDuration(by); !ok || m.By < time.Second {
			return &app.UsageError{Err: errors.New("--by wants a duration such as 90m, 24h or 2d")}
		}
		return nil
	})
	c.Flags().StringVar(&by, "by", "", "how far back from the cursor, a `duration` such as 24h or 2d")
	return c
}

// mover is a command that moves cursors.
func (p *program) mover(use, short string, fill func(to string, m *app.Move) error) *cobra.Command {
	var m app.Move
	var to, format string
	var dryRun bool
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: p.completeStreams,
		RunE: func(c *cobra.Command, args []string) error {
			if err := fill(to, &m); err != nil {
				return err
			}
			p.quiet = true // what was done is told below
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			moved, failed := app.MoveCursors(c.Context(), file, args[0], m, dryRun, log)
			if len(moved) > 0 {
				err = p.list(format, moved, func(w io.Writer) error { return app.WriteMoved(w, moved) })
			}
			return errors.Join(failed, err)
		},
	}
	c.Flags().StringVar(&to, "to", "", "a `time` such as 2026-01-01T00:00:00Z, a date, or a duration back from now such as 2d")
	c.Flags().BoolVar(&m.Replay, "replay", false, "publish what is read again once more, marked replay")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; say what would be read again, or skipped")
	return p.configFlag(outputFlag(c, &format))
}

func timeFlag(name, value string, now time.Time) (time.Time, error) {
	t, ok := app.ParseTime(value, now)
	if !ok {
		return time.Time{}, &app.UsageError{Err: fmt.Errorf("%s wants a time such as 2026-01-01T00:00:00Z, a date, or a duration back from now such as 15m or 2d", name)}
	}
	return t, nil
}
