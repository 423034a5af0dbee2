package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/topics"
)

// CheckResult is one line of what check tells.
type CheckResult struct {
	What    string `json:"what"` // "connector support", "broker"
	Kind    string `json:"kind"`
	Account string `json:"account,omitempty"`
	Streams string `json:"streams,omitempty"`
	Result  string `json:"result"` // "valid", "ok" or what is wrong
	// Notes are what a person should know of the settings; nil: nothing.
	Notes []string `json:"notes,omitempty"`

	failed bool // Result is an error
}

// CheckError tells all that a check found wrong. Its cause, and so the exit code,
// is the first.
type CheckError struct {
	Results []CheckResult // of all that was tried
	Err     error
	Brief   bool // says how many only, for who has the results already
}

func (e *CheckError) Unwrap() error { return e.Err }

// Error holds each result that is wrong, whole: a table only says that there is one.
func (e *CheckError) Error() string {
	var wrong []string
	for _, r := range e.Results {
		if r.failed {
			wrong = append(wrong, r.What+": "+r.Result)
		}
	}
	summary := fmt.Sprintf("%d of %s failed", len(wrong), counted(len(e.Results), "trial", "trials"))
	switch {
	case e.Brief:
		return summary
	case len(wrong) == 1:
		return wrong[0]
	}
	return summary + ":\n  " + strings.Join(wrong, "\n  ")
}

// probeTimeout bounds each credential's and the broker's trial.
const probeTimeout = 20 * time.Second

// Check tells what a configuration, which is valid, leads to. With connect it
// tries each credential and the broker; what failed is a [*CheckError].
func Check(ctx context.Context, file *config.File, connect bool, log *slog.Logger) ([]CheckResult, error) {
	transport := connectors.NewTransport()
	defer transport.CloseIdleConnections()
	made, err := build(file, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport, Now: time.Now})
	if err != nil {
		return nil, err
	}
	chain, err := chainOf(file, made)
	if err != nil {
		return nil, err
	}
	if _, err := brokerTLS(file); err != nil {
		return nil, err
	}
	var results []CheckResult
	var failed error
	add := func(r CheckResult, try func(context.Context) error) {
		r.Result = "valid"
		if connect {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			r.Result = "ok"
			if err := try(ctx); err != nil {
				r.Result, r.failed = err.Error(), true
				if failed == nil {
					failed = err
				}
			}
		}
		results = append(results, r)
	}
	for _, c := range made {
		add(CheckResult{What: "connector " + c.Name, Kind: c.Vendor, Account: c.Account, Streams: streamNames(c)}, c.Probe)
		results[len(results)-1].Notes = append(c.Notes, sinceNotes(c, time.Now())...) // a trial may have added some
	}
	if steps := chain.Steps(); steps != nil {
		results = append(results, CheckResult{What: "transforms", Kind: counted(len(steps), "step", "steps"), Result: "valid", Notes: chain.Notes()})
	}
	add(CheckResult{What: "broker", Kind: file.Broker.Kind, Account: brokerAccount(&file.Broker)}, func(ctx context.Context) error {
		broker, err := openBroker(ctx, file, log, toTry)
		if err != nil {
			return err
		}
		defer broker.Close()
		if offline(broker) {
			if err := portsFree(file); err != nil {
				return err
			}
		}
		if err := broker.Ready(ctx); err != nil {
			return &topics.OpenError{Remote: file.Broker.Foreign(), Err: err}
		}
		return nil
	})
	if file.Broker.Kind == config.KindKafka && file.Broker.Kafka.Exposed() {
		results[len(results)-1].Notes = []string{"sasl is plain without tls: the password crosses the network as it is. Add broker.kafka.tls ({} for the system's certificates), or take a scram mechanism"}
	}
	if failed != nil {
		return results, &CheckError{Results: results, Err: failed}
	}
	return results, nil
}

// brokerAccount says in the table where the broker is, without what may be secret.
func brokerAccount(b *config.Broker) string {
	switch {
	case b.Kind == config.KindKafka:
		return strings.Join(b.Kafka.Brokers, ",")
	case b.Foreign():
		return "external"
	}
	return "embedded, in " + b.NATS.Dir
}

// sinceNotes tell of streams that do not begin where since says, or not yet.
func sinceNotes(c *connectors.Connector, now time.Time) (notes []string) {
	for _, s := range c.Streams {
		since := s.Options.Since
		if note := "since lies in the future: nothing is read before " + when(since); since.After(now) && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
		if s.Oldest == nil || since.IsZero() {
			continue
		}
		if oldest := connectors.CeilQuarter(s.Oldest(now)); since.Before(oldest) {
			notes = append(notes, fmt.Sprintf("%s: the API cannot be asked for what lies before %s: a stream that begins now begins there, and not at since", s.Key.Stream, when(oldest)))
		}
	}
	return notes
}

// portsFree says whether a service that starts now could listen.
func portsFree(file *config.File) error {
	for _, port := range []struct{ key, address string }{{"broker.nats.listen", file.Broker.NATS.Listen}, {"http.listen", file.HTTP.Listen}} {
		if port.address == "" {
			continue
		}
		l, err := net.Listen("tcp", port.address)
		if err != nil {
			return &topics.OpenError{Err: fmt.Errorf("the service could not listen on %s %s: %w", port.key, port.address, err)}
		}
		_ = l.Close()
	}
	return nil
}

func streamNames(c *connectors.Connector) string {
	var names []string
	for _, s := range c.Streams {
		names = append(names, s.Key.Stream)
	}
	return strings.Join(names, ", ")
}

// WriteCheck writes a table, and the notes below it. What is wrong is too long for
// it, and stands in the error.
func WriteCheck(w io.Writer, results []CheckResult) error {
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tKIND\tACCOUNT\tSTREAMS\tRESULT")
	for _, r := range results {
		streams := r.Streams
		if many := 1 + strings.Count(streams, ","); many > 3 {
			streams = fmt.Sprint(many)
		}
		result := r.Result
		if r.failed {
			result = "failed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.What, r.Kind, r.Account, streams, result)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, note := range r.Notes {
			if !strings.HasSuffix(note, "?") {
				note += "."
			}
			fmt.Fprintf(w, "\n%s: %s\n", r.What, note)
		}
	}
	return nil
}
