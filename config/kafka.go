package config

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Kafka configures the connection to a Kafka cluster, which others run, and the
// topics that are made there.
type Kafka struct {
	Brokers []string `mapstructure:"brokers" doc:"Brokers of your cluster, as [kafka-1:9092, kafka-2:9092]: any of them, the others are found. Required with kind: kafka."`
	// TLS is nil without its section: connections are not encrypted then.
	TLS *TLS `mapstructure:"tls" doc:"TLS to the brokers: {} encrypts, with the system's certificates."`
	// SASL has no mechanism without its section: then nobody logs in.
	SASL        SASL   `mapstructure:"sasl" doc:"How to log in to the brokers."`
	Compression string `mapstructure:"compression" default:"zstd" oneof:"zstd|lz4|snappy|gzip|none" doc:"How what is written is compressed."`
	Partitions  int    `mapstructure:"partitions" default:"6" min:"1" max:"10000" doc:"Partitions of the topics of events, where millrace makes them."`
	// Replication is 0 where the file does not say.
	Replication        int               `mapstructure:"replication" default:"(3, or one for each broker of a smaller cluster)" min:"1" max:"100" doc:"Copies of each topic, where millrace makes it."`
	TopicConfig        map[string]string `mapstructure:"topic_config" doc:"More settings of the topics of events, where millrace makes them, by Kafka's names: {min.insync.replicas: 2}."`
	StateConfig        map[string]string `mapstructure:"state_config" doc:"The same for the topics of the machinery, such as the one that holds checkpoints."`
	TransactionTimeout time.Duration     `mapstructure:"transaction_timeout" default:"30s" min:"5s" max:"15m" doc:"When the brokers end a transaction that a crash has left open; readers of its partitions wait so long."`
}

// SASL is how to log in to a Kafka cluster.
type SASL struct {
	Mechanism string `mapstructure:"mechanism" required:"true" oneof:"plain|scram-sha-256|scram-sha-512" doc:"How; plain sends the password as it is, so it wants tls."`
	User      string `mapstructure:"user" required:"true" doc:"The user name."`
	Password  string `mapstructure:"password" required:"true" secret:"true" doc:"The password."`
}

// Exposed says whether the password goes over a network as it is.
func (k *Kafka) Exposed() bool {
	return k.SASL.Mechanism == "plain" && k.TLS == nil && slices.ContainsFunc(k.Brokers, func(broker string) bool {
		host, _, err := net.SplitHostPort(broker)
		return err == nil && !loopback(host)
	})
}

// kafka checks the section of kind: kafka.
func (c *checker) kafka(k *Kafka) {
	if len(k.Brokers) == 0 {
		c.refuse("broker.kafka.brokers", "is required with kind: kafka, as [host:9092, ...]")
	}
	if !c.failed("broker.kafka.brokers") { // else the numbers are not those of the file
		for i, broker := range k.Brokers {
			c.kafkaBroker(fmt.Sprintf("broker.kafka.brokers[%d]", i), broker)
		}
	}
	c.pair("broker.kafka.tls", k.TLS)
	c.topicSettings("broker.kafka.topic_config", k.TopicConfig, map[string]string{"retention.ms": "topics.retention says it"})
	c.topicSettings("broker.kafka.state_config", k.StateConfig, nil)
}

func (c *checker) kafkaBroker(key, broker string) {
	host, port, err := net.SplitHostPort(broker)
	n, notNumber := strconv.ParseUint(port, 10, 16)
	if err != nil || notNumber != nil || n == 0 || net.ParseIP(host) == nil && !hostForm.MatchString(host) {
		c.refuse(key, "wants host:port such as kafka-1.example:9092, without kafka://; several are items of the list")
	}
}

var topicSetting = regexp.MustCompile(`^[a-z]+(\.[a-z]+)*$`)

// topicSettings checks settings of topics, of which some are ours to give.
func (c *checker) topicSettings(key string, settings, ours map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		at := child(key, name)
		switch why, taken := ours[name]; {
		case name == "cleanup.policy":
			c.refuse(at, "cannot be chosen: events go by their age, state never: remove it")
		case taken:
			c.refuse(at, "cannot be chosen here: %s", why)
		case !topicSetting.MatchString(name):
			c.refuse(at, "is not the name of a topic's setting, such as min.insync.replicas")
		case settings[name] == "":
			c.refuse(at, "is empty: give it a value, or remove it")
		}
	}
}
