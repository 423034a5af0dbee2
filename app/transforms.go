package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// chainOf makes the transforms of a configuration, for the connectors that were
// made of it; nil where there are none.
func chainOf(file *config.File, made []*connectors.Connector) (*transforms.Chain, error) {
	var known transforms.Known
	for _, c := range made {
		known.Connectors = append(known.Connectors, c.Name)
		for _, s := range c.Streams {
			known.Streams = append(known.Streams, called(s), s.Key.Stream)
		}
	}
	return transforms.New(file.Transforms, known)
}

// ChainOf is chainOf for commands that read nothing.
func ChainOf(file *config.File) (*transforms.Chain, error) {
	transport := connectors.NewTransport()
	defer transport.CloseIdleConnections()
	made, err := build(file, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport, Now: time.Now})
	if err != nil {
		return nil, err
	}
	return chainOf(file, made)
}

// Examples are those of one file, with the chain that they are tried on.
type Examples struct {
	List  []transforms.Example
	Chain *transforms.Chain
}

// ReadExamples reads a file of examples. Transforms of its own count, else those of
// the configuration, which load reads.
func ReadExamples(path string, load func() (*config.File, error)) (*Examples, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &UsageError{fmt.Errorf("the examples cannot be read: %w", err)}
	}
	e := &Examples{}
	if e.List, err = transforms.ReadExamples(path, text); err != nil {
		return nil, &UsageError{err}
	}
	own, there, err := config.ParseTransforms(path, text, transforms.Settings{}, nil)
	if err != nil {
		return nil, err
	}
	if there {
		e.Chain, err = transforms.New(own, transforms.Known{})
		return e, err
	}
	file, err := load()
	if err != nil {
		return nil, err
	}
	e.Chain, err = ChainOf(file)
	return e, err
}

// ExampleResult is what came of one example.
type ExampleResult struct {
	Name string   `json:"name"`
	Line int      `json:"line"`
	OK   bool     `json:"ok"`
	Diff []string `json:"diff,omitempty"` // "- " what was expected, "+ " what came
}

// errExamples says that an example did not come out as it should.
type errExamples struct{ failed, of int }

func (e *errExamples) Error() string {
	return fmt.Sprintf("%d of %s did not come out as expected", e.failed, counted(e.of, "example", "examples"))
}

// Run tries all examples. The error says that some did not come out as expected.
func (e *Examples) Run(ctx context.Context) ([]ExampleResult, error) {
	var all []ExampleResult
	failed := 0
	for i := range e.List {
		r := e.List[i].Run(ctx, e.Chain)
		if r.Diff != nil {
			failed++
		}
		all = append(all, ExampleResult{r.Example.Name, r.Example.Line, r.Diff == nil, r.Diff})
	}
	if failed > 0 {
		return all, &errExamples{failed, len(all)}
	}
	return all, nil
}

// WriteExamples writes what came of examples for people.
func WriteExamples(w io.Writer, path string, results []ExampleResult) error {
	for _, r := range results {
		word := "ok    "
		if !r.OK {
			word = "FAILED"
		}
		if _, err := fmt.Fprintf(w, "%s  %s:%d  %s\n", word, path, r.Line, r.Name); err != nil {
			return err
		}
		for _, line := range r.Diff {
			if _, err := fmt.Fprintf(w, "        %s\n", line); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxEvent bounds an event that is read from stdin, in bytes.
const maxEvent = 64 << 20

// TryFrom reads the event to try from a reader.
func TryFrom(r io.Reader) (events.Event, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxEvent+1))
	if err != nil {
		return events.Event{}, fmt.Errorf("reading the event: %w", err)
	}
	if len(text) > maxEvent {
		return events.Event{}, &UsageError{errors.New("the event has more than 64 MiB")}
	}
	e, err := transforms.ReadEvent(text)
	if err != nil {
		return e, &UsageError{fmt.Errorf("the event cannot be read: %w", err)}
	}
	return e, nil
}

// TryTopic reads the latest event of a topic, or the one with an id.
func TryTopic(ctx context.Context, file *config.File, topic, id string, log *slog.Logger) (events.Event, error) {
	broker, err := openBroker(ctx, file, log, toOperate)
	if err != nil {
		return events.Event{}, err
	}
	defer broker.Close()
	var found *events.Event
	err = broker.Tail(ctx, topics.TailOptions{Topics: []string{topic}, Beginning: true, Stop: true}, func(m topics.Received) error {
		attribute := func(name string) string {
			if n := slices.IndexFunc(m.Attributes, func(a events.Attribute) bool { return a.Name == name }); n >= 0 {
				return m.Attributes[n].Value
			}
			return ""
		}
		if id != "" && attribute("id") != id {
			return nil
		}
		e, err := transforms.Message(m.Attributes, slices.Clone(m.Data))
		if err != nil {
			return err
		}
		found = &e
		return nil
	})
	switch {
	case err != nil:
		return events.Event{}, err
	case found == nil && id != "":
		return events.Event{}, &UsageError{fmt.Errorf("no event of the topic %s has the id %s", topic, id)}
	case found == nil:
		return events.Event{}, &UsageError{fmt.Errorf("the topic %s is empty", topic)}
	}
	return *found, nil
}

// WriteTry writes for people what the chain makes of an event, step by step, and
// what is published in the end.
func WriteTry(ctx context.Context, w io.Writer, chain *transforms.Chain, e events.Event) error {
	if chain == nil {
		_, err := fmt.Fprintln(w, "there are no transforms: the event passes as it is")
		return err
	}
	if err := transforms.WriteTrace(w, chain.Trace(ctx, e)); err != nil {
		return err
	}
	out, err := chain.Apply(ctx, e)
	if err != nil {
		return nil // the trace tells
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\npublished: %s\n", counted(len(out), "event", "events"))
	for n := range out {
		fmt.Fprintf(&b, "%s  %s\n", transforms.TopicOf(&out[n]), transforms.Structured(&out[n]))
	}
	_, err = io.WriteString(w, b.String())
	return err
}
