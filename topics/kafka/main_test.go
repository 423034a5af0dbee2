package kafka

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/topics/topictest"
)

func TestMain(m *testing.M) {
	if code, is := asChild(); is {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m, topictest.IgnoreWatermill())
}
