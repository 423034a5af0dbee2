package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// TestPubSubGuarded publishes and reads over TLS, each with the least rights that
// will do, and is told which are missing.
func TestPubSubGuarded(t *testing.T) {
	t.Parallel()
	certificates := kafkatest.NewCertificates(t)
	b := kafkatest.Start(t, kafkatest.TLS(certificates), kafkatest.ACLs(kafkatest.User{Name: "writer", Password: "w-secret"}, kafkatest.User{Name: "reader", Password: "r-secret"}))
	authority, err := os.ReadFile(certificates.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	options := func(user, mechanism string) Options {
		return Options{
			Brokers: []string{b.Addr()}, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			Mechanism: mechanism, User: user, Password: user[:1] + "-secret",
		}
	}
	makeTopic(t, []string{b.Admin()}, "guarded", 2)
	p := newPublisher(t, options("writer", "scram-sha-512"))
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	refused(p.Publish("guarded", message.NewMessage("u", []byte("x"))), "give it Write and Describe")
	b.Allow(t, "writer", kmsg.ACLResourceTypeTopic, "guarded", kmsg.ACLOperationWrite)
	for until := time.Now().Add(readPatience); ; { // what was refused is remembered for a second
		err := p.Publish("guarded", message.NewMessage("u", []byte("x")))
		if err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
	for _, group := range []string{"", "g"} {
		s := newSubscriber(t, options("reader", "plain"), shortly(group))
		if group == "" {
			_, err := s.Subscribe(t.Context(), "guarded")
			refused(err, "give it Read and Describe")
			b.Allow(t, "reader", kmsg.ACLResourceTypeTopic, "guarded", kmsg.ACLOperationRead)
		} else {
			_, err := s.Subscribe(t.Context(), "guarded")
			refused(err, "give it Read on the group")
			b.Allow(t, "reader", kmsg.ACLResourceTypeGroup, "g", kmsg.ACLOperationRead)
		}
		m := received(t, subscribed(t, t.Context(), newSubscriber(t, options("reader", "scram-sha-256"), shortly(group)), "guarded"))
		if m.UUID != "u" || string(m.Payload) != "x" {
			t.Errorf("group %q: read %q %q", group, m.UUID, m.Payload)
		}
		m.Ack()
	}
}
