package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// millrace is the entry point of our image.
const millrace = "/usr/local/bin/millrace"

// What docker compose up starts works together: the program of the image reads the
// simulated APIs, publishes to readers who have the password, and is watched.
func TestComposeByHand(t *testing.T) {
	t.Parallel() // it waits, mostly
	program := buildProgram(t)
	wasBuiltAsInTheImage(t, program)
	s := newStack(t, program, "nats")
	s.startSimulator(t)
	service := s.publishes(t, "millrace-nats")
	s.canBeRead(t)
	exported := s.metrics(t)
	t.Run("metrics", func(t *testing.T) { metricsExist(t, exported) })
	t.Run("prometheus", func(t *testing.T) { s.isWatched(t) })
	if code := service.stop(t); code != 0 {
		t.Errorf("it ends with exit code %d:\n%s", code, lastLines(service.said.String()))
	}
	if err := s.healthy(t, "millrace-nats"); err == nil {
		t.Error("it counts as healthy when it has ended")
	}
}

// publishes starts a millrace beside the simulator, and returns it when it is healthy
// and has published events of all four APIs.
func (s *stack) publishes(t *testing.T, name string) *process {
	t.Helper()
	service := s.start(t, name, millrace)
	service.until(t, name+" to be healthy", func() error { return s.healthy(t, name) })
	service.until(t, "events of all connectors", func() error {
		for _, connector := range []string{"demo", "support", "shop", "helpdesk"} {
			if sum(s.metrics(t)["millrace_events_total"], connector) == 0 {
				return fmt.Errorf("no event of %s", connector)
			}
		}
		return nil
	})
	if said := service.said.String(); strings.Contains(said, "level=ERROR") {
		t.Errorf("it complains:\n%s", lastLines(said))
	}
	return service
}

func (s *stack) startSimulator(t *testing.T) {
	t.Helper()
	api := s.start(t, "simulator", millrace)
	api.until(t, "the simulator to be healthy", func() error { return s.healthy(t, "simulator") })
}

// metrics returns what the service tells Prometheus, by the metric's name.
func (s *stack) metrics(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	page, err := get(t, "http://"+s.http+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// sum adds up a counter of one connector.
func sum(family *dto.MetricFamily, connector string) (total float64) {
	for _, m := range family.GetMetric() {
		if slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == "connector" && l.GetValue() == connector }) {
			total += m.GetCounter().GetValue()
		}
	}
	return total
}

// canBeRead reads an event as somebody on the published port does, and wants
// whoever has no password to be refused.
func (s *stack) canBeRead(t *testing.T) {
	t.Helper()
	if nc, err := nats.Connect("nats://" + s.nats); err == nil {
		nc.Close()
		t.Error("everybody can read")
	}
	password := *s.services["millrace-nats"].Environment["READER_PASSWORD"]
	nc, err := nats.Connect("nats://"+s.nats, nats.UserInfo("reader", password))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), "MILLRACE", jetstream.ConsumerConfig{
		Durable: "test", FilterSubject: "millrace.message.*", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	message, err := consumer.Next(jetstream.FetchMaxWait(time.Minute))
	if err != nil || message.Headers().Get("ce-type") != "io.millrace.message.v1" {
		t.Errorf("a reader gets %v (%v)", message, err)
	}
}
