package app

import (
	"errors"
	"fmt"
	"strings"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// Exit codes of the program.
const (
	ExitDone   = 0
	ExitOurs   = 1 // failed on our side: a port or a directory taken, unwritable, full, state of a newer version, or imported in part
	ExitUsage  = 2 // bad usage or configuration
	ExitRemote = 3 // an API or a broker refused, stayed away or is too old
)

// UsageError is a command line that cannot be carried out as it is.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ExitCode says with what code the program ends after an error.
func ExitCode(err error) int {
	var (
		settings *config.Error
		usage    *UsageError
		open     *topics.OpenError
		remote   *connectors.Error
		missing  *IncompleteError
		newer    *ledger.NewerError
		half     *ledger.ImportError
		refused  *pipeline.RefusedError
		answered *answeredError
	)
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &answered):
		return answered.code
	case errors.As(err, &settings), errors.As(err, &usage), errors.As(err, &refused):
		return ExitUsage
	case errors.As(err, &newer), errors.As(err, &half), errors.Is(err, topics.ErrFull):
		return ExitOurs
	case errors.As(err, &open) && !open.Remote:
		return ExitOurs
	case errors.As(err, &open), errors.As(err, &remote), errors.As(err, &missing) && missing.Remote:
		return ExitRemote
	}
	return ExitOurs
}

// IncompleteError says which streams a run that was to end by itself has not
// read to their end.
type IncompleteError struct {
	Missing []error
	// Remote is true where a broker that is not ours may be the cause.
	Remote bool
}

func (e *IncompleteError) Error() string {
	var b strings.Builder
	b.WriteString(counted(len(e.Missing), "stream could not be read to its end", "streams could not be read to their end") +
		"; what was read is committed, and the next run goes on from there:")
	for _, err := range e.Missing {
		b.WriteString("\n  " + err.Error())
	}
	return b.String()
}

func (e *IncompleteError) Unwrap() []error { return e.Missing }

// incomplete makes one error of what the streams of a single run failed with. An
// endpoint that the account does not have is only a warning.
func incomplete(ingests []*pipeline.Ingest, failed []error, foreignBroker bool) error {
	var missing []error
	for n, err := range failed {
		var remote *connectors.Error
		switch {
		case err == nil:
		case errors.As(err, &remote) && remote.Kind == connectors.Unavailable: // the log has it
		default:
			s := ingests[n].Status()
			missing = append(missing, fmt.Errorf("%s: %w", shortName(s.Connector, s.Stream.String()), err))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &IncompleteError{Missing: missing, Remote: foreignBroker}
}
