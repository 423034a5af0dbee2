package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rule is one of prometheus/rules.yml.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/rules.yml")), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// promtool is what Prometheus says of its files, and of ours what they do.
func TestPromtool(t *testing.T) {
	t.Parallel() // it waits, mostly
	promtool := tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "config", "--lint=all", "--lint-fatal", "prometheus/prometheus.yml"},
		{"check", "rules", "--lint=all", "--lint-fatal", "prometheus/rules.yml"},
		{"check", "rules", "--lint=all", "--lint-fatal", dashboardAsRules(t)},
		{"test", "rules", "prometheus/rules_test.yml"},
	} {
		if said, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, lastLines(string(said)))
		}
	}
}

// dashboardAsRules writes all expressions down as rules: so promtool reads those of
// the dashboard, too.
func dashboardAsRules(t *testing.T) string {
	var file struct {
		Groups []map[string]any `yaml:"groups"`
	}
	var all []map[string]string
	for i, q := range queries(t) {
		all = append(all, map[string]string{"record": fmt.Sprintf("test:query:%d", i), "expr": q.expr})
	}
	file.Groups = append(file.Groups, map[string]any{"name": "queries", "rules": all})
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "queries.yml", string(text))
}

// The server that is run is the version that the rules are tried with.
func TestPrometheusVersions(t *testing.T) {
	image := project(t).Services["prometheus"].Image
	module := regexp.MustCompile(`(?m)^\tgithub\.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)`).FindStringSubmatch(read(t, "tools/go.mod"))
	if module == nil {
		t.Fatal("tools/go.mod does not pin Prometheus")
	}
	// Prometheus 3.13.4 is version 0.313.4 of its module.
	if want := fmt.Sprintf("prom/prometheus:v%s.%s.%s", module[1], strings.TrimLeft(module[2], "0"), module[3]); image != want {
		t.Errorf("the image is %s, tools/go.mod has that of %s", image, want)
	}
}

// Whoever is woken by an alert reads in it what to do, and every alert has a test
// and a line in the documentation.
func TestAlertsHelp(t *testing.T) {
	tests, page := read(t, "prometheus/rules_test.yml"), read(t, filepath.Join(top, "docs", "operations.md"))
	for _, r := range rules(t) {
		for _, name := range []string{"summary", "description", "action"} {
			if len(r.Annotations[name]) < 20 {
				t.Errorf("%s has the %s %q", r.Alert, name, r.Annotations[name])
			}
		}
		switch severity := r.Labels["severity"]; severity {
		case "critical", "warning", "info":
		default:
			t.Errorf("%s has the severity %q", r.Alert, severity)
		}
		if !strings.Contains(tests, r.Alert) {
			t.Errorf("prometheus/rules_test.yml has no %s", r.Alert)
		}
		if !strings.Contains(page, "`"+r.Alert+"`") {
			t.Errorf("docs/operations.md does not tell of %s", r.Alert)
		}
	}
}

// isWatched runs Prometheus with the configuration of the Compose file: it scrapes
// the service, evaluates the rules, and answers what the dashboard asks.
func (s *stack) isWatched(t *testing.T) {
	tool(t, "promtool")
	tool(t, "prometheus")
	server := s.start(t, "prometheus", "/bin/prometheus", "--web.listen-address="+s.prometheus)
	server.until(t, "Prometheus to be healthy", func() error { return s.healthy(t, "prometheus") })
	server.until(t, "the rules to be evaluated", func() error {
		var groups struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, LastEvaluation, State string }
			}
		}
		if err := s.ask(t, "rules", nil, &groups); err != nil {
			return err
		}
		n := 0
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				switch n++; {
				case r.Health == "unknown" || strings.HasPrefix(r.LastEvaluation, "0001"):
					return fmt.Errorf("%s was not evaluated", r.Name)
				case r.Health != "ok":
					t.Fatalf("%s: %s", r.Name, r.LastError)
				case r.State == "firing":
					t.Fatalf("%s fires", r.Name)
				}
			}
		}
		if n != len(rules(t)) {
			return fmt.Errorf("there are %d rules", n)
		}
		return nil
	})
	for _, q := range queries(t) {
		server.until(t, q.where, func() error { return s.answers(t, q) })
	}
	if n, err := s.count(t, `up{job="millrace"} == 1`); n != 1 || err != nil {
		t.Errorf("%d instances are up (%v)", n, err)
	}
}

// answers says whether Prometheus has values for what is asked. Failures need not
// have happened, and an alert is silent.
func (s *stack) answers(t *testing.T, q query) error {
	t.Helper()
	n, err := s.count(t, q.expr)
	silent := strings.HasPrefix(q.where, "the alert") || strings.Contains(q.expr, `outcome!="ok"`) || strings.Contains(q.where, "annotation")
	if err == nil && n == 0 && !silent {
		err = errors.New("there are no values for " + q.expr)
	}
	return err
}

// count returns how many series an expression gives.
func (s *stack) count(t *testing.T, expr string) (int, error) {
	t.Helper()
	var answer struct{ Result []json.RawMessage }
	err := s.ask(t, "query", url.Values{"query": {expr}}, &answer)
	return len(answer.Result), err
}

// ask asks the API of Prometheus; a warning of its is an error.
func (s *stack) ask(t *testing.T, what string, values url.Values, data any) error {
	t.Helper()
	body, err := get(t, "http://"+s.prometheus+"/api/v1/"+what+"?"+values.Encode())
	if err != nil {
		return err
	}
	var answer struct {
		Data            json.RawMessage
		Warnings, Infos []string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return err
	}
	if all := append(answer.Warnings, answer.Infos...); len(all) > 0 {
		return fmt.Errorf("Prometheus warns: %q", all)
	}
	return json.Unmarshal(answer.Data, data)
}
