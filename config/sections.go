package config

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Broker says where events go.
type Broker struct {
	Kind  string `mapstructure:"kind" default:"nats" oneof:"nats|kafka" doc:"The kind of broker."`
	NATS  NATS   `mapstructure:"nats" doc:"NATS JetStream: the embedded server, or one of yours."`
	Kafka Kafka  `mapstructure:"kafka" doc:"Apache Kafka, with kind: kafka."`
}

// The kinds of brokers.
const (
	KindNATS  = "nats"
	KindKafka = "kafka"
)

// Foreign says whether the broker is a server that others run, and not the
// embedded one.
func (b *Broker) Foreign() bool { return b.Kind == KindKafka || b.NATS.URL != "" }

// NATS configures the embedded server when URL is empty, else the connection to
// a server that others run.
type NATS struct {
	URL      string `mapstructure:"url" default:"" doc:"Your NATS server, as nats://host:4222, several with commas between them. Empty starts the embedded server."`
	Listen   string `mapstructure:"listen" default:"127.0.0.1:4222" doc:"Where the embedded server takes clients, as host:port. Empty for nowhere: then status, tail and check --connect work only while the service is stopped. An address that other machines can reach needs users."`
	Dir      string `mapstructure:"dir" default:"./millrace-data" doc:"The embedded server's directory, which holds all topics and all state."`
	Creds    string `mapstructure:"creds" default:"" doc:"A credentials file (JWT and seed) for your server."`
	User     string `mapstructure:"user" default:"" doc:"The user name on your server."`
	Password string `mapstructure:"password" default:"" secret:"true" doc:"The password that goes with user."`
	Token    string `mapstructure:"token" default:"" secret:"true" doc:"An authentication token for your server."`
	// TLS is nil without its section: then a server of yours decides (its URL
	// may be tls://), and the embedded listener speaks plain text.
	TLS   *TLS   `mapstructure:"tls" doc:"TLS, to your server or on the embedded listener."`
	Users []User `mapstructure:"users" doc:"Who may read topics from the embedded listener. Without users everyone on this machine may."`
}

// TLS names PEM files. On the embedded listener CA, when set, is what clients'
// certificates are verified with, and ServerName means nothing.
type TLS struct {
	CA         string `mapstructure:"ca" default:"(those of the system)" doc:"A file with the certificates that the other side is verified with. On the embedded listener it makes clients show one."`
	Cert       string `mapstructure:"cert" default:"" doc:"Our certificate file. The embedded listener needs one."`
	Key        string `mapstructure:"key" default:"" doc:"The private key file that goes with cert."`
	ServerName string `mapstructure:"server_name" default:"(the host that is connected to)" doc:"The name expected in your server's certificate."`
}

// User may read topics from the embedded listener.
type User struct {
	User     string `mapstructure:"user" required:"true" doc:"The name."`
	Password string `mapstructure:"password" required:"true" secret:"true" doc:"The password."`
}

// Topics says how topics are named and kept.
type Topics struct {
	Prefix    string        `mapstructure:"prefix" default:"millrace" doc:"The first part of every topic's name: a-z, 0-9, _ and -, in parts with dots between them."`
	Raw       bool          `mapstructure:"raw" default:"true" doc:"Whether events carry the record as the API returned it, with credentials masked."`
	Retention time.Duration `mapstructure:"retention" default:"168h" min:"1s" doc:"How long events and dead letters are kept; on Kafka, where millrace makes the topics. State is kept as long as it is needed, whatever this says."`
}

// HTTP is the listener for metrics and health.
type HTTP struct {
	Listen string `mapstructure:"listen" default:"127.0.0.1:8080" doc:"Its address, as host:port. Empty for no listener."`
}

var (
	prefixForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*$`)
	hostForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)
)

// maxPrefix bounds topics.prefix, in bytes: Kafka takes names of 249.
const maxPrefix = 64

// sections checks what no single field of File can tell.
func (c *checker) sections(f *File) {
	if !prefixForm.MatchString(f.Topics.Prefix) || len(f.Topics.Prefix) > maxPrefix {
		c.refuse("topics.prefix", "wants at most %d of a-z, 0-9, _ and -, in parts with dots between them, each beginning with a letter or digit, such as millrace", maxPrefix)
	}
	c.address("http.listen", f.HTTP.Listen)
	switch {
	case c.failed("broker.kind"): // what is meant is not known
	case f.Broker.Kind == KindKafka:
		if c.has("broker.nats") {
			c.refuse("broker.nats", "is for kind: nats, but kind is kafka: remove one of the two")
		}
		c.kafka(&f.Broker.Kafka)
	default:
		if c.has("broker.kafka") {
			c.refuse("broker.kafka", "is for kind: kafka: set broker.kind, or remove it")
		}
		c.nats(&f.Broker.NATS)
	}
}

// nats checks either form of NATS.
func (c *checker) nats(n *NATS) {
	c.pair("broker.nats.tls", n.TLS)
	if n.URL != "" || c.failed("broker.nats.url") {
		c.foreignServer(n)
	} else {
		c.embeddedServer(n)
	}
}

// pair checks that a certificate comes with its key.
func (c *checker) pair(key string, t *TLS) {
	if t != nil && (t.Cert == "") != (t.Key == "") {
		c.refuse(key, "cert and key go together: give both, or none")
	}
}

// refuse is errorAt for a key that nothing was found wrong with so far: what was
// is absent here, and an error that follows from that would mislead.
func (c *checker) refuse(key, format string, args ...any) {
	if !c.failed(key) {
		c.errorAt(key, format, args...)
	}
}

// foreignServer checks the connection to a server that others run.
func (c *checker) foreignServer(n *NATS) {
	for _, key := range []string{"listen", "dir", "users"} {
		if c.has("broker.nats." + key) {
			c.refuse("broker.nats."+key, "is for the embedded server, but url names a server of yours: remove one of the two")
		}
	}
	for part := range strings.SplitSeq(n.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss" {
			c.refuse("broker.nats.url", "wants nats://host:port (or tls://, ws://, wss://), several with commas between them")
			break
		}
	}
	if n.Password != "" && n.User == "" {
		c.refuse("broker.nats.password", "needs a user: add the key user")
	}
	first := ""
	for _, way := range []struct{ key, value string }{{"creds", n.Creds}, {"token", n.Token}, {"user", n.User}} {
		switch {
		case way.value == "":
		case first == "":
			first = way.key
		default:
			c.refuse("broker.nats."+way.key, "is a second way to log in beside %s: keep one of creds, token, or user with password", first)
		}
	}
}

// embeddedServer checks the server that runs inside millrace.
func (c *checker) embeddedServer(n *NATS) {
	for _, key := range []string{"creds", "user", "password", "token"} {
		if c.has("broker.nats."+key) && !c.has("broker.nats.url") {
			c.refuse("broker.nats."+key, "is for a server of yours: set url, or use users for the embedded server")
		}
	}
	if n.Dir == "" {
		c.refuse("broker.nats.dir", "is empty: the embedded server needs a directory")
	}
	if n.TLS != nil && n.TLS.Cert == "" && n.TLS.Key == "" {
		c.refuse("broker.nats.tls", "needs cert and key for the embedded listener")
	}
	names := map[string]bool{}
	for i, u := range n.Users {
		if names[u.User] {
			c.refuse("broker.nats.users["+strconv.Itoa(i)+"].user", "has the name of an earlier user: names are unique")
		}
		names[u.User] = true
	}
	host, ok := c.address("broker.nats.listen", n.Listen)
	if ok && n.Listen != "" && !loopback(host) && len(n.Users) == 0 && !c.failed("broker.nats.users") {
		c.refuse("broker.nats.listen", "can be reached from other machines: add users, or listen on 127.0.0.1")
	}
}

// address checks host:port and returns the host. An empty address is none.
func (c *checker) address(key, text string) (host string, ok bool) {
	if text == "" {
		return "", true
	}
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host != "" && net.ParseIP(host) == nil && !hostForm.MatchString(host) {
		c.refuse(key, `wants host:port such as 127.0.0.1:8080, or "" for none`)
		return "", false
	}
	return host, true
}

// loopback says whether an address with this host takes connections from this
// machine alone. No host means every interface.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
