package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
)

func (p *program) deadLetters() *cobra.Command {
	c := &cobra.Command{Use: "dead-letters", Short: "List, show, replay or discard records that could not become events", Args: cobra.NoArgs, RunE: needsSubcommand}
	c.AddCommand(p.lettersList(), p.lettersShow(), p.lettersResolve(false), p.lettersResolve(true))
	return c
}

// selection gives a command the flags that choose letters.
func (p *program) selection(c *cobra.Command, s *app.Selection) *cobra.Command {
	c.Flags().StringVar(&s.Connector, "connector", "", "only those of a connector, by its `name`")
	c.Flags().StringVar(&s.Stream, "stream", "", "only those of a stream, by its `name`: messages, support/messages or its key")
	c.Flags().StringVar(&s.Reason, "reason", "", "only those with this `reason`, such as not_json")
	_ = c.RegisterFlagCompletionFunc("connector", p.completeFlag(false)) // fails without the flag only
	_ = c.RegisterFlagCompletionFunc("stream", p.completeFlag(true))
	return p.configFlag(c)
}

func (p *program) lettersList() *cobra.Command {
	var s app.Selection
	var single bool
	var format string
	c := &cobra.Command{
		Use: "list", Short: "List what is dead, by its cause", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			letters, err := app.DeadLetters(c.Context(), file, s, false, log)
			if err != nil {
				return err
			}
			if single || s.Resolved {
				return p.list(format, letters, func(w io.Writer) error { return app.WriteLetters(w, letters, s) })
			}
			causes := app.Causes(letters)
			return p.list(format, causes, func(w io.Writer) error { return app.WriteCauses(w, causes, s) })
		},
	}
	c.Flags().BoolVar(&single, "ids", false, "list each letter with its id")
	c.Flags().BoolVar(&s.Resolved, "resolved", false, "list those that were replayed or discarded")
	return p.selection(outputFlag(c, &format), &s)
}

func (p *program) lettersShow() *cobra.Command {
	var s app.Selection
	var raw bool
	var format string
	c := &cobra.Command{
		Use: "show [ID...]", Short: "Show letters whole, with their records",
		RunE: func(c *cobra.Command, ids []string) error {
			if s.IDs = ids; s.Empty() {
				return &app.UsageError{Err: errors.New("name letters by id, or by --connector, --stream or --reason")}
			}
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			letters, err := app.DeadLetters(c.Context(), file, s, true, log)
			if err != nil {
				return err
			}
			switch {
			case len(letters) == 0:
				return &app.UsageError{Err: errors.New("there is no such dead letter; dead-letters list --ids lists those that are open, with --resolved the others")}
			case raw && len(letters) > 1:
				return &app.UsageError{Err: errors.New("--raw shows one letter, and these are more: name it by its id")}
			case raw:
				_, err := p.out.Write(letters[0].Raw())
				return err
			}
			return p.list(format, letters, func(w io.Writer) error {
				for n := range letters {
					if n > 0 {
						_, _ = io.WriteString(w, "\n")
					}
					if err := app.WriteLetter(w, &letters[n]); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, "write the record's bytes and nothing else")
	c.Flags().BoolVar(&s.Resolved, "resolved", false, "show one that was replayed or discarded")
	return p.selection(outputFlag(c, &format), &s)
}

// lettersResolve is replay, or discard.
func (p *program) lettersResolve(discard bool) *cobra.Command {
	var s app.Selection
	var all, dryRun bool
	var format string
	use, short := "replay", "Send letters through the flow again; each is published once, however often this is asked"
	if discard {
		use, short = "discard", "Take letters off the list"
	}
	c := &cobra.Command{
		Use: use + " [ID...]", Short: short,
		RunE: func(c *cobra.Command, ids []string) error {
			if s.IDs = ids; s.Empty() && !all {
				return &app.UsageError{Err: errors.New("name letters by id, or by --connector, --stream or --reason, or all with --all")}
			}
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			done, failed := app.ResolveLetters(c.Context(), file, s, discard, dryRun, log)
			if done != nil || failed == nil {
				err = p.list(format, done, func(w io.Writer) error { return app.WriteResolutions(w, done) })
			}
			return errors.Join(failed, err)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all that are open")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; say what would be done")
	return p.selection(outputFlag(c, &format), &s)
}
