package deploy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"
)

// board is what the tests look at of the dashboard.
type board struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		RefID, Expr string
		Datasource  source
	}
}

type source struct{ Type, UID string }

func dashboard(t *testing.T) *board {
	t.Helper()
	var b board
	if err := json.Unmarshal([]byte(read(t, "grafana/dashboards/millrace.json")), &b); err != nil {
		t.Fatal(err)
	}
	return &b
}

// Every panel stands where no other does, says what it shows, and asks the data
// source that is chosen at the top.
func TestDashboard(t *testing.T) {
	b := dashboard(t)
	if b.UID != "millrace" || b.Title == "" || b.SchemaVersion < 39 {
		t.Errorf("the dashboard is %q %q, schema %d", b.UID, b.Title, b.SchemaVersion)
	}
	chosen := source{"prometheus", "${datasource}"}
	ids, cells := map[int]string{}, map[[2]int]string{}
	for _, p := range b.Panels {
		if other, ok := ids[p.ID]; ok || p.ID == 0 {
			t.Errorf("%q has the id %d, as has %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		if p.GridPos.W == 0 || p.GridPos.H == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%q has the place %+v of 24 columns", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := cells[cell]; ok {
					t.Fatalf("%q lies on %q", p.Title, other)
				}
				cells[cell] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.Datasource != chosen || len(p.Targets) == 0 {
			t.Errorf("%q has the description %q, the data source %v and %d queries", p.Title, p.Description, p.Datasource, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.Datasource != chosen || target.RefID == "" || refs[target.RefID] {
				t.Errorf("%q asks %v as %q", p.Title, target.Datasource, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
}

// A variable that is used is defined.
func TestDashboardVariables(t *testing.T) {
	defined := map[string]bool{"__rate_interval": true, "__all": true}
	for _, v := range dashboard(t).Templating.List {
		defined[v.Name] = true
	}
	page := read(t, "grafana/dashboards/millrace.json")
	used := regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(page, -1)
	if len(used) < 40 {
		t.Errorf("variables are used %d times", len(used))
	}
	for _, name := range used {
		if !defined[name[1]] {
			t.Errorf("$%s is not defined", name[1])
		}
	}
}

// Grafana finds its data source and the dashboard where Compose mounts them.
func TestGrafanaProvisioning(t *testing.T) {
	p := project(t)
	var sources struct {
		Datasources []struct{ UID, Type, URL string }
	}
	var providers struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	for name, into := range map[string]any{"datasources/prometheus.yml": &sources, "dashboards/millrace.yml": &providers} {
		if err := yaml.Unmarshal([]byte(read(t, "grafana/provisioning/"+name)), into); err != nil {
			t.Fatal(err)
		}
	}
	port := p.Services["prometheus"].Ports[0].Target
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" || sources.Datasources[0].URL != fmt.Sprintf("http://prometheus:%d", port) {
		t.Errorf("the data sources are %+v", sources)
	}
	if len(providers.Providers) != 1 || providers.Providers[0].Type != "file" {
		t.Fatalf("the dashboards come from %+v", providers)
	}
	mounted := map[string]string{}
	for _, v := range p.Services["grafana"].Volumes {
		mounted[v.Target] = v.Source
	}
	if folder := providers.Providers[0].Options.Path; mounted[folder] != absolute(t, "grafana/dashboards") {
		t.Errorf("the dashboards are expected in %s, where %q is mounted", folder, mounted[folder])
	}
	if mounted["/etc/grafana/provisioning"] != absolute(t, "grafana/provisioning") {
		t.Errorf("the provisioning is mounted as %q", mounted)
	}
	if home := *p.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]; home != providers.Providers[0].Options.Path+"/millrace.json" {
		t.Errorf("the first page is %s", home)
	}
}
