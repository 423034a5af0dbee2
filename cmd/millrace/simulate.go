package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/millrace-io/millrace/app"
	"github.com/millrace-io/millrace/simulator"
	"github.com/millrace-io/millrace/topics"
)

func (p *program) simulate() *cobra.Command {
	var o simulator.Options
	var listen, faults string
	c := &cobra.Command{
		Use: "simulate", Short: "Serve the export APIs locally, with made-up or given conversations", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Faults, err = simulator.ParseFaults(faults); err != nil {
				return &app.UsageError{Err: err}
			}
			sim, err := simulator.New(o)
			if err != nil {
				return &app.UsageError{Err: err}
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return &topics.OpenError{Err: fmt.Errorf("listening on %s: %w: choose another address with --listen", listen, err)}
			}
			fmt.Fprintf(p.notes, "The simulated APIs are at http://%s, what they produced at http://%s/_sim/account. A configuration that reads them:\n\n", l.Addr(), l.Addr())
			key := orDefault(o.APIKey, simulator.DefaultAPIKey)
			since := time.Now().Add(-orDefault(o.Span, simulator.DefaultSpan) - time.Minute).UTC().Format(time.RFC3339)
			fmt.Fprintf(p.out, "connectors:\n"+
				"  demo: {type: deepconverse, base_url: \"http://%[1]s\", api_key: %[2]s, bot_name: %[3]s, since: %[4]s}\n"+
				"  support: {type: feedyou, base_url: \"http://%[1]s\", bot_id: demo, function_key: %[2]s, since: %[4]s}\n"+
				"  shop: {type: netcore, base_url: \"http://%[1]s\", app_id: %[5]s, app_secret: %[2]s, channels: [1010, 1014, 1016, 1021], rate: 3/s, since: %[4]s}\n"+
				"  helpdesk: {type: nativechat, base_url: \"http://%[1]s\", bot_id: %[3]s, access_token: %[2]s, rate: 3/s, since: %[4]s}\n",
				l.Addr(), key, simulator.DefaultBotName, since, orDefault(o.AppID, simulator.DefaultAppID))
			server := &http.Server{Handler: sim, ReadHeaderTimeout: 5 * time.Second}
			group, ctx := errgroup.WithContext(c.Context())
			group.Go(func() error { return sim.Run(ctx) })
			group.Go(func() error {
				if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					return fmt.Errorf("serving: %w", err)
				}
				return nil
			})
			group.Go(func() error {
				<-ctx.Done()
				return server.Close()
			})
			return group.Wait()
		},
	}
	simulateFlags(c, &o, &listen, &faults)
	nativeChatFlags(c, &o)
	return c
}

// simulateFlags declares the flags of simulate.
func simulateFlags(c *cobra.Command, o *simulator.Options, listen, faults *string) {
	f := c.Flags()
	f.StringVar(listen, "listen", "127.0.0.1:8081", "the `address` to serve on")
	f.StringVar(&o.Corpus, "corpus", "", "take what is said from a `file` of dialogues (gzipped JSON lines)")
	f.Uint64Var(&o.Seed, "seed", 1, "what is made up depends on it, and on nothing else")
	f.IntVar(&o.Backlog, "backlog", 1000, "messages of history")
	f.DurationVar(&o.Span, "span", simulator.DefaultSpan, "over which the history is spread")
	f.Float64Var(&o.Rate, "rate", 1, "messages a second that are produced")
	f.StringVar(faults, "fault", "", "what goes wrong, by probability: 429=0.05,500=0.05,reset=0.05,truncate=0.05,slow=0.05,html=0.05,redirect=0.05,poison=0.05")
	f.DurationVar(&o.Latency, "latency", 0, "how long each answer takes")
	f.IntVar(&o.Limit, "limit", simulator.DefaultLimit, "requests a second for each endpoint (0: no limit)")
	f.DurationVar(&o.CursorLife, "cursor-life", 0, "how long a cursor is accepted (0: for ever)")
	f.StringVar(&o.ConversationsBy, "conversations-by", simulator.ByStart, "what windows of conversations filter: start or activity")
	f.StringVar(&o.APIKey, "api-key", "", "the key to ask with, for Netcore the app's secret (default "+simulator.DefaultAPIKey+")")
	f.StringVar((*string)(&o.Bounds), "bounds", string(simulator.HalfOpen), "whether the bounds of a window belong to it: half-open, inclusive, exclusive or open-start")
	f.Float64Var(&o.Identical, "identical", 0.02, "the `share` of Feedyou's rows and Netcore's transcripts, 0 to 1, that come as several exact copies")
	f.BoolVar(&o.Unsorted, "unsorted", false, "let Feedyou answer in no order")
	f.BoolVar(&o.OldBot, "old-bot", false, "make Feedyou's bot an old one that has userData only")
	f.BoolVar(&o.Timestamped, "timestamped", false, "give each row of Feedyou a user and a time, also where none are documented")
	f.StringVar(&o.AppID, "app-id", "", "the app to log in to Netcore with (default "+simulator.DefaultAppID+")")
	f.DurationVar(&o.TokenLife, "token-life", simulator.DefaultTokenLife, "how long a token of Netcore is accepted")
	f.StringVar(&o.UsersBy, "users-by", simulator.UsersAscending, "the order of Netcore's users by their last interaction: ascending or descending")
	f.BoolVar(&o.NetcoreSmallPages, "netcore-small-pages", false, "let Netcore refuse pages of more than 50 users")
}

// nativeChatFlags declares the flags of simulate that are NativeChat's.
func nativeChatFlags(c *cobra.Command, o *simulator.Options) {
	f := c.Flags()
	f.Float64Var(&o.ChangeBack, "change-back", 0.02, "the `share` of NativeChat's conversations, 0 to 1, that change and change back")
	f.IntVar(&o.Ties, "ties", 0, "how many of NativeChat's conversations, and of its messages, share one time")
	f.StringVar(&o.NativeChatDates, "native-dates", simulator.NativeChatISO, "how NativeChat shows and compares dates: iso, date or millis")
	f.BoolVar(&o.NativeChatAllMessages, "native-all-messages", false, "let NativeChat list messages without a query")
	f.StringVar(&o.NativeChatWrapper, "native-wrapper", "", "the `name` of the member that NativeChat puts its lists in (default a bare array)")
	f.BoolVar(&o.NativeChatNoID, "native-no-id", false, "leave the ids out of NativeChat's documents")
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
