package deploy

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// query is an expression, and where it stands.
type query struct{ where, expr string }

// queries returns all expressions of the rules and the dashboard, with values for
// the dashboard's variables.
func queries(t *testing.T) []query {
	t.Helper()
	var all []query
	for _, r := range rules(t) {
		all = append(all, query{"the alert " + r.Alert, r.Expr})
	}
	d := dashboard(t)
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			all = append(all, query{"the dashboard's annotation " + a.Name, a.Expr})
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, query{"the dashboard's panel " + p.Title, variables.Replace(target.Expr)})
		}
	}
	if len(all) < 40 {
		t.Fatalf("there are %d expressions", len(all))
	}
	return all
}

// variables are what Grafana fills in.
var variables = strings.NewReplacer("$__rate_interval", "10s", "$connector", ".*", "$stream", ".*")

var (
	text      = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	selection = regexp.MustCompile(`\{([^}]*)\}`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	span      = regexp.MustCompile(`\[[^\]]*\]`)
	word      = regexp.MustCompile(`\b[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(?`)
)

// namesIn returns the metrics and the labels that an expression names.
func namesIn(expr string) (metrics, labels []string) {
	expr = text.ReplaceAllString(expr, `""`)
	for _, group := range append(selection.FindAllStringSubmatch(expr, -1), grouping.FindAllStringSubmatch(expr, -1)...) {
		labels = append(labels, word.FindAllString(group[1], -1)...)
	}
	for _, part := range []*regexp.Regexp{selection, grouping, span} {
		expr = part.ReplaceAllString(expr, " ")
	}
	for _, w := range word.FindAllString(expr, -1) {
		switch w = strings.TrimSpace(w); w {
		case "and", "or", "unless", "bool", "offset", "by", "on", "Inf", "NaN":
		default:
			if !strings.HasSuffix(w, "(") { // a function
				metrics = append(metrics, w)
			}
		}
	}
	return metrics, labels
}

func TestNamesInExpressions(t *testing.T) {
	metrics, labels := namesIn(`histogram_quantile(0.9, sum by (job, le) (rate(a_bucket{job="b", c=~"d{2}|\"e"}[5m]))) > 1e3
		and on (job) max by(f) (deriv (g[1h]) and h > 0) unless i offset 1d == bool 0 or vector(0)`)
	if want := []string{"a_bucket", "g", "h", "i"}; !slices.Equal(metrics, want) {
		t.Errorf("metrics are %q, want %q", metrics, want)
	}
	if want := []string{"job", "c", "job", "le", "job", "f"}; !slices.Equal(labels, want) {
		t.Errorf("labels are %q, want %q", labels, want)
	}
}

// metricsExist wants every metric and label of the rules and the dashboard to be
// one that the program exports, or Prometheus adds.
func metricsExist(t *testing.T, exported map[string]*dto.MetricFamily) {
	known := map[string]bool{"job": true, "instance": true, "le": true, "alertstate": true}
	series := map[string]bool{"up": true, "ALERTS": true}
	for name, family := range exported {
		series[name] = true
		if family.GetType() == dto.MetricType_HISTOGRAM {
			maps.Copy(series, map[string]bool{name + "_bucket": true, name + "_sum": true, name + "_count": true})
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				known[l.GetName()] = true
			}
		}
	}
	used := map[string]bool{}
	for _, q := range queries(t) {
		metrics, labels := namesIn(q.expr)
		if len(metrics) == 0 {
			t.Errorf("%s names no metric: %s", q.where, q.expr)
		}
		for _, name := range metrics {
			if used[name] = true; !series[name] {
				t.Errorf("%s asks for %s, which the program does not export", q.where, name)
			}
		}
		for _, name := range labels {
			if !known[name] {
				t.Errorf("%s asks for the label %s, which no metric has", q.where, name)
			}
		}
	}
	for name, family := range exported {
		if strings.HasPrefix(name, "millrace_") && !used[name] && !(family.GetType() == dto.MetricType_HISTOGRAM && used[name+"_bucket"]) {
			t.Errorf("neither an alert nor the dashboard shows %s", name)
		}
	}
}
