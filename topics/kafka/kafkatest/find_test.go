package kafkatest

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// verdict is a test that is only recorded.
type verdict struct {
	testing.TB
	failed, skipped string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatal(args ...any) {
	v.failed, _ = args[0].(string)
	runtime.Goexit()
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = format
	for _, a := range args {
		if s, ok := a.(string); ok {
			v.failed += " " + s
		}
	}
	runtime.Goexit()
}

func (v *verdict) Skip(args ...any) {
	v.skipped, _ = args[0].(string)
	runtime.Goexit()
}

// judge runs a test to its end.
func judge(test func(t testing.TB)) *verdict {
	v := &verdict{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(v)
	}()
	<-done
	return v
}

func TestWithoutKafka(t *testing.T) {
	t.Setenv(given, off)
	if _, missing, _ := find(t); !strings.Contains(missing, given) {
		t.Errorf("find says that %q is missing", missing)
	}
	start := func(t testing.TB) { Start(t) }
	t.Setenv("CI", "")
	if v := judge(start); v.failed != "" || !strings.Contains(v.skipped, "make kafka-up") {
		t.Errorf("without CI: %+v", v)
	}
	t.Setenv("CI", "true")
	if v := judge(start); v.skipped != "" || !strings.Contains(v.failed, given) {
		t.Errorf("with CI: %+v", v)
	}
}

// A broker that was named is never skipped.
func TestNamedBrokerThatIsAway(t *testing.T) {
	port, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CI", "")
	t.Setenv(given, loopback(port))
	v := judge(func(t testing.TB) { find(t) })
	if v.skipped != "" || !strings.Contains(v.failed, loopback(port)) {
		t.Errorf("it says %+v", v)
	}
}

// Where there is no broker, one is started that ends with this process.
func TestBrokerOfThisProcess(t *testing.T) {
	mustBeAble(t)
	t.Setenv(version, Version()) // not the one of make kafka-up, whose version may be another
	t.Setenv(given, "")
	addr, missing, started := find(t)
	if missing != "" || started == nil {
		t.Fatalf("find says %q, %q", addr, missing)
	}
	defer os.RemoveAll(started.folder)
	defer started.kill()
	if err := answers(addr, 10*time.Second); err != nil {
		t.Error(err)
	}
}

func TestVersions(t *testing.T) {
	in, _ := installed()
	t.Setenv(version, "")
	if v := Version(); v == "" || v != in.pins["KAFKA"] {
		t.Errorf("the version is %q, pinned is %q", v, in.pins["KAFKA"])
	}
	t.Setenv(version, "3.9.2")
	if v := Version(); v != "3.9.2" {
		t.Errorf("the version is %q, not that of the environment", v)
	}
	for _, name := range []string{"KAFKA_OLD", "KAFKA_PORT", "KAFKA_OLD_PORT"} {
		if in.pins[name] == "" {
			t.Errorf("versions.env has no %s", name)
		}
	}
}
