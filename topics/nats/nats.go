// Package nats is the broker on NATS JetStream: it turns a batch of events,
// their ledger entry and the checkpoint into one atomic, fenced JetStream batch,
// on a server that it embeds or on one that it connects to.
//
// Everything lives in one JetStream stream, because an atomic batch cannot span
// two: events on <prefix>.<type>.<connector>, state on <prefix>._<kind>.>. The
// checkpoint is the last message of its batch and carries a compare-and-swap on
// its own subject, so a batch is visible only with its checkpoint, and a stale
// owner's batch is refused whole.
//
// Those who consume events, or publish what they make of them, need no Broker:
// [Subscriber] and [Publisher] are Watermill's, for millrace's topics and others.
package nats

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

// Options say where the broker is and how it behaves. The zero value is an
// embedded server without a listener; only Dir must be set then.
type Options struct {
	// URL is the server to connect to, or several separated by commas; empty
	// for the embedded server.
	URL string
	// Creds is the path of a NATS credentials file.
	Creds string
	// User, Password and Token authenticate with a server at URL.
	User, Password, Token string
	// TLS is used for a server at URL; nil for what the URL's scheme says.
	TLS *tls.Config
	// Replicas of the JetStream stream where it must be created at URL; 0 is 1.
	Replicas int

	// Dir is where the embedded server keeps everything.
	Dir string
	// Listen is where the embedded server takes clients, host:port; port 0 picks
	// a free one, "" takes none.
	Listen string
	// Users may read from the listener. Without users everybody who reaches a
	// loopback listener may, and a listener elsewhere is refused.
	Users []User
	// ServerTLS encrypts the listener.
	ServerTLS *tls.Config
	// Reserve is how many bytes of disk stay free whatever is committed; 0 is
	// 32 MiB.
	Reserve int64
	// Operator opens the broker for an operating command: it connects to the
	// service that runs on Dir, or opens Dir itself, without a listener, when
	// none does.
	Operator bool

	// Prefix begins every subject and names the JetStream stream; "" is "millrace".
	Prefix string
	// MaxAge is how long events are kept; 0 for ever. State is always kept.
	MaxAge time.Duration
	// Name tells this process from others in the server's lists; may be empty.
	Name string
	// Logger is where warnings go; nil for none.
	Logger *slog.Logger

	// What tests shorten or replace.
	leaseTTL time.Duration                   // how long a lease lives without renewal
	ackWait  time.Duration                   // how long an acknowledgement may take
	free     func(dir string) (int64, error) // free bytes of the file system
}

// User may read from the embedded server's listener.
type User struct{ Name, Password string }

const (
	defaultPrefix  = "millrace"
	defaultReserve = 32 << 20

	// openBatches bounds the batches in flight. The server refuses more than 50
	// for one JetStream stream, and other instances may share it.
	openBatches = 40

	// batchRoom is what the server's own batch headers take of a message.
	batchRoom = 512
)

// Broker is a [topics.Broker] on NATS JetStream.
type Broker struct {
	opts  Options
	names names
	log   *slog.Logger

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	once   sync.Once
	closed error

	embedded *embedded // nil on a server that is not ours
	offline  bool      // see Offline

	// mu is held for reading while the session is used, for writing while it is
	// replaced.
	mu      sync.RWMutex
	session *session // nil while the embedded server could not be started again

	batches  chan struct{} // one token for each open batch
	inFlight *semaphore.Weighted
	pending  atomic.Int64 // bytes of all commits under way

	limitsMu sync.Mutex
	limits   topics.Limits

	heldMu  sync.Mutex
	held    map[events.StreamKey]*stream
	closing bool
}

var _ topics.Broker = (*Broker)(nil)

// Offline says that an operating command has opened the embedded server's
// directory itself, because no service runs on it: nothing new will come, and no
// service can start before Close.
func (b *Broker) Offline() bool { return b.offline }

// Open starts the embedded server, or connects to the one at opts.URL. Every
// error is a [*topics.OpenError], but for a ctx that ended.
func Open(ctx context.Context, opts Options) (*Broker, error) {
	if opts.Prefix == "" {
		opts.Prefix = defaultPrefix
	}
	if !validPrefix(opts.Prefix) {
		return nil, local(fmt.Errorf("topics.prefix %q cannot begin a NATS subject: use letters, digits, _ and -, joined by dots", opts.Prefix))
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Reserve == 0 {
		opts.Reserve = defaultReserve
	}
	if opts.leaseTTL == 0 {
		opts.leaseTTL = 8 * time.Second
	}
	if opts.ackWait == 0 {
		opts.ackWait = 10 * time.Second
	}
	if opts.free == nil {
		opts.free = freeBytes
	}
	b := &Broker{
		opts:     opts,
		names:    names{prefix: opts.Prefix},
		log:      opts.Logger,
		batches:  make(chan struct{}, openBatches),
		inFlight: semaphore.NewWeighted(inFlightBytes),
		held:     map[events.StreamKey]*stream{},
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.start(ctx); err != nil {
		b.Close()
		var known *topics.OpenError
		if ctx.Err() != nil || errors.As(err, &known) {
			return nil, err
		}
		return nil, &topics.OpenError{Remote: b.embedded == nil, Err: err}
	}
	return b, nil
}

func (b *Broker) start(ctx context.Context) (err error) {
	switch {
	case b.opts.URL != "":
		b.session, err = b.connect(ctx)
	case b.opts.Operator:
		b.session, err = b.operate(ctx)
	default:
		b.embedded, _, err = b.takeDir(ctx, b.opts)
		if err == nil {
			b.session, err = b.serveEmbedded(ctx)
		}
	}
	if err != nil {
		return err
	}
	b.setLimits(topics.Limits{Messages: b.session.maxBatch, Bytes: b.session.maxPayload() - batchRoom})
	return nil
}

// local says that our own side is the cause.
func local(err error) error { return &topics.OpenError{Err: err} }

// remote says that a server that is not ours is the cause.
func remote(err error) error { return &topics.OpenError{Remote: true, Err: err} }

// Addr returns where the embedded server takes clients; "" where it does not.
func (b *Broker) Addr() string {
	if b.embedded == nil {
		return ""
	}
	return b.embedded.addr()
}

// Limits returns what the server is known to take.
func (b *Broker) Limits() topics.Limits {
	b.limitsMu.Lock()
	defer b.limitsMu.Unlock()
	return b.limits
}

func (b *Broker) setLimits(l topics.Limits) {
	b.limitsMu.Lock()
	defer b.limitsMu.Unlock()
	b.limits = l
}

// Ready returns nil when the broker can take commits. It does not wait for an embedded
// server that is being restarted, which may take longer than who asks has time.
func (b *Broker) Ready(ctx context.Context) error {
	if !b.mu.TryRLock() {
		return errors.New("the embedded NATS server is being restarted")
	}
	defer b.mu.RUnlock()
	s := b.session
	switch {
	case b.ctx.Err() != nil:
		return errClosed
	case s == nil:
		return cmp.Or(b.room(0), errors.New("the embedded NATS server could not be restarted; it is tried again"))
	}
	if s.suspect.Load() {
		return errors.New("the embedded NATS server failed to store a batch and has not been restarted yet")
	}
	if b.embedded != nil {
		if err := b.room(0); err != nil {
			return err
		}
	}
	if _, err := s.stream.Info(ctx); err != nil {
		return fmt.Errorf("NATS at %s does not answer about the JetStream stream %s: %w", s.where, b.names.stream(), err)
	}
	return nil
}

// Checkpoints reads the checkpoint of every stream ever committed.
func (b *Broker) Checkpoints(ctx context.Context) ([]topics.Stored, error) {
	s, done, err := b.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	subjects, err := s.subjects(ctx, b.names.checkpoints())
	if err != nil {
		return nil, fmt.Errorf("list the checkpoints on NATS at %s: %w", s.where, err)
	}
	stored := make([]topics.Stored, 0, len(subjects))
	for _, subject := range subjects {
		key, ok := b.names.key(subject)
		if !ok {
			continue
		}
		m, err := s.last(ctx, subject)
		if err != nil {
			return nil, fmt.Errorf("read the checkpoint of %s from NATS at %s: %w", key, s.where, err)
		}
		if m != nil {
			stored = append(stored, topics.Stored{Key: key, Checkpoint: m.Data, Written: m.Time})
		}
	}
	return stored, nil
}

// Close releases every stream, ends what the broker started and waits for it.
func (b *Broker) Close() error {
	b.once.Do(func() {
		b.heldMu.Lock()
		b.closing = true
		var held []*stream
		for _, s := range b.held {
			if s.settled {
				held = append(held, s)
			}
		}
		b.heldMu.Unlock()
		for _, s := range held {
			s.Release()
		}
		b.cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.session != nil {
			b.session.close()
			b.session = nil
		}
		if b.embedded != nil {
			b.closed = b.embedded.close()
		}
	})
	return b.closed
}

// errClosed answers what comes after Close.
var errClosed = errors.New("the broker is closed")

// use returns the session for a short use, ended by done.
func (b *Broker) use(ctx context.Context) (s *session, done func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		b.mu.RLock()
		if b.ctx.Err() != nil {
			b.mu.RUnlock()
			return nil, nil, errClosed
		}
		if b.session != nil {
			return b.session, b.mu.RUnlock, nil
		}
		b.mu.RUnlock()
		if err := b.restart(ctx, nil); err != nil {
			return nil, nil, err
		}
	}
}

// sound is use for what needs the truth: a session that may hold half a batch is
// replaced first.
func (b *Broker) sound(ctx context.Context) (s *session, done func(), err error) {
	for {
		s, done, err = b.use(ctx)
		if err != nil || !s.suspect.Load() {
			return s, done, err
		}
		done()
		if err := b.restart(ctx, s); err != nil {
			return nil, nil, err
		}
	}
}

// redact takes the configured secrets out of a text that a library wrote.
func (o *Options) redact(text string) string {
	for _, secret := range append(urlSecrets(o.URL), o.Password, o.Token) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}
