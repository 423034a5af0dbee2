// Command millrace polls the export APIs of chatbot platforms and publishes
// every record as one event, exactly once. This package is flags, signals and
// exit codes; package app does the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/config"
)

func main() {
	ctx, stop := signals()
	wait := manageMemory(ctx)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	wait()
	os.Exit(code)
}

// signals ends the context with the first SIGINT or SIGTERM, and the process,
// at once, with the second.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan os.Signal, 2)
	signal.Notify(heard, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // a reader that goes away is an error of the write, so that all is cleaned up
	go func() {
		<-heard
		cancel()
		<-heard
		os.Exit(app.ExitOurs)
	}()
	return ctx, func() { signal.Stop(heard); cancel() }
}

// program is what all commands share.
type program struct {
	out, notes io.Writer
	path       string // of the configuration
	verbose    bool
	quiet      bool // warnings only
	redact     *strings.Replacer
}

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, out, notes io.Writer) int {
	p := &program{out: out, notes: notes, redact: strings.NewReplacer()}
	root := &cobra.Command{
		Use:           "millrace",
		Short:         "From chatbot export APIs to topics on NATS or Kafka, exactly once",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.Version = version().Version
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(notes)
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().BoolVarP(&p.verbose, "verbose", "v", false, "log more")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &app.UsageError{Err: fmt.Errorf("%w (%s --help lists the flags)", err, c.CommandPath())}
	})
	root.AddCommand(p.demo(), p.run(), p.check(), p.tail(), p.status(), p.health(), p.cursor(), p.backfill(), p.deadLetters(), p.explain(), p.state(), p.completion(), p.topics(), p.transforms(), p.simulate(), p.version())
	c, err := root.ExecuteContextC(ctx)
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return app.ExitDone
	}
	if isCobraUsage(err) {
		err = usageError(c, err)
	}
	fmt.Fprintln(notes, "millrace:", p.redact.Replace(err.Error()))
	return app.ExitCode(err)
}

// usageError says what is wrong with a command line that cobra refused.
func usageError(c *cobra.Command, err error) error {
	if arg, ok := strings.CutPrefix(err.Error(), "unknown command "); ok && !c.HasSubCommands() {
		arg, _ = strconv.QuotedPrefix(arg)
		return &app.UsageError{Err: fmt.Errorf("%s takes no argument such as %s; usage: %s", c.CommandPath(), arg, c.UseLine())}
	} else if ok {
		return &app.UsageError{Err: fmt.Errorf("%w (%s --help lists the commands)", err, c.CommandPath())}
	}
	return &app.UsageError{Err: fmt.Errorf("%w; usage: %s", err, c.UseLine())}
}

// isCobraUsage says whether cobra refused the command line: it has no type of
// its own for that.
func isCobraUsage(err error) bool {
	var usage *app.UsageError
	if errors.As(err, &usage) {
		return false
	}
	for _, start := range []string{"unknown command", "accepts ", "requires ", "invalid argument"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

// configFlag gives a command the flag -c.
func (p *program) configFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&p.path, "config", "c", "millrace.yaml", "the configuration `file`")
	return c
}

// load reads the configuration; from then on its secrets are kept out of what
// is printed.
func (p *program) load() (*config.File, *slog.Logger, error) {
	return p.loaded(config.Load(p.path, app.Plugins(), nil))
}

// loadForBroker reads the configuration for a command that needs the broker
// only: variables of the connectors' need not be set in its environment.
func (p *program) loadForBroker() (*config.File, *slog.Logger, error) {
	file, err := config.Load(p.path, app.Plugins(), nil)
	if err != nil {
		lenient, again := config.Load(p.path, app.Plugins(), func(name string) (string, bool) {
			if value, ok := os.LookupEnv(name); ok {
				return value, true
			}
			return app.Unset, true
		})
		if again == nil && !app.HasUnset(lenient.Broker, lenient.Topics) {
			file, err = lenient, nil
		}
	}
	return p.loaded(file, err)
}

func (p *program) loaded(file *config.File, err error) (*config.File, *slog.Logger, error) {
	if err != nil {
		return nil, nil, err
	}
	p.redact = app.NewRedactor(file.Secrets())
	return file, p.logger(), nil
}

func (p *program) logger() *slog.Logger {
	level := slog.LevelInfo
	if p.quiet {
		level = slog.LevelWarn
	}
	if p.verbose {
		level = slog.LevelDebug
	}
	return app.NewLogger(p.notes, level, p.redact)
}
