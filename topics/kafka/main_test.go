package kafka

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-io/millrace/topics/topictest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, topictest.IgnoreWatermill()) }
