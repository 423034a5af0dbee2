package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/transforms"
)

func (p *program) transforms() *cobra.Command {
	c := &cobra.Command{Use: "transforms", Short: "Try what the configuration makes of events", Args: cobra.NoArgs, RunE: needsSubcommand}
	c.AddCommand(p.transformsTest(), p.transformsTry())
	return c
}

// loadForTransforms reads the configuration for a command that reads no API: of
// variables that are not set only the hashes of redact depend.
func (p *program) loadForTransforms() (*config.File, error) {
	file, log, err := p.loadForBroker()
	if err == nil && app.HasUnset(file.Transforms) {
		log.Warn("a variable that transforms use is not set here: what is made with it, such as hashes, is not what the service makes")
	}
	return file, err
}

func (p *program) transformsTest() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "test FILE...", Short: "Run examples, an event in and events out, and show where they differ",
		Long: "Run the examples of files on the transforms of the configuration, or on those of the file where it has its own:\n\n" +
			"  examples:\n  - name: bots say nothing\n    in: {type: message, data: {sender: bot, text: Hello}}\n    out: []\n\n" +
			"in wants a type and data; connector, stream, key, record_id and time have defaults. out lists what is to come out,\n" +
			"of which topic, key, record_id and data are compared as far as they are given. dead: STEP instead of out says which\n" +
			"step is to fail. The command fails when an example comes out otherwise.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			var all []app.ExampleResult
			var errs []error
			for _, name := range files {
				examples, err := app.ReadExamples(name, p.loadForTransforms)
				if err != nil {
					return err
				}
				results, err := examples.Run(c.Context())
				errs = append(errs, err)
				if format == "table" {
					if err := app.WriteExamples(p.out, name, results); err != nil {
						return err
					}
				}
				all = append(all, results...)
			}
			if format != "table" {
				errs = append(errs, p.list(format, all, func(io.Writer) error { return nil }))
			}
			return errors.Join(errs...)
		},
	}
	return p.configFlag(outputFlag(c, &format))
}

func (p *program) transformsTry() *cobra.Command {
	var topic, id, format string
	c := &cobra.Command{
		Use: "try", Short: "Show what each transform makes of one event, from stdin or a topic", Args: cobra.NoArgs,
		Long: "Show what each transform of the configuration makes of one event: that on stdin, as millrace tail -o json prints it or\n" +
			"as examples have it, or with --topic the latest of a topic. One from a topic has been through the transforms that\n" +
			"were configured when it was published.",
		RunE: func(c *cobra.Command, _ []string) error {
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			if known := app.Topics(file); topic != "" && !slices.Contains(known, topic) {
				return &app.UsageError{Err: fmt.Errorf("there is no topic %q: it is no event type, and nothing is routed to it; %s", topic, config.Suggest("topics", topic, known))}
			}
			chain, err := app.ChainOf(file)
			if err != nil {
				return err
			}
			if app.HasUnset(file.Transforms) {
				log.Warn("a variable that transforms use is not set here: what is made with it, such as hashes, is not what the service makes")
			}
			var e events.Event
			switch {
			case topic != "":
				e, err = app.TryTopic(c.Context(), file, topic, id, log)
			case id != "":
				err = &app.UsageError{Err: errors.New("--id goes with --topic")}
			default:
				e, err = app.TryFrom(os.Stdin)
			}
			if err != nil {
				return err
			}
			switch format {
			case "pretty":
				return app.WriteTry(c.Context(), p.out, chain, e)
			case "json":
				out, err := chain.Apply(c.Context(), e)
				for n := range out {
					fmt.Fprintf(p.out, "%s\n", transforms.Structured(&out[n]))
				}
				return err
			}
			return &app.UsageError{Err: errors.New("-o wants pretty or json")}
		},
	}
	c.Flags().StringVar(&topic, "topic", "", "read the event from a `topic`")
	c.Flags().StringVar(&id, "id", "", "of the topic the event with this `id`, instead of the latest")
	c.Flags().StringVarP(&format, "output", "o", "pretty", "pretty, or json for the events that come out alone")
	_ = c.RegisterFlagCompletionFunc("topic", p.completeTopics) // fails without the flag only
	return p.configFlag(c)
}
