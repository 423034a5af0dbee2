package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// The file is checked against the official schema, and a key that the schema
// does not know is seen.
func TestComposeFileIsValid(t *testing.T) {
	project(t)
	broken := strings.Replace(read(t, filepath.Join(top, "docker-compose.yml")), "    user: \"472:0\"", "    uzer: \"472:0\"", 1)
	if _, err := loadProject(t, write(t, "docker-compose.yml", broken)); err == nil || !strings.Contains(err.Error(), "uzer") {
		t.Errorf("the key uzer is refused with %v", err)
	}
}

// docker compose up is all of it on NATS, and --profile kafka all of it on Kafka
// instead, not as well.
func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		profiles []string
		services []string
	}{
		{nil, []string{"grafana", "millrace-nats", "prometheus", "simulator"}},
		{[]string{"kafka"}, []string{"grafana", "kafka", "millrace-kafka", "prometheus", "simulator"}},
	} {
		p := project(t, c.profiles...)
		if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, c.services) {
			t.Errorf("with the profiles %q the services are %q, want %q", c.profiles, got, c.services)
		}
		taken := map[string]string{}
		for name, s := range p.Services {
			if strings.HasPrefix(name, "millrace") && !slices.Contains(s.Networks["default"].Aliases, "millrace") {
				t.Errorf("%s is not millrace to Prometheus", name)
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s publishes port %s on %q, want loopback alone", name, port.Published, port.HostIP)
				}
				if other, ok := taken[port.Published]; ok {
					t.Errorf("%s and %s both publish port %s", name, other, port.Published)
				}
				taken[port.Published] = name
			}
		}
	}
}

// everyService calls f with the services of all profiles.
func everyService(t *testing.T, f func(t *testing.T, s types.ServiceConfig)) {
	services := project(t, "*").Services
	if len(services) < 6 {
		t.Fatalf("there are %d services", len(services))
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		t.Run(name, func(t *testing.T) { f(t, services[name]) })
	}
}

// A service can do no more than it has to, is seen when it is unwell, and comes
// back by itself.
func TestServicesAreGuarded(t *testing.T) {
	everyService(t, func(t *testing.T, s types.ServiceConfig) {
		if uid, _, _ := strings.Cut(s.User, ":"); !isPositive(uid) {
			t.Errorf("user is %q, want the number of one who is not root", s.User)
		}
		if !s.ReadOnly {
			t.Error("its root file system can be written")
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged {
			t.Errorf("it has capabilities: cap_drop is %q, cap_add %q", s.CapDrop, s.CapAdd)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("it may gain privileges: security_opt is %q", s.SecurityOpt)
		}
		if s.Restart != types.RestartPolicyUnlessStopped {
			t.Errorf("restart is %q", s.Restart)
		}
		if h := s.HealthCheck; h == nil || len(h.Test) < 2 || h.Test[0] != "CMD" || h.Interval == nil || h.Timeout == nil || h.StartPeriod == nil {
			t.Errorf("its health check is %+v, want a command without a shell, with interval, timeout and start_period", h)
		}
		for name, d := range s.DependsOn {
			if d.Condition != types.ServiceConditionHealthy {
				t.Errorf("it waits for %s to be %s, want healthy", name, d.Condition)
			}
		}
	})
}

func isPositive(number string) bool {
	n, err := strconv.Atoi(number)
	return err == nil && n > 0
}

// pinned images are the same tomorrow: a whole version, or a digest.
var pinned = regexp.MustCompile(`^[^:@]+(:v?\d+\.\d+\.\d+(-[a-z0-9.-]+)?|(:[a-z0-9.-]+)?@sha256:[0-9a-f]{64})$`)

func TestImagesArePinned(t *testing.T) {
	everyService(t, func(t *testing.T, s types.ServiceConfig) {
		switch {
		case s.Build == nil && !pinned.MatchString(s.Image):
			t.Errorf("image %q is none of one version", s.Image)
		case s.Build != nil && s.PullPolicy != types.PullPolicyBuild:
			t.Errorf("pull_policy is %q: a stranger's %s might be pulled", s.PullPolicy, s.Image)
		case s.Build != nil && filepath.Join(s.Build.Context, s.Build.Dockerfile) != absolute(t, "Dockerfile"):
			t.Errorf("it is built with %s in %s", s.Build.Dockerfile, s.Build.Context)
		}
	})
	for image, want := range map[string]bool{
		"a/b:1.2.3": true, "a/b:v1.2.3": true, "golang:1.27.4-bookworm": true, "a.io/b:nonroot@sha256:" + strings.Repeat("0", 64): true,
		"a/b": false, "a/b:latest": false, "a/b:1.2": false, "a/b:1": false, "a/b:nonroot": false, "a/b@sha256:00": false,
	} {
		if pinned.MatchString(image) != want {
			t.Errorf("%s counts as pinned: %v", image, !want)
		}
	}
}

// What is mounted is there, can be read by whoever the service is, and cannot be
// written through the mount.
func TestMounts(t *testing.T) {
	volumes := project(t, "*").Volumes
	everyService(t, func(t *testing.T, s types.ServiceConfig) {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume {
				if _, ok := volumes[v.Source]; !ok {
					t.Errorf("the volume %q is none of the file's", v.Source)
				}
				continue
			}
			info, err := os.Stat(v.Source)
			if err != nil {
				t.Error(err)
			} else if info.Mode()&0o004 == 0 {
				t.Errorf("%s has mode %s: others cannot read it", v.Source, info.Mode())
			}
			if !v.ReadOnly {
				t.Errorf("%s can be written", v.Source)
			}
		}
	})
}
