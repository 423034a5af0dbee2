package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// operate opens the embedded broker for an operating command: the service that
// runs on the directory is asked through its listener, with the key that lies
// there; where none runs, the directory is opened, without a listener.
func (b *Broker) operate(ctx context.Context) (*session, error) {
	opts := b.opts
	opts.Listen = ""
	e, running, err := b.takeDir(ctx, opts)
	if err == nil {
		b.embedded, b.offline = e, true
		return b.serveEmbedded(ctx)
	}
	var used *inUseError
	switch {
	case !errors.As(err, &used) || running.Command:
		return nil, err
	case !running.Open:
		return nil, local(fmt.Errorf("another process (pid %d) holds directory %s, and has not started yet: try again when it has", running.PID, opts.Dir))
	case running.Listen == "":
		return nil, local(fmt.Errorf("the millrace on directory %s (pid %d) has no listener (broker.nats.listen is \"\"): operating commands work only while it is stopped", opts.Dir, running.PID))
	}
	s, err := b.connectOwn(ctx, running)
	if err != nil {
		return nil, local(fmt.Errorf("connect to the millrace on directory %s at %s: %w", opts.Dir, running.Listen, err))
	}
	return s, nil
}

// dirWait is how long we wait for a directory that an operating command holds,
// which is soon gone, or for a service that is just starting.
const dirWait = 5 * time.Second

// takeDir opens the directory. Where another process has it, the error is an
// *inUseError, and running is what that process tells of itself.
func (b *Broker) takeDir(ctx context.Context, opts Options) (e *embedded, running service, err error) {
	for deadline := time.Now().Add(dirWait); ; {
		e, err = openDir(opts)
		var used *inUseError
		if !errors.As(err, &used) {
			return e, running, err
		}
		var unread error
		running, unread = readService(opts.Dir)
		passing := unread != nil || running.Command || opts.Operator && !running.Open
		if !passing || time.Now().After(deadline) {
			return nil, running, err
		}
		if !pause(ctx, 0) {
			return nil, running, ctx.Err()
		}
	}
}

// connectOwn logs in to our own service through its listener.
func (b *Broker) connectOwn(ctx context.Context, running service) (*session, error) {
	key, public, err := readKey(filepath.Join(b.opts.Dir, keyFile))
	if err != nil {
		return nil, err
	}
	s := newSession(running.Listen, embeddedBatch)
	s.single = true
	options := []natsgo.Option{
		natsgo.Name("millrace operator"), natsgo.Timeout(connectWait), natsgo.Nkey(public, key.Sign),
		natsgo.MaxReconnects(-1), natsgo.ReconnectBufSize(-1), natsgo.CustomInboxPrefix(ownInbox), natsgo.ErrorHandler(logAsync(b.log)),
		natsgo.DisconnectErrHandler(func(*natsgo.Conn, error) { s.cut() }),
	}
	if b.opts.ServerTLS != nil {
		options = append(options, natsgo.Secure(pinned(b.opts.ServerTLS)))
	}
	if s.nc, err = natsgo.Connect("nats://"+running.Listen, options...); err != nil {
		return nil, err
	}
	if s.js, err = jetstream.New(s.nc); err == nil {
		s.stream, err = s.js.Stream(ctx, b.names.stream())
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// pinned trusts the very certificate that our configuration gives the service,
// whatever names it was made out for.
func pinned(serving *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       serving.Certificates,
		InsecureSkipVerify: true, // replaced by the comparison below
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			for _, c := range serving.Certificates {
				if len(raw) > 0 && len(c.Certificate) > 0 && slices.Equal(raw[0], c.Certificate[0]) {
					return nil
				}
			}
			return errors.New("the listener shows another certificate than the configuration names")
		},
	}
}
