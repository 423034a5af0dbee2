package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

const (
	// embeddedBatch is how many messages a batch may hold on our own server.
	embeddedBatch = 10_000
	// embeddedPayload is the largest message there, headers included.
	embeddedPayload = 8 << 20

	readyWait = 30 * time.Second
)

// embedded is what outlives restarts of the embedded server: the directory's
// lock, the key of the service and the address it listens on.
type embedded struct {
	opts   Options
	dir    *directory
	key    nkeys.KeyPair
	public string
	host   string // "" for no listener

	mu     sync.Mutex
	port   int // -1 until a free one was picked
	listen string
}

// openDir locks and prepares the directory.
func openDir(opts Options) (*embedded, error) {
	e := &embedded{opts: opts}
	if opts.Listen != "" && !opts.Operator {
		if err := e.parseListen(); err != nil {
			return nil, local(err)
		}
	}
	dir, err := lockDirectory(opts.Dir, opts.Operator)
	if err != nil {
		return nil, local(err)
	}
	e.dir = dir
	if e.key, e.public, err = dir.key(); err != nil {
		return nil, local(errors.Join(err, dir.unlock()))
	}
	return e, nil
}

func (e *embedded) parseListen() error {
	host, port, err := net.SplitHostPort(e.opts.Listen)
	if err != nil {
		return fmt.Errorf("broker.nats.listen %q is not host:port", e.opts.Listen)
	}
	if e.port, err = strconv.Atoi(port); err != nil || e.port < 0 || e.port > 65535 {
		return fmt.Errorf("broker.nats.listen %q: the port is not a number from 0 to 65535", e.opts.Listen)
	}
	if e.port == 0 {
		e.port = server.RANDOM_PORT
	}
	if e.host = host; host == "" {
		e.host = "0.0.0.0"
	}
	if !loopback(host) && len(e.opts.Users) == 0 {
		return fmt.Errorf("broker.nats.listen %q is open to other machines, but broker.nats.users is empty: name users there, or listen on 127.0.0.1", e.opts.Listen)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (e *embedded) addr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listen
}

func (e *embedded) close() error { return e.dir.unlock() }

func (e *embedded) options(n names) *server.Options {
	o := &server.Options{
		ServerName: "millrace",
		// The listener opens by hand, once the store is repaired.
		DontListen:         true,
		Host:               e.host,
		Port:               e.port,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           e.opts.Dir,
		SyncAlways:         true,
		MaxPayload:         embeddedPayload,
		JetStreamMaxMemory: 64 << 20,
		// Our own check of the free space rules: it refuses a batch whole.
		JetStreamMaxStore: 1 << 60,
		JetStreamLimits:   server.JSLimitOpts{MaxBatchSize: embeddedBatch},
		// What is over these two is dropped, and with it a batch.
		StreamMaxBufferedMsgs:  openBatches * embeddedBatch,
		StreamMaxBufferedSize:  4 * inFlightBytes,
		DisableJetStreamBanner: true,
		Nkeys:                  []*server.NkeyUser{{Nkey: e.public}},
	}
	if e.host == "" {
		return o
	}
	if tls := e.opts.ServerTLS; tls != nil {
		o.TLS, o.TLSConfig, o.TLSTimeout = true, tls, 5
	}
	account := server.NewAccount(readersAccount)
	o.Accounts = []*server.Account{account}
	o.Users, o.NoAuthUser = readers(n, account, e.opts.Users)
	return o
}

// start runs the server without a listener and connects to it.
func (e *embedded) start(ctx context.Context, n names) (*session, error) {
	if e.host != "" {
		if err := e.portFree(); err != nil {
			return nil, err
		}
	}
	log := &serverLog{log: e.opts.Logger}
	srv, err := server.NewServer(e.options(n))
	if err != nil {
		return nil, fmt.Errorf("configure the embedded NATS server: %w", err)
	}
	srv.SetLoggerV2(log, false, false, false)
	if e.host != "" {
		// Before the start, which looks at what the accounts share.
		if err := share(srv, n); err != nil {
			srv.Shutdown()
			return nil, fmt.Errorf("set up the embedded NATS server's readers: %w", err)
		}
	}
	srv.Start()
	s := newSession("directory "+e.opts.Dir, embeddedBatch)
	s.srv, s.single = srv, true
	if err := e.prepare(srv, log); err != nil {
		s.close()
		return nil, fmt.Errorf("start the embedded NATS server in directory %s: %w", e.opts.Dir, err)
	}
	s.nc, err = natsgo.Connect("", natsgo.InProcessServer(srv), natsgo.Name("millrace"),
		natsgo.Nkey(e.public, e.key.Sign), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(50*time.Millisecond),
		natsgo.ReconnectBufSize(-1), natsgo.CustomInboxPrefix(ownInbox),
		natsgo.DisconnectErrHandler(func(*natsgo.Conn, error) { s.cut() }), natsgo.ErrorHandler(logAsync(e.opts.Logger)))
	if err == nil {
		s.js, err = jetstream.New(s.nc)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return s, nil
}

// prepare finishes what the server's own start leaves open.
func (e *embedded) prepare(srv *server.Server, log *serverLog) error {
	if !srv.ReadyForConnections(readyWait) || log.fatal() != nil {
		return errors.Join(log.fatal(), errors.New("it did not become ready"))
	}
	if e.host == "" {
		return nil
	}
	// With a second account the server enables JetStream for none by itself.
	return srv.GlobalAccount().EnableJetStream(nil, nil)
}

// portFree asks for the port before the store is opened, so that a port in use
// is told at once and by its name.
func (e *embedded) portFree() error {
	port := max(e.port, 0)
	l, err := net.Listen("tcp", net.JoinHostPort(e.host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("broker.nats.listen: cannot listen on %s: %w: stop what uses it, or choose another port", e.opts.Listen, err)
	}
	return l.Close()
}

// open lets clients in.
func (e *embedded) open(s *session) error {
	if e.host == "" {
		return e.dir.announce("", true)
	}
	opened := make(chan struct{})
	s.srv.AcceptLoop(opened)
	<-opened
	addr, ok := s.srv.Addr().(*net.TCPAddr)
	if !ok || addr == nil {
		return fmt.Errorf("broker.nats.listen: cannot listen on %s: stop what uses it, or choose another port", e.opts.Listen)
	}
	e.mu.Lock()
	e.port, e.listen = addr.Port, net.JoinHostPort(e.host, strconv.Itoa(addr.Port))
	listen := e.listen
	e.mu.Unlock()
	return e.dir.announce(listen, true)
}

// serveEmbedded starts the embedded server, repairs its store and only then
// lets clients in.
func (b *Broker) serveEmbedded(ctx context.Context) (*session, error) {
	s, err := b.embedded.start(ctx, b.names)
	if err != nil {
		return nil, err
	}
	err = b.openStream(ctx, s)
	if err == nil {
		if wrong := boundCache(s.srv, b.names.stream()); wrong != nil {
			b.log.Warn("the embedded server may take much memory while much is written", "cause", wrong)
		}
		err = b.repair(ctx, s)
	}
	if err == nil {
		err = b.embedded.open(s)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// serverLog carries the embedded server's warnings and errors to slog. What the
// server calls fatal ends a process elsewhere; here it is remembered.
type serverLog struct {
	log *slog.Logger
	mu  sync.Mutex
	err error
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, fmt.Errorf(format, v...))
}
func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	level := slog.LevelError
	if strings.Contains(text, " Violation - ") {
		level = slog.LevelDebug // a reader was refused; it must not fill our log
	}
	l.log.Log(context.Background(), level, "embedded NATS server", "message", text)
}
func (l *serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Plaintext passwords") {
		return // they are in memory only, where the configuration has them too
	}
	level := slog.LevelWarn
	if strings.HasPrefix(format, "Filestore [") && (strings.Contains(format, "index") || strings.Contains(format, "outdated")) {
		level = slog.LevelDebug // it builds its index anew, as after every kill
	}
	l.log.Log(context.Background(), level, "embedded NATS server", "message", fmt.Sprintf(format, v...))
}
func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

// logAsync tells of errors that no call returns.
func logAsync(log *slog.Logger) natsgo.ErrHandler {
	return func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
		log.Warn("NATS connection", "error", err.Error())
	}
}

// removeQuietly deletes a file that says something about a service that ended.
func removeQuietly(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
