package connectortest_test

import (
	"testing"

	"github.com/millrace-io/millrace/connectors/connectortest"
)

func TestConnectors(t *testing.T) {
	for name, h := range connectortest.Cases() {
		t.Run(name, func(t *testing.T) { connectortest.Run(t, h) })
	}
}
