package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
)

func (p *program) state() *cobra.Command {
	c := &cobra.Command{Use: "state", Short: "Carry the state of streams from one broker to another", Args: cobra.NoArgs, RunE: needsSubcommand}
	c.AddCommand(p.stateExport(), p.stateImport())
	return c
}

func (p *program) stateExport() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "export [CONNECTOR[/STREAM]]", Short: "Write checkpoints and ledgers to a file, for state import", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeStreams,
		Long: `Write the state of streams to a file: where they stand, and the ids of what is
published. With state import on another broker, a service there goes on from where
the one here has ended: it repeats nothing and leaves nothing out. Events stay where
they are. No service may read the streams meanwhile, and none may do so afterwards.`,
		RunE: func(c *cobra.Command, args []string) error {
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			var all []app.StateStream
			err = p.writeFile(path, func(out io.Writer) error {
				all, err = app.ExportState(c.Context(), file, first(args), out, log)
				return err
			})
			if err != nil {
				return err
			}
			entries := 0
			for _, s := range all {
				entries += s.Entries
			}
			fmt.Fprintf(p.notes, "millrace: exported the state of %d streams, with %d ledger entries.\n"+
				"Do not start the service on this broker again once the state is imported elsewhere: both would publish what comes from now on.\n", len(all), entries)
			return nil
		},
	}
	c.Flags().StringVarP(&path, "output", "o", "-", "the `file` to write, which must not be there yet; - for the standard output")
	return p.configFlag(c)
}

// writeFile makes a file, or writes to the standard output for "-". A file that was
// not written to its end is removed.
func (p *program) writeFile(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(p.out)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &app.UsageError{Err: fmt.Errorf("%s is there already: remove it, or name another file", path)}
	}
	if err != nil {
		return &app.UsageError{Err: fmt.Errorf("the file cannot be made: %w", err)}
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (p *program) stateImport() *cobra.Command {
	var replace bool
	var format string
	c := &cobra.Command{
		Use: "import FILE", Short: "Bring what state export wrote to this broker", Args: cobra.ExactArgs(1),
		Long: `Bring what state export wrote to the broker of the configuration, so that a service
here goes on from there; - reads the standard input. It may be broken off and
repeated: until it has come to its end no service begins to read the streams.`,
		RunE: func(c *cobra.Command, args []string) error {
			file, log, err := p.loadForBroker()
			if err != nil {
				return err
			}
			in := os.Stdin
			if args[0] != "-" {
				if in, err = os.Open(args[0]); err != nil {
					return &app.UsageError{Err: fmt.Errorf("the file cannot be opened: %w", err)}
				}
				defer in.Close()
			}
			all, err := app.ImportState(c.Context(), file, in, replace, log)
			if err != nil {
				return err
			}
			if err := p.list(format, all, func(w io.Writer) error { return app.WriteStates(w, all) }); err != nil {
				return err
			}
			fmt.Fprintln(p.notes, "millrace: the service may run on this broker now, and not on the one that the file came from.")
			return nil
		},
	}
	c.Flags().BoolVar(&replace, "replace", false, "forget what this broker knows of the streams in the file; what it has published since the file was made is published again")
	return p.configFlag(outputFlag(c, &format))
}
