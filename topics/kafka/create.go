package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// connect asks the cluster what it is, and refuses one that cannot keep our
// promises.
func (c *client) connect(ctx context.Context) error {
	if _, err := c.do(ctx, &metadata.Request{}); err != nil {
		return fmt.Errorf("connect to Kafka at %s: %w", c.where, err)
	}
	answer, err := c.do(ctx, &apiversions.Request{})
	if err != nil {
		return fmt.Errorf("connect to Kafka at %s: %w", c.where, err)
	}
	newest := int16(-1)
	for _, k := range answer.(*apiversions.Response).ApiKeys {
		if protocol.ApiKey(k.ApiKey) == protocol.InitProducerId {
			newest = k.MaxVersion
		}
	}
	// Version 3 of it is what lets a producer take a new epoch only as long as
	// nobody else has (KIP-360, Kafka 2.5).
	if newest < 3 {
		return fmt.Errorf("the Kafka at %s is too old for fenced transactions: millrace needs version 2.5 or newer", c.where)
	}
	return nil
}

// brokers is how many brokers the cluster has.
func (c *client) brokers(ctx context.Context) (int, error) {
	answer, err := c.do(ctx, &metadata.Request{})
	if err != nil {
		return 0, err
	}
	return len(answer.(*metadata.Response).Brokers), nil
}

// prepareTopics makes the topics that are missing and checks the others.
func (b *Broker) prepareTopics(ctx context.Context) error {
	missing, err := b.absent(ctx)
	if err != nil {
		return b.explain(err)
	}
	if !b.opts.Operator && len(missing) > 0 {
		if err := b.create(ctx, missing, false); err != nil {
			return b.explain(err)
		}
		missing = nil
	}
	return b.examine(ctx, missing)
}

// absent lists the topics that are missing.
func (b *Broker) absent(ctx context.Context) (missing []string, err error) {
	for _, topic := range b.names.known() {
		_, err := b.client.partitions(ctx, topic)
		switch {
		case errors.Is(err, kafkago.UnknownTopicOrPartition):
			missing = append(missing, topic)
		case err != nil && !again(err):
			return nil, err
		}
	}
	return missing, nil
}

// create makes topics, or with dry asks whether that would do. One that another
// instance makes at the same time is fine.
func (b *Broker) create(ctx context.Context, missing []string, dry bool) error {
	replication := b.opts.Replication
	brokers, err := b.client.brokers(ctx)
	if err != nil {
		return err
	}
	if replication == 0 {
		replication = min(defaultReplication, brokers)
	}
	request := &createtopics.Request{TimeoutMs: int32(b.client.wait.Milliseconds()), ValidateOnly: dry}
	for _, topic := range missing {
		partitions, settings := b.settings(topic, replication)
		t := createtopics.RequestTopic{Name: topic, NumPartitions: partitions, ReplicationFactor: int16(replication)}
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			t.Configs = append(t.Configs, createtopics.RequestConfig{Name: name, Value: settings[name]})
		}
		request.Topics = append(request.Topics, t)
	}
	answer, err := b.client.do(ctx, request)
	if err != nil {
		return fmt.Errorf("create topics on Kafka at %s: %w", b.client.where, err)
	}
	for _, t := range answer.(*createtopics.Response).Topics {
		if err := failed(t.ErrorCode); err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
			err = fmt.Errorf("create topic %s on Kafka at %s: %w (%s)", t.Name, b.client.where, err, t.ErrorMessage)
			return b.explainSettings(err, t.Name, t.ErrorMessage)
		}
	}
	if dry {
		return nil
	}
	return b.appear(ctx, missing)
}

// explainSettings adds which keys of the configuration a topic's settings come
// from, where the broker refuses them. It says which setting it means in its own
// words only.
func (b *Broker) explainSettings(err error, topic, said string) error {
	section, own := "broker.kafka.topic_config", b.opts.TopicConfig
	switch topic {
	case b.names.state():
		section, own = "broker.kafka.state_config", b.opts.StateConfig
	case b.names.ops():
		own = nil
	}
	if len(own) == 0 || !errors.Is(err, kafkago.InvalidConfiguration) && !errors.Is(err, kafkago.PolicyViolation) {
		return err
	}
	meant := ""
	for name := range own {
		if strings.Contains(said, name) && len(name) > len(meant) {
			meant = name
		}
	}
	if meant == "" {
		return fmt.Errorf("%w: correct what stands under %s", err, section)
	}
	return fmt.Errorf("%w: correct or remove %s under %s; the names and values are those of Kafka's settings of topics", err, meant, section)
}

// settings are those of a topic that is created.
func (b *Broker) settings(topic string, replication int) (partitions int32, settings map[string]string) {
	settings = map[string]string{}
	if replication >= 3 {
		settings["min.insync.replicas"] = "2"
	}
	switch topic {
	case b.names.state():
		settings["cleanup.policy"] = "compact"
		settings["segment.bytes"] = strconv.Itoa(16 << 20)
		settings["min.cleanable.dirty.ratio"] = "0.1"
		settings["max.compaction.lag.ms"] = strconv.FormatInt(time.Hour.Milliseconds(), 10)
		maps.Copy(settings, b.opts.StateConfig)
		return statePartitions, settings
	case b.names.ops():
		settings["cleanup.policy"] = "delete"
		settings["retention.ms"] = strconv.FormatInt(time.Hour.Milliseconds(), 10)
		settings["segment.ms"] = settings["retention.ms"]
		return 1, settings
	}
	settings["cleanup.policy"] = "delete"
	settings["retention.ms"] = "-1"
	if b.opts.MaxAge > 0 {
		settings["retention.ms"] = strconv.FormatInt(b.opts.MaxAge.Milliseconds(), 10)
	}
	maps.Copy(settings, b.opts.TopicConfig)
	return int32(b.opts.Partitions), settings
}

// appear waits until topics that were made can be used.
func (b *Broker) appear(ctx context.Context, made []string) error {
	deadline := time.Now().Add(b.client.wait)
	for _, topic := range made {
		for {
			_, err := b.client.partitions(ctx, topic)
			if err == nil {
				break
			}
			if !again(err) || time.Now().After(deadline) {
				return err
			}
			if !pause(ctx, 50*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// examine reads the settings of the topics that are there: those that would
// break a promise are refused, and the smallest of what they take is our limit.
func (b *Broker) examine(ctx context.Context, missing []string) error {
	request := &describeconfigs.Request{}
	for _, topic := range b.names.known() {
		if !slices.Contains(missing, topic) {
			request.Resources = append(request.Resources, describeconfigs.RequestResource{
				ResourceType: int8(kafkago.ResourceTypeTopic), ResourceName: topic, ConfigNames: []string{"cleanup.policy", "max.message.bytes"},
			})
		}
	}
	limit := 0
	if len(request.Resources) > 0 {
		answer, err := b.client.do(ctx, request)
		if err != nil {
			return fmt.Errorf("read the settings of topics on Kafka at %s: %w", b.client.where, err)
		}
		if limit, err = b.judge(answer.(*describeconfigs.Response)); err != nil {
			return err
		}
	}
	b.setLimits(cmp.Or(limit, defaultMessageBytes))
	return b.checkState(ctx, missing)
}

const (
	// defaultMessageBytes is what topics take unless they say otherwise.
	defaultMessageBytes = 1_048_588
	// headersRoom is what the lengths of a record's headers take at most.
	headersRoom = 512
)

// judge returns how many bytes the topics of commits take; 0 where nobody says.
func (b *Broker) judge(r *describeconfigs.Response) (smallest int, err error) {
	where := ""
	for _, t := range r.Resources {
		if err := failed(t.ErrorCode); err != nil {
			if errors.Is(err, kafkago.UnknownTopicOrPartition) || errors.Is(err, kafkago.TopicAuthorizationFailed) {
				continue // what may not be asked for is taken to be as Kafka makes it
			}
			return 0, fmt.Errorf("read the settings of topic %s on Kafka at %s: %w", t.ResourceName, b.client.where, err)
		}
		for _, c := range t.ConfigEntries {
			switch c.ConfigName {
			case "cleanup.policy":
				if err := b.judgePolicy(t.ResourceName, c.ConfigValue); err != nil {
					return 0, err
				}
			case "max.message.bytes":
				n, err := strconv.Atoi(c.ConfigValue)
				if err == nil && t.ResourceName != b.names.ops() && (smallest == 0 || n < smallest) {
					smallest, where = n, t.ResourceName
				}
			}
		}
	}
	if smallest > 0 && smallest < leastMessageBytes {
		return 0, fmt.Errorf("topic %s on Kafka at %s takes messages up to %d bytes, and millrace needs %d: raise that (kafka-configs.sh --bootstrap-server %s --alter --topic %s --add-config max.message.bytes=1048588)",
			where, b.client.where, smallest, leastMessageBytes, b.client.where, where)
	}
	return smallest, nil
}

// leastMessageBytes is what a checkpoint with its cursors may need.
const leastMessageBytes = 256 << 10

func (b *Broker) judgePolicy(topic, policy string) error {
	compacted := strings.Contains(policy, "compact")
	right, why := "compact", "checkpoints would expire, and records be published again"
	switch state := topic == b.names.state(); {
	case state && policy == "compact", !state && !compacted:
		return nil
	case !state:
		right, why = "delete", "of the events with one key only the last would be kept"
	}
	return fmt.Errorf("topic %s on Kafka at %s exists with cleanup.policy=%s, where millrace needs %s: %s; change it (kafka-configs.sh --bootstrap-server %s --alter --topic %s --add-config cleanup.policy=%s), or choose another topics.prefix",
		topic, b.client.where, policy, right, why, b.client.where, topic, right)
}

// checkState refuses a topic of state that is too small.
func (b *Broker) checkState(ctx context.Context, missing []string) error {
	if slices.Contains(missing, b.names.state()) {
		return nil
	}
	leaders, err := b.client.partitions(ctx, b.names.state())
	if err != nil {
		return b.explain(err)
	}
	if len(leaders) < statePartitions {
		return fmt.Errorf("topic %s on Kafka at %s has %d partitions, and millrace needs %d: add some (kafka-topics.sh --bootstrap-server %s --alter --partitions %d --topic %s)",
			b.names.state(), b.client.where, len(leaders), statePartitions, b.client.where, statePartitions, b.names.state())
	}
	return nil
}
