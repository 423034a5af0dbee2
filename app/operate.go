package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// Unset stands for the variables of the configuration that are not set in the
// environment of a command which needs the broker only.
const Unset = "unset in this environment"

// HasUnset says whether any text in sections of the configuration, however deep,
// stands for a variable that is not set.
func HasUnset(sections ...any) bool {
	text, err := json.Marshal(sections) // which goes through pointers
	return err != nil || bytes.Contains(text, []byte(Unset))
}

// operator is what an operating command works with: the broker and the streams
// of the configuration.
type operator struct {
	file       *config.File
	log        *slog.Logger
	broker     topics.Broker
	connectors []*connectors.Connector
	chain      *transforms.Chain
	unchained  error // why there is no chain; it keeps from nothing but to publish
	transport  *http.Transport
	silent     time.Time // when no service answered; zero: one did, or none was asked
}

func openOperator(ctx context.Context, file *config.File, how opening, log *slog.Logger) (*operator, error) {
	o := &operator{file: file, log: log, transport: connectors.NewTransport()}
	var err error
	if o.connectors, err = build(file, connectors.Env{Budgets: connectors.NewBudgets(), Transport: o.transport, Now: time.Now}); err != nil {
		return nil, err
	}
	o.chain, o.unchained = chainOf(file, o.connectors)
	for _, c := range o.connectors {
		if strings.Contains(c.Account, Unset) {
			return nil, &UsageError{fmt.Errorf("the account of the connector %s stands in a variable that is not set here: set it as for the service", c.Name)}
		}
	}
	if o.broker, err = openBroker(ctx, file, log, how); err != nil {
		return nil, err
	}
	return o, nil
}

// openStreams opens what an operating command works with, and finds the streams
// that CONNECTOR[/STREAM] names; all for "".
func openStreams(ctx context.Context, file *config.File, name string, how opening, log *slog.Logger) (*operator, []*connectors.Stream, error) {
	o, err := openOperator(ctx, file, how, log)
	if err != nil {
		return nil, nil, err
	}
	streams, err := o.find(name)
	if err != nil {
		o.close()
		return nil, nil, err
	}
	return o, streams, nil
}

// settled refuses to do a stream's work in this process where the transforms cannot
// be made, or a setting is unset here that is needed for it: any, or with secrets
// false any but a secret. Why says that no service does it.
func (o *operator) settled(s *connectors.Stream, why string, secrets bool) error {
	for n := range o.file.Transforms {
		if t := &o.file.Transforms[n]; HasUnset(t.Raw) {
			return &UsageError{t.Errorf("", "%s: %s, and this step of transforms needs a variable that is not set here: set it as for the service", called(s), why)}
		}
	}
	if o.unchained != nil {
		return o.unchained
	}
	for _, c := range o.file.Connectors {
		if c.Name != s.Connector {
			continue
		}
		t := typeOf(c.Type)
		unset := unsetKeys(c.Raw, t.Settings(), secrets)
		for _, one := range c.Streams {
			if one.Name == s.Key.Stream {
				unset = append(unset, unsetKeys(one.Raw, t.KeysOf(one.Name), secrets)...)
			}
		}
		if len(unset) > 0 {
			return &UsageError{fmt.Errorf("%s: %s, and %s of the connector %s stands in a variable that is not set here: set it as for the service", called(s), why, strings.Join(unset, ", "), c.Name)}
		}
	}
	return nil
}

// unsetKeys are the keys of a section that stand in unset variables, with secrets
// or without.
func unsetKeys(raw map[string]any, settings any, secrets bool) (keys []string) {
	secret := map[string]bool{}
	for _, f := range config.Fields(settings) {
		secret[f.Name] = f.Secret
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if (secrets || !secret[key]) && strings.Contains(fmt.Sprint(raw[key]), Unset) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (o *operator) close() {
	o.transport.CloseIdleConnections()
	o.broker.Close()
}

// find returns the streams that CONNECTOR[/STREAM] names; all for "".
func (o *operator) find(name string) ([]*connectors.Stream, error) {
	wanted, stream, one := strings.Cut(name, "/")
	var names []string
	for _, c := range o.connectors {
		names = append(names, c.Name)
		if name != "" && c.Name != wanted {
			continue
		}
		if name != "" && !one {
			return c.Streams, nil
		}
		if n := slices.IndexFunc(c.Streams, func(s *connectors.Stream) bool { return s.Key.Stream == stream }); one && n >= 0 {
			return c.Streams[n : n+1], nil
		}
		if one {
			return nil, &UsageError{fmt.Errorf("the connector %s reads no stream %q; it reads %s", wanted, stream, streamNames(c))}
		}
	}
	if name != "" {
		return nil, &UsageError{fmt.Errorf("the configuration has no connector %q; it has %s", wanted, strings.Join(names, ", "))}
	}
	var all []*connectors.Stream
	for _, c := range o.connectors {
		all = append(all, c.Streams...)
	}
	return all, nil
}

// foreign says whether the broker is a server that is not ours.
func (o *operator) foreign() bool { return o.file.Broker.Foreign() }

// holdWait is how long a command waits for a stream that nobody answers for: the
// lease of a process that has died ends within it.
const holdWait = 15 * time.Second

// carryOut lets whoever holds the stream do what is asked: a running service,
// else this process.
func (o *operator) carryOut(ctx context.Context, s *connectors.Stream, r request) (*answer, error) {
	r.Version, r.Stream = requestVersion, s.Key.String()
	if !offline(o.broker) {
		a, err := o.askOften(ctx, s, &r)
		if a != nil || err != nil {
			return a, err
		}
	}
	switch {
	case r.Ask == askLetter && !r.Discard:
		if err := o.settled(s, "no service replays its dead letters", false); err != nil {
			return nil, err
		}
	case r.Ask == askBackfill && slices.Contains([]string{pipeline.BackfillBegin, pipeline.BackfillResume}, r.Backfill.Do) && !r.detach:
		if err := o.settled(s, "no service runs that would read it", true); err != nil {
			return nil, err
		}
	}
	i := pipeline.New(s, o.ingestOptions())
	waiting, cancel := context.WithTimeout(ctx, holdWait)
	defer cancel()
	holder := ""
	release, err := i.Hold(waiting, func(other string) { holder = other })
	if err != nil && ctx.Err() == nil && holder != "" {
		return nil, &answeredError{fmt.Sprintf("%s is held by %s, which does not answer: try again when it does, or has ended", called(s), holder), ExitRemote}
	}
	if err != nil {
		return nil, err
	}
	defer release()
	a := answer{own: true}
	a.carryOut(ctx, o.broker, i, &r)
	return &a, a.err(s)
}

// ingestOptions are those of a stream that this process takes itself.
func (o *operator) ingestOptions() pipeline.Options {
	return pipeline.Options{
		Broker: o.broker, Transforms: o.chain.Func(), Owner: newOwner(), Horizon: o.file.DedupHorizon, Raw: o.file.Topics.Raw, HideKeys: o.chain.HidesIDs(), Retention: o.file.Topics.Retention,
		Once: true, Metrics: pipeline.NewMetrics(nil), Log: o.log,
	}
}

// silentFor is for how long a command that acts on many streams takes it that no
// service runs: to ask takes a while on some brokers. One that has started since
// holds its streams.
const silentFor = 30 * time.Second

// handoverWait is how long a stream may be between two tenures.
const handoverWait = 5 * time.Second

// askOften asks the running services, again while the stream changes hands, or
// begins again from its checkpoint.
func (o *operator) askOften(ctx context.Context, s *connectors.Stream, r *request) (*answer, error) {
	for until := time.Now().Add(handoverWait); ; {
		a, err := o.ask(ctx, s, r)
		var notHeld *notHeldError
		if !errors.As(err, &notHeld) || time.Now().After(until) {
			return a, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// notHeldError says that services have the stream, and none of them holds it.
type notHeldError struct{ *answeredError }

func (e *notHeldError) Unwrap() error { return e.answeredError }

// ask asks the running services; nil when none has to do with the stream.
func (o *operator) ask(ctx context.Context, s *connectors.Stream, r *request) (*answer, error) {
	question, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if o.foreign() && time.Since(o.silent) < silentFor {
		return nil, nil
	}
	replies, err := o.broker.Ask(ctx, question)
	if err != nil {
		return nil, err
	}
	if len(replies) == 0 {
		o.silent = time.Now()
	}
	var waiting *answer
	for _, reply := range replies {
		a := new(answer)
		if err := json.Unmarshal(reply, a); err != nil {
			return nil, fmt.Errorf("a service answered what this version cannot read: %w", err)
		}
		switch {
		case a.NotHeld != "":
			waiting = a
		case !a.Absent:
			return a, a.err(s)
		}
	}
	code := ExitOurs
	if o.foreign() {
		code = ExitRemote
	}
	switch {
	case waiting != nil:
		return nil, &notHeldError{&answeredError{fmt.Sprintf("no running millrace holds %s at the moment (%s: %s): nothing was changed; try again when status shows it reading", called(s), waiting.Owner, waiting.NotHeld), code}}
	case o.foreign():
		return nil, nil
	case len(replies) > 0:
		return nil, &answeredError{fmt.Sprintf("the running millrace does not read %s: give it this configuration, or stop it", called(s)), ExitUsage}
	}
	return nil, &answeredError{"the running millrace does not answer: try again when it has started, or stop it", code}
}

// err is the error that a service has answered.
func (a *answer) err(s *connectors.Stream) error {
	switch {
	case a.Error == unknownRequest:
		return &answeredError{fmt.Sprintf("the millrace that runs (%s) is of another version and does not know this request: run the same version", a.Owner), ExitOurs}
	case a.NotHeld != "":
		return &answeredError{fmt.Sprintf("%s: %s", called(s), a.NotHeld), ExitOurs}
	case a.Error != "":
		return &answeredError{fmt.Sprintf("%s: %s", called(s), a.Error), a.Code}
	}
	return nil
}

// StreamNames lists the connectors of a configuration, and their streams, as
// CONNECTOR and CONNECTOR/STREAM; nothing where they cannot be made.
func StreamNames(file *config.File) []string {
	transport := connectors.NewTransport()
	defer transport.CloseIdleConnections()
	made, err := build(file, connectors.Env{Budgets: connectors.NewBudgets(), Transport: transport, Now: time.Now})
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range made {
		names = append(names, c.Name)
		for _, s := range c.Streams {
			names = append(names, c.Name+"/"+s.Key.Stream)
		}
	}
	return names
}
