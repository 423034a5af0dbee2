package app

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// What operating commands ask of a running service.
const (
	askStatus   = "status"
	askMove     = "move"
	askLetter   = "letters"
	askBackfill = "backfill"
)

// requestVersion grows with every change of a request that a service must know
// of to carry it out: one that does not refuses it, instead of doing half of it.
const requestVersion = 2

// request asks the running services. All hear it; that which holds the stream
// carries it out.
type request struct {
	Version int            `json:"version,omitempty"`
	Ask     string         `json:"ask"`
	Stream  string         `json:"stream,omitempty"` // its key
	Move    *pipeline.Move `json:"move,omitempty"`
	Letters *Selection     `json:"letters,omitempty"`
	Discard bool           `json:"discard,omitempty"` // the letters, instead of replaying them

	Backfill *pipeline.BackfillRequest `json:"backfill,omitempty"`
	detach   bool                      // it is not carried out in this process
}

// answer is what a service says to it.
type answer struct {
	Owner   string         `json:"owner"`
	Streams []StreamStatus `json:"streams,omitempty"`
	// Absent: the stream is not in this service's configuration. NotHeld: it is,
	// but the service does not hold it, and why.
	Absent  bool   `json:"absent,omitempty"`
	NotHeld string `json:"not_held,omitempty"`
	// Error says why it was not carried out, or not to its end.
	Error string         `json:"error,omitempty"`
	Code  int            `json:"code,omitempty"` // the exit code that goes with Error
	Plan  *pipeline.Plan `json:"plan,omitempty"`
	// Resolved is what became of dead letters, also beside an Error.
	Resolved *pipeline.Resolved     `json:"resolved,omitempty"`
	Backfill *pipeline.BackfillPlan `json:"backfill,omitempty"`

	own bool // no service has carried it out, but this process
}

// unknownRequest is what a service answers to what it does not know, in all versions.
const unknownRequest = "this millrace does not know the request"

// answeredError is an error that a service has answered.
type answeredError struct {
	text string
	code int
}

func (e *answeredError) Error() string { return e.text }

// answer answers operating commands.
func (a *App) answer(ctx context.Context, data []byte) []byte {
	var r request
	out := answer{Owner: a.owner}
	switch err := json.Unmarshal(data, &r); {
	case err != nil || r.Version > requestVersion || !slices.Contains([]string{askStatus, askMove, askLetter, askBackfill}, r.Ask):
		out.Error, out.Code = unknownRequest, ExitOurs
	case r.Ask == askStatus:
		for _, i := range a.ingests {
			out.Streams = append(out.Streams, running(i.Status(), a.opts.Now()))
		}
	default:
		n := slices.IndexFunc(a.ingests, func(i *pipeline.Ingest) bool { return i.Status().Stream.String() == r.Stream })
		if n < 0 {
			out.Absent = true
			break
		}
		out.carryOut(ctx, a.broker, a.ingests[n], &r)
	}
	reply, _ := json.Marshal(out)
	return reply
}

// carryOut does what is asked of a stream: in the service that holds it, or in
// the command's own process where no service does.
func (a *answer) carryOut(ctx context.Context, broker topics.Broker, i *pipeline.Ingest, r *request) {
	var err error
	switch {
	case r.Ask == askMove && r.Move != nil:
		a.Plan, err = i.Move(ctx, *r.Move)
	case r.Ask == askLetter && r.Letters != nil:
		a.Resolved, err = resolveLetters(ctx, broker, i, r.Letters, r.Discard)
	case r.Ask == askBackfill && r.Backfill != nil:
		a.Backfill, err = i.Backfill(ctx, *r.Backfill)
	default:
		a.Error, a.Code = unknownRequest, ExitOurs
		return
	}
	var notHeld *pipeline.NotHeldError
	switch {
	case errors.As(err, &notHeld):
		a.NotHeld = err.Error()
	case err != nil:
		a.Error, a.Code = err.Error(), ExitCode(err)
	}
}
