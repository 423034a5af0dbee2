package events_test

import (
	"net/url"
	"testing"

	"github.com/millrace-io/millrace/events"
)

// A source is a URI reference whatever the vendor calls an account, and tells which
// one it is. What earlier versions wrote is read as well.
func TestSourceIsAReference(t *testing.T) {
	for account, want := range map[string]string{
		"acme":                  "/feedyou/acme/nlpLog",
		"127.0.0.1:8080/a/b":    "/feedyou/127.0.0.1:8080/a/b/nlpLog",
		"50% bot":               "/feedyou/50%25%20bot/nlpLog",
		"účet?#[]":              "/feedyou/%C3%BA%C4%8Det%3F%23%5B%5D/nlpLog",
		"%41 is not A, \x00 is": "/feedyou/%2541%20is%20not%20A,%20%00%20is/nlpLog",
	} {
		e := events.Event{ID: events.ID{1}, Source: events.StreamKey{Vendor: "feedyou", Account: account, Stream: "nlpLog"}, Type: events.TypeUnhandledInput}
		attributes := new(events.Encoder).AppendAttributes(nil, &e)
		for i := range attributes {
			if a := &attributes[i]; a.Name == "source" && a.Value != want {
				t.Errorf("the source of %q is %q, want %q", account, a.Value, want)
			} else if _, err := url.Parse(a.Value); a.Name == "source" && err != nil {
				t.Error(err)
			}
		}
		if back, err := events.FromAttributes(attributes); err != nil || back.Source != e.Source {
			t.Errorf("%q comes back as %+v (%v)", account, back.Source, err)
		}
	}
	old := []events.Attribute{{Name: "specversion", Value: "1.0"}, {Name: "id", Value: events.ID{1}.String()}, {Name: "type", Value: "io.millrace.sms.v1"}, {Name: "source", Value: "/feedyou/50% bot/nlpLog"}}
	if e, err := events.FromAttributes(old); err != nil || e.Source.Account != "50% bot" {
		t.Errorf("an old one is read as %+v (%v)", e.Source, err)
	}
}
