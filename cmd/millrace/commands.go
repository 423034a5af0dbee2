package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
)

func (p *program) demo() *cobra.Command {
	o := app.DemoOptions{Events: p.out, Notes: p.notes}
	c := &cobra.Command{
		Use: "demo", Short: "Show it all at work: simulated APIs, the service, the events; leaves nothing behind", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Log = p.logger()
			return app.Demo(c.Context(), o)
		},
	}
	c.Flags().IntVarP(&o.N, "number", "n", 0, "end after so many events (0: go on)")
	c.Flags().StringVar(&o.Corpus, "corpus", "", "take what is said from a `file` of dialogues (gzipped JSON lines)")
	return c
}

func (p *program) run() *cobra.Command {
	var o app.Options
	c := &cobra.Command{
		Use: "run", Short: "Run the service", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Config, o.Log, err = p.load(); err != nil {
				return err
			}
			a, err := app.New(c.Context(), o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, a.Close()) }()
			o.Log.Info("running", "connectors", len(o.Config.Connectors), "broker", a.Where(), "http", a.HTTPAddr())
			defer context.AfterFunc(c.Context(), func() {
				fmt.Fprintln(p.notes, "millrace: finishing what is under way; a second signal ends at once")
			})()
			return a.Run(c.Context())
		},
	}
	c.Flags().BoolVar(&o.Once, "once", false, "read everything up to now, commit it, and end")
	c.Flags().DurationVar(&o.GiveUp, "give-up", 0, "with --once: how long a request may fail before its stream is given up (default 90s, or 5 failures in a row)")
	return p.configFlag(c)
}

func (p *program) check() *cobra.Command {
	var connect bool
	var format string
	c := &cobra.Command{
		Use: "check", Short: "Check the configuration, and with --connect the credentials and the broker", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			file, log, err := p.load()
			if err != nil {
				return err
			}
			results, failed := app.Check(c.Context(), file, connect, log)
			if results == nil {
				return failed
			}
			if err := p.list(format, results, func(w io.Writer) error { return app.WriteCheck(w, results) }); err != nil {
				return err
			}
			var wrong *app.CheckError
			if errors.As(failed, &wrong) {
				wrong.Brief = format == "json" // which has it all
			}
			return failed
		},
	}
	c.Flags().BoolVar(&connect, "connect", false, "try each credential and the broker")
	return p.configFlag(outputFlag(c, &format))
}

func (p *program) status() *cobra.Command {
	var format string
	var wide bool
	c := &cobra.Command{
		Use: "status", Short: "Show how each stream stands", Args: cobra.NoArgs,
		Long: `Show how each stream stands: what it does, how far it is behind the present (LAG),
what it has published since it began (EVENTS) and publishes at the moment
(EVENTS/S), within what time of occurring 99 of 100 records were seen (SEEN 99%),
and the dead letters that nobody has dealt with (OPEN LETTERS). Below the table
stands what somebody should know or do.`,
		RunE: func(c *cobra.Command, _ []string) error {
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			streams, err := app.Status(c.Context(), file, log)
			if err != nil {
				return err
			}
			return p.list(format, streams, func(w io.Writer) error { return app.WriteStatus(w, streams, wide) })
		},
	}
	c.Flags().BoolVar(&wide, "wide", false, "show all columns: keys, cursors, rates, budgets and more counts")
	return p.configFlag(outputFlag(c, &format))
}

func (p *program) tail() *cobra.Command {
	var o app.TailOptions
	var from, format string
	c := &cobra.Command{
		Use: "tail [TOPIC...]", Short: "Print events as they are committed", ValidArgsFunction: p.completeTopics,
		Long: "Print events as they are committed. A TOPIC is an event type, such as message, or one that the configuration\n" +
			"routes events to; without one all are printed.",
		RunE: func(c *cobra.Command, names []string) error {
			begin, err := app.ParseFrom(from, time.Now())
			if err != nil {
				return err
			}
			switch format {
			case "pretty", "json":
			default:
				return &app.UsageError{Err: errors.New("-o wants pretty or json")}
			}
			o.TailOptions, o.JSON = begin, format == "json"
			o.Topics = names
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			known := app.Topics(file)
			for _, name := range names {
				if !slices.Contains(known, name) {
					return &app.UsageError{Err: fmt.Errorf("there is no topic %q: it is no event type, and nothing is routed to it; %s; without a name all are read, also those that events were routed to before", name, config.Suggest("topics", name, known))}
				}
			}
			return app.Tail(c.Context(), file, o, p.out, log)
		},
	}
	c.Flags().StringVar(&from, "from", "", "where to begin, by when events were published: a `time`, a date, a duration back such as 15m, or beginning (default: only new ones)")
	c.Flags().StringVar(&o.Where, "where", "", "print only events for which an `expression` is true, such as 'event.type == \"message\" && text contains \"refund\"'")
	c.Flags().IntVarP(&o.N, "number", "n", 0, "end after so many events (0: go on)")
	c.Flags().StringVarP(&format, "output", "o", "pretty", "pretty or json")
	return p.configFlag(c)
}

func (p *program) topics() *cobra.Command {
	var dir, format string
	c := &cobra.Command{
		Use: "topics", Short: "List the event types, or write their JSON Schemas", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			catalogue := events.Catalogue()
			if dir != "" {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return fmt.Errorf("making the folder for the schemas: %w", err)
				}
				for _, t := range catalogue {
					if err := os.WriteFile(filepath.Join(dir, events.SchemaFile(t.Name)), t.Schema, 0o644); err != nil {
						return fmt.Errorf("writing a schema: %w", err)
					}
				}
				fmt.Fprintf(p.notes, "%d schemas written to %s\n", len(catalogue), dir)
				return nil
			}
			type row struct {
				Type   string `json:"type"`
				From   string `json:"from"`
				About  string `json:"about"`
				Schema string `json:"dataschema"`
			}
			var rows []row
			for _, t := range catalogue {
				rows = append(rows, row{t.Name, t.From, t.About, events.SchemaURN(t.Name)})
			}
			return p.list(format, rows, func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
				fmt.Fprintln(t, "TYPE\tFROM\tWHAT")
				for _, r := range rows {
					fmt.Fprintf(t, "%s\t%s\t%s\n", r.Type, r.From, r.About)
				}
				return t.Flush()
			})
		},
	}
	c.Flags().StringVar(&dir, "schemas", "", "write the JSON Schemas to a `folder`")
	return outputFlag(c, &format)
}

// release is the version that a build outside of a repository is given with
// -ldflags "-X main.release=v1.2.3"; empty: what Go has noted of the repository.
var release string

// build is what version tells.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

func version() build {
	v := build{Version: "(devel)", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			v.Version = info.Main.Version
		}
		if i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs.revision" }); i >= 0 {
			v.Revision = info.Settings[i].Value
		}
	}
	v.Version = cmp.Or(release, v.Version)
	return v
}

func (p *program) version() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := version()
			return p.list(format, v, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, strings.Join(strings.Fields("millrace "+v.Version+" "+v.Revision+" "+v.Go), " "))
				return err
			})
		},
	}
	return outputFlag(c, &format)
}

// outputFlag gives a command that lists something the flag -o.
func outputFlag(c *cobra.Command, format *string) *cobra.Command {
	c.Flags().StringVarP(format, "output", "o", "table", "table or json")
	return c
}

// list prints a result as a table or as JSON. A list of nothing is [], not null.
func (p *program) list(format string, value any, table func(io.Writer) error) error {
	switch format {
	case "table":
		return table(p.out)
	case "json":
		if v := reflect.ValueOf(value); v.Kind() == reflect.Slice && v.IsNil() {
			value = []any{}
		}
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		return e.Encode(value)
	}
	return &app.UsageError{Err: errors.New("-o wants table or json")}
}
