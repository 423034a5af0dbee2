package events_test

import (
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
)

func TestCheckTopic(t *testing.T) {
	for name, want := range map[string]string{
		"vip": "", "a": "", "7": "", "0-1_b": "", "messages": "", "alerts": "", "dead_letters": "", "x_": "", strings.Repeat("a", 64): "",
		"":                      "1 to 64",
		strings.Repeat("a", 65): "1 to 64",
		"Vip":                   "a-z",
		"MESSAGE":               "a-z",
		"a.b":                   "a-z",
		"a b":                   "a-z",
		"a*":                    "a-z",
		">":                     "a-z",
		"vip\n":                 "a-z",
		"-vip":                  "beginning with a letter",
		"é":                     "a-z",
		"_vip":                  "begin the name with a letter",
		"_state":                "keeps for itself",
		"alert":                 "kept for alerts",
		"message":               `"message" is the topic of an event type`,
		"dead_letter":           `"dead_letter" is the topic of an event type`,
	} {
		err := events.CheckTopic(name)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q is refused: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q in it", name, err, want)
		}
	}
	for _, e := range events.Catalogue() {
		if events.CheckTopic(e.Name) == nil {
			t.Errorf("events may be routed to the topic of %s", e.Name)
		}
	}
	if err := events.CheckTopic("My secret"); strings.Contains(err.Error(), "secret") {
		t.Errorf("it shows what was written: %v", err)
	}
}
