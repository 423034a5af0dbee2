package kafkatest

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var (
	ann = User{"ann", `s3cr/et\1=;x`}
	bob = User{"bob", "water-2"}
)

func plainAs(u User) sasl.Mechanism {
	return plain.Auth{User: u.Name, Pass: u.Password}.AsMechanism()
}

// write sends one record as a client that is set up in a way.
func write(t *testing.T, addr, topic string, opts ...kgo.Opt) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := func(more ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(slices.Concat(opts, more, []kgo.Opt{kgo.SeedBrokers(addr), kgo.DisableIdempotentWrite()})...)
		if err != nil {
			t.Fatal(err)
		}
		return cl
	}
	ping := client(kgo.RequestRetries(0)) // what is refused is not tried again
	defer ping.Close()
	if err := ping.Ping(ctx); err != nil {
		return err
	}
	cl := client(kgo.DefaultProduceTopic(topic))
	defer cl.Close()
	return cl.ProduceSync(ctx, kgo.StringRecord("by "+topic)).FirstErr()
}

func TestSASL(t *testing.T) {
	b := Start(t, SASL(ann, bob))
	topic := Topic(t, b.Admin(), 1)
	for name, mechanism := range map[string]func(User) sasl.Mechanism{
		"PLAIN":         plainAs,
		"SCRAM-SHA-256": func(u User) sasl.Mechanism { return scram.Auth{User: u.Name, Pass: u.Password}.AsSha256Mechanism() },
		"SCRAM-SHA-512": func(u User) sasl.Mechanism { return scram.Auth{User: u.Name, Pass: u.Password}.AsSha512Mechanism() },
	} {
		for _, u := range []User{ann, bob} {
			if err := write(t, b.Addr(), topic, kgo.SASL(mechanism(u))); err != nil {
				t.Errorf("%s by %s: %v", u.Name, name, err)
			}
		}
		if err := write(t, b.Addr(), topic, kgo.SASL(mechanism(User{ann.Name, bob.Password}))); !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("with a wrong password, by %s: %v", name, err)
		}
	}
	if err := write(t, b.Addr(), topic); err == nil {
		t.Error("one who did not log in may write")
	}
	if n := len(Committed(t, b.Admin(), topic)); n != 6 {
		t.Errorf("%d records are there, want 6", n)
	}
}

func TestTLS(t *testing.T) {
	certificates := NewCertificates(t)
	b := Start(t, TLS(certificates))
	topic := Topic(t, b.Admin(), 1)
	if err := write(t, b.Addr(), topic, kgo.DialTLSConfig(certificates.Client(false))); err != nil {
		t.Error(err)
	}
	if err := write(t, b.Addr(), topic); err == nil {
		t.Error("one without TLS may write")
	}
	var unknown *tls.CertificateVerificationError
	if err := write(t, b.Addr(), topic, kgo.DialTLSConfig(&tls.Config{})); !errors.As(err, &unknown) {
		t.Errorf("one who does not know the authority: %v", err)
	}
	if err := write(t, b.Admin(), topic, kgo.DialTLSConfig(certificates.Client(false))); err == nil {
		t.Error("the listener for all speaks TLS")
	}
	want(t, Committed(t, b.Admin(), topic), "by "+topic)
}

func TestMutualTLSAndSASL(t *testing.T) {
	certificates := NewCertificates(t, "broker.test")
	b := Start(t, MutualTLS(certificates), SASL(ann))
	topic := Topic(t, b.Admin(), 1)
	config := func(present bool) kgo.Opt {
		c := certificates.Client(present)
		c.ServerName = "broker.test"
		return kgo.DialTLSConfig(c)
	}
	if err := write(t, b.Addr(), topic, config(true), kgo.SASL(plainAs(ann))); err != nil {
		t.Error(err)
	}
	if err := write(t, b.Addr(), topic, config(false), kgo.SASL(plainAs(ann))); err == nil {
		t.Error("one without a certificate may write")
	}
	if err := write(t, b.Addr(), topic, config(true), kgo.SASL(plainAs(bob))); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("a user who is not there: %v", err)
	}
	err := write(t, b.Addr(), topic, kgo.DialTLSConfig(certificates.Client(true)), kgo.SASL(plainAs(ann)))
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("one who looks for another host: %v", err)
	}
}

func TestACLs(t *testing.T) {
	b := Start(t, ACLs(ann, bob))
	topic, id := Topic(t, b.Admin(), 1), Name(t)
	as := func(u User) kgo.Opt { return kgo.SASL(plainAs(u)) }
	if err := write(t, b.Addr(), topic, as(ann)); err == nil {
		t.Error("one who was allowed nothing may write")
	}
	b.Allow(t, ann.Name, kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
	if err := write(t, b.Addr(), topic, as(ann)); err != nil {
		t.Errorf("one who was allowed to write: %v", err)
	}
	if err := write(t, b.Addr(), topic, as(bob)); err == nil {
		t.Error("it is allowed to others too")
	}

	transact := func() error {
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.TransactionalID(id), as(ann))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		_, _, err = cl.ProducerID(t.Context())
		return err
	}
	if err := transact(); !errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		t.Errorf("without the transactional id: %v", err)
	}
	b.Allow(t, ann.Name, kmsg.ACLResourceTypeTransactionalId, id, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
	if err := transact(); err != nil {
		t.Errorf("with the transactional id: %v", err)
	}
	want(t, Committed(t, b.Admin(), topic), "by "+topic)
	b.Kill()
	b.Restart()
	if err := transact(); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}
