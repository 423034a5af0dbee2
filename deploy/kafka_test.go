package deploy

import (
	"context"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

// What docker compose --profile kafka up starts works together: on a broker with
// the settings of the Compose file, foreign consumers read what was committed.
func TestComposeByHandOnKafka(t *testing.T) {
	t.Parallel() // it waits, mostly
	settings := brokerSettings(project(t, "kafka").Services["kafka"])
	// Where it listens and keeps its data is another place here.
	maps.DeleteFunc(settings, func(name, _ string) bool {
		return strings.Contains(name, "listener") || name == "controller.quorum.voters" || name == "log.dirs"
	})
	if len(settings) < 8 {
		t.Fatalf("the settings are %q", settings)
	}
	broker := kafkatest.Start(t, kafkatest.Options{Properties: settings})
	s := newStack(t, buildProgram(t), "kafka", "kafka:9092", broker.Addr())
	s.startSimulator(t)
	service := s.publishes(t, "millrace-kafka")
	if code := service.stop(t); code != 0 {
		t.Errorf("it ends with exit code %d:\n%s", code, lastLines(service.said.String()))
	}
	read := kafkatest.Committed(t, broker.Addr(), "millrace.message")
	if len(read) == 0 || read[0].Header("ce_type") != "io.millrace.message.v1" {
		t.Errorf("a consumer reads %d messages: %v", len(read), read)
	}
}

// brokerSettings are what the image makes of its environment: KAFKA_NODE_ID is
// node.id. KAFKA_HEAP_OPTS is for the start script.
func brokerSettings(s types.ServiceConfig) map[string]string {
	settings := map[string]string{}
	for name, value := range s.Environment {
		if name, ok := strings.CutPrefix(name, "KAFKA_"); ok && name != "HEAP_OPTS" && value != nil {
			settings[strings.ToLower(strings.ReplaceAll(name, "_", "."))] = *value
		}
	}
	return settings
}

// The broker of the Compose file is of the version that tests run on.
func TestKafkaVersions(t *testing.T) {
	version := regexp.MustCompile(`(?m)^KAFKA=(.*)$`).FindStringSubmatch(read(t, "kafka/versions.env"))
	if image := project(t, "kafka").Services["kafka"].Image; version == nil || image != "apache/kafka:"+version[1] {
		t.Errorf("the image is %s, kafka/versions.env has %q", image, version)
	}
}

// aclRow is a line of the table of rights in docs/operations.md.
var aclRow = regexp.MustCompile("(?m)^\\| (Topic|Group|TransactionalId) \\| `millrace\\.`, prefixed \\| ([A-Za-z, ]+) \\|")

var aclKinds = map[string]kmsg.ACLResourceType{
	"Topic": kmsg.ACLResourceTypeTopic, "Group": kmsg.ACLResourceTypeGroup, "TransactionalId": kmsg.ACLResourceTypeTransactionalId,
}

// A user with the rights that docs/operations.md names, and no others, is enough;
// one without them is told what is missing.
func TestRightsOnKafka(t *testing.T) {
	t.Parallel() // it waits, mostly
	rows := aclRow.FindAllStringSubmatch(read(t, filepath.Join(top, "docs", "operations.md")), -1)
	if len(rows) != len(aclKinds) {
		t.Fatalf("docs/operations.md has the rights %q", rows)
	}
	user := kafkatest.User{Name: "millrace", Password: "s3cret-of-a-test"}
	broker := kafkatest.Start(t, kafkatest.ACLs(user))
	s := newStack(t, buildProgram(t), "kafka", "[kafka:9092]",
		"["+broker.Addr()+"]\n    sasl: {mechanism: scram-sha-256, user: "+user.Name+", password: "+user.Password+"}")
	s.mount(t, "millrace-kafka")
	s.startSimulator(t)
	check := []string{millrace, "check", "--connect", "-c", "/etc/millrace/millrace.yaml"}
	if said, err := s.command(t, "millrace-kafka", check).CombinedOutput(); err == nil || !strings.Contains(string(said), "give this user") {
		t.Errorf("without any rights check says (%v):\n%s", err, said)
	}
	for _, row := range rows {
		allow(t, broker, user.Name, aclKinds[row[1]], strings.Split(row[2], ", "))
	}
	if said, err := s.command(t, "millrace-kafka", check).CombinedOutput(); err != nil {
		t.Fatalf("with the rights of docs/operations.md check says (%v):\n%s", err, said)
	}
	s.publishes(t, "millrace-kafka")
}

// allow lets a user do something with all that begins with "millrace.".
func allow(t *testing.T, broker *kafkatest.Broker, user string, kind kmsg.ACLResourceType, operations []string) {
	t.Helper()
	admin, err := kgo.NewClient(kgo.SeedBrokers(broker.Admin()))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	request := kmsg.NewPtrCreateACLsRequest()
	for _, name := range operations {
		operation, err := kmsg.ParseACLOperation(name)
		if err != nil {
			t.Fatal(err)
		}
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kind, "millrace.", kmsg.ACLResourcePatternTypePrefixed
		c.Principal, c.Host, c.Operation, c.PermissionType = "User:"+user, "*", operation, kmsg.ACLPermissionTypeAllow
		request.Creations = append(request.Creations, c)
	}
	answer, err := request.RequestWith(context.WithoutCancel(t.Context()), admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
}
