package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
)

func (p *program) explain() *cobra.Command {
	var what app.ExplainOptions
	var format string
	c := &cobra.Command{
		Use: "explain EVENT_ID|RECORD_ID", Short: "Tell where an event came from, and what became of its record", Args: cobra.ExactArgs(1),
		Long: `Tell where an event came from: its attributes and its place in the topics, the
commit, window, request and page that brought it, its record, what each transform
makes of it, all versions of the record with what changed from one to the next,
and the dead letters about it. It takes the id of an event (32 hex digits), of a
dead letter, or of a record as its API has it. The topics are read from their
beginning up to now; nothing is changed.`,
		RunE: func(c *cobra.Command, args []string) error {
			what.ID = args[0]
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			all, err := app.Explain(c.Context(), file, what, log)
			if err != nil {
				return err
			}
			return p.list(format, all, func(w io.Writer) error { return app.WriteExplained(w, all) })
		},
	}
	c.Flags().StringVar(&what.Stream, "stream", "", "only of a stream, by its `name`: messages, support/messages or its key")
	_ = c.RegisterFlagCompletionFunc("stream", p.completeFlag(true)) // fails without the flag only
	return p.configFlag(outputFlag(c, &format))
}
