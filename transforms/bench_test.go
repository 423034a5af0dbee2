package transforms_test

import (
	"strings"
	"testing"

	"github.com/millrace-io/millrace/events"
)

// typical is the chain that benchmarks use.
const typical = `
transforms:
  - filter: sender != "agent"
    types: [message]
  - set: {length: len(text), urgent: 'text contains "refund"'}
    types: [message]
  - redact: {kinds: [email, phone, card, ip, credentials]}
  - rename: {user_id: customer}
    types: [message]
`

// typicalEvent is an event of a kilobyte, most of it the record.
func typicalEvent() events.Event {
	text := strings.Repeat("Was the delivery there on time? Yes, thank you! ", 8)[:350]
	more := strings.Repeat(`"parameter.of.the.flow":"with a value",`, 13)
	return events.Event{
		ID: events.ID{1}, Source: events.StreamKey{Vendor: "deepconverse", Account: "bot", Stream: "messages"}, Connector: "support",
		Type: events.TypeMessage, Key: "c0000001", RecordID: "000000000000000000000001",
		Members: []byte(`"message_id":"000000000000000000000001","sender":"user","direction":"inbound","kind":"text","text":"` + text + `","user_id":"u1","conversation_id":"c0000001","bot":"bot","occurred_at":"2026-01-01T00:00:00Z"`),
		Raw:     []byte(`{"_id":"000000000000000000000001","time":1767225600,"conversationId":"c0000001","type":"UserInput","userActionType":"text","userInput":"` + text + `","context":{` + more + `"x":1}}`),
	}
}

func BenchmarkChain(b *testing.B) {
	for _, bench := range []struct{ name, steps string }{
		{"typical", typical},
		{"filter", "transforms: [{filter: 'sender != \"agent\"'}]"},
		{"set", "transforms: [{set: {length: len(text)}, types: [message]}]"},
		{"redact", "transforms: [{redact: {kinds: [email, phone, card, ip, credentials]}}]"},
		{"rename", "transforms: [{rename: {user_id: customer}, types: [message]}]"},
		{"not for it", "transforms: [{drop_fields: [url], types: [click]}]"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			chain, err := parse(b, "bench.yaml", bench.steps)
			if err != nil {
				b.Fatal(err)
			}
			e := typicalEvent()
			b.SetBytes(int64(e.DataLen()))
			b.ReportAllocs()
			for b.Loop() {
				if out, err := chain.Apply(b.Context(), e); len(out) != 1 || err != nil {
					b.Fatal(len(out), err)
				}
			}
		})
	}
}
