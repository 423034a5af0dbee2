package kafkatest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// verdict is a test that is only recorded.
type verdict struct {
	testing.TB
	failed, skipped string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatal(args ...any) {
	v.failed = fmt.Sprint(args...)
	runtime.Goexit()
}

func (v *verdict) Skip(args ...any) {
	v.skipped = fmt.Sprint(args...)
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

// Without Kafka tests are skipped, each of them, and in CI they fail.
func TestWithoutKafka(t *testing.T) {
	t.Setenv(given, off)
	var none choice
	for name, test := range map[string]func(testing.TB){
		"Addr":  func(t testing.TB) { none.get(t) },
		"Start": func(t testing.TB) { Start(t) },
	} {
		for range 2 {
			t.Setenv("CI", "")
			if v := judge(test); v.failed != "" || !strings.Contains(v.skipped, "make kafka-up") {
				t.Errorf("%s without CI: %+v", name, v)
			}
			t.Setenv("CI", "true")
			if v := judge(test); v.skipped != "" || !strings.Contains(v.failed, given+" is off") {
				t.Errorf("%s with CI: %+v", name, v)
			}
		}
	}
}

// A broker that was named is never skipped.
func TestNamedBrokerThatIsAway(t *testing.T) {
	t.Setenv("CI", "")
	addr := ports.Addr(t)
	t.Setenv(given, addr)
	var away choice
	for range 2 {
		v := judge(func(t testing.TB) { away.get(t) })
		if v.skipped != "" || !strings.Contains(v.failed, addr) {
			t.Errorf("it says %+v", v)
		}
	}
}

// Where there is no broker, one is started that ends with this process.
func TestBrokerOfThisProcess(t *testing.T) {
	mustBeAble(t)
	t.Setenv(version, Version()) // not the one of make kafka-up, whose version may be another
	t.Setenv(given, "")
	var own choice
	addr := own.get(t)
	if own.started == nil {
		t.Fatalf("it chose %s", addr)
	}
	defer os.RemoveAll(own.started.folder)
	defer own.started.kill()
	if err := answers(addr, 10*time.Second); err != nil {
		t.Error(err)
	}
	if again := own.get(t); again != addr {
		t.Errorf("it chose %s, and then %s", addr, again)
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
