package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// operate opens the embedded broker for an operating command: the service that
// runs on the directory is asked through its listener, with the key that lies
// there; where none runs, the directory is opened, without a listener.
func (b *Broker) operate(ctx context.Context) (*session, error) {
	opts := b.opts
	opts.Listen = ""
	e, err := openDir(opts)
	if err == nil {
		b.embedded, b.offline = e, true
		return b.serveEmbedded(ctx)
	}
	var used *inUseError
	if !errors.As(err, &used) {
		return nil, err
	}
	running, err := readService(opts.Dir)
	if err != nil {
		return nil, local(fmt.Errorf("another process holds directory %s, but does not say where it listens (%w): try again when it has started", opts.Dir, err))
	}
	if running.Listen == "" {
		return nil, local(fmt.Errorf("the millrace on directory %s (pid %d) has no listener (broker.nats.listen is \"\"): operating commands work only while it is stopped", opts.Dir, running.PID))
	}
	s, err := b.connectOwn(ctx, running)
	if err != nil {
		return nil, local(fmt.Errorf("connect to the millrace on directory %s at %s: %w", opts.Dir, running.Listen, err))
	}
	return s, nil
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
