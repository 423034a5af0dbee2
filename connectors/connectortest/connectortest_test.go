package connectortest_test

import (
	"flag"
	"os"
	"testing"

	"github.com/millrace-io/millrace/connectors/connectortest"
)

// Most of the time the suite waits, for what an API asked for or to try again:
// many of its tests run at once, however few processors there are.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "64"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestConnectors(t *testing.T) {
	for name, h := range connectortest.Cases() {
		t.Run(name, func(t *testing.T) { connectortest.Run(t, h) })
	}
}
