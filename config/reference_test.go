package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReference(t *testing.T) {
	const golden = "testdata/reference.md"
	got := Reference(fakePlugins())
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("is not %s; run the test with -update and read the difference", golden)
	}
	for range 10 {
		if Reference(fakePlugins()) != got {
			t.Fatal("two calls gave two pages")
		}
	}
	for _, name := range keysOf(Fields(File{})) {
		if !strings.Contains(got, "`"+name+"`") {
			t.Errorf("the page lacks %s", name)
		}
	}
}

func keysOf(fields []Field) []string {
	var list []string
	for _, r := range rows("", fields) {
		list = append(list, strings.Trim(r.key, "`"))
	}
	return list
}

// TestEverySettingIsDescribed walks the settings of the file itself.
func TestEverySettingIsDescribed(t *testing.T) {
	for _, err := range lint("file", Fields(File{}), "connectors", "transforms") {
		t.Error(err)
	}
	if err := Lint(fakePlugins()); err != nil {
		t.Error(err)
	}
}

func TestLint(t *testing.T) {
	bad := Plugins{Connectors: []Plugin{
		{Type: "a", Doc: "A.", Settings: struct {
			NoDoc int               `mapstructure:"no_doc"`
			Type  int               `mapstructure:"type" doc:"Taken."`
			Case  int               `mapstructure:"camelCase" doc:"Odd."`
			Again int               `mapstructure:"no_doc" doc:"Twice."`
			List  []struct{ X int } `mapstructure:"list" doc:"Untagged inside."`
			Deep  struct {
				NoDoc int `mapstructure:"inner"`
			} `mapstructure:"deep" doc:"D."`
		}{}, Streams: []PluginStream{{Name: "s"}, {Name: "s"}, {Name: "a b"}}},
		{Type: "a", Doc: "A."},
		{Type: "b"},
	}}
	got := Lint(bad)
	want := strings.Join([]string{
		`a.no_doc: has no doc tag`,
		`a.type: is not snake_case, or is there already`,
		`a.camelCase: is not snake_case, or is there already`,
		`a.no_doc: is not snake_case, or is there already`,
		`a.deep.inner: has no doc tag`,
		`plugin "a": wants a plain name for each stream`,
		`plugin "a": wants a plain name for each stream`,
		`plugin "a": wants a type of its own and a doc`,
		`plugin "b": wants a type of its own and a doc`,
	}, "\n")
	if got == nil || got.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", got, want)
	}
}

func TestFields(t *testing.T) {
	fields := Fields(&netcore{})
	byName := map[string]Field{}
	var order []string
	for _, f := range fields {
		order = append(order, f.Name)
		byName[f.Name] = f
	}
	wantOrder := "base_url account since poll settle overlap sweep rate requests max_record app_id app_secret channels enrich_users transcripts"
	if got := strings.Join(order, " "); got != wantOrder {
		t.Errorf("got %s\nwant %s", got, wantOrder)
	}
	for name, want := range map[string]string{
		"poll": "duration", "since": "time", "rate": "rate", "max_record": "size", "requests": "integer",
		"enrich_users": "bool", "channels": "list of integer", "sweep": "section", "app_id": "string",
	} {
		if byName[name].Type != want {
			t.Errorf("%s: got type %q, want %q", name, byName[name].Type, want)
		}
	}
	if f := byName["app_secret"]; !f.Secret || !f.Required {
		t.Errorf("app_secret: got %+v, want secret and required", f)
	}
	if Fields(nil) != nil {
		t.Error("no settings have fields")
	}
}

func TestFieldsPanicsOnBadDeclarations(t *testing.T) {
	for what, settings := range map[string]any{
		"no struct": 1,
		"bad type": struct {
			F func() `mapstructure:"f"`
		}{},
		"bad default": struct {
			F time.Duration `mapstructure:"f" default:"60"`
		}{},
		"default out of bounds": struct {
			F int `mapstructure:"f" default:"0" min:"1"`
		}{},
		"bad bound": struct {
			F string `mapstructure:"f" min:"1"`
		}{},
		"default that is never applied": struct {
			F *sweep `mapstructure:"f"`
		}{},
		"default in a list": struct {
			F []sweep `mapstructure:"f"`
		}{},
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("was accepted")
				}
			}()
			Fields(settings)
		})
	}
}

func TestSetDefaultsKeepsWhatIsSet(t *testing.T) {
	got := feedyou{shared: shared{Poll: time.Hour, Sweep: sweep{Back: time.Hour}}}
	SetDefaults(&got)
	want := feedyou{Auth: "header", shared: shared{
		Poll: time.Hour, Settle: 30 * time.Second, Overlap: 10 * time.Minute,
		Sweep: sweep{Every: 24 * time.Hour, Back: time.Hour}, Requests: 4, MaxBytes: 32 << 20,
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
