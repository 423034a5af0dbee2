package kafkatest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// User may log in. Kafka's tools read neither quotes, commas nor brackets in a
// name or a password.
type User struct{ Name, Password string }

// SASL has clients log in as one of the users, by PLAIN, SCRAM-SHA-256 or
// SCRAM-SHA-512, whichever they choose.
func SASL(users ...User) Options { return Options{Users: users} }

// ACLs has clients log in, and lets them do only what [Broker.Allow] allowed. A
// client with a certificate of [MutualTLS] and no login is the user "CN=client".
func ACLs(users ...User) Options { return Options{Users: users, ACLs: true} }

// TLS has clients speak TLS. Together with [SASL] they log in over it.
func TLS(certificates *Certificates) Options { return Options{Certificates: certificates} }

// MutualTLS has clients speak TLS and present a certificate of the same
// authority.
func MutualTLS(certificates *Certificates) Options {
	return Options{Certificates: certificates, ClientCertificates: true}
}

// guarded says whether clients are asked for something.
func (o Options) guarded() bool { return len(o.Users) > 0 || o.ACLs || o.Certificates != nil }

// guards returns the properties that make a broker ask. It then has two
// listeners: one for clients, and one that asks for nothing.
func (o Options) guards(port int) map[string]string {
	if !o.guarded() {
		return map[string]string{}
	}
	protocol := "PLAINTEXT"
	switch {
	case o.Certificates != nil && len(o.Users) > 0:
		protocol = "SASL_SSL"
	case o.Certificates != nil:
		protocol = "SSL"
	case len(o.Users) > 0:
		protocol = "SASL_PLAINTEXT"
	}
	properties := map[string]string{
		"listeners": fmt.Sprintf("CLIENT://%s,ADMIN://%s,CONTROLLER://%s",
			ports.Loopback(port), ports.Loopback(adminPort(port)), ports.Loopback(controllerPort(port))),
		"listener.security.protocol.map": "CLIENT:" + protocol + ",ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "ADMIN",
	}
	const client = "listener.name.client."
	if len(o.Users) > 0 {
		var plain strings.Builder
		for _, u := range o.Users {
			fmt.Fprintf(&plain, " user_%s=%q", u.Name, u.Password)
		}
		scram := "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		properties[client+"sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		properties[client+"plain.sasl.jaas.config"] =
			"org.apache.kafka.common.security.plain.PlainLoginModule required" + plain.String() + ";"
		properties[client+"scram-sha-256.sasl.jaas.config"] = scram
		properties[client+"scram-sha-512.sasl.jaas.config"] = scram
	}
	if o.Certificates != nil {
		properties[client+"ssl.keystore.type"] = "PEM"
		properties[client+"ssl.keystore.location"] = o.Certificates.server
		properties[client+"ssl.truststore.type"] = "PEM"
		properties[client+"ssl.truststore.location"] = o.Certificates.CA
		properties[client+"ssl.client.auth"] = "none"
		if o.ClientCertificates {
			properties[client+"ssl.client.auth"] = "required"
		}
	}
	if o.ACLs {
		properties["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		// Those of the listener that asks for nothing, the broker itself too.
		properties["super.users"] = "User:ANONYMOUS"
	}
	return properties
}

// formatArguments are what the data folder is made with: users of SCRAM are
// data, not settings.
func (o Options) formatArguments() (args []string) {
	for _, u := range o.Users {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, u.Name, u.Password))
		}
	}
	return args
}

// Allow lets a user of a broker with [ACLs] do something with a topic, a group
// or a transactional id of that name, or the cluster, which is named
// "kafka-cluster". The name "*" stands for all, one that ends with * for all that
// begin so. It returns when it holds.
func (b *Broker) Allow(t testing.TB, user string, kind kmsg.ACLResourceType, name string, operations ...kmsg.ACLOperation) {
	t.Helper()
	principal, pattern := "User:"+user, kmsg.ACLResourcePatternTypeLiteral
	if begins, found := strings.CutSuffix(name, "*"); found && begins != "" {
		name, pattern = begins, kmsg.ACLResourcePatternTypePrefixed
	}
	req := kmsg.NewPtrCreateACLsRequest()
	for _, operation := range operations {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kind, name, pattern
		c.Principal, c.Host, c.Operation, c.PermissionType = principal, "*", operation, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, c)
	}
	request(t, b.Admin(), req, func(resp *kmsg.CreateACLsResponse) error {
		for _, result := range resp.Results {
			if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
				return err
			}
		}
		return nil
	})
	// The controller has it; the broker hears of it a moment later.
	holds := kmsg.NewPtrDescribeACLsRequest()
	holds.ResourceType, holds.ResourceName, holds.ResourcePatternType = kind, &name, pattern
	holds.Principal, holds.PermissionType = &principal, kmsg.ACLPermissionTypeAllow
	for _, operation := range operations {
		holds.Operation = operation
		eventually(t, b.Admin(), "the broker knows the ACL", func(ctx context.Context, cl *kgo.Client) (bool, error) {
			resp, err := holds.RequestWith(ctx, cl)
			if err == nil {
				err = kerr.ErrorForCode(resp.ErrorCode)
			}
			return err == nil && len(resp.Resources) > 0, err
		})
	}
}
