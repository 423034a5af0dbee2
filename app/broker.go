package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/topics"
	"github.com/millrace-io/millrace/topics/kafka"
	"github.com/millrace-io/millrace/topics/nats"
)

// opening says what a broker is opened for.
type opening int

const (
	toServe   opening = iota // by the service: what is missing is made
	toOperate                // by an operating command: nothing is made on a broker that others run
	toTry                    // by check: like toOperate, but no service need have run yet
	toFill                   // by a command that writes state to a broker where no service has run yet
)

// openBroker opens the broker that the configuration names.
func openBroker(ctx context.Context, file *config.File, log *slog.Logger, o opening) (topics.Broker, error) {
	if file.Broker.Kind == config.KindKafka {
		return openKafka(ctx, file, log, o)
	}
	return openNATS(ctx, file, log, o)
}

func openNATS(ctx context.Context, file *config.File, log *slog.Logger, o opening) (topics.Broker, error) {
	n := file.Broker.NATS
	opts := nats.Options{
		URL: n.URL, Creds: n.Creds, User: n.User, Password: n.Password, Token: n.Token,
		Dir: n.Dir, Listen: n.Listen, Operator: o != toServe,
		Prefix: file.Topics.Prefix, MaxAge: file.Topics.Retention, Logger: log,
	}
	for _, u := range n.Users {
		opts.Users = append(opts.Users, nats.User{Name: u.User, Password: u.Password})
	}
	config, err := brokerTLS(file)
	if err != nil {
		return nil, err
	}
	if n.URL == "" {
		opts.ServerTLS = config
	} else {
		opts.TLS = config
	}
	if _, err := os.Stat(n.Dir); o == toOperate && n.URL == "" && errors.Is(err, fs.ErrNotExist) {
		dir, _ := filepath.Abs(n.Dir)
		log.Warn("broker.nats.dir was not there and is made: no service has run on it; one that runs in another working directory is not found from here", "dir", dir)
	}
	broker, err := nats.Open(ctx, opts)
	if err != nil {
		return nil, err // and no broker, not even an empty one
	}
	return broker, nil
}

func openKafka(ctx context.Context, file *config.File, log *slog.Logger, o opening) (topics.Broker, error) {
	k := file.Broker.Kafka
	config, err := brokerTLS(file)
	if err != nil {
		return nil, err
	}
	broker, err := kafka.Open(ctx, kafka.Options{
		Brokers: k.Brokers, TLS: config, Mechanism: k.SASL.Mechanism, User: k.SASL.User, Password: k.SASL.Password,
		Compression: k.Compression, Partitions: k.Partitions, Replication: k.Replication,
		TopicConfig: k.TopicConfig, StateConfig: k.StateConfig, TransactionTimeout: k.TransactionTimeout,
		Prefix: file.Topics.Prefix, MaxAge: file.Topics.Retention, Topics: routed(file), Operator: o == toOperate || o == toTry, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return broker, nil
}

// listens returns where the embedded server takes clients; "" where there is none
// or it takes none.
func listens(b topics.Broker) string {
	if n, ok := b.(interface{ Addr() string }); ok {
		return n.Addr()
	}
	return ""
}

// offline says whether this process has opened the embedded server's directory
// itself, because no service runs on it. Other brokers are never offline.
func offline(b topics.Broker) bool {
	n, ok := b.(interface{ Offline() bool })
	return ok && n.Offline()
}

// brokerTLS reads the certificates that the broker's settings name; nil for none.
func brokerTLS(file *config.File) (*tls.Config, error) {
	key, settings, server := "broker.nats.tls", file.Broker.NATS.TLS, file.Broker.NATS.URL == ""
	if file.Broker.Kind == config.KindKafka {
		key, settings, server = "broker.kafka.tls", file.Broker.Kafka.TLS, false
	}
	c, err := tlsConfig(settings, server)
	if err != nil {
		return nil, file.Errorf(key, "%s", err)
	}
	return c, nil
}

// tlsConfig reads the PEM files of a tls section; nil where there is none.
func tlsConfig(t *config.TLS, server bool) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("cert and key cannot be used: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("ca cannot be read: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca holds no certificate in PEM form")
		}
		if server {
			c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
		} else {
			c.RootCAs = pool
		}
	}
	return c, nil
}
