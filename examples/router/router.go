// Package router is what examples have in common: it runs a Watermill handler on
// topics of either broker.
package router

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/topics/kafka"
	"github.com/millrace-io/millrace/topics/nats"
)

// Options say who reads.
type Options struct {
	// Prefix is the topics.prefix of millrace's configuration.
	Prefix string
	// Group is the name under which the broker keeps our place while we are away.
	Group string
	// Takeover is how soon what somebody held who died is delivered again.
	Takeover time.Duration
}

// Reader are the usual options of a group's reader.
func Reader(group string) Options { return Options{"millrace", group, 10 * time.Second} }

// Run has handle called with each event of some types, from the broker that a URL
// names, until ctx ends. When handle returns nil the event is acknowledged; that it
// did not return, or returned an error, makes the event come again. Topics, and
// Kafka's partitions, are handled side by side.
func Run(ctx context.Context, url string, o Options, types []string, handle message.NoPublishHandlerFunc) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	subscriber, err := subscribe(ctx, url, o, logger)
	if err != nil {
		return err
	}
	defer subscriber.Close() //nolint:errcheck // it returns nil
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NewSlogLogger(logger))
	if err != nil {
		return err
	}
	for _, eventType := range types {
		router.AddConsumerHandler(eventType, o.Prefix+"."+eventType, subscriber, handle)
	}
	// It ends with ctx, when what is being handled is handled and acknowledged.
	return router.Run(ctx)
}

// subscribe returns a subscriber for the broker that a URL names.
func subscribe(ctx context.Context, url string, o Options, logger *slog.Logger) (message.Subscriber, error) {
	switch scheme, hosts, _ := strings.Cut(url, "://"); scheme {
	case "kafka":
		return kafka.NewSubscriber(
			kafka.Options{Brokers: strings.Split(hosts, ","), Prefix: o.Prefix, Logger: logger},
			kafka.SubscriberOptions{Group: o.Group, Session: o.Takeover})
	case "nats", "tls":
		return nats.NewSubscriber(ctx, nats.PubSubOptions{URL: url, Prefix: o.Prefix, Group: o.Group, AckWait: o.Takeover, Logger: logger})
	}
	return nil, fmt.Errorf("%s begins with neither nats:// nor kafka://", url)
}
