package connectors

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are what connectors count, by connector and stream.
type Metrics struct {
	requests   *prometheus.CounterVec
	pages      *prometheus.CounterVec
	records    *prometheus.CounterVec
	retries    *prometheus.CounterVec
	passed     *prometheus.CounterVec
	budgetWait *prometheus.CounterVec
}

// NewMetrics registers the metrics; with nil they are kept and not shown.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	labels := []string{"connector", "stream"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "millrace_" + name, Help: help}, append(labels, more...))
	}
	return &Metrics{
		requests:   counter("requests_total", "Requests made to export APIs, by outcome: ok, the HTTP status of a refusal, or retry (a cut or unreadable answer, no answer), restart, fail.", "outcome"),
		pages:      counter("pages_total", "Pages read to their end."),
		records:    counter("records_total", "Records read, those read again included."),
		retries:    counter("retries_total", "Requests made again after a failure."),
		passed:     counter("passed_over_total", "Users that were passed over in a window, as the API refuses them and answers for others."),
		budgetWait: counter("budget_wait_seconds_total", "Time that requests waited for the rate budget."),
	}
}

// streamMetrics are the metrics of one stream.
type streamMetrics struct {
	requests                                    func(outcome string) prometheus.Counter
	pages, records, retries, passed, budgetWait prometheus.Counter
}

func (m *Metrics) of(connector, stream string) *streamMetrics {
	return &streamMetrics{
		requests:   func(outcome string) prometheus.Counter { return m.requests.WithLabelValues(connector, stream, outcome) },
		pages:      m.pages.WithLabelValues(connector, stream),
		records:    m.records.WithLabelValues(connector, stream),
		retries:    m.retries.WithLabelValues(connector, stream),
		passed:     m.passed.WithLabelValues(connector, stream),
		budgetWait: m.budgetWait.WithLabelValues(connector, stream),
	}
}
