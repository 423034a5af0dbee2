package kafka

import (
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

// explain adds what to do to an error of the cluster.
func (b *Broker) explain(err error) error {
	if err == nil || errors.Is(err, topics.ErrFenced) {
		return err
	}
	advice := ""
	var k kafkago.Error
	_ = errors.As(err, &k)
	text := err.Error()
	switch {
	case k == kafkago.TransactionalIDAuthorizationFailed:
		advice = fmt.Sprintf("give this user Write and Describe on transactional ids that begin with %q", b.names.prefix+".")
	case k == kafkago.TopicAuthorizationFailed, k == kafkago.ClusterAuthorizationFailed:
		advice = fmt.Sprintf("give this user Create, Describe, DescribeConfigs, Read and Write on topics that begin with %q, or make the topics for it", b.names.prefix+".")
	case k == kafkago.GroupAuthorizationFailed:
		advice = fmt.Sprintf("give this user Read on groups that begin with %q", b.names.prefix+".")
	case k == kafkago.IllegalSASLState:
		advice = "this port wants no login: remove broker.kafka.sasl, or take the port that does"
	case k == kafkago.SASLAuthenticationFailed, strings.Contains(text, "SASL"):
		advice = "check mechanism, user and password under broker.kafka.sasl"
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"):
		advice = "check broker.kafka.tls, and that the port speaks TLS"
	case b.opts.TLS != nil && (strings.Contains(text, "EOF") || strings.Contains(text, "connection reset")):
		advice = "the port seems not to speak TLS: see broker.kafka.tls"
	case strings.Contains(text, "EOF"), strings.Contains(text, "connection reset"):
		advice = "does the port speak TLS, or want SASL? See broker.kafka.tls and broker.kafka.sasl"
	case k == kafkago.InvalidTransactionTimeout:
		advice = "lower broker.kafka.transaction_timeout, or raise transaction.max.timeout.ms of the brokers"
	case k == kafkago.InvalidReplicationFactor:
		advice = "set broker.kafka.replication to what the cluster can keep"
	case k == 0 && strings.Contains(text, "connect"):
		advice = "check broker.kafka.brokers, that the cluster runs, and that the port is one of Kafka's"
	}
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}
