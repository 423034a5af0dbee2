package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics"
)

// DemoOptions say how the demonstration runs.
type DemoOptions struct {
	Corpus string    // dialogues for the simulator; "": its own
	N      int       // end after so many events; 0: with ctx
	Events io.Writer // where events are printed
	Notes  io.Writer // where everything else is told
	Log    *slog.Logger
}

// demoSpan is how far back the demonstration's history goes.
const demoSpan = 30 * time.Minute

const demoConfig = `
broker:
  nats: {listen: %[1]q, dir: %[2]q}
http: {listen: %[3]q}
connectors:
  support:
    type: deepconverse
    base_url: http://%[4]s
    api_key: %[5]s
    bot_name: %[6]s
    since: %[7]s
    poll: 1s
    settle: 1s
    sweep: {every: 5s, back: 1h}
  bot:
    type: feedyou
    base_url: http://%[4]s
    function_key: %[5]s
    bot_id: demo
    since: %[7]s
    poll: 1s
    settle: 1s
    sweep: {every: 5s, back: 1h}
  shop:
    type: netcore
    base_url: http://%[4]s
    app_id: %[8]s
    app_secret: %[5]s
    channels: [1010, 1014, 1016, 1021]
    streams: {usage: {poll: 15s}, users: {}, transcripts: {}}
    since: %[7]s
    rate: 3/s
    poll: 2s
    settle: 1s
  chat:
    type: nativechat
    base_url: http://%[4]s
    access_token: %[5]s
    bot_id: %[6]s
    since: %[7]s
    rate: 3/s
    poll: 2s
    settle: 1s
`

// Demo shows the whole thing without any account: simulated export APIs, the
// service with its embedded server, and the events as they come. It leaves
// nothing behind.
func Demo(ctx context.Context, o DemoOptions) (err error) {
	dir, err := os.MkdirTemp("", "millrace-demo-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sim, err := simulator.New(simulator.Options{
		Seed: uint64(time.Now().UnixNano()), Backlog: 600, Span: demoSpan, Rate: 4,
		Limit: simulator.DefaultLimit, Corpus: o.Corpus,
	})
	if err != nil {
		return &UsageError{err}
	}
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return &topics.OpenError{Err: fmt.Errorf("listening for the simulated APIs: %w", err)}
	}
	defer api.Close()
	file, err := config.Parse("the demo's configuration", fmt.Appendf(nil, demoConfig,
		freeAddress("127.0.0.1:4222"), filepath.Join(dir, "data"), freeAddress("127.0.0.1:8080"),
		api.Addr(), simulator.DefaultAPIKey, simulator.DefaultBotName, time.Now().Add(-demoSpan).UTC().Format(time.RFC3339), simulator.DefaultAppID), Plugins(), nil)
	if err != nil {
		return err
	}
	a, err := New(ctx, Options{Config: file, Log: o.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	fmt.Fprintf(o.Notes, "The simulated export APIs are at http://%s, metrics at http://%s/metrics.\n"+
		"Any NATS client can read the events at nats://%s, from the JetStream stream MILLRACE, without credentials.\n"+
		"Events as they are committed (Ctrl-C ends the demo and removes everything):\n\n", api.Addr(), a.HTTPAddr(), a.Addr())
	return demo(ctx, a, sim, api, o)
}

func demo(ctx context.Context, a *App, sim *simulator.Simulator, api net.Listener, o DemoOptions) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: sim, ReadHeaderTimeout: 5 * time.Second}
	group.Go(func() error {
		if err := server.Serve(api); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the simulated APIs: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error { return sim.Run(ctx) })
	group.Go(func() error { return a.Run(ctx) })
	group.Go(func() error {
		defer stop()
		return tail(ctx, a.broker, TailOptions{TailOptions: topics.TailOptions{Beginning: true}, N: o.N}, nil, o.Events, o.Log)
	})
	return group.Wait()
}

// freeAddress returns the usual address, or one with a free port where it is taken.
func freeAddress(usual string) string {
	l, err := net.Listen("tcp", usual)
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return usual
		}
	}
	defer l.Close()
	return l.Addr().String()
}
