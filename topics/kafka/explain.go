package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/millrace-io/millrace/topics"
)

// final says whether an answer cannot change by trying again, and is none that
// leaves open what became of a transaction.
func final(err error) bool {
	var k kafkago.Error
	if !errors.As(err, &k) || again(err) {
		return false
	}
	switch k {
	case kafkago.InvalidTransactionState, kafkago.OutOfOrderSequenceNumber, kafkago.UnknownProducerId,
		kafkago.Unknown, kafkago.MessageSizeTooLarge, 120: // TRANSACTION_ABORTABLE
		return false
	}
	return true
}

// missing says whether an error is that a topic is not there.
func (b *Broker) missing(err error) bool { return errors.Is(err, kafkago.UnknownTopicOrPartition) }

// explain adds where it was and what to do to an error of the cluster.
func (b *Broker) explain(err error) error {
	var tooLarge *topics.TooLargeError
	if err == nil || errors.Is(err, topics.ErrFenced) || errors.Is(err, context.Canceled) || errors.Is(err, errClosed) || errors.As(err, &tooLarge) {
		return err
	}
	if !strings.Contains(err.Error(), b.client.where) {
		err = fmt.Errorf("Kafka at %s: %w", b.client.where, err) //nolint:staticcheck // a name
	}
	if advice := b.advice(err); advice != "" {
		err = fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

// advice says what helps against an error, "" where that is not known.
func (b *Broker) advice(err error) string {
	var k kafkago.Error
	_ = errors.As(err, &k)
	text := err.Error()
	switch {
	case k == kafkago.TransactionalIDAuthorizationFailed:
		return fmt.Sprintf("give this user Write and Describe on transactional ids that begin with %q", b.names.prefix+".")
	case k == kafkago.TopicAuthorizationFailed, k == kafkago.ClusterAuthorizationFailed:
		return fmt.Sprintf("give this user Create, Describe, DescribeConfigs, Read and Write on topics that begin with %q, or make the topics for it", b.names.prefix+".")
	case k == kafkago.GroupAuthorizationFailed:
		return fmt.Sprintf("give this user Read on groups that begin with %q", b.names.prefix+".")
	case k == kafkago.IllegalSASLState:
		return "this port wants no login: remove broker.kafka.sasl, or take the port that does"
	case k == kafkago.SASLAuthenticationFailed, strings.Contains(text, "SASL"):
		return "check mechanism, user and password under broker.kafka.sasl"
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"):
		return "check broker.kafka.tls, and that the port speaks TLS"
	case b.opts.TLS != nil && b.opts.Mechanism != "" && (strings.Contains(text, "EOF") || strings.Contains(text, "connection reset")):
		return "the port seems not to speak TLS: remove broker.kafka.tls, or take the port that does"
	case b.opts.TLS != nil && (strings.Contains(text, "EOF") || strings.Contains(text, "connection reset")):
		return "the port seems not to speak TLS, or to want a login: remove broker.kafka.tls, take the port that speaks it, or set broker.kafka.sasl"
	case strings.Contains(text, "EOF"), strings.Contains(text, "connection reset"):
		return "does the port speak TLS, or want SASL? See broker.kafka.tls and broker.kafka.sasl"
	case k == kafkago.InvalidTransactionTimeout:
		return "lower broker.kafka.transaction_timeout, or raise transaction.max.timeout.ms of the brokers"
	case k == kafkago.InvalidReplicationFactor:
		return "set broker.kafka.replication to what the cluster can keep"
	case k == 0 && strings.Contains(text, "connect"):
		return "check broker.kafka.brokers, that the cluster runs, and that the port is one of Kafka's"
	case b.missing(err):
		return "was it deleted? Start millrace again, which makes it anew"
	case k == kafkago.MessageSizeTooLarge:
		return "raise max.message.bytes of the topic"
	}
	return ""
}
