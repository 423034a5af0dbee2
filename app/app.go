// Package app builds the service out of its stations and owns every goroutine:
// what it starts it waits for.
package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/connectors/deepconverse"
	"github.com/millrace-io/millrace/connectors/feedyou"
	"github.com/millrace-io/millrace/connectors/nativechat"
	"github.com/millrace-io/millrace/connectors/netcore"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/transforms"
)

// Types is the table of connectors: a new one is a line here and a folder there.
var Types = []connectors.Type{
	feedyou.Type,
	deepconverse.Type,
	netcore.Type,
	nativechat.Type,
}

// Plugins tells the configuration what each type of connector takes, and a step of
// transforms.
func Plugins() config.Plugins {
	plugins := config.Plugins{Transform: transforms.Settings{}}
	for _, t := range Types {
		p := config.Plugin{Type: t.Name, Doc: t.Doc, Settings: t.Settings()}
		for _, name := range t.Streams {
			p.Streams = append(p.Streams, config.PluginStream{Name: name, Settings: t.KeysOf(name)})
		}
		plugins.Connectors = append(plugins.Connectors, p)
	}
	return plugins
}

// Options say how the service runs.
type Options struct {
	Config *config.File
	Log    *slog.Logger
	// Once ends the run when every stream has come to the moment it began.
	Once bool
	// GiveUp is how long a stream may fail, with Once; 0: the default.
	GiveUp time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// App is a service that is open: its broker holds the directory or the
// connection, its listeners have their ports.
type App struct {
	opts       Options
	owner      string
	broker     topics.Broker
	connectors []*connectors.Connector
	ingests    []*pipeline.Ingest
	http       *httpServer
	transport  *http.Transport
}

// New builds the service and opens what it needs; it reads nothing yet. Close it.
func New(ctx context.Context, opts Options) (_ *App, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	a := &App{opts: opts, owner: newOwner()}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.transport = connectors.NewTransport()
	env := connectors.Env{Budgets: connectors.NewBudgets(), Transport: a.transport, Metrics: connectors.NewMetrics(registry), Now: opts.Now}
	if a.connectors, err = build(opts.Config, env); err != nil {
		return nil, err
	}
	chain, err := chainOf(opts.Config, a.connectors)
	if err != nil {
		return nil, err
	}
	// The broker first: that its directory is in use says more than a taken port.
	if a.broker, err = openBroker(ctx, opts.Config, opts.Log, toServe); err != nil {
		return nil, err
	}
	RegisterReady(registry, a.broker.Ready)
	if a.http, err = listenHTTP(opts.Config.HTTP.Listen, registry); err != nil {
		return nil, errors.Join(err, a.broker.Close())
	}
	shared := pipeline.Options{
		Broker: a.broker, Transforms: chain.Func(), Owner: a.owner, Horizon: opts.Config.DedupHorizon, Raw: opts.Config.Topics.Raw, HideKeys: chain.HidesIDs(),
		Retention: opts.Config.Topics.Retention, Once: opts.Once, GiveUp: opts.GiveUp, Metrics: pipeline.NewMetrics(registry), Log: opts.Log, Now: opts.Now,
	}
	for _, c := range a.connectors {
		for _, s := range c.Streams {
			a.ingests = append(a.ingests, pipeline.New(s, shared))
		}
	}
	return a, nil
}

// newOwner names this process; no other has the name.
func newOwner() string {
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}

// build makes the connectors of a configuration.
func build(file *config.File, env connectors.Env) ([]*connectors.Connector, error) {
	var made []*connectors.Connector
	var errs []error
	taken := map[string]string{}
	for i := range file.Connectors {
		c := &file.Connectors[i]
		section := connectors.Section{Name: c.Name, Raw: c.Raw}
		if c.Streams != nil {
			section.Streams = map[string]map[string]any{}
			for _, s := range c.Streams {
				section.Streams[s.Name] = s.Raw
			}
		}
		connector, err := typeOf(c.Type).New(section, env)
		if err != nil {
			errs = append(errs, c.Errorf("", "%s", err))
			continue
		}
		for _, s := range connector.Streams {
			if other, ok := taken[s.Key.String()]; ok {
				errs = append(errs, c.Errorf("", "reads %s, which the connector %q reads already: remove one, or set account where they are different accounts", s.Key, other))
			}
			taken[s.Key.String()] = c.Name
		}
		made = append(made, connector)
	}
	return made, errors.Join(errs...)
}

func typeOf(name string) connectors.Type {
	for _, t := range Types {
		if t.Name == name {
			return t
		}
	}
	panic("app: the configuration has a type that is not in the table: " + name)
}

// Run carries all streams until ctx ends, or, with Once, until all are read. It
// waits for everything that it started. A stream that fails never ends it, but
// for state of a newer version, or that was imported in part.
func (a *App) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	background, stop := context.WithCancel(ctx)
	group.Go(func() error { return a.http.serve(background, a.broker) })
	group.Go(func() error {
		if err := a.broker.Serve(background, a.answer); err != nil && background.Err() == nil {
			return fmt.Errorf("answering operating commands: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		defer stop()
		return a.ingest(ctx)
	})
	return group.Wait()
}

func (a *App) ingest(ctx context.Context) error {
	var streams errgroup.Group
	stop, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failed := make([]error, len(a.ingests))
	for n, i := range a.ingests {
		streams.Go(func() error {
			if failed[n] = i.Run(stop); failed[n] != nil && !a.opts.Once {
				cancel(failed[n])
			}
			return nil
		})
	}
	_ = streams.Wait()
	if !a.opts.Once {
		return errors.Join(failed...)
	}
	return incomplete(a.ingests, failed, a.opts.Config.Broker.Foreign())
}

// Addr is where the embedded server takes clients; "" when it does not.
func (a *App) Addr() string { return listens(a.broker) }

// Where says, for the log, what the broker is and where it can be reached.
func (a *App) Where() string {
	switch b := &a.opts.Config.Broker; {
	case b.Kind == config.KindKafka:
		return "Kafka at " + strings.Join(b.Kafka.Brokers, ",")
	case b.NATS.URL != "": // which may hold a password
		return "NATS of yours (broker.nats.url)"
	case a.Addr() == "":
		return "embedded NATS without a listener"
	}
	return "embedded NATS at " + a.Addr()
}

// HTTPAddr is where metrics and health are served; "" when they are not.
func (a *App) HTTPAddr() string { return a.http.addr() }

// Broker is the open broker.
func (a *App) Broker() topics.Broker { return a.broker }

// Close gives everything back.
func (a *App) Close() error {
	a.transport.CloseIdleConnections()
	return errors.Join(a.http.close(), a.broker.Close())
}
