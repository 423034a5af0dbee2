package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PubSubOptions are those of a [Publisher] and of a [Subscriber]. Only URL must
// be set.
type PubSubOptions struct {
	// URL is the server, or several separated by commas. The listener of an
	// embedded server will do for a Subscriber; it lets nobody publish.
	URL string
	// Creds is the path of a NATS credentials file.
	Creds string
	// User, Password and Token authenticate with the server.
	User, Password, Token string
	// TLS is used for the connection; nil for what the URL's scheme says.
	TLS *tls.Config
	// Name tells the connection from others in the server's lists; may be empty.
	Name string
	// Prefix is where millrace's own topics begin (its topics.prefix); "" is
	// "millrace".
	Prefix string
	// Logger is where warnings go; nil for none.
	Logger *slog.Logger

	// CreateStreams makes a JetStream stream for a topic that has none, when it
	// is first published or subscribed to. Its name is the topic's with "+" for
	// each dot, and with %XX for what is not a letter, a digit, _ or -. It is
	// never done for topics of millrace's.
	CreateStreams bool
	// Replicas and MaxAge are those of such a JetStream stream; 0 is one replica,
	// and keeping messages for ever.
	Replicas int
	MaxAge   time.Duration

	// PublishWait is how long Publish waits for the next acknowledgement; 0 is
	// 10 s.
	PublishWait time.Duration

	// Group is the name under which subscribers share the messages of a topic,
	// each message going to one of them. The server remembers the group's place
	// in the topic for ever. Without a group a subscriber gets every message,
	// and its place is forgotten when it ends.
	Group string
	// OnlyNew lets a group that the server does not know yet, or a subscriber
	// without one, begin with what is published after Subscribe has returned. By
	// default they begin with the oldest message that is kept.
	OnlyNew bool
	// Parallel is how many messages one Subscribe hands out at once. 0 and 1 hand
	// out one in the whole group: the next one comes when it is acknowledged, to
	// whichever member, so the topic keeps its order whatever happens. With more
	// there is no order, and members work side by side. All members of a group
	// should say the same; the last one to subscribe decides.
	Parallel int
	// AckWait is after how long the server takes a member for dead and gives its
	// messages to another; 0 is 30 s. Members give signs of life while their
	// handlers work, however long that takes.
	AckWait time.Duration
	// Backoff is how long a message rests after its first, second, ... delivery
	// that ended with a Nack; the last one repeats. Empty is 100 ms, 300 ms, 1 s,
	// 3 s, 10 s.
	Backoff []time.Duration
	// CloseTimeout is how long a subscription that ends waits for the Ack or Nack
	// of messages which are being handled, before it gives them back; 0 is 10 s.
	CloseTimeout time.Duration
}

func (o *PubSubOptions) setDefaults() {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PublishWait <= 0 {
		o.PublishWait = 10 * time.Second
	}
	if o.AckWait <= 0 {
		o.AckWait = 30 * time.Second
	}
	if len(o.Backoff) == 0 {
		o.Backoff = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second}
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = 10 * time.Second
	}
	o.Parallel = max(o.Parallel, 1)
}

// fields are what somebody can change who calls from Go.
var fields = setting{"URL", "Creds, User, Password or Token", "TLS"}

// client is the connection of a Publisher or a Subscriber.
type client struct {
	*session
	opts  PubSubOptions
	names names
	log   *slog.Logger
	conn  Options // for what it redacts

	mu    sync.Mutex
	calls map[*call]bool // those under way
}

// call is something that the server may refuse without an answer: it tells of a
// missing permission on the side, by the subject.
type call struct {
	subject string
	refuse  func(error)
}

// connect connects to the server. Every error is a [*topics.OpenError], but for
// a ctx that ended.
func connect(ctx context.Context, opts PubSubOptions) (*client, error) {
	opts.setDefaults()
	if !validPrefix(opts.Prefix) {
		return nil, local(fmt.Errorf("the prefix %q cannot begin a NATS subject: use letters, digits, _ and -, joined by dots", opts.Prefix))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &client{opts: opts, names: names{prefix: opts.Prefix}, log: opts.Logger, calls: map[*call]bool{}}
	c.conn = Options{
		URL: opts.URL, Creds: opts.Creds, User: opts.User, Password: opts.Password, Token: opts.Token, TLS: opts.TLS,
		Name: opts.Name, Logger: opts.Logger,
	}
	var err error
	if c.session, err = c.conn.dial(fields, natsgo.ErrorHandler(c.heard)); err != nil {
		return nil, err
	}
	c.js, err = jetstream.New(c.nc)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// heard takes errors that no call returns.
func (c *client) heard(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
	if errors.Is(err, natsgo.ErrPermissionViolation) {
		c.mu.Lock()
		defer c.mu.Unlock()
		told := false
		for call := range c.calls {
			if strings.Contains(err.Error(), `"`+call.subject) {
				call.refuse(err)
				told = true
			}
		}
		if told {
			return
		}
	}
	c.log.Warn("NATS connection", "error", c.conn.redact(err.Error()))
}

// watch calls refuse when the server tells that subjects beginning with this one
// are not permitted, until done is called. Refuse must not block.
func (c *client) watch(subject string, refuse func(error)) (done func()) {
	w := &call{subject, refuse}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[w] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.calls, w)
	}
}

// ask makes a request to the JetStream API, which begins with subject, and
// explains its failure.
func (c *client) ask(ctx context.Context, subject string, request func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.watch("$JS.API."+subject, cancel)()
	waiting, done := c.waiting(ctx, readWait)
	defer done()
	err := request(waiting)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), natsgo.ErrPermissionViolation):
		return fmt.Errorf("the user may not ask for $JS.API.%s: %w", subject, context.Cause(ctx))
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, natsgo.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("JetStream does not answer: %w: start the server with JetStream (-js), and enable it for the account", err)
	}
	return cause(waiting, err)
}

// find completes a place with the JetStream stream that holds it; with
// CreateStreams it makes one where there is none.
func (c *client) find(ctx context.Context, p place) (place, error) {
	if p.ours {
		return p, nil
	}
	name := ""
	look := func(ctx context.Context) (err error) {
		name, err = c.js.StreamNameBySubject(ctx, p.filter)
		return err
	}
	err := c.ask(ctx, "STREAM.NAMES", look)
	if errors.Is(err, jetstream.ErrStreamNotFound) && c.opts.CreateStreams {
		err = c.ask(ctx, "STREAM.CREATE."+p.stream, func(ctx context.Context) error { return c.create(ctx, p) })
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Another may have made it, and not quite as we would.
			if other := c.ask(ctx, "STREAM.NAMES", look); other == nil {
				p.stream = name
				return p, nil
			}
		}
		if err != nil {
			return p, fmt.Errorf("create the JetStream stream %s for topic %s on NATS at %s: %w", p.stream, p.topic, c.where, err)
		}
		return p, nil
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return p, c.noStream(p)
	}
	if err != nil {
		return p, fmt.Errorf("find the JetStream stream of topic %s on NATS at %s: %w", p.topic, c.where, err)
	}
	p.stream = name
	return p, nil
}

func (c *client) create(ctx context.Context, p place) error {
	_, err := c.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:        p.stream,
		Description: "made for topic " + p.topic,
		Subjects:    []string{p.filter},
		Storage:     jetstream.FileStorage,
		Replicas:    max(c.opts.Replicas, 1),
		MaxAge:      c.opts.MaxAge,
		Duplicates:  duplicates(c.opts.MaxAge),
	})
	return err
}

// noStream says what to do about a topic that no JetStream stream holds.
func (c *client) noStream(p place) error {
	if p.ours {
		return fmt.Errorf("NATS at %s has no JetStream stream %s: start millrace on it first; the prefix must be its topics.prefix", c.where, p.stream)
	}
	return fmt.Errorf("NATS at %s has no JetStream stream for topic %s: make one (nats stream add --subjects %s), or set CreateStreams", c.where, p.topic, p.topic)
}
