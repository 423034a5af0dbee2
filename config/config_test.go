package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the messages of the bad files anew")

// shared stands for the keys that every connector has.
type shared struct {
	BaseURL  string        `mapstructure:"base_url" default:"(the vendor's)" doc:"Where the API is."`
	Account  string        `mapstructure:"account" doc:"The account's name in the state."`
	Since    time.Time     `mapstructure:"since" default:"(now)" doc:"Where it begins."`
	Poll     time.Duration `mapstructure:"poll" default:"60s" min:"1s" doc:"How often it asks."`
	Settle   time.Duration `mapstructure:"settle" default:"30s" doc:"How old a record is when it is read."`
	Overlap  time.Duration `mapstructure:"overlap" default:"10m" doc:"How far back each poll reads."`
	Sweep    sweep         `mapstructure:"sweep" doc:"The reads that reach further back."`
	Rate     Rate          `mapstructure:"rate" default:"(that of the API)" doc:"Requests in a time."`
	Requests int           `mapstructure:"requests" default:"4" min:"1" max:"64" doc:"Concurrent requests."`
	MaxBytes Bytes         `mapstructure:"max_record" default:"32MiB" doc:"The largest record."`
}

type sweep struct {
	Every time.Duration `mapstructure:"every" default:"24h" doc:"How often."`
	Back  time.Duration `mapstructure:"back" default:"24h" doc:"How far back."`
}

type feedyou struct {
	shared `mapstructure:",squash"`
	BotID  string `mapstructure:"bot_id" required:"true" doc:"The bot."`
	Key    string `mapstructure:"function_key" required:"true" secret:"true" doc:"The key."`
	Auth   string `mapstructure:"auth" default:"header" oneof:"header|query" doc:"Where the key is sent | shown."`
}

type feedyouStream struct {
	Poll time.Duration `mapstructure:"poll" default:"60s" min:"1s" doc:"How often it asks."`
}

type feedyouUsers struct {
	feedyouStream `mapstructure:",squash"`
	NotEmpty      []string          `mapstructure:"not_empty" doc:"Fields that a user must have."`
	Where         map[string]string `mapstructure:"where" doc:"Fields and the values they must have."`
}

type netcore struct {
	shared      `mapstructure:",squash"`
	AppID       string `mapstructure:"app_id" required:"true" doc:"The app."`
	AppSecret   string `mapstructure:"app_secret" required:"true" secret:"true" doc:"Its secret."`
	Channels    []int  `mapstructure:"channels" default:"1010, 1014" doc:"The channels."`
	Enrich      *bool  `mapstructure:"enrich_users" default:"(true, but for large bots)" doc:"Whether each user is asked for."`
	Transcripts string `mapstructure:"transcripts" default:"by_user" oneof:"by_user|by_channel" doc:"How they are read."`
}

// fakeStep are settings of a transform.
type fakeStep struct {
	Filter string            `mapstructure:"filter" doc:"An expression."`
	Set    map[string]string `mapstructure:"set" doc:"Members."`
	Hash   *struct {
		Key string `mapstructure:"key" required:"true" secret:"true" doc:"A key."`
	} `mapstructure:"hash" doc:"A section."`
}

func fakePlugins() Plugins {
	return Plugins{Transform: fakeStep{}, Connectors: []Plugin{
		{Type: "feedyou", Doc: "Reads one Feedyou bot.", Settings: &feedyou{}, Streams: []PluginStream{
			{"integrationLog", feedyouStream{}}, {"outgoingEmail", feedyouStream{}}, {"userData", &feedyouUsers{}},
		}},
		{Type: "netcore", Doc: "Reads one Netcore app.", Settings: netcore{}, Streams: []PluginStream{{"users", nil}}},
	}}
}

func fakeEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"FEEDYOU_KEY": "feedyou-key", "CRM_PASSWORD": "crm-password: [not yaml]", "POLL": "90s",
		"EMPTY": "", "HUNTER": "hunter2", "NESTED": "${FEEDYOU_KEY}",
	}[name]
	return v, ok
}

func fakeFile(path string) (string, error) {
	text, ok := map[string]string{
		"/run/secrets/alerts": "alerts-password\n", "/run/secrets/netcore": "netcore-secret\r\n",
	}[path]
	if !ok {
		return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return text, nil
}

// parse checks a file with the fake plugins, variables and secret files.
func parse(path string, data []byte) (*File, error) {
	return newChecker(path, fakePlugins(), fakeEnv, fakeFile).file(data)
}

func parseFile(t *testing.T, name string) (*File, error) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(name, data)
}

// TestBadFiles holds every bad file to its message, which stands beside it.
func TestBadFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(paths) < 20 {
		t.Fatalf("found %d bad files, %v", len(paths), err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			_, err := parseFile(t, name)
			if err == nil {
				t.Fatal("was accepted")
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
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
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestFullFile(t *testing.T) {
	f, err := parseFile(t, "full.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := File{
		Path: "full.good.yaml",
		Broker: Broker{Kind: "nats", NATS: NATS{
			Listen: "0.0.0.0:4222", Dir: "/var/lib/millrace",
			TLS:   &TLS{Cert: "server.pem", Key: "server.key"},
			Users: []User{{"crm", "crm-password: [not yaml]"}, {"alerts", "alerts-password"}},
		}, Kafka: kafkaDefaults},
		Topics:       Topics{Prefix: "acme.bots", Raw: false, Retention: 30 * 24 * time.Hour},
		DedupHorizon: 14 * 24 * time.Hour,
		Connectors: []Connector{{
			Name: "support", Type: "feedyou", Line: 17,
			Raw: map[string]any{
				"bot_id": "007", "function_key": "feedyou-key", "auth": "query",
				"since": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
				"poll":  90 * time.Second, "overlap": 10 * time.Minute, "sweep": map[string]any{"every": 12 * time.Hour},
				"rate": Rate(1.5), "requests": 8, "max_record": Bytes(16 << 20),
			},
			Streams: []Stream{
				{Name: "integrationLog", Line: 30},
				{Name: "userData", Line: 31, Raw: map[string]any{
					"poll": 36 * time.Hour, "not_empty": []any{"phone"},
					"where": map[string]any{"gender": "male", "cost": "$5"},
				}},
			},
		}, {
			Name: "2nd-bot", Type: "netcore", Line: 35,
			Raw: map[string]any{
				"app_id": "fallback", "app_secret": "prefix-netcore-secret", "channels": []any{1010, 1014},
				"enrich_users": false, "base_url": "https://me:url-password@netcore.example/api",
			},
		}},
	}
	got := *f
	got.places, got.secrets = nil, nil
	for i := range got.Connectors {
		got.Connectors[i].places = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%+v\nwant:\n%+v", got, want)
	}
	wantSecrets := []string{
		"crm-password: [not yaml]", "prefix-netcore-secret", "alerts-password", "netcore-secret", "url-password", "feedyou-key",
	}
	if got := f.Secrets(); !reflect.DeepEqual(got, wantSecrets) {
		t.Errorf("secrets: got %q, want %q", got, wantSecrets)
	}
}

func TestDefaults(t *testing.T) {
	f, err := parseFile(t, "minimal.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Broker{Kind: "nats", NATS: NATS{Listen: "127.0.0.1:4222", Dir: "./millrace-data"}, Kafka: kafkaDefaults}); !reflect.DeepEqual(f.Broker, want) {
		t.Errorf("broker: got %+v, want %+v", f.Broker, want)
	}
	if want := (Topics{Prefix: "millrace", Raw: true, Retention: 168 * time.Hour}); f.Topics != want {
		t.Errorf("topics: got %+v, want %+v", f.Topics, want)
	}
	if f.DedupHorizon != 168*time.Hour || f.HTTP.Listen != "127.0.0.1:8080" {
		t.Errorf("got dedup_horizon %v, http.listen %q", f.DedupHorizon, f.HTTP.Listen)
	}
	if c := f.Connectors[0]; c.Streams != nil || len(c.Raw) != 2 {
		t.Errorf("connector: got %d keys and streams %v, want the 2 keys of the file and nil", len(c.Raw), c.Streams)
	}
}

// kafkaDefaults are in every file: they mean nothing with another kind of broker.
var kafkaDefaults = Kafka{Compression: "zstd", Partitions: 6, TransactionTimeout: 30 * time.Second}

func TestKafka(t *testing.T) {
	f, err := parseFile(t, "kafka.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Kafka{
		Brokers: []string{"kafka-1.example:9092", "[2001:db8::1]:9093"}, TLS: &TLS{},
		SASL:        SASL{Mechanism: "scram-sha-512", User: "millrace", Password: "crm-password: [not yaml]"},
		Compression: "lz4", Partitions: 12, Replication: 2, TransactionTimeout: time.Minute,
		TopicConfig: map[string]string{"min.insync.replicas": "2"}, StateConfig: map[string]string{"min.insync.replicas": "1"},
	}
	if f.Broker.Kind != KindKafka || !f.Broker.Foreign() || !reflect.DeepEqual(f.Broker.Kafka, want) {
		t.Errorf("got %+v, want %+v", f.Broker, want)
	}
	if got := f.Secrets(); !reflect.DeepEqual(got, []string{"crm-password: [not yaml]", "abc"}) {
		t.Errorf("secrets: got %q", got)
	}
	if (&Broker{Kind: KindNATS}).Foreign() || !(&Broker{Kind: KindNATS, NATS: NATS{URL: "nats://a"}}).Foreign() {
		t.Error("which brokers are foreign is not known")
	}
}

func TestExposedPassword(t *testing.T) {
	for _, tt := range []struct {
		k    Kafka
		want bool
	}{
		{Kafka{Brokers: []string{"127.0.0.1:9092", "kafka:9092"}, SASL: SASL{Mechanism: "plain"}}, true},
		{Kafka{Brokers: []string{"kafka:9092"}, SASL: SASL{Mechanism: "plain"}, TLS: &TLS{}}, false},
		{Kafka{Brokers: []string{"localhost:9092", "127.0.0.1:9093"}, SASL: SASL{Mechanism: "plain"}}, false},
		{Kafka{Brokers: []string{"kafka:9092"}, SASL: SASL{Mechanism: "scram-sha-256"}}, false},
		{Kafka{Brokers: []string{"kafka:9092"}}, false},
	} {
		if got := tt.k.Exposed(); got != tt.want {
			t.Errorf("%+v: exposed %v, want %v", tt.k, got, tt.want)
		}
	}
}

func TestErrorf(t *testing.T) {
	f, err := parseFile(t, "full.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := &f.Connectors[0]
	for _, tt := range []struct {
		err  error
		want string
	}{
		{c.Errorf("poll", "is %s", "odd"), "full.good.yaml:23:5: connectors.support.poll: is odd"},
		{c.Errorf("settle", "is odd"), "full.good.yaml:17:3: connectors.support.settle: is odd"},
		{c.Errorf("", "is odd"), "full.good.yaml:17:3: connectors.support: is odd"},
		{c.Errorf("streams.userData.where.gender", "is odd"), "full.good.yaml:34:17: connectors.support.streams.userData.where.gender: is odd"},
		{c.Errorf("streams.userData.not_empty[0]", "is odd"), "full.good.yaml:33:21: connectors.support.streams.userData.not_empty[0]: is odd"},
		{f.Errorf("broker.nats.users[1].user", "is odd"), "full.good.yaml:10:9: broker.nats.users[1].user: is odd"},
		{f.Errorf("unheard.of", "is odd"), "full.good.yaml:1:1: unheard.of: is odd"},
		{(&Connector{Name: "made"}).Errorf("by_hand", "is odd"), "connectors.made.by_hand: is odd"},
	} {
		var e *Error
		if tt.err.Error() != tt.want || !errors.As(tt.err, &e) {
			t.Errorf("got %q, want %q", tt.err, tt.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "millrace.yaml")
	secret := filepath.Join(dir, "key")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "from-a-file\n\n")
	write(path, "connectors: {a: {type: feedyou, bot_id: '${MILLRACE_TEST_BOT}', function_key: '${file:"+secret+"}'}}\n")
	t.Setenv("MILLRACE_TEST_BOT", "from-the-environment")
	f, err := Load(path, fakePlugins(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if raw := f.Connectors[0].Raw; raw["bot_id"] != "from-the-environment" || raw["function_key"] != "from-a-file" {
		t.Errorf("got %v", raw)
	}
	for _, tt := range []struct{ what, secret, want string }{
		{"large", strings.Repeat("x", maxSecret+1), "it is larger than 64 KiB"},
		{"binary", "\xff", "it is not UTF-8 text"},
	} {
		write(secret, tt.secret)
		if _, err := Load(path, fakePlugins(), nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a %s secret file: got %v, want %q", tt.what, err, tt.want)
		}
	}
	write(path, strings.Repeat("#", maxFileSize+1))
	if _, err := Load(path, Plugins{}, nil); err == nil || !strings.HasSuffix(err.Error(), "millrace.yaml:1:1: is larger than 1 MiB, which no configuration is") {
		t.Errorf("a large file: got %v", err)
	}
	_, err = Load(filepath.Join(dir, "absent.yaml"), Plugins{}, nil)
	if e := (*Error)(nil); !errors.As(err, &e) || !strings.HasSuffix(err.Error(), "absent.yaml: cannot be opened: no such file or directory") {
		t.Errorf("an absent file: got %v", err)
	}
	if _, err := Load(dir, Plugins{}, nil); err == nil || !strings.HasSuffix(err.Error(), ": cannot be read: is a directory") {
		t.Errorf("a directory: got %v", err)
	}
}
